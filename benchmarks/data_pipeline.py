"""Images per second and core of a training pipeline, with the share of each transform.

    python benchmarks/data_pipeline.py --images VisDrone2019-DET-train/images --compare

Counts CPU seconds of one thread (decoding, OpenCV and torch included), so that other work on the machine disturbs
little; what a data loader's worker reaches is that figure, less the copy to the main process. ``--compare`` runs the
same steps as plain ``mmcv.transforms``, image by image in turn with ours. Without ``--images``, JPEGs of about
VisDrone's size are drawn into a temporary folder.

    python benchmarks/data_pipeline.py --images VisDrone2019-DET-train/images --fast [--pipeline small]

runs the same pipeline with the fast options in turn: those that keep the pixels, those that change them, and all of them from the cache.

    python benchmarks/data_pipeline.py --pipeline yolox [--peer FOLDER]

measures the pipeline of YOLOX, 640 x 640, in a MultiImageMixDataset (four images and the partner of MixUp are loaded for each sample), beside
mmdetection 3.3.0's in FOLDER (see peer_mmdet.py): a process of its own, which takes turns with ours.

    python benchmarks/data_pipeline.py --pipeline recipes [--peer FOLDER] [--objects 50] [--only RandomAffine Mosaic]

measures each transform of the recipes by itself in the same way, on images of 1280 x 720.
"""

import argparse
import contextlib
import copy
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import mmcv.transforms as peer
import numpy as np
import torch
from torch.utils.data import ConcatDataset

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
    # What shrinks its images, so that they can be decoded at a part of their sides.
    'small': [*LOAD, dict(type='Resize', scale=(640, 480), keep_ratio=True), *FLIP_AND_PACK],
    'nanodet': [*LOAD, dict(type='WarpResize', scale=(416, 416), fit='shrink', flip=0.5), dict(type='PackDetInputs')],
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

# Options of the loader, and whether IPP resizes.
FAST: dict[str, tuple[dict, bool]] = {
    'simplejpeg': (dict(imdecode_backend='simplejpeg'), False),
    'simplejpeg, ipp': (dict(imdecode_backend='simplejpeg'), True),
    'simplejpeg, ipp, reduced': (dict(imdecode_backend='simplejpeg', reduced=True), True),
    'simplejpeg-fast, ipp, reduced=0.9': (dict(imdecode_backend='simplejpeg-fast', reduced=0.9), True),
    'cached, ipp': (dict(cache_mb=1000), True),
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

SQUARE = dict(img_scale=(640, 640), pad_val=114.0)
LSJ = [
    dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type='RandomCrop',
        crop_type='absolute_range',
        crop_size=(1024, 1024),
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2)),
    dict(type='Pad', size=(1024, 1024)),
]
# Each with what is done to the image of 1280 x 720 before, which is not measured.
RECIPES: dict[str, tuple[list[dict], list[dict]]] = {
    'Mosaic': ([], [dict(type='Mosaic', **SQUARE)]),
    'CachedMosaic': ([], [dict(type='CachedMosaic', **SQUARE)]),
    'RandomAffine': ([dict(type='Resize', scale=(1280, 1280))], [YOLOX[1]]),
    'MixUp': ([dict(type='Resize', scale=(640, 640))], [YOLOX[2]]),
    'CachedMixUp': ([dict(type='Resize', scale=(640, 640))], [dict(type='CachedMixUp', **SQUARE)]),
    'YOLOXHSVRandomAug': ([], [dict(type='YOLOXHSVRandomAug')]),
    'CopyPaste, boxes': ([], [dict(type='CopyPaste', paste_by_box=True)]),
    'CopyPaste, masks': ([], [dict(type='CopyPaste')]),
    'large-scale jitter': ([], LSJ),
    'large-scale jitter, masks': ([], LSJ),
    'RandomResize': ([], LSJ[:1]),
    'RandomCrop': ([], [dict(type='RandomCrop', crop_size=(640, 640), allow_negative_crop=True)]),
    'FilterAnnotations': ([], [dict(type='FilterAnnotations', min_gt_bbox_wh=(8, 8))]),
    'Resize': ([], [dict(type='Resize', scale=(1333, 800), keep_ratio=True)]),
    'FixScaleResize': ([], [dict(type='FixScaleResize', scale=(1333, 800), keep_ratio=True)]),
    'FixShapeResize': ([], [dict(type='FixShapeResize', width=640, height=640, keep_ratio=True)]),
    'ResizeShortestEdge': ([], [dict(type='ResizeShortestEdge', scale=800, max_size=1333, keep_ratio=True)]),
    'RandomChoiceResize': ([], [dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 800)], keep_ratio=True)]),
    'RandomFlip': ([], [dict(type='RandomFlip', prob=1.0)]),
    'RandomFlip, PackDetInputs': ([], [dict(type='RandomFlip', prob=1.0), dict(type='PackDetInputs', meta_keys=())]),
    'RandomErasing': ([], [dict(type='RandomErasing', n_patches=(1, 5), ratio=(0, 0.2))]),
    'CutOut': ([], [dict(type='CutOut', n_holes=(5, 10), cutout_shape=[(32, 32), (96, 64)])]),
    'AutoAugment': ([], [dict(type='AutoAugment')]),
    'RandAugment': ([], [dict(type='RandAugment')]),
    **{
        name: ([], [dict(type=name)])
        for name in (
            'AutoContrast', 'Equalize', 'Invert', 'Posterize', 'Solarize', 'SolarizeAdd', 'Color', 'Contrast', 'Brightness', 'Sharpness',
            'Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY',
        )
    },
}  # fmt: skip
PARTNERS = {'Mosaic': 3, 'MixUp': 1, 'CopyPaste': 1}
SAMPLERS = {
    'ClassAwareSampler': dict(seed=0),
    'MultiSourceSampler': dict(seed=0, batch_size=8, source_ratio=[1, 3]),
}


