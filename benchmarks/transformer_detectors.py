"""Detectors of the library transformers on drawn drone scenes.

    python benchmarks/transformer_detectors.py learns [--only d_fine yolos] [--out FOLDER]
    python benchmarks/transformer_detectors.py drone [--only gfl d_fine] [--seeds 0 1] [--epochs 12] [--rate 1e-3] [--out FOLDER]

learns: Each class, of a tiny size and from random weights, learns 8 windows of 128 x 128 pixels by heart: AP50 on those very images. What is measured is that losses, targets and
boxes of the adapter belong together, not how well a class detects.

drone: the small GFL of the demo and a D-FINE of as many multiply-adds, both from random weights, with the same number of steps on the same images and
mosaics of the same 400 scenes; then each as it is, by tiles, and packed (UFPMP-Det with one detector), on 80 other scenes. Crops are as large as an image of
the test: boxes of a query detector are fractions of its input, so those of smaller crops teach it other sizes. In bfloat16; the trainings of a GFL and a D-FINE
take about 10 and 20 minutes of a core.

(Not called transformers.py: beside a script of that name no other one could import the library.)

Results are written as they come, and what lies in FOLDER (work_dirs/transformers) already is not repeated.
"""

import argparse
import copy
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from mmdet.apis.testing import run_testing
from mmdet.datasets.drone_scenes import generate_drone_scenes
from mmdet.registry import MODELS
from mmdet.utils import load_config, register_all_modules

ROOT = Path(__file__).resolve().parents[1]
BASES = ROOT / 'configs/_base_'
SIDE = 128  # of an image that is learnt by heart
IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


# ---------------------------------------------------------------------------------------------------------------- models

HGNET = dict(
    model_type='hgnet_v2', stem_channels=[3, 16, 16], stage_in_channels=[16, 32, 64, 96], stage_mid_channels=[16, 16, 24, 32],
    stage_out_channels=[32, 64, 96, 128], stage_num_blocks=[1] * 4, stage_numb_of_layers=[2] * 4, stage_kernel_size=[3] * 4,
    stage_light_block=[False, False, True, True], stage_downsample=[False, True, True, True], depths=[1] * 4, hidden_sizes=[32, 64, 96, 128],
    embedding_size=16, out_indices=[2, 3, 4],
)  # fmt: skip
RESNET = dict(embedding_size=32, hidden_sizes=[32, 64, 96, 128], depths=[1] * 4, layer_type='basic')
HYBRID = dict(
    encoder_in_channels=[64, 96, 128], encoder_hidden_dim=64, encoder_ffn_dim=128, encoder_attention_heads=4, d_model=64, decoder_in_channels=[64] * 3,
    decoder_ffn_dim=128, decoder_attention_heads=4, decoder_layers=3, num_queries=60, num_denoising=100, freeze_backbone_batch_norms=False,
)  # fmt: skip
VIT = dict(hidden_size=96, num_hidden_layers=4, num_attention_heads=3, mlp_ratio=2, image_size=128, patch_size=8)
DECODER = dict(
    d_model=64, decoder_layers=3, decoder_ffn_dim=128, decoder_self_attention_heads=4, decoder_cross_attention_heads=4, decoder_n_points=4,
    num_queries=60, group_detr=3, c2f_num_blocks=1,
)  # fmt: skip
TINY: dict[str, dict[str, Any]] = {
    'd_fine': dict(backbone_config=HGNET, depth_mult=0.34, hidden_expansion=0.5, lqe_hidden_dim=32, **HYBRID),
    'deimv2': dict(backbone_config=HGNET, depth_mult=0.34, hidden_expansion=0.5, lqe_hidden_dim=32, **HYBRID),
    'rt_detr_v2': dict(
        backbone_config=dict(RESNET, model_type='rt_detr_resnet', out_indices=[2, 3, 4]), hidden_expansion=0.5, **HYBRID
    ),
    'rf_detr': dict(
        backbone_config=dict(VIT, model_type='rf_detr_dinov2', num_windows=2, out_indices=[2, 4]), dropout=0.0, **DECODER
    ),
    'lw_detr': dict(
        backbone_config=dict(
            VIT, model_type='lw_detr_vit', pretrain_image_size=128, num_windows=4, window_block_indices=[0, 2], out_indices=[1, 3]
        ),
        projector_scale_factors=[1.0], dropout=0.0, **DECODER,
    ),
    'deformable_detr': dict(
        backbone_config=dict(RESNET, model_type='resnet', out_features=['stage2', 'stage3', 'stage4']), d_model=64, encoder_layers=2,
        decoder_layers=3, encoder_ffn_dim=128, decoder_ffn_dim=128, encoder_attention_heads=4, decoder_attention_heads=4, num_queries=60,
        two_stage_num_proposals=60, with_box_refine=True, two_stage=True, auxiliary_loss=True, dropout=0.0, disable_custom_kernels=True,
    ),
    'yolos': dict(
        hidden_size=96, num_hidden_layers=4, num_attention_heads=3, intermediate_size=192, image_size=[128, 128], patch_size=8,
        num_detection_tokens=60, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    ),
}  # fmt: skip
ZERO_TO_ONE = ('d_fine', 'deimv2', 'rt_detr_v2')
# Learning rate, training steps of all 8 scenes.
RATES = {
    'd_fine': (1e-3, 200),
    'deimv2': (1e-3, 200),
    'rt_detr_v2': (1e-3, 600),
    'rf_detr': (1e-3, 800),
    'lw_detr': (1e-3, 800),
    'deformable_detr': (1e-3, 2000),
    'yolos': (1e-3, 1200),
}


