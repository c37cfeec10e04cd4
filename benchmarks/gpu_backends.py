"""One detector in everything that can compute it here: precisions, modes of torch.compile, exported networks, the runtime that needs no torch.

    python benchmarks/gpu_backends.py [CONFIG] [--shape 800 1344] [--batches 1 8] [--only torch compile export runtime]

Each row has the latency of the network on random images, and the largest relative distance of its raw outputs from eager float32 (TF32 off). What
cannot run here is a row that says why; no row stops the others. ``runtime`` exports the detector whole, compares its boxes with those of the
toolbox, and runs the folder on drawn images, one step after the other and pipelined. Weights are random.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import Rows, add_row_arguments, allow_tf32, median_seconds, timed
from mmengine.config import Config
from mmengine.device import get_device
from networks import random_batch, read_config

from mmdet.config.reading import COMPILE_MODES, CfgOptions
from mmdet.errors import MMDetError
from mmdet.models.inference import prepare_networks, restore_networks

GROUPS = ('torch', 'compile', 'export', 'runtime')
TABLE, IMAGES = 'backends', 24
Network = Callable[[torch.Tensor], object]


def flat(outputs) -> list[torch.Tensor]:
    """Raw outputs of a head, level by level."""
    return list(itertools.chain.from_iterable(x if isinstance(x, (list, tuple)) else [x] for x in outputs))


def torch_network(model, **options) -> Network:
    """The modules as inference prepares them."""
    restore_networks(model)
    prepare_networks(model, options)
    return lambda images: model(images, mode='tensor')


def exported(model, images: torch.Tensor, to: str, folder: Path) -> Network:
    """The network in ONNX Runtime with the provider ``to``, or as ``torch.export`` wrote and read it.

    Raises:
        MMDetError: a library or provider that is not here.
    """
    from mmdet.export.graphs import build_graph, to_onnx, to_torch_export
    from mmdet_runtime.backends import open_network

    restore_networks(model)
    graph, size = build_graph(model, 'raw'), (images.shape[-2], images.shape[-1])
    if to == 'torch-export':
        to_torch_export(graph, folder / 'network.pt2', size, dynamic=False, batch=len(images))
        program = torch.export.load(folder / 'network.pt2').module()
        return lambda inputs: program(inputs)
    to_onnx(graph, folder / 'network.onnx', size, batch=len(images), dynamic=to != 'TensorRT')
    network = open_network(folder / 'network.onnx', backend='onnxruntime', device=to)

    def compute(inputs: torch.Tensor) -> list:
        found = network(inputs.cpu().numpy())  # with the copies, as whoever uses it pays for them
        return [torch.from_numpy(found[name]) for name in graph.output_names]

    return compute


def measure(rows: Rows, name: str, build: Callable[[], Network], images: torch.Tensor, expected: list) -> None:
    """The row of one network; of one that cannot be had here, why."""
    if rows.late:
        rows.add(TABLE, name, note='not reached in the time given')
        return
    with rows.attempt(TABLE, name), torch.no_grad():
        try:
            network = build()
        except MMDetError as error:
            rows.add(TABLE, name, note=f'cannot run here: {error}'[:300])
            return
        first = timed(lambda: network(images), images.device)
        found = [part.float().to(images.device) for part in flat(network(images))]
        seconds = median_seconds(lambda: network(images), images.device, warmup=1, times=5 if images.is_cuda else 1)
        distances = [float((one - other).norm() / other.norm()) for one, other in zip(found, expected, strict=True)]
        rows.add(
            TABLE,
            name,
            network_ms=1000 * seconds,
            images_per_s=len(images) / seconds,
            first_call_s=first,
            distance=max(distances),
        )


def run_runtime(rows: Rows, cfg: Config, model, device: str, shape_hw: tuple[int, int], number: int) -> None:
    """The exported folder: parity of its boxes, and images a second from files to boxes."""
    from mmdet.apis.exporting import ExportSettings, export_detector
    from mmdet_runtime import load
    from mmdet_runtime.drawing import write_image
    from mmdet_runtime.images import read_image
    from mmdet_runtime.pipeline import process

    with tempfile.TemporaryDirectory() as scratch:
        folder, pictures = Path(scratch, 'export'), Path(scratch, 'images')
        pictures.mkdir()
        for i in range(number):
            pixels = np.random.default_rng(i).integers(0, 256, (*shape_hw, 3), dtype=np.uint8)
            write_image(pictures / f'{i:03}.jpg', pixels)
        restore_networks(model)
        classes = [str(i) for i in range(model.num_classes)]
        torch.save(
            dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=classes))),
            Path(scratch, 'random.pth'),
        )
        settings = ExportSettings(to='onnx', size_wh=shape_hw[::-1], parity_images=str(pictures), ap_images=0)
        done = export_detector(cfg, str(Path(scratch, 'random.pth')), folder, settings, log=lambda line: None)
        rows.add(TABLE, 'export to onnx', note=str(done.parity).partition('\n')[0][:160])
        provider = 'CUDA' if device.startswith('cuda') else 'CPU'
        for pipelined in (False, True):
            name = f'runtime, {provider}, {"pipelined" if pipelined else "one step after the other"}'
            with rows.attempt(TABLE, name):
                try:
                    detector = load(done.folder, device=provider)
                except MMDetError as error:
                    rows.add(TABLE, name, note=f'cannot run here: {error}'[:300])
                    continue
                paths = sorted(pictures.iterdir())
                detector([read_image(paths[0])])
                report = process(paths, read_image, detector, lambda *_: None, parallel=pipelined)
                if report.failed:
                    raise RuntimeError(str(report.failed[0]))
                rows.add(TABLE, name, images_per_s=report.per_second)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'config', nargs='?', default='gfl/gfl_r50_fpn_1x_coco.py', help='a file, or a path below configs/'
    )
    parser.add_argument(
        '--shape', type=int, nargs=2, default=(800, 1344), metavar=('HEIGHT', 'WIDTH'), help='padded already'
    )
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 8], help='images of a batch')
    parser.add_argument('--images', type=int, default=IMAGES, help='that the runtime reads')
    parser.add_argument('--only', nargs='+', choices=GROUPS, default=GROUPS, help='what to measure')
    parser.add_argument('--modes', nargs='*', choices=COMPILE_MODES, default=COMPILE_MODES[:3], help='of torch.compile')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides of the config')
    parser.set_defaults(peer=False)
    add_row_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmdet.registry import MODELS

    cfg, device = read_config(args, args.config), str(get_device())
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).to(device).eval()
    rows, provider = Rows(args.rows, args.deadline), 'CUDA' if device.startswith('cuda') else 'CPU'
    allow_tf32(False)
    for size in args.batches:
        data = random_batch(tuple(args.shape), size, 1)
        images = model.data_preprocessor(data)['inputs']
        plain = torch_network(model, channels_last=False, fuse=False)
        with torch.no_grad():
            expected = [part.float() for part in flat(plain(images))]
        todo: list[tuple[str, str, Callable[[], Network]]] = []
        for amp in (None, 'fp16', 'bf16'):
            todo.append(('torch', f'torch, {amp or "fp32"}', lambda amp=amp: torch_network(model, amp=amp)))
        for mode, amp in itertools.product(args.modes, (None, 'fp16' if provider == 'CUDA' else 'bf16')):
            build = lambda mode=mode, amp=amp: torch_network(model, amp=amp, compile=mode)  # noqa: E731
            todo.append(('compile', f'torch.compile {mode}, {amp or "fp32"}', build))
        for to in ('torch-export', provider, 'TensorRT'):
            scratch = tempfile.TemporaryDirectory()
            name = to if to == 'torch-export' else f'onnxruntime, {to}'
            todo.append(
                (
                    'export',
                    name,
                    lambda to=to, images=images, folder=scratch: exported(model, images, to, Path(folder.name)),
                )
            )
        for group, name, build in todo:
            if group in args.only:
                measure(rows, f'batch {size}, {name}', build, images, expected)
    if 'compile' in args.only and not args.modes:
        rows.add(TABLE, 'torch.compile', note='no mode was asked for')
    if 'runtime' in args.only and not rows.late:
        with rows.attempt(TABLE, 'runtime'):
            try:
                run_runtime(rows, cfg, model, device, tuple(args.shape), args.images)
            except MMDetError as error:
                rows.add(TABLE, 'runtime', note=f'cannot run here: {error}'[:300])


if __name__ == '__main__':
    main()