def draw_images(folder: Path, count: int) -> None:
    """Write JPEGs of 1360 x 765 as detailed as drone pictures (about 200 kB)."""
    drawn = np.random.RandomState(0)
    for index in range(count):
        coarse = drawn.randint(40, 216, (96, 170, 3)).astype(np.uint8)
        image = cv2.resize(coarse, (1360, 765), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        image += drawn.normal(0, 2, image.shape).astype(np.int16)
        cv2.imwrite(str(folder / f'{index:04d}.jpg'), image.clip(0, 255).astype(np.uint8))


def make_records(folder: Path, objects: int, limit: int, extent_wh: tuple[int, int] = (400, 400)) -> list[dict]:
    """One dataset record an image, with ``objects`` random boxes whose top left corners lie within ``extent_wh``, and their outlines."""
    drawn = np.random.RandomState(0)
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ('.jpg', '.jpeg', '.png'))[:limit]
    if not paths:
        raise SystemExit(f'{folder}: no .jpg, .jpeg or .png image')
    records = []
    for index, path in enumerate(paths):
        path.read_bytes()  # into the page cache: the disk is not what is measured
        corners = drawn.uniform(0, extent_wh, (objects, 2))
        boxes = np.concatenate([corners, corners + drawn.uniform(4, 60, (objects, 2))], axis=1)
        instances = [
            dict(
                bbox=box,
                bbox_label=int(drawn.randint(10)),
                ignore_flag=0,
                mask=[[box[i] for i in (0, 1, 2, 1, 2, 3, 0, 3)]],
            )
            for box in boxes.tolist()
        ]
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
    """Read the task from the first line of stdin, then one line for each measurement; write milliseconds for each."""
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

    task = json.loads(sys.stdin.readline())
    measurement = (one_mixture if task['pipeline'] == 'yolox' else one_recipe)(Records(task['records']))
    for line in sys.stdin:
        print(json.dumps(measurement(json.loads(line))), file=answers, flush=True)