def detector(kind: str, model: dict, num_classes: int = 6) -> dict:
    """Config of a ``TransformersDetector`` from random weights."""
    scale = {} if kind in ZERO_TO_ONE else IMAGENET
    preprocessor = {
        **dict(type='DetDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True, pad_size_divisor=32), **scale
    }  # fmt: skip
    return dict(
        type='TransformersDetector', model=dict(model_type=kind, **model), num_classes=num_classes, data_preprocessor=preprocessor,
        test_cfg=dict(score_thr=0.0, max_per_img=200, nms=dict(type='nms', iou_threshold=0.7)),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------- running


def run_training(cfg: Config, folder: Path, seed: int) -> None:
    """tools/train.py in a process of its own; one that was stopped goes on.

    Raises:
        SystemExit: the training failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / 'config_of_run.py'
    cfg.dump(config)
    command = [sys.executable, str(ROOT / 'tools/train.py'), str(config), '--work-dir', str(folder), '--seed', str(seed), '--resume']  # fmt: skip
    with open(folder / 'output.txt', 'a') as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT).returncode
    if code:
        raise SystemExit(f'{folder}: the training ended with {code}; see {log.name}')


def last_scores(folder: Path) -> dict[str, float]:
    """The values of the last validation in the log of a run."""
    newest = max(folder.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for line in newest.read_text().splitlines()]
    return next(row for row in reversed(rows) if 'coco/bbox_mAP_50' in row)


def write_windows(root: Path) -> None:
    """train.json, and 8 windows of drawn scenes, each where most objects are, with 5 to 40 of them (fewer than the queries)."""
    scenes = generate_drone_scenes(root / 'scenes', num_train=12, num_val=1, workers=1)
    content = json.loads((scenes / 'annotations/train.json').read_text())
    images: list[dict] = []
    annotations: list[dict] = []
    for entry in content['images']:
        rows = [row for row in content['annotations'] if row['image_id'] == entry['id'] and not row['iscrowd']]
        corners = np.array([row['bbox'] for row in rows], float).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        best: list[tuple[dict, np.ndarray]] = []
        for left, top in itertools.product(range(0, entry['width'] - SIDE, 32), range(0, entry['height'] - SIDE, 32)):
            inside = np.clip(corners - [left, top, left, top], 0, SIDE)
            seen = ((inside[:, 2:] - inside[:, :2]) >= 6).all(1).nonzero()[0]
            if 5 <= len(seen) <= 40 and len(seen) > len(best):
                best, place = [(rows[i], inside[i]) for i in seen], (left, top)
        if not best or len(images) == 8:
            continue
        image = cv2.imread(str(scenes / 'train/images' / entry['file_name']))
        left, top = place
        images.append(dict(id=len(images), file_name=f'{len(images)}.png', width=SIDE, height=SIDE))
        cv2.imwrite(str(root / images[-1]['file_name']), image[top : top + SIDE, left : left + SIDE])
        for row, (x1, y1, x2, y2) in best:
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append(
                dict(row, id=len(annotations) + 1, image_id=images[-1]['id'], bbox=box, area=box[2] * box[3])
            )
    content = dict(images=images, annotations=annotations, categories=content['categories'])
    (root / 'train.json').write_text(json.dumps(content))


def learning_config(out: Path, kind: str) -> Config:
    """The 8 windows, as they are, for training and for validation; all of them in each step."""
    root = out.resolve() / 'learns'
    root.mkdir(exist_ok=True)
    if not (root / 'train.json').exists():
        write_windows(root)
    rate, steps = RATES[kind]
    base = root / 'base.py'
    base.write_text(f"_base_ = ['{BASES}/datasets/drone_scenes.py', '{BASES}/default_runtime.py']\n")
    cfg = load_config(str(base))
    cfg.model = detector(kind, TINY[kind])
    cfg.default_hooks.pop('visualization')
    for name in ('train', 'val', 'test'):
        loader = cfg[f'{name}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=8)
        loader.dataset.update(data_root=f'{root}/', ann_file='train.json', data_prefix=dict(img=''), generate=None)
    cfg.train_dataloader.update(batch_sampler=None, sampler=dict(type='InfiniteSampler', shuffle=True))
    load, annotations, *_, pack = cfg.train_dataloader.dataset.pipeline
    cfg.train_dataloader.dataset.pipeline = [load, annotations, dict(type='Resize', scale=(SIDE, SIDE)), pack]
    for name in ('val', 'test'):
        cfg[f'{name}_dataloader'].dataset.pipeline[1] = dict(type='Resize', scale=(SIDE, SIDE))
        cfg[f'{name}_evaluator'].ann_file = f'{root}/train.json'
    cfg.merge_from_dict(
        dict(
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=steps),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            optim_wrapper=dict(
                type='OptimWrapper',
                optimizer=dict(type='AdamW', lr=rate, weight_decay=1e-4),
                clip_grad=dict(max_norm=1.0, norm_type=2),
            ),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=30),
                dict(type='CosineAnnealingLR', by_epoch=False, begin=30, end=steps, eta_min=rate / 100),
            ],
            default_hooks=dict(
                checkpoint=dict(by_epoch=False, interval=50, max_keep_ckpts=1), logger=dict(interval=10)
            ),
            log_processor=dict(by_epoch=False),
            vis_backends=[dict(type='LocalVisBackend')],
            visualizer=dict(vis_backends=[dict(type='LocalVisBackend')]),
        )
    )
    return cfg


def learns(out: Path, only: list[str] | None) -> None:
    """AP of each class on the scenes that it was trained on."""
    print('| class | rate | steps | minutes | AP | AP50 |\n|---|--:|--:|--:|--:|--:|')
    for kind in only or TINY:
        folder = out / 'learns' / kind
        result = folder / 'result.json'
        if not result.exists():
            began = time.time()
            run_training(learning_config(out, kind), folder, seed=0)
            scores = last_scores(folder)
            found = dict(
                rate=RATES[kind][0], steps=RATES[kind][1], minutes=(time.time() - began) / 60,
                ap=scores['coco/bbox_mAP'], ap50=scores['coco/bbox_mAP_50'],
            )  # fmt: skip
            result.write_text(json.dumps(found))
        row = json.loads(result.read_text())
        print(
            f'| {kind} | {row["rate"]:g} | {row["steps"]} | {row["minutes"]:.1f} | {row["ap"]:.3f} | {row["ap50"]:.3f} |',
            flush=True,
        )


# ---------------------------------------------------------------------------------------------------------------- drone

SMALL = dict(
    backbone_config=dict(
        HGNET, stem_channels=[3, 24, 24], stage_in_channels=[24, 64, 184, 312], stage_mid_channels=[32, 48, 72, 104],
        stage_out_channels=[64, 184, 312, 440], stage_numb_of_layers=[3] * 4, hidden_sizes=[64, 184, 312, 440], embedding_size=24,
    ),
    depth_mult=0.34, hidden_expansion=0.5, lqe_hidden_dim=32, encoder_in_channels=[184, 312, 440], encoder_hidden_dim=128, encoder_ffn_dim=256,
    encoder_attention_heads=4, d_model=128, decoder_in_channels=[128] * 3, decoder_ffn_dim=256, decoder_attention_heads=4, decoder_layers=3,
    num_queries=200, num_denoising=100, freeze_backbone_batch_norms=False,
)  # fmt: skip
# What the stages change of SlicedDet and UFPMPDet; images have 960 x 540 pixels.
LOOKS: dict[str, dict[str, Any]] = {
    'alone': dict(type='SlicedDet', tile_wh=None, stage=dict(scale=(640, 360))),
    'tiled': dict(type='SlicedDet', tile_wh=(480, 480), stage=dict(scale=(480, 480)), whole=dict(scale=(480, 270))),
    'packed': dict(type='UFPMPDet'),
}


def drone_config(out: Path, kind: str, epochs: int, scenes: tuple[int, int], rate: float) -> Config:
    """One detector on images and mosaics of the drawn scenes: configs/UFPMP-Det/ufpmp_shared_scenes.py, with a D-FINE in it or as it is."""
    cfg = load_config(str(ROOT / 'configs/UFPMP-Det/ufpmp_shared_scenes.py'))
    if kind == 'd_fine':
        cfg.model.coarse.detector = detector('d_fine', SMALL)
        # Of a query detector's answers most have next to no score; those of one view need no suppression.
        cfg.model.coarse.test_cfg = dict(score_thr=0.2)
        cfg.optim_wrapper.optimizer.lr = rate
        cfg.optim_wrapper.clip_grad.max_norm = 1.0
        cfg.param_scheduler[1].eta_min = rate / 100
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    crop = next(step for step in cfg.train_dataloader.dataset.pipeline if step['type'] == 'RandomCrop')
    crop.crop_size = (640, 384)
    cfg.default_hooks.pop('visualization')
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].update(num_workers=0, persistent_workers=False)
        cfg[f'{name}_dataloader'].dataset.update(
            data_root=f'{out.resolve()}/drone/scenes/', generate=dict(num_train=scenes[0], num_val=scenes[1], seed=0)
        )
    for name in ('val', 'test'):
        cfg[f'{name}_evaluator'].ann_file = f'{out.resolve()}/drone/scenes/annotations/val.json'
    cfg.train_cfg.update(max_epochs=epochs, val_interval=10 * epochs)
    cfg.param_scheduler[1].update(end=epochs, T_max=epochs)
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
    return cfg


def looking(model: dict, look: str) -> dict:
    """The composite detector of a look around the one detector of a training."""
    model, change = copy.deepcopy(model), copy.deepcopy(LOOKS[look])
    if look == 'packed':
        return model
    return dict(change, stage=dict(change['stage'], detector=model['coarse']['detector'], flip=False), max_per_img=200)


def giga_macs(model: dict) -> float:
    """10^9 multiply-adds of convolutions and matrix products for an image of 640 x 384 pixels."""
    with torch.device('cpu'), torch.no_grad(), FlopCounterMode(display=False) as counter:
        MODELS.build(model).eval()(torch.zeros(1, 3, 384, 640))
    return counter.get_total_flops() / 2e9


def looks_of(cfg: Config, folder: Path, checkpoint: Path) -> dict[str, dict]:
    """AP, megapixels and seconds of each look; what was measured before is read."""
    found = {}
    for look in LOOKS:
        result = folder / f'{look}.json'
        if not result.exists():
            tested = copy.deepcopy(cfg)
            tested.model = looking(cfg.model.to_dict(), look)
            tested.custom_hooks = []  # the checkpoint has the averaged weights
            tested.load_from, tested.work_dir, tested.log_level = str(checkpoint), str(folder / 'test'), 'WARNING'
            result.write_text(json.dumps(run_testing(tested, cost=True)))
        found[look] = json.loads(result.read_text())
    return found


def drone(out: Path, kinds: list[str], seeds: list[int], epochs: int, scenes: tuple[int, int], rate: float) -> None:
    """Both detectors, alone, tiled and packed."""
    register_all_modules()
    torch.set_num_threads(1)
    print('| detector | G MAC | look | AP, seeds | AP50 | megapixels | CPU seconds |\n|---|--:|---|--:|--:|--:|--:|')
    for kind in kinds:
        cfg, found = drone_config(out, kind, epochs, scenes, rate), []
        for seed in seeds:
            folder = out / 'drone' / f'{kind}_{seed}'
            checkpoint = folder / f'epoch_{epochs}.pth'
            if not checkpoint.exists():
                run_training(cfg, folder, seed)
            found.append(looks_of(cfg, folder, checkpoint))
        macs = giga_macs(cfg.model.coarse.detector)
        for look in LOOKS:
            rows = [one[look] for one in found]
            aps = ', '.join(f'{100 * row["coco/bbox_mAP"]:.1f}' for row in rows)
            half, pixels, seconds = (
                fmean(row[key] for row in rows) for key in ('coco/bbox_mAP_50', 'cost/megapixels', 'cost/cpu_seconds')
            )
            print(
                f'| {kind} | {macs:.2f} | {look} | {aps} | {100 * half:.1f} | {pixels:.2f} | {seconds:.2f} |',
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['learns', 'drone'])
    parser.add_argument('--only', nargs='+', choices=['gfl', *TINY], help='of the classes, or of gfl and d_fine')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/transformers'))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1])
    parser.add_argument('--epochs', type=int, default=12)
    parser.add_argument('--scenes', nargs=2, type=int, default=(400, 80), help='for training, for the test')
    parser.add_argument('--rate', type=float, default=1e-3, help='the learning rate of the D-FINE of drone')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.what == 'learns':
        learns(args.out, args.only)
    else:
        drone(args.out, args.only or ['gfl', 'd_fine'], args.seeds, args.epochs, tuple(args.scenes), args.rate)


if __name__ == '__main__':
    main()
