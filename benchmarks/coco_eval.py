"""COCO evaluation: ours beside pycocotools on a VisDrone-sized case, in the same run.

548 images, about 39,000 ground-truth boxes, 500 detections an image, 10 classes. Prints the seconds of each (from
arrays to precision and recall), the ratio, and the largest difference between their arrays.

    python benchmarks/coco_eval.py [--images 548]
"""

import argparse
import importlib.util
import time

import numpy as np

from mmdet.evaluation import Detections, GroundTruth, evaluate_boxes


def make_case(
    images: int, classes: int, gt_per_image: int, dt_per_image: int, seed: int = 0
) -> tuple[GroundTruth, Detections]:
    """Small boxes in 1920x1080 images; detections are noisy copies of them, with scores that fall with the noise."""
    rng = np.random.default_rng(seed)
    gts, dts = images * gt_per_image, images * dt_per_image
    corner, side = rng.random((gts, 2)) * [1860, 1020], rng.lognormal(3.3, 0.6, (gts, 2)).clip(4, 300)
    image = np.repeat(np.arange(images), gt_per_image)
    gt = GroundTruth(image, rng.integers(0, classes, gts), np.hstack([corner, side]), crowd=rng.random(gts) < 0.01)

    source = np.repeat(np.arange(images), dt_per_image) * gt_per_image + rng.integers(0, gt_per_image, dts)
    noise = rng.normal(0, 0.15, (dts, 4))
    bbox = gt.bbox[source] + noise * np.tile(gt.bbox[source, 2:], 2)
    bbox[:, 2:] = bbox[:, 2:].clip(1)
    score = (np.exp(-3 * np.abs(noise).sum(axis=1)) * rng.random(dts)).round(4)  # rounded: some scores are equal
    return gt, Detections(image[source // gt_per_image * gt_per_image], gt.label[source], bbox, score=score)


def measure(backend: str, gt: GroundTruth, dt: Detections, images: int, classes: int) -> tuple:
    """Wall seconds, CPU seconds of all threads, and the result of one evaluation."""
    wall, cpu = time.perf_counter(), time.process_time()
    arguments = dict(num_images=images, num_classes=classes, max_dets=(10, 100, 500), backend=backend)
    result = evaluate_boxes(gt, dt, **arguments)
    return time.perf_counter() - wall, time.process_time() - cpu, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=548)
    parser.add_argument('--classes', type=int, default=10)
    parser.add_argument('--gt', type=int, default=71, help='ground-truth boxes an image')
    parser.add_argument('--detections', type=int, default=500, help='detections an image')
    args = parser.parse_args()

    gt, dt = make_case(args.images, args.classes, args.gt, args.detections)
    print(f'{args.images} images, {len(gt)} ground-truth boxes, {len(dt)} detections, {args.classes} classes')
    if importlib.util.find_spec('hotcoco') is None:
        raise SystemExit('hotcoco is not installed: evaluation runs on pycocotools, there is nothing to compare')
    for backend in ('hotcoco', 'pycocotools'):  # imports and first calls are not measured
        measure(backend, *make_case(2, args.classes, 5, 5), 2, args.classes)
    rows = {}
    for name, backend in (('mmdet', 'auto'), ('pycocotools', 'pycocotools')):
        rows[name] = wall, cpu, result = measure(backend, gt, dt, args.images, args.classes)
        print(f'{name:<12} {wall:8.2f} s wall {cpu:8.2f} s CPU   AP {result.ap():.6f}', flush=True)
    (wall, cpu, result), (reference_wall, reference_cpu, reference) = rows.values()
    difference = max(np.abs(getattr(result, name) - getattr(reference, name)).max() for name in ('precision', 'recall'))
    print(f'ratio {reference_wall / wall:.1f} wall, {reference_cpu / cpu:.1f} CPU; largest difference {difference:.1e}')


if __name__ == '__main__':
    main()