def one_mixture(records: Any) -> Callable[[int], list[float]]:
    """A function of a seed: milliseconds a sample of loading and of each transform of YOLOX, in a pass over the records."""
    from mmdet.registry import DATASETS

    inner = dict(type='Records', records=records.records)
    dataset = DATASETS.build(dict(type='MultiImageMixDataset', dataset=inner, pipeline=YOLOX))
    steps = getattr(dataset.pipeline, 'transforms', dataset.pipeline)
    steps[:] = map(Timed, steps)

    def measured(seed: int) -> list[float]:
        for number, step in enumerate(steps):
            step.spent, step.seed = 0.0, 100_000 * seed + 10_000 * number
        start = time.process_time()
        for index in range(len(dataset)):
            dataset[index]
        total = 1e3 * (time.process_time() - start)
        spent = [step.spent for step in steps]
        return [value / len(dataset) for value in (total - sum(spent), *spent)]

    return measured


def one_recipe(records: Any) -> Callable[[str], list[float]]:
    """A function of a name: milliseconds of that recipe for each image, with the same random numbers each time, or of a sampler's samples."""
    from mmdet.registry import DATA_SAMPLERS, TRANSFORMS

    transforms_by_text: dict[str, Any] = {}

    def built(*configs: dict) -> list:
        # Transforms with a cache are to keep what it holds.
        for config in configs:
            if repr(config) not in transforms_by_text:
                transforms_by_text[repr(config)] = TRANSFORMS.build(copy.deepcopy(config))
        return [transforms_by_text[repr(config)] for config in configs]

    def sampler(name: str) -> list[float]:
        many = type(records)(records.records * (20_000 // len(records)))
        dataset = many if name == 'ClassAwareSampler' else ConcatDataset([many, many])
        start = time.process_time()
        samples = DATA_SAMPLERS.build(dict(type=name, dataset=dataset, **SAMPLERS[name]))
        for _ in itertools.islice(samples, len(many)):
            pass
        return [1e3 * (time.process_time() - start) / len(many)]

    def measured(name: str) -> list[float]:
        if name in SAMPLERS:
            return sampler(name)
        before, steps = RECIPES[name]
        loaders = [LOAD[0], dict(LOAD[1], with_mask=name.endswith('masks')), dict(type='Resize', scale=(1280, 720))]
        loading, transforms = built(*loaders, *before), built(*steps)

        def load(index: int) -> dict:
            results = copy.deepcopy(records.records[index % len(records)])
            for transform in loading:
                results = transform(results)
            return results

        spent = []
        for index in range(2 * len(records)):
            results = load(index)
            partners = PARTNERS.get(steps[0]['type'])
            if partners:
                results['mix_results'] = [load(index + 1 + number) for number in range(partners)]
            random.seed(index)
            np.random.seed(index)
            start = time.process_time()
            for transform in transforms:
                results = transform(results)
                if results is None:
                    break
            spent.append(1e3 * (time.process_time() - start))
        return spent

    return measured


@contextlib.contextmanager
def processes(task: dict, peer: str | None) -> Iterator[Callable[[Any], list]]:
    """Start our side and the peer's; gives a function that has both of them, in turn, answer a question."""
    sides = []
    for folder in [None, peer] if peer else [None]:
        paths = [path for path in (folder, os.environ.get('PYTHONPATH')) if path]
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'OMP_NUM_THREADS': '1'}
        command = [sys.executable, __file__, '--worker', 'peer' if folder else 'own']
        sides.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        )
        print(json.dumps(task), file=sides[-1].stdin, flush=True)

    def ask(question: Any) -> list:
        found = []
        for side in sides:
            print(json.dumps(question), file=side.stdin, flush=True)
            line = side.stdout.readline()
            if not line:
                raise SystemExit(f'a side ended with code {side.wait()}')
            found.append(json.loads(line))
        return found

    yield ask
    for side in sides:
        side.stdin.close()
        side.wait()


def compare_mixing(records: list[dict], peer: str | None, rounds: int) -> None:
    """Print the milliseconds a sample of our side and the peer's, medians over passes that take turns, and of their ratios."""
    with processes(dict(records=records, pipeline='yolox'), peer) as ask:
        turns = [ask(seed) for seed in range(rounds + 1)]  # (rounds, sides, parts)
    measured = np.array(turns[1:])  # the first round fills caches and memory pools
    totals = measured.sum(2)
    for name, rate in zip(('mmdet', 'mmdetection'), np.median(1e3 / totals, axis=0)):
        print(f'{name}: {rate:.1f} images/s per core')
    for number, name in enumerate(['load and copy', *(step['type'] for step in YOLOX), 'all']):
        figures = totals if name == 'all' else measured[:, :, number]
        ratio = f'{np.median(figures[:, 1] / figures[:, 0]):8.2f} times as fast' if peer else ''
        print(f'  {name:<24}' + ''.join(f'{value:9.2f} ms' for value in np.median(figures, axis=0)) + ratio)


