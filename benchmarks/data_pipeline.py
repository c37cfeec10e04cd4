"""Images per second and core of a training pipeline, with the share of each transform.

    python benchmarks/data_pipeline.py --images VisDrone2019-DET-train/images --compare

Counts CPU seconds of one thread (decoding, OpenCV and torch included), so that other work on the machine disturbs
little; what a data loader's worker reaches is that figure, less the copy to the main process. ``--compare`` runs the
same steps as plain ``mmcv.transforms``, image by image in turn with ours. Without ``--images``, JPEGs of about
VisDrone's size are drawn into a temporary folder.

    python benchmarks/data_pipeline.py --pipeline yolox [--peer FOLDER]

measures the pipeline of YOLOX, 640 x 640, in a MultiImageMixDataset (four images and the partner of MixUp are loaded for each sample), beside
mmdetection 3.3.0's in FOLDER (see peer_mmdet.py): a process of its own, which takes turns with ours.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import mmcv.transforms as peer
import numpy as np
import torch

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
UFPMP_ALBU = [
    dict(type='ShiftScaleRotate', shift_limit=0.0625, scale_limit=0.1, rotate_limit=45, p=0.5),
    dict(type='RandomBrightnessContrast', brightness_limit=[0.1, 0.3], contrast_limit=[0.1, 0.3], p=0.2),
    dict(
        type='OneOf',
        transforms=[
            dict(type='RGBShift', r_shift_limit=10, g_shift_limit=10, b_shift_limit=10, p=1.0),
            dict(type='HueSaturationValue', hue_shift_limit=20, sat_shift_limit=30, val_shift_limit=20, p=1.0),
        ],
        p=0.1,
    ),
    dict(type='JpegCompression', quality_lower=85, quality_upper=95, p=0.2),
    dict(type='ChannelShuffle', p=0.1),
    dict(type='OneOf', transforms=[dict(type='Blur', blur_limit=3), dict(type='MedianBlur', blur_limit=3)], p=0.1),
]
FLIP_AND_PACK = [dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
PIPELINES = {
    'gfl': [*LOAD, dict(type='Resize', scale=(1333, 800), keep_ratio=True), *FLIP_AND_PACK],
    'gfl-ms': [*LOAD, dict(type='RandomResize', scale=[(1333, 480), (1333, 800)], keep_ratio=True), *FLIP_AND_PACK],
    'ufpmp': [
        *LOAD,
        dict(type='Resize', scale=(1333, 800), keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='Albu', transforms=UFPMP_ALBU, skip_img_without_anno=True),
        dict(type='PackDetInputs'),
    ],
    'photometric': [
        *LOAD,
        dict(type='PhotoMetricDistortion'),
        dict(type='Resize', scale=(1333, 800), keep_ratio=True),
        *FLIP_AND_PACK,
    ],
}

YOLOX = [
    dict(type='Mosaic', img_scale=(640, 640), pad_val=114.0),
    dict(type='RandomAffine', scaling_ratio_range=(0.1, 2), border=(-320, -320)),
    dict(type='MixUp', img_scale=(640, 640), ratio_range=(0.8, 1.6), pad_val=114.0),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs', meta_keys=('img_id',)),
]


def draw_images(folder: Path, count: int) -> None:
    """Write JPEGs of 1360 x 765 as detailed as drone pictures (about 200 kB)."""
    random = np.random.RandomState(0)
    for index in range(count):
        coarse = random.randint(40, 216, (96, 170, 3)).astype(np.uint8)
        image = cv2.resize(coarse, (1360, 765), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        image += random.normal(0, 2, image.shape).astype(np.int16)
        cv2.imwrite(str(folder / f'{index:04d}.jpg'), image.clip(0, 255).astype(np.uint8))


def make_records(folder: Path, objects: int, limit: int) -> list[dict]:
    """One dataset record an image, with ``objects`` random boxes."""
    random = np.random.RandomState(0)
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ('.jpg', '.jpeg', '.png'))[:limit]
    if not paths:
        raise SystemExit(f'{folder}: no .jpg, .jpeg or .png image')
    records = []
    for index, path in enumerate(paths):
        path.read_bytes()  # into the page cache: the disk is not what is measured
        corners = random.uniform(0, 400, (objects, 2))
        boxes = np.concatenate([corners, corners + random.uniform(4, 60, (objects, 2))], axis=1)
        instances = [dict(bbox=box, bbox_label=int(random.randint(10)), ignore_flag=0) for box in boxes.tolist()]
        records.append(dict(img_path=str(path), img_id=index, instances=instances))
    return records


def mmcv_pipeline() -> list:
    """The steps of ``gfl`` as mmcv has them, and a transposed copy (its ``ImageToTensor`` refuses flipped views)."""

    def transpose(results: dict) -> dict:
        planes = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        return dict(inputs=torch.from_numpy(planes), gt_bboxes=torch.from_numpy(results['gt_bboxes']))

    return [
        peer.LoadImageFromFile(),
        peer.LoadAnnotations(with_bbox=True),
        peer.Resize(scale=(1333, 800), keep_ratio=True),
        peer.RandomFlip(prob=0.5),
        transpose,
    ]


def run_once(steps: list, record: dict) -> list[float]:
    """CPU seconds of each step on one image."""
    results, seconds = dict(record), []
    for step in steps:
        start = time.process_time()
        results = step(results)
        seconds.append(time.process_time() - start)
        if results is None:
            break
    return seconds + [0.0] * (len(steps) - len(seconds))


def measure(pipelines: dict[str, list], records: list[dict], rounds: int) -> dict[str, np.ndarray]:
    """Median over rounds of the mean CPU milliseconds of each step, {name: (steps,)}; pipelines take turns."""
    spent = {name: [] for name in pipelines}
    for _ in range(rounds + 1):
        one_round = {name: np.zeros(len(steps)) for name, steps in pipelines.items()}
        for record in records:
            for name, steps in pipelines.items():
                one_round[name] += run_once(steps, record)
        for name, seconds in one_round.items():
            spent[name].append(seconds / len(records) * 1e3)
    # The first round fills caches and memory pools.
    return {name: np.median(values[1:], axis=0) for name, values in spent.items()}


def report(name: str, steps: list, milliseconds: np.ndarray) -> None:
    total = milliseconds.sum()
    print(f'\n{name}: {1e3 / total:.1f} images/s per core, {total:.2f} ms an image')
    for step, value in zip(steps, milliseconds):
        print(f'  {getattr(step, "__name__", type(step).__name__):<24}{value:8.2f} ms {value / total:7.1%}')


class Timed:
    """A transform that notes the CPU milliseconds of its calls, and draws the same random numbers on both sides."""

    def __init__(self, transform):
        self.transform, self.spent, self.seed = transform, 0.0, 0
        if hasattr(transform, 'get_indexes'):
            self.get_indexes = self._get_indexes

    def _get_indexes(self, dataset):
        np.random.seed(self.seed)
        return self.transform.get_indexes(dataset)

    def __call__(self, results: dict) -> dict | None:
        self.seed += 1
        np.random.seed(self.seed)
        start = time.process_time()
        results = self.transform(results)
        self.spent += 1e3 * (time.process_time() - start)
        return results


def work(peer: bool) -> None:
    """Read records from the first line of stdin, then seeds of passes over them; write the milliseconds of each pass."""
    answers, sys.stdout = sys.stdout, sys.stderr
    if peer:
        import peer_mmdet

        peer_mmdet.prepare()
    from mmengine.dataset import Compose

    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules

    register_all_modules()

    @DATASETS.register_module()
    class Records:
        """The records, loaded each time; no more than both sides ask of a dataset."""

        metainfo: dict = dict(classes=tuple('abcdefghij'))

        def __init__(self, records: list):
            self.records, self.pipeline = records, Compose(LOAD)

        def full_init(self) -> None:
            pass

        def __len__(self) -> int:
            return len(self.records)

        def get_cat_ids(self, index: int) -> list[int]:
            return [instance['bbox_label'] for instance in self.records[index]['instances']]

        def __getitem__(self, index: int) -> dict:
            return self.pipeline(dict(self.records[index]))

    inner = dict(type='Records', records=json.loads(sys.stdin.readline()))
    dataset = DATASETS.build(dict(type='MultiImageMixDataset', dataset=inner, pipeline=YOLOX))
    steps = getattr(dataset.pipeline, 'transforms', dataset.pipeline)
    steps[:] = map(Timed, steps)
    for line in sys.stdin:
        for number, step in enumerate(steps):
            step.spent, step.seed = 0.0, 100_000 * int(line) + 10_000 * number
        start = time.process_time()
        for index in range(len(dataset)):
            dataset[index]
        total = 1e3 * (time.process_time() - start)
        spent = [step.spent for step in steps]
        print(json.dumps([value / len(dataset) for value in (total - sum(spent), *spent)]), file=answers, flush=True)


def compare_mixing(records: list[dict], peer: str | None, rounds: int) -> None:
    """Print the milliseconds a sample of our side and the peer's, medians over passes that take turns, and of their ratios."""
    sides = []
    for folder in [None, peer] if peer else [None]:
        paths = [path for path in (folder, os.environ.get('PYTHONPATH')) if path]
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'OMP_NUM_THREADS': '1'}
        command = [sys.executable, __file__, '--worker', 'peer' if folder else 'own']
        sides.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        )
        print(json.dumps(records), file=sides[-1].stdin, flush=True)
    turns = []  # (rounds, sides, parts)
    for seed in range(rounds + 1):
        turns.append([])
        for side in sides:
            print(seed, file=side.stdin, flush=True)
            line = side.stdout.readline()
            if not line:
                raise SystemExit(f'a side ended with code {side.wait()}')
            turns[-1].append(json.loads(line))
    for side in sides:
        side.stdin.close()
        side.wait()
    measured = np.array(turns[1:])  # the first round fills caches and memory pools
    totals = measured.sum(2)
    for name, rate in zip(('mmdet', 'mmdetection'), np.median(1e3 / totals, axis=0)):
        print(f'{name}: {rate:.1f} images/s per core')
    for number, name in enumerate(['load and copy', *(step['type'] for step in YOLOX), 'all']):
        figures = totals if name == 'all' else measured[:, :, number]
        ratio = f'{np.median(figures[:, 1] / figures[:, 0]):8.2f} times as fast' if peer else ''
        print(f'  {name:<24}' + ''.join(f'{value:9.2f} ms' for value in np.median(figures, axis=0)) + ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=Path, help='folder of images; default: drawn ones')
    parser.add_argument('--pipeline', choices=[*sorted(PIPELINES), 'yolox'], default='gfl')
    parser.add_argument('--compare', action='store_true', help='run plain mmcv.transforms side by side (pipeline gfl)')
    parser.add_argument('--objects', type=int, default=80, help='boxes an image (VisDrone has 54 on average)')
    parser.add_argument('--max-images', type=int, default=40)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--peer', metavar='FOLDER', help="folder with mmdetection's package (pipeline yolox)")
    parser.add_argument('--worker', choices=('own', 'peer'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer and args.pipeline != 'yolox':
        parser.error('--peer knows the pipeline yolox only')
    if args.compare and args.pipeline != 'gfl':
        parser.error('--compare knows the pipeline gfl only')

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    if args.worker:
        work(args.worker == 'peer')
        return
    np.random.seed(0)
    with tempfile.TemporaryDirectory() as drawn:
        if args.images is None:
            draw_images(Path(drawn), min(args.max_images, 12))
        records = make_records(args.images or Path(drawn), args.objects, args.max_images)
        sizes = [Path(record['img_path']).stat().st_size for record in records]
        print(f'{len(records)} images, {statistics.mean(sizes) / 1e3:.0f} kB on average, {args.objects} boxes each')
        if args.pipeline == 'yolox':
            compare_mixing(records, args.peer, args.rounds)
            return
        from mmdet.datasets.transforms import Compose

        pipelines = {'mmdet': list(Compose(PIPELINES[args.pipeline]))}
        if args.compare:
            pipelines['mmcv'] = mmcv_pipeline()
        measured = measure(pipelines, records, args.rounds)
    for name, steps in pipelines.items():
        report(f'{name} ({args.pipeline})', steps, measured[name])
    if args.compare:
        ours, theirs = measured['mmdet'].sum(), measured['mmcv'].sum()
        after = measured['mmcv'][1:].sum() / measured['mmdet'][1:].sum()
        print(f'\nmmdet / mmcv: {theirs / ours:.2f} times the images/s; without decoding {after:.2f} times')


if __name__ == '__main__':
    main()
