"""VisDrone toolkit rules: mmdet's evaluator beside a plain loop that follows the toolkit step by step.

548 images, about 39,000 objects, 500 detections an image, 10 classes, two ignored regions an image. Prints the seconds of
each, the ratio, and the largest difference of AP and recall. The plain loop is also what the tests compare with.

    python benchmarks/visdrone_eval.py [--images 548]
    python benchmarks/visdrone_eval.py --folders ANNOTATION_DIR PREDICTION_DIR SIZES_FILE
"""

import argparse
import time

import numpy as np

from mmdet.evaluation import (
    Detections,
    VisDroneTruth,
    evaluate_visdrone,
    read_folders,
    read_image_sizes,
)

THRESHOLDS = [0.5 + 0.05 * n for n in range(10)]
LIMITS = (1, 10, 100, 500)


def make_case(
    images: int, gt_per_image: int = 71, dt_per_image: int = 500, classes: int = 10, seed: int = 0
) -> tuple[VisDroneTruth, Detections, np.ndarray]:
    """Truth, detections and sizes: boxes with whole sides (overlaps exactly at thresholds occur), equal scores, two regions
    an image, objects of category 11, a few objects of score 0."""
    rng = np.random.default_rng(seed)
    size_wh = np.array([1360, 765])
    gts, dts, regions = images * gt_per_image, images * dt_per_image, images * 2
    sides = rng.lognormal(3.3, 0.6, (gts, 2)).clip(4, 300).round()
    bbox = np.hstack([(rng.random((gts, 2)) * (size_wh - 20)).round(), sides])
    image, label = np.repeat(np.arange(images), gt_per_image), rng.integers(0, classes + 1, gts)
    region = np.hstack([(rng.random((regions, 2)) * size_wh).round(), rng.integers(1, 250, (regions, 2))])

    source = np.repeat(np.arange(images), dt_per_image) * gt_per_image + rng.integers(0, gt_per_image, dts)
    noise = rng.normal(0, 0.12, (dts, 4)) * (rng.random((dts, 1)) < 0.8)
    boxes = (bbox[source] + noise * np.tile(sides[source], 2)).round()
    boxes[:, 2:] = boxes[:, 2:].clip(1)
    score = (np.exp(-3 * np.abs(noise).sum(axis=1)) * rng.random(dts)).round(3)
    order = np.lexsort((-score, image[source]))
    order[: dt_per_image // 2] = order[: dt_per_image // 2][::-1]  # the first file is not sorted
    gt = VisDroneTruth(
        np.concatenate([image, np.repeat(np.arange(images), 2)]),
        np.concatenate([label, np.full(regions, -1)]),
        np.concatenate([bbox, region]),
        counted=np.concatenate([rng.random(gts) > 0.02, np.zeros(regions, dtype=bool)]),
    )
    dt = Detections(image[source][order], label[source][order] % classes, boxes[order], score=score[order])
    return gt, dt, np.tile(size_wh, (images, 1))


def plain_loop(gt: VisDroneTruth, dt: Detections, sizes_wh: np.ndarray, classes: int = 10) -> tuple:
    """(K, T) AP, (K, T, M) recall, (K,) image counts, dropped objects and detections, computed by loops over everything."""
    truths, founds, dropped = [], [], [0, 0]
    for image, size_wh in enumerate(sizes_wh):
        rows = np.flatnonzero(gt.image == image)
        truth = [(int(gt.label[row]), gt.bbox[row].tolist(), bool(gt.counted[row])) for row in rows]
        rows = np.flatnonzero(dt.image == image)
        found = [(int(dt.label[row]), dt.bbox[row].tolist(), float(dt.score[row])) for row in rows]
        regions = [box for label, box, _ in truth if label == -1]
        truth = [entry for entry in truth if entry[0] != -1]
        if regions:
            counts = _marked_counts(regions, size_wh)
            for position, entries in enumerate((truth, found)):
                kept = [entry for entry in entries if not _is_dropped(entry[1], counts)]
                dropped[position] += len(entries) - len(kept)
                entries[:] = kept
        truths.append(truth)
        founds.append(found)

    ap = np.zeros((classes, len(THRESHOLDS)))
    recall = np.zeros((classes, len(THRESHOLDS), len(LIMITS)))
    image_count = [sum(any(entry[0] == label for entry in truth) for truth in truths) for label in range(classes)]
    for label in range(classes):
        total = sum(entry[0] == label for truth in truths for entry in truth)
        for t, threshold in enumerate(THRESHOLDS):
            for m, limit in enumerate(LIMITS):
                scored = []
                for truth, found in zip(truths, founds):
                    objects = [entry for entry in truth if entry[0] == label]
                    boxes = [entry for entry in found[:limit] if entry[0] == label]
                    scored += _match_image(objects, boxes, threshold)
                scored.sort(key=lambda entry: -entry[0])
                recall[label, t, m], area = _curve(scored, total)
                if limit == LIMITS[-1]:
                    ap[label, t] = area
    return ap, recall, np.array(image_count), *dropped


def _marked_counts(regions, size_wh):
    width, height = (int(side) for side in size_wh)
    marked = np.zeros((height, width), dtype=np.int64)
    for box in regions:
        left, top, w, h = (max(1, int(side)) for side in box)
        marked[top - 1 : min(height, top + h), left - 1 : min(width, left + w)] = 1
    return marked.cumsum(axis=0).cumsum(axis=1)


def _is_dropped(box, counts) -> bool:
    height, width = counts.shape
    left, top, w, h = (max(1, int(np.sign(side) * np.floor(abs(side) + 0.5))) for side in box)
    x, y, x2, y2 = min(width, left), min(height, top), min(width, left + w), min(height, top + h)
    J = counts  # 1-based in the toolkit
    inside = J[y - 1, x - 1] + J[y2 - 1, x2 - 1] - J[y - 1, x2 - 1] - J[y2 - 1, x - 1]
    return inside / (w * h) >= 0.5


def _match_image(objects, boxes, threshold):
    """(score, 1 hit / 0 miss / None neutral) of one image and class."""
    objects = sorted(objects, key=lambda entry: not entry[2])
    boxes = sorted(boxes, key=lambda entry: -entry[2])
    taken, outcome = [False] * len(objects), []
    for _, (ax, ay, aw, ah), score in boxes:
        best, candidate = threshold, None
        for g, (_, (bx, by, bw, bh), counted) in enumerate(objects):
            if counted and taken[g]:
                continue
            if candidate is not None and not counted:
                break
            w, h = min(ax + aw, bx + bw) - max(ax, bx), min(ay + ah, by + bh) - max(ay, by)
            overlap = 0.0
            if w > 0 and h > 0:
                overlap = w * h / (aw * ah + bw * bh - w * h if counted else aw * ah)
            if overlap < best:
                continue
            best, candidate = overlap, g
        if candidate is None:
            outcome.append((score, 0))
        elif objects[candidate][2]:
            taken[candidate] = True
            outcome.append((score, 1))
        else:
            outcome.append((score, None))
    return outcome


def _curve(scored, total: int) -> tuple[float, float]:
    """Last recall and the area under the curve."""
    right = wrong = 0
    recalls, precisions = [0.0], [0.0]
    for _, outcome in scored:
        right += outcome == 1
        wrong += outcome == 0
        recalls.append(right / max(1, total))
        precisions.append(right / max(1, right + wrong))
    last = recalls[-1]
    recalls.append(1.0)
    precisions.append(0.0)
    for i in range(len(precisions) - 2, -1, -1):
        precisions[i] = max(precisions[i], precisions[i + 1])
    return last, sum((recalls[i] - recalls[i - 1]) * precisions[i] for i in range(1, len(recalls)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=548)
    parser.add_argument('--gt', type=int, default=71, help='objects an image')
    parser.add_argument('--detections', type=int, default=500, help='detections an image')
    parser.add_argument('--folders', nargs=3, metavar=('ANN', 'PRED', 'SIZES'), help='real files instead')
    args = parser.parse_args()
    if args.folders:
        start = time.perf_counter()
        data = read_folders(*args.folders[:2], sizes=read_image_sizes(args.folders[2]))
        print(f'reading the files {time.perf_counter() - start:.2f} s')
        case = data.gt, data.dt, data.sizes_wh
    else:
        case = make_case(args.images, args.gt, args.detections)
    gt, dt, sizes_wh = case
    print(f'{len(sizes_wh)} images, {len(gt)} annotation rows, {len(dt)} detections, 10 classes')
    small = make_case(2, 5, 5)
    evaluate_visdrone(small[0], small[1], sizes_wh=small[2])  # the first call is not measured
    wall, cpu = time.perf_counter(), time.process_time()
    result = evaluate_visdrone(gt, dt, sizes_wh=sizes_wh)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f'mmdet      {wall:8.2f} s wall {cpu:8.2f} s CPU   AP {100 * result.mean_ap():.6f}', flush=True)
    plain_wall, plain_cpu = time.perf_counter(), time.process_time()
    ap, recall, image_count, *dropped = plain_loop(gt, dt, sizes_wh)
    plain_wall, plain_cpu = time.perf_counter() - plain_wall, time.process_time() - plain_cpu
    mean = 100 * ap.mean(axis=1) @ image_count / image_count.sum()
    print(f'plain loop {plain_wall:8.2f} s wall {plain_cpu:8.2f} s CPU   AP {mean:.6f}')
    difference = max(np.abs(ap - result.ap).max(), np.abs(recall - result.recall).max())
    same = dropped == [result.dropped_gt, result.dropped_det] and (image_count == result.image_count).all()
    print(
        f'ratio {plain_wall / wall:.0f} wall, {plain_cpu / cpu:.0f} CPU; largest difference {difference:.1e}; '
        f'dropped rows and image counts {"agree" if same else "DIFFER"}'
    )


if __name__ == '__main__':
    main()