def compare_recipes(records: list[dict], peer: str | None, rounds: int, names: list[str]) -> None:
    """Print the images a second of our side and the peer's; each image counts with the best of its rounds, which take turns."""
    turns: dict[str, list] = {name: [] for name in names}
    with processes(dict(records=records, pipeline='recipes'), peer) as ask:
        for _ in range(rounds + 1):
            for name in names:
                turns[name].append(ask(name))
    for name, figures in turns.items():
        best = np.array(figures[1:]).min(axis=0).mean(axis=1)  # (sides,) ms
        ratio = f'{best[1] / best[0]:8.2f} times as fast' if peer else ''
        print(f'  {name:<28}' + ''.join(f'{1e3 / value:10,.0f} /s' for value in best) + ratio, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=Path, help='folder of images; default: drawn ones')
    parser.add_argument('--pipeline', choices=[*sorted(PIPELINES), 'yolox', 'recipes'], default='gfl')
    parser.add_argument('--compare', action='store_true', help='run plain mmcv.transforms side by side (pipeline gfl)')
    parser.add_argument('--fast', action='store_true', help="run the loader's fast options side by side")
    parser.add_argument('--objects', type=int, default=80, help='boxes an image (VisDrone has 54 on average)')
    parser.add_argument('--max-images', type=int, default=40)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--peer', metavar='FOLDER', help="folder with mmdetection's package (pipelines yolox, recipes)")
    parser.add_argument('--only', nargs='+', choices=[*RECIPES, *SAMPLERS], metavar='NAME', help='these recipes')
    parser.add_argument('--worker', choices=('own', 'peer'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer and args.pipeline not in ('yolox', 'recipes'):
        parser.error('--peer knows the pipelines yolox and recipes only')
    if args.only and args.pipeline != 'recipes':
        parser.error('--only chooses among recipes')
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
        extent = (1200, 650) if args.pipeline == 'recipes' else (400, 400)
        records = make_records(args.images or Path(drawn), args.objects, args.max_images, extent)
        sizes = [Path(record['img_path']).stat().st_size for record in records]
        print(f'{len(records)} images, {statistics.mean(sizes) / 1e3:.0f} kB on average, {args.objects} boxes each')
        if args.pipeline == 'yolox':
            compare_mixing(records, args.peer, args.rounds)
            return
        if args.pipeline == 'recipes':
            compare_recipes(records, args.peer, args.rounds, args.only or [*RECIPES, *SAMPLERS])
            return
        from mmdet.datasets.transforms import Compose
        from mmdet.datasets.transforms.loading import settle_pipeline

        def built(options: dict, ipp: bool = False) -> list:
            load, *others = PIPELINES[args.pipeline]
            if ipp:
                others = [dict(step, backend='ipp') if step['type'].endswith('Resize') else step for step in others]
            steps = list(Compose([dict(load, **options), *others]))
            settle_pipeline(steps)
            return steps

        pipelines = {'mmdet': built({})}
        if args.fast:
            pipelines.update({name: built(*options) for name, options in FAST.items()})
        if args.compare:
            pipelines['mmcv'] = mmcv_pipeline()
        measured = measure(pipelines, records, args.rounds)
    for name, steps in pipelines.items():
        report(f'{name} ({args.pipeline})', steps, measured[name])
        if name in FAST:
            print(f'  {measured["mmdet"].sum() / measured[name].sum():.2f} times the images/s')
    if args.compare:
        ours, theirs = measured['mmdet'].sum(), measured['mmcv'].sum()
        after = measured['mmcv'][1:].sum() / measured['mmdet'][1:].sum()
        print(f'\nmmdet / mmcv: {theirs / ours:.2f} times the images/s; without decoding {after:.2f} times')


if __name__ == '__main__':
    main()
