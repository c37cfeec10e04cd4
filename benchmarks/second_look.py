"""Is looking twice worth it? AP against megapixels and CPU seconds on real VisDrone images: whole images, tiles, UFPMP-Det with two models and one.

    python benchmarks/second_look.py VISDRONE WEIGHTS [--out FOLDER] [--folds 3] [--seeds 0 1] [--iters 700] [--jobs 2] [--explain]

VISDRONE holds VisDrone2019-DET-{train,val}/{images,annotations}, a few images or all; WEIGHTS is NanoDet-g trained on COCO. The images of both splits are
divided into folds by scene, the number before the first underscore of their names, so that no scene is ever both trained on and tested. Everything is
fine-tuned from WEIGHTS with the same number of training steps: the whole-image detector, the one for both stages (configs/UFPMP-Det/ufpmp_shared_nanodet_g.py),
and, with half of them each, the two detectors of two stages. Every image is then tested by the detectors that have not seen its scene, and each
seed's AP is that of all images in one evaluation. Classes are those of COCO that VisDrone has, in six; other rows are crowd boxes of each class.

A run that is stopped goes on where it was: trainings and tests that have written their result are not repeated. At the end table.md, megapixels.svg and
cpu_seconds.svg are in FOLDER (work_dirs/second_look). --only-train ends before the tests. --explain prints, in place of them and for the first seed, what two looks of one model at
832 and 1333 lose: objects outside of all regions, objects that tiles cut, at what size the network sees them, and the AP if the coarse pass had found
exactly the objects.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmdet.apis import init_detector
from mmdet.apis.testing import run_testing
from mmdet.core.ufp import fill_ratio, move_objects
from mmdet.datasets.transforms.formatting import to_chw
from mmdet.evaluation import evaluate_results
from mmdet.formats.images import decode_image, image_size, read_image_bytes
from mmdet.formats.visdrone import IGNORED_REGION, read_visdrone_rows
from mmdet.utils import load_config, register_all_modules
from mmdet.visualization.charts import line_chart

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/UFPMP-Det/ufpmp_shared_nanodet_g.py'
CLASSES = ('person', 'bicycle', 'car', 'motorcycle', 'bus', 'truck')
# Of VisDrone's categories 1 to 10.
LABELS = {1: 0, 2: 0, 3: 1, 4: 2, 5: 2, 6: 5, 9: 4, 10: 3}
# Share of mosaics among the training samples, and of the training steps, of each detector.
DETECTORS = {'whole': (0.0, 1.0), 'one': (0.5, 1.0), 'coarse': (0.0, 0.5), 'fine': (1.0, 0.5)}


# ---------------------------------------------------------------------------------------------------------------- files


def read_images(root: Path) -> list[dict]:
    """Every image of both splits: path, size, scene, its (n, 8) rows."""
    found = []
    for split in ('train', 'val'):
        folder = root / f'VisDrone2019-DET-{split}'
        for path in sorted((folder / 'images').glob('*.jpg')):
            rows = read_visdrone_rows(folder / 'annotations' / f'{path.stem}.txt')
            width, height = image_size(path)
            entry = dict(id=len(found) + 1, file_name=str(path.resolve()), width=width, height=height)
            found.append(dict(entry=entry, scene=path.stem.split('_')[0], rows=rows))
    if not found:
        raise SystemExit(f'{root}: no images in VisDrone2019-DET-train or -val')
    return found


def divide(images: list[dict], folds: int) -> list[int]:
    """The fold of each image: the scenes, the largest first, go to the smallest fold."""
    sizes, fold_of = [0] * folds, {}
    scenes = [image['scene'] for image in images]
    for scene in sorted(set(scenes), key=lambda name: (-scenes.count(name), name)):
        fold_of[scene] = sizes.index(min(sizes))
        sizes[fold_of[scene]] += scenes.count(scene)
    return [fold_of[scene] for scene in scenes]


def annotations(images: list[dict], *, truth: bool) -> dict:
    """A COCO file. Rows of no class are ignored: as ``truth``, boxes of every class, so that no detection inside is wrong; in training, one."""
    rows_of_coco = []
    for image in images:
        for x, y, w, h, score, category, *_ in image['rows'].tolist():
            label = LABELS.get(category) if score else None
            ignored = label is None or category == IGNORED_REGION
            for each in range(len(CLASSES)) if ignored and truth else [label or 0]:
                rows_of_coco.append(
                    dict(id=len(rows_of_coco) + 1, image_id=image['entry']['id'], category_id=each + 1, bbox=[x, y, w, h], area=w * h,
                         iscrowd=int(ignored))
                )  # fmt: skip
    categories = [dict(id=label + 1, name=name) for label, name in enumerate(CLASSES)]
    return dict(images=[image['entry'] for image in images], annotations=rows_of_coco, categories=categories)


def write_files(root: Path, out: Path, folds: int) -> list[int]:
    """all.json, and train_F.json and test_F.json of each fold; returns the number of test images of each fold."""
    images = read_images(root)
    fold_of = divide(images, folds)
    parts = {'all': annotations(images, truth=True)}
    for fold in range(folds):
        own = [image for image, number in zip(images, fold_of) if number == fold]
        others = [image for image, number in zip(images, fold_of) if number != fold]
        parts[f'train_{fold}'], parts[f'test_{fold}'] = annotations(others, truth=False), annotations(own, truth=True)
    for name, content in parts.items():
        (out / f'{name}.json').write_text(json.dumps(content))
    return [fold_of.count(fold) for fold in range(folds)]


# ------------------------------------------------------------------------------------------------------------- training


def training_config(out: Path, fold: int, mosaics: float, iters: int, weights: str) -> Config:
    """The product's config on six classes of a fold, with another share of mosaics and another number of steps."""
    cfg = load_config(str(CONFIG))
    cfg.model.coarse.detector.bbox_head.num_classes = len(CLASSES)
    cfg.load_from, cfg.map_classes = weights, dict(trained='coco')
    cfg.train_cfg.update(max_iters=iters, val_interval=10 * iters)
    cfg.default_hooks.checkpoint.update(interval=100, max_keep_ckpts=1)
    warm_up = min(50, iters // 4)
    cfg.param_scheduler[0].end = warm_up
    cfg.param_scheduler[1].update(begin=warm_up, end=iters)
    pipeline = cfg.train_dataloader.dataset.pipeline
    next(step for step in pipeline if step.type == 'RandomChoice').prob = [1 - mosaics, mosaics]
    dataset = dict(
        type='CocoDataset', metainfo=dict(classes=CLASSES), filter_cfg=dict(filter_empty_gt=True), pipeline=pipeline
    )
    cfg.train_dataloader.update(
        num_workers=0, persistent_workers=False, dataset=dict(dataset, ann_file=str(out / f'train_{fold}.json'))
    )
    for name in ('val', 'test'):
        tested = dict(type='CocoDataset', metainfo=dict(classes=CLASSES), ann_file=str(out / f'test_{fold}.json'), test_mode=True,
                      pipeline=cfg.test_pipeline)  # fmt: skip
        cfg[f'{name}_dataloader'].update(num_workers=0, persistent_workers=False, dataset=tested)
        cfg[f'{name}_evaluator'] = dict(type='CocoMetric', ann_file=str(out / f'test_{fold}.json'), max_dets=500)
    return cfg


def checkpoint_of(out: Path, detector: str, fold: int, seed: int, iters: int) -> Path:
    return out / f'{detector}_{fold}_{seed}' / f'iter_{round(iters * DETECTORS[detector][1])}.pth'


def train(out: Path, detector: str, fold: int, seed: int, iters: int, weights: str) -> str:
    """One training in a process of its own; nothing where its checkpoint lies already."""
    mosaics, share = DETECTORS[detector]
    target = checkpoint_of(out, detector, fold, seed, iters)
    if target.exists():
        return f'{target}: is there'
    target.parent.mkdir(exist_ok=True)
    config = target.parent / 'config_of_run.py'
    training_config(out, fold, mosaics, round(iters * share), weights).dump(config)
    command = [
        sys.executable,
        str(ROOT / 'tools/train.py'),
        str(config),
        '--work-dir',
        str(target.parent),
        '--seed',
        str(seed),
        '--amp',
    ]
    with open(target.parent / 'output.txt', 'w') as log:
        code = subprocess.run([*command, '--resume'], stdout=log, stderr=subprocess.STDOUT, cwd=ROOT).returncode
    if not target.exists():
        raise RuntimeError(f'{target}: the training ended with {code}; see {log.name}')
    return f'{target}: trained'


# -------------------------------------------------------------------------------------------------------------- methods


def methods() -> Iterator[tuple[str, str, tuple[str, ...], dict]]:
    """Family, setting, detectors, and changes of the UFPMPDet or the SlicedDet that looks."""
    for detector, family in (('whole', 'whole images'), ('one', 'whole images, one model')):
        for side in (832, 1333, 1824, 2400):
            yield family, f'{side}', (detector,), dict(tile_wh=None, stage=dict(scale=(side, side)))
    for tile, side in ((960, 640), (640, 640), (640, 832)):
        stage = dict(scale=(side, side))
        yield (
            'tiles',
            f'{tile} at {side}, and 832',
            ('whole',),
            dict(tile_wh=(tile, tile), stage=stage, whole=dict(scale=(832, 832))),
        )
    for detectors, family in ((('coarse', 'fine'), 'two looks, two models'), (('one',), 'two looks, one model')):
        for side in (832, 1333, 1824):
            yield family, f'832, {side}', detectors, dict(fine=dict(scale=(side, side)))
    # A change of a stage's test_cfg replaces the whole of it.
    agnostic = dict(nms=dict(type='nms', iou_threshold=0.6, class_agnostic=True))
    variants: dict[str, dict[str, Any]] = {
        'coarse boxes kept': dict(coarse_weight=1.0),
        'coarse boxes of large objects': dict(coarse_area=96.0**2),
        'mosaic not enlarged': dict(fine=dict(scale=(1333, 1333), max_zoom=1.0)),
        'only where something is small': dict(look_below=16.0),
        'regions of 0.1 and more': dict(ufp=dict(min_score=0.1)),
        'regions of 0.2 and more': dict(ufp=dict(min_score=0.2)),
        'regions of 0.2, coarse boxes kept': dict(ufp=dict(min_score=0.2), coarse_weight=1.0),
        'coarse score 0.15': dict(coarse=dict(test_cfg=dict(agnostic, score_thr=0.15))),
        'whole image as a tile': dict(ufp=dict(whole_zoom=0.5)),
        'coarse at 640': dict(coarse=dict(scale=(640, 640))),
        'coarse at 1000': dict(coarse=dict(scale=(1000, 1000))),
    }
    for name, change in variants.items():
        yield 'one model, 832 and 1333', name, ('one',), dict(dict(fine=dict(scale=(1333, 1333))), **change)


def model_of(cfg: Config, detectors: tuple[str, ...], change: dict) -> dict:
    """The composite detector of a method."""
    model = deepcopy(cfg.model.to_dict())
    if 'stage' in change:
        stage = dict(detector=model['coarse']['detector'], flip=False, **change['stage'])
        return dict(type='SlicedDet', max_per_img=500, **{**change, 'stage': stage})
    if len(detectors) == 2:
        model['fine'] = {
            **model['coarse'],
            **model['fine'],
            'detector': deepcopy(model['coarse']['detector']),
            'test_cfg': None,
        }
    for key, value in change.items():
        model[key] = {**model[key], **value} if isinstance(value, dict) else value
    return model


def load_point(out: Path, detectors: tuple[str, ...], fold: int, seed: int, iters: int) -> str:
    """The checkpoint of a method; that of two detectors is written beside their own."""
    paths = [checkpoint_of(out, detector, fold, seed, iters) for detector in detectors]
    if len(paths) == 1:
        return str(paths[0])
    joined = out / f'joined_{fold}_{seed}.pth'
    coarse, fine = (torch.load(path, weights_only=False) for path in paths)
    fine_state = {key.replace('coarse.', 'fine.', 1): value for key, value in fine['state_dict'].items()}
    torch.save(
        dict(state_dict={**coarse['state_dict'], **fine_state}, meta=dict(dataset_meta=dict(classes=CLASSES))), joined
    )
    return str(joined)


def test(out: Path, name: str, detectors: tuple[str, ...], change: dict, fold: int, seed: int, iters: int) -> dict:
    """Predictions of one fold and what they cost; read where they lie already."""
    prefix = out / 'tests' / f'{name}_{fold}_{seed}'.replace(' ', '_').replace(',', '')
    cost = Path(f'{prefix}.cost.json')
    if not cost.exists():
        cfg = training_config(out, fold, 0.0, iters, '')
        cfg.model = model_of(cfg, detectors, change)
        cfg.load_from, cfg.work_dir, cfg.log_level = (
            load_point(out, detectors, fold, seed, iters),
            str(out / 'tests/log'),
            'WARNING',
        )
        cfg.test_evaluator.outfile_prefix = str(prefix)
        torch.set_num_threads(1)
        found = run_testing(cfg, cost=True)
        cost.write_text(json.dumps({key: value for key, value in found.items() if key.startswith('cost/')}))
    return dict(json.loads(cost.read_text()), rows=json.loads(Path(f'{prefix}.bbox.json').read_text()))


def evaluate(
    out: Path, name: str, detectors: tuple[str, ...], change: dict, counts: list[int], seed: int, iters: int
) -> dict:
    """AP of all images, and the mean cost of one, for one seed."""
    parts = [test(out, name, detectors, change, fold, seed, iters) for fold in range(len(counts))]
    rows = [row for part in parts for row in part['rows']]
    values = evaluate_results(rows, str(out / 'all.json'), CLASSES, max_dets=500)
    result = {
        key.removeprefix('coco/bbox_'): 100 * value for key, value in values.items() if key.startswith('coco/bbox_mAP')
    }
    for key in ('cost/megapixels', 'cost/cpu_seconds'):
        result[key] = sum(part[key] * count for part, count in zip(parts, counts)) / sum(counts)
    return result


# ---------------------------------------------------------------------------------------------------------- explanation

# Areas at which an object stops being small, and middling.
SIZES = {'small': (0, 32**2), 'medium': (32**2, 96**2), 'large': (96**2, float('inf'))}


def explain(out: Path, counts: list[int], seed: int, iters: int, side: int) -> None:
    """Print what becomes of the objects on the way into the mosaic, and the AP of found and of perfect regions.

    An object is seen at the root of its area in the network's input, on the whole image at the larger side or in the best tile that has it.
    """
    rows: dict[str, list[dict]] = dict(found=[], perfect=[])
    objects: dict[str, list[tuple[float, ...]]] = {name: [] for name in SIZES}
    fills, megapixels = [], []
    for fold in range(len(counts)):
        cfg = training_config(out, fold, 0.0, iters, '')
        cfg.model = model_of(cfg, ('one',), dict(fine=dict(scale=(side, side))))
        model = init_detector(cfg, load_point(out, ('one',), fold, seed, iters), device='cpu')
        content = json.loads((out / f'test_{fold}.json').read_text())
        for entry in content['images']:
            own = [row for row in content['annotations'] if row['image_id'] == entry['id'] and not row['iscrowd']]
            boxes = torch.tensor([row['bbox'] for row in own]).reshape(-1, 4).double()
            boxes[:, 2:] += boxes[:, :2]
            truth = InstanceData(
                bboxes=boxes.float(),
                scores=torch.ones(len(own)),
                labels=torch.tensor([row['category_id'] - 1 for row in own], dtype=torch.long),
            )
            image = to_chw(decode_image(read_image_bytes(entry['file_name'])))
            size_wh = (entry['width'], entry['height'])
            coarse = model.coarse([image])[0]
            for name, packable in (('found', coarse), ('perfect', truth)):
                regions, width, height = model.pack([packable], [size_wh])[0]
                mosaic = model.render(image, regions, width, height)
                fine = model.fine([mosaic])[0] if min(mosaic.shape[1:]) else None
                merged = model.merge(coarse, fine, regions)
                for box, score, label in zip(merged.bboxes.tolist(), merged.scores.tolist(), merged.labels.tolist()):
                    x1, y1, x2, y2 = box
                    rows[name].append(
                        dict(image_id=entry['id'], category_id=label + 1, bbox=[x1, y1, x2 - x1, y2 - y1], score=score)
                    )
                if name == 'perfect' or not fine:
                    continue
                fills.append(fill_ratio(regions, width, height))
                height_in, width_in = model.fine.input_size_hw(tuple(mosaic.shape[1:]), model.fine.scales[0])
                megapixels.append(height_in * width_in / 1e6)
                moved = move_objects(boxes.numpy(), regions.numpy())
                zoom, whole_zoom = width_in / mosaic.shape[2], side / max(size_wh)
                for i, area in enumerate(truth.bboxes[:, 2:].sub(truth.bboxes[:, :2]).prod(1).tolist()):
                    kind = next(name for name, (low, high) in SIZES.items() if low <= area < high)
                    copies = moved.index == i
                    sides = moved.bboxes[copies, 2:] - moved.bboxes[copies, :2]
                    best = float(sides.prod(1).max()) ** 0.5 * zoom if copies.any() else 0.0
                    objects[kind].append(
                        (copies.any(), bool(copies.any() and moved.cut[copies].all()), best, area**0.5 * whole_zoom)
                    )
    for kind, each in objects.items():
        inside = [row for row in each if row[0]]
        print(
            f'{kind}: {len(each)} objects, {len(inside) / len(each):.1%} in a region, {sum(row[1] for row in inside) / len(inside):.1%} of them cut; '
            f'median side seen {median(row[2] for row in inside):.1f} px in mosaics, {median(row[3] for row in each):.1f} px in images of {side}'
        )  # fmt: skip
    print(f'mosaics: {fmean(fills):.0%} covered by tiles, {fmean(megapixels):.2f} Mpx')
    for name, found in rows.items():
        values = evaluate_results(found, str(out / 'all.json'), CLASSES, max_dets=500)
        shown = ', '.join(f'{100 * values[f"coco/bbox_mAP{key}"]:.1f}' for key in ('', '_50', '_s', '_m', '_l'))
        print(f'{name} regions, 832 and {side}: AP, AP50, small, medium, large {shown}', flush=True)


# --------------------------------------------------------------------------------------------------------------- output


def report(out: Path, rows: list[tuple[str, str, list[dict]]]) -> None:
    """The table (table.md) and two pictures (megapixels.svg, cpu_seconds.svg)."""
    seeds = len(rows[0][2])
    lines = [
        f'| method | setting | Mpx | CPU s | AP, {seeds} seeds | AP50 | S / M / L |',
        '|---|---|---|---|---|---|---|',
    ]
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {'megapixels': {}, 'cpu_seconds': {}}
    for family, setting, found in rows:
        mean = {key: fmean(each[key] for each in found) for key in found[0]}
        each_seed = ', '.join(f'{each["mAP"]:.1f}' for each in found)
        ap = f'{mean["mAP"]:.1f} ({each_seed})'
        sizes = ' / '.join(f'{mean[f"mAP_{size}"]:.1f}' for size in 'sml')
        lines.append(
            f'| {family} | {setting} | {mean["cost/megapixels"]:.2f} | {mean["cost/cpu_seconds"]:.2f} | {ap} | {mean["mAP_50"]:.1f} | {sizes} |'
        )
        for key, of_family in curves.items():
            of_family.setdefault(family, []).append((mean[f'cost/{key}'], mean['mAP']))
    (out / 'table.md').write_text('\n'.join(lines) + '\n')
    for key, of_family in curves.items():
        shown = [
            (family, *zip(*sorted(points)))
            for family, points in of_family.items()
            if not family.startswith('one model')
        ]
        (out / f'{key}.svg').write_text(line_chart(shown, title='AP', x_label=key.replace('_', ' ') + ' an image'))
    print((out / 'table.md').read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('visdrone', type=Path)
    parser.add_argument('weights')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/second_look'))
    parser.add_argument('--folds', type=int, default=3)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1])
    parser.add_argument('--iters', type=int, default=700)
    parser.add_argument('--jobs', type=int, default=1, help='trainings at once')
    parser.add_argument('--only-train', action='store_true')
    parser.add_argument(
        '--explain', action='store_true', help='what the second look of one model loses, instead of the table'
    )
    args = parser.parse_args()
    register_all_modules()
    out, weights = args.out.resolve(), str(Path(args.weights).resolve())
    (out / 'tests').mkdir(parents=True, exist_ok=True)
    counts = write_files(args.visdrone, out, args.folds)
    print(f'{sum(counts)} images; in the folds {counts}')
    jobs = [(detector, fold, seed) for seed in args.seeds for fold in range(args.folds) for detector in DETECTORS]
    with ThreadPoolExecutor(args.jobs) as pool:
        for line in pool.map(lambda job: train(out, *job, args.iters, weights), jobs):
            print(line, flush=True)
    if args.only_train:
        return
    if args.explain:
        explain(out, counts, args.seeds[0], args.iters, 1333)
        return
    rows = []
    for family, setting, detectors, change in methods():
        found = [
            evaluate(out, f'{family} {setting}', detectors, change, counts, seed, args.iters) for seed in args.seeds
        ]
        rows.append((family, setting, found))
        print(family, setting, [round(each['mAP'], 1) for each in found], flush=True)
    report(out, rows)


if __name__ == '__main__':
    main()
