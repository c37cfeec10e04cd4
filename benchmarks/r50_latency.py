"""Latency of a detector's network on the device at hand: forward, test step and training step, in several set-ups side by side.

    python benchmarks/r50_latency.py [CONFIG] [--shape 800 1088] [--repeat 5] [--threads 2] [--setups plain channels_last fused compiled ...]

Set-ups are run in turn in every round, so that a busy machine slows all of them alike; the best round counts. Weights are random.
"""

import argparse
import copy
import time
from pathlib import Path

import torch
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.device import get_device
from mmengine.structures import InstanceData

from mmdet.apis.benchmark import synthetic_batches
from mmdet.registry import MODELS
from mmdet.utils import load_config, register_all_modules

CONFIG = Path(__file__).resolve().parents[1] / 'configs' / 'gfl' / 'gfl_r50_fpn_1x_coco.py'
# Name: batch laid out channels last, batch norms folded in, compiled.
SETUPS = {
    'plain': (False, False, False),
    'channels_last': (True, False, False),
    'fused': (False, True, False),
    'fused channels_last': (True, True, False),
    'compiled': (False, False, True),
    'compiled channels_last': (True, False, True),
    'compiled fused channels_last': (True, True, True),
}


def build(cfg, device: str, channels_last: bool, fused: bool, compiled: bool) -> torch.nn.Module:
    """A detector in eval mode in one set-up."""
    torch.manual_seed(0)
    model_cfg = copy.deepcopy(cfg.model)
    model_cfg.backbone.init_cfg = None
    model_cfg.data_preprocessor.channels_last = channels_last
    model = MODELS.build(model_cfg).to(device).eval()
    if fused:
        model.backbone = fuse_conv_bn(model.backbone)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    if compiled:
        for part in (model.backbone, model.neck, model.bbox_head):
            part.compile()
    return model


def training_batch(shape_hw: tuple[int, int], batch_size: int, num_boxes: int) -> dict:
    """Random images with random boxes."""
    data = next(synthetic_batches(shape_hw, batch_size))
    height, width = shape_hw
    for sample in data['data_samples']:
        corner = torch.rand(num_boxes, 2) * torch.tensor([width - 64.0, height - 64.0])
        size = 16 + torch.rand(num_boxes, 2) * 48
        sample.gt_instances = InstanceData(
            bboxes=torch.cat([corner, corner + size], dim=1), labels=torch.zeros(num_boxes, dtype=torch.long)
        )
    return data


def timed(function, device: str) -> float:
    """Seconds of one call."""
    if device.startswith('cuda'):
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device.startswith('cuda'):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(model, data: dict, device: str, train: bool) -> dict[str, float]:
    """Seconds of a forward pass, of a test step and, for set-ups that can train, of a training step without the optimiser."""
    times = {}
    with torch.no_grad():
        model.eval()
        inputs = model.data_preprocessor(data)['inputs']
        times['forward'] = timed(lambda: model(inputs, mode='tensor'), device)
        times['test step'] = timed(lambda: model.test_step(data), device)
    if train:
        model.train()

        def step():
            batch = model.data_preprocessor(data, training=True)
            loss, _ = model.parse_losses(model(**batch, mode='loss'))
            loss.backward()
            model.zero_grad()

        times['train step'] = timed(step, device)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', default=str(CONFIG))
    parser.add_argument('--shape', type=int, nargs=2, default=(800, 1088), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--boxes', type=int, default=20, help='objects in a training image')
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--threads', type=int)
    parser.add_argument('--no-train', action='store_true', help='leave the training step out')
    parser.add_argument('--setups', nargs='+', choices=list(SETUPS), default=list(SETUPS))
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    register_all_modules()
    cfg, device = load_config(args.config), str(get_device())
    data = training_batch(tuple(args.shape), args.batch_size, args.boxes)
    models = {name: build(cfg, device, *SETUPS[name]) for name in args.setups}
    best: dict[str, dict[str, float]] = {name: {} for name in models}
    for number in range(args.repeat + 1):  # the first round warms up, and compiles
        for name, model in models.items():
            times = measure(model, data, device, train='fused' not in name and not args.no_train)
            if number:
                best[name] = {key: min(value, best[name].get(key, value)) for key, value in times.items()}
    first = best[args.setups[0]]
    print(
        f'{Path(args.config).stem}, {args.batch_size} x 3 x {args.shape[0]} x {args.shape[1]}, {device}, {torch.get_num_threads()} threads'
    )
    print(f'{"set-up":30} ' + ' '.join(f'{key:>18}' for key in ('forward', 'test step', 'train step')))
    for name, times in best.items():
        cells = [
            f'{1000 * times[key]:9.0f} ms {first[key] / times[key]:4.2f}x'
            if key in times and key in first
            else f'{"-":>18}'
            for key in ('forward', 'test step', 'train step')
        ]
        print(f'{name:30} ' + ' '.join(f'{cell:>18}' for cell in cells))


if __name__ == '__main__':
    main()
