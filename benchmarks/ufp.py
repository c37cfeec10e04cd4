"""Unified foreground packing: its speed beside plain nested loops, and the effect of the packing options.

    python benchmarks/ufp.py [--data FOLDER] [--repeat 20]

Part 1 times ``UnifiedForegroundPacking`` beside the obvious implementation of the same definition (below): nested loops over rows of
a numpy array, and, faster, over plain Python numbers. All results must be equal. Times are CPU seconds of one thread, the best of
``--repeat`` runs, which other work on the machine affects little.

Part 2 packs the VisDrone validation images (``visdrone_val_scored``: annotations, and detections of the method's author after
class-agnostic NMS) with every option and prints the table of docs/ufp.md. "Resize" is 1333 / long side of the mosaic, the factor by
which the second detector resizes it; "small zoom" is zoom x resize of the ground truth below 32 x 32 that lies in a region.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from mmdet.core.ufp import UnifiedForegroundPacking, boxes_to_mosaic, fill_ratio
from mmdet.ops import nms

DETECTOR_INPUT = 1333
OPTIONS = {
    'reference': {},
    'exact': dict(mode='exact'),
    'exact, dense': dict(mode='exact', packing='dense'),
    'exact, max_side 1333': dict(mode='exact', max_side=DETECTOR_INPUT),
    'exact, dense, max_side 1333': dict(mode='exact', packing='dense', max_side=DETECTOR_INPUT),
}


def area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def plain_regions(boxes: Iterable, object_areas: Iterable[float]) -> list[tuple[Sequence[float], float]]:
    """Greedy merging, every box against every other: regions xyxy and the mean areas of their objects."""
    boxes, total = list(boxes), list(object_areas)
    count, members, alive = len(boxes), [1] * len(boxes), [True] * len(boxes)
    for m in range(count):
        if not alive[m]:
            continue
        grown = boxes[m]
        for k in range(count):
            if k == m or not alive[k]:
                continue
            other = boxes[k]
            union = (
                min(grown[0], other[0]), min(grown[1], other[1]), max(grown[2], other[2]), max(grown[3], other[3]),
            )  # fmt: skip
            if area(union) < area(grown) + area(other):
                grown, alive[k] = union, False
                total[m] += total[k]
                members[m] += members[k]
        boxes[m] = grown
    return [(boxes[m], total[m] / members[m]) for m in range(count) if alive[m]]


def plain_strip(sizes: list, width: float) -> tuple[float, list]:
    """Strip packing by lists: height and positions."""
    left = sorted(range(len(sizes)), key=lambda i: -sizes[i][1])
    positions = [None] * len(sizes)

    def fill(x, y, w, h):
        best, best_class = None, 5
        for i in left:
            a, b = sizes[i]
            if a > w or b > h:
                continue
            kind = 1 if a == w and b == h else 2 if a == w else 3 if b == h else 4
            if kind < best_class:
                best, best_class = i, kind
        if best is None:
            return
        left.remove(best)
        positions[best] = (x, y)
        a, b = sizes[best]
        if best_class == 2:
            fill(x, y + b, w, h - b)
        elif best_class == 3:
            fill(x + a, y, w - a, h)
        elif best_class == 4:
            least = min((min(sizes[i]) for i in left), default=float('inf'))
            if w - a < least:
                fill(x, y + b, w, h - b)
            elif h - b < least:
                fill(x + a, y, w - a, h)
            elif a < least:
                fill(x + a, y, w - a, b)
                fill(x, y + b, w, h - b)
            else:
                fill(x, y + b, a, h - b)
                fill(x + a, y, w - a, h)

    height = 0.0
    while left:
        tallest = left.pop(0)
        a, b = sizes[tallest]
        positions[tallest] = (0.0, height)
        row, height = height, height + b
        fill(a, row, width - a, b)
    return height, positions


def plain_packing(boxes: np.ndarray | list, input_shape: tuple[int, int], scale: float = 1.5) -> np.ndarray:
    """Regions (R, 7) of the whole packing; ``boxes`` is a numpy array (rows are indexed element by element) or a list of lists."""
    right, bottom = input_shape[0] - 1, input_shape[1] - 1
    expanded, object_areas = [], []
    for box in boxes:
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        half_w, half_h = (box[2] - box[0]) * (scale / 2), (box[3] - box[1]) * (scale / 2)
        row = [
            min(max(x - half_w, 0), right), min(max(y - half_h, 0), bottom),
            min(max(x + half_w, 0), right), min(max(y + half_h, 0), bottom),
        ]  # fmt: skip
        expanded.append(np.array(row) if isinstance(boxes, np.ndarray) else row)
        object_areas.append((box[2] - box[0] + 1) * (box[3] - box[1] + 1))
    regions = [
        (box, mean) for box, mean in plain_regions(expanded, object_areas) if box[2] > box[0] and box[3] > box[1]
    ]
    zooms = [4 if mean < 32 * 32 else 2 if mean < 96 * 96 else 1 for _, mean in regions]
    sizes = [((box[2] - box[0]) * s, (box[3] - box[1]) * s) for (box, _), s in zip(regions, zooms)]
    low, high = 300, 2666
    while low <= high:
        width = (low + high) / 2
        height, positions = plain_strip(sizes, width)
        if height > width:
            low = width + 1
        else:
            high = width - 1
    rows = [
        [box[0], box[1], box[2] - box[0], box[3] - box[1], *place, s]
        for (box, _), place, s in zip(regions, positions, zooms)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 7)


def random_boxes(count: int, seed: int, low: float = 8, high: float = 60) -> np.ndarray:
    """Boxes spread evenly over 1920 x 1080: hardly anything merges, the hardest case for the packing."""
    rng = np.random.default_rng(seed)
    centre, half = rng.random((count, 2)) * [1919, 1079], rng.uniform(low, high, (count, 2)) / 2
    return np.clip(np.hstack([centre - half, centre + half]), 0, [1919, 1079, 1919, 1079])


def read_boxes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Boxes xyxy (n, 4) of the ten classes, and scores, of a VisDrone text file, comma- or space-separated."""
    rows = [line.replace(',', ' ').split()[:6] for line in path.read_text().splitlines() if line.strip()]
    rows = np.array(rows, dtype=np.float64).reshape(-1, 6)
    rows = rows[(rows[:, 5] > 0) & (rows[:, 5] < 11)]
    rows = rows[np.lexsort((-rows[:, 4], rows[:, 5]))]  # class after class, by falling score
    return np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]), rows[:, 4]


def read_scenes(folder: Path) -> list[tuple]:
    """Name, (width, height), ground truth, detections after class-agnostic NMS, raw detections of every image."""
    scenes = []
    for line in (folder / 'image_sizes.txt').read_text().splitlines():
        name, width, height = line.split()
        stem = Path(name).stem
        detections, scores = read_boxes(folder / 'predictions' / f'{stem}.txt')
        kept = nms(torch.from_numpy(detections), torch.from_numpy(scores), 0.6)
        kept = np.sort((kept[1] if isinstance(kept, tuple) else kept).numpy())
        ground_truth, _ = read_boxes(folder / 'annotations' / f'{stem}.txt')
        scenes.append((name, (int(width), int(height)), ground_truth, detections[kept], detections))
    return scenes


def cpu_ms(function: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def compare_speed(scenes: list[tuple], repeat: int) -> None:
    cases = [
        (f'{count} random', random_boxes(count, 0, high=size), (1920, 1080))
        for count, size in ((70, 60), (350, 60), (500, 30))
    ]
    if scenes:
        by_count = sorted(scenes, key=lambda scene: len(scene[4]))
        for wanted in (70, 350, 500):
            name, shape, *_, boxes = min(by_count, key=lambda scene: abs(len(scene[4]) - wanted))
            cases.append((f'{len(boxes)} detections, {name}', boxes, shape))
        name, shape, boxes = max(((s[0], s[1], s[2]) for s in scenes), key=lambda scene: len(scene[2]))
        cases.append((f'{len(boxes)} ground truth, {name}', boxes, shape))
    print('| boxes | regions | mmdet ms | loops over numpy rows ms | ratio | loops over Python numbers ms | ratio |')
    print('|---|---|---|---|---|---|---|')
    for name, boxes, shape in cases:
        ours = UnifiedForegroundPacking(boxes, 1.5, shape)[0]
        if not np.array_equal(ours, plain_packing(boxes, shape)):
            raise SystemExit(f'{name}: the results differ')
        as_lists = boxes.tolist()
        fast = cpu_ms(lambda b=boxes, s=shape: UnifiedForegroundPacking(b, 1.5, s), repeat)
        rows = cpu_ms(lambda b=boxes, s=shape: plain_packing(b, s), 3)
        numbers = cpu_ms(lambda b=as_lists, s=shape: plain_packing(b, s), 3)
        print(
            f'| {name} | {len(ours)} | {fast:.2f} | {rows:.0f} | {rows / fast:.0f} | {numbers:.0f} | {numbers / fast:.0f} |'
        )


def compare_options(scenes: list[tuple], source: str) -> None:
    print(f'\n{len(scenes)} images, boxes: {source}\n')
    print(
        '| option | regions | long side mean / 95 % / max | fill | resize median / 5 % | small zoom mean / 5 % | in a region | ms mean / 95 % |'
    )
    print('|---|---|---|---|---|---|---|---|')
    for name, options in OPTIONS.items():
        records, small_zooms, found, objects = [], [], 0, 0
        for _, shape, ground_truth, detections, _ in scenes:
            boxes = detections if source == 'detections' else ground_truth
            start = time.process_time()
            regions, width, height = UnifiedForegroundPacking(boxes, 1.5, shape, **options)
            seconds = time.process_time() - start
            objects += len(ground_truth)
            if len(regions) == 0:
                continue
            long_side = max(width, height)
            records.append(
                (
                    len(regions),
                    long_side,
                    fill_ratio(regions, width, height),
                    DETECTOR_INPUT / long_side,
                    seconds * 1000,
                )
            )
            _, box, region = boxes_to_mosaic(ground_truth, regions)
            found += len(np.unique(box))
            sides = ground_truth[:, 2:] - ground_truth[:, :2]
            small = (sides.prod(axis=1) < 32 * 32)[box]
            small_zooms.append(regions[region[small], 6] * DETECTOR_INPUT / long_side)
        count, long_sides, fill, resize, ms = np.array(records).T
        zooms = np.concatenate(small_zooms)
        print(
            f'| {name} | {count.mean():.1f} | {long_sides.mean():.0f} / {np.percentile(long_sides, 95):.0f} / {long_sides.max():.0f} '
            f'| {fill.mean():.3f} | {np.median(resize):.2f} / {np.percentile(resize, 5):.2f} '
            f'| {zooms.mean():.2f} / {np.percentile(zooms, 5):.2f} | {100 * found / objects:.1f} % '
            f'| {ms.mean():.1f} / {np.percentile(ms, 95):.1f} |'
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get('MMDET_SAMPLE_DATA', Path(__file__).resolve().parents[2] / 'shared' / 'data')
    parser.add_argument(
        '--data', type=Path, default=default, help='folder that holds visdrone_val_scored (MMDET_SAMPLE_DATA)'
    )
    parser.add_argument('--repeat', type=int, default=20)
    args = parser.parse_args()

    torch.set_num_threads(1)
    folder = Path(args.data) / 'visdrone_val_scored'
    scenes = read_scenes(folder) if folder.is_dir() else []
    compare_speed(scenes, args.repeat)
    if not scenes:
        raise SystemExit(f'no VisDrone files at {folder}: options not compared')
    for source in ('ground truth', 'detections'):
        compare_options(scenes, source)


if __name__ == '__main__':
    main()
