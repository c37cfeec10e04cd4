"""Speed of a detector's network on the device at hand: forward, test step and training step, in several set-ups side by side.

    python benchmarks/networks.py [CONFIG ...] [--shape 800 1088 | --own-size] [--batches 1] [--repeat 5] [--threads 2]
        [--setups fp32 "fp32 channels_last" "bf16 openvino" ...] [--peer [FOLDER]] [--yardstick] [--cfg-options model.neck.out_channels=64 ...]

A set-up is a precision (fp32, with TF32 off; tf32; bf16, by autocast) and any of: channels_last, folded (batch norms into convolutions, and
what else is done at inference; no training), compiled (torch.compile of backbone, neck and head), twin (the torch twin of deformable convolution in place of torchvision's
kernel). Or it is a precision and default (what inference chooses by itself), or openvino or onnxruntime (the network as it is exported for them; also int8), with static
for one input size alone, and in fp32 winograd for fewer multiplications. Set-ups run in turn in every round, so that a busy machine slows all of them alike; the best round counts. Weights are random, and so are the images
that int8 is calibrated by: they decide the outputs, not the speed. With several configs each is measured by itself. --cpu-time counts the processor's time of the process, which a
busy machine changes less; on one thread it is what an idle core would take. --peer FOLDER measures mmdetection 3.3.0's own network of that config beside them, by the same calls,
in a process that takes its turn; FOLDER is the one that holds its package. --peer alone is that process: see peer_mmdet.py. --yardstick measures a large matrix product of each
precision, and gives for each call the share of its rate that the network reaches.
"""

import argparse
import contextlib
import copy
import dataclasses
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from measuring import Rows, add_row_arguments, allow_tf32, matrix_tflops, timed
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.structures import InstanceData

from mmdet_runtime.arguments import ArgumentParser

REPOSITORY = Path(__file__).resolve().parents[1]
PRECISIONS = {'fp32': torch.float32, 'tf32': torch.float32, 'bf16': torch.bfloat16, 'int8': torch.int8}
OF_TORCH = ('default', 'channels_last', 'folded', 'compiled', 'twin')
# What the libraries of exported networks compute in.
BACKENDS = {'onnxruntime': ('fp32', 'int8'), 'openvino': ('fp32', 'bf16', 'int8')}
OPTIONS = (*OF_TORCH, *BACKENDS, 'static', 'winograd')
DEFAULT_SETUPS = (
    'fp32', 'fp32 channels_last', 'fp32 folded', 'fp32 folded channels_last', 'fp32 compiled', 'fp32 compiled channels_last',
    'fp32 compiled folded channels_last',
)  # fmt: skip
KINDS = ('forward', 'test step', 'train step')
# Calls of one round: so many, or as many as fit into the time.
CALLS = 10
# Side of the square matrices of the yardstick, and how many products are timed together; larger ones are slower on a CPU.
YARDSTICK = {'cpu': (1024, 8), 'cuda': (8192, 20)}
CALIBRATION_BATCHES = 2
TURN = 'end of a turn'


@dataclasses.dataclass(frozen=True)
class Setup:
    """How a network is run; the fields are the words of a set-up's name."""

    precision: str
    default: bool = False
    channels_last: bool = False
    folded: bool = False
    compiled: bool = False
    twin: bool = False
    onnxruntime: bool = False
    openvino: bool = False
    static: bool = False
    winograd: bool = False

    @property
    def backend(self) -> str | None:
        """The library that computes the exported network; None for torch."""
        return next((name for name in BACKENDS if getattr(self, name)), None)

    @property
    def trains(self) -> bool:
        """Whether a training step is possible."""
        return not (self.folded or self.default or self.backend)

    @classmethod
    def parse(cls, name: str) -> 'Setup':
        """The set-up that a name describes, for example ``bf16 channels_last``.

        Raises:
            argparse.ArgumentTypeError: no or two precisions, an unknown word, or words that do not go together.
        """
        words = name.split()
        precisions = [word for word in words if word in PRECISIONS]
        options = [word for word in words if word not in PRECISIONS]
        if len(precisions) != 1 or any(word not in OPTIONS for word in options):
            message = f'one of {tuple(PRECISIONS)} and any of {OPTIONS} are allowed; received {name!r}'
            raise argparse.ArgumentTypeError(message)
        setup = cls(precisions[0], **dict.fromkeys(options, True))
        of_backend = {'static', setup.backend, *(['winograd'] if setup.precision == 'fp32' else [])}
        own = of_backend if setup.backend else {'default'} if setup.default else {*OF_TORCH}
        known = BACKENDS[setup.backend] if setup.backend else ('fp32', 'tf32', 'bf16')
        if not own.issuperset(options) or setup.precision not in known:
            message = f'with {setup.backend or "torch"} one of {known} and any of {sorted(own)} are allowed; received {name!r}'
            raise argparse.ArgumentTypeError(message)
        return setup

    def __str__(self) -> str:
        return ' '.join([self.precision, *(word for word in OPTIONS if getattr(self, word))])

    @contextlib.contextmanager
    def active(self):
        """TF32 and the operators of this set-up, for the calls in the block."""
        allow_tf32(self.precision == 'tf32')
        with contextlib.ExitStack() as stack:
            if self.twin:
                module = importlib.import_module('mmdet.ops.deform_conv')
                stack.enter_context(mock.patch.object(module, 'torchvision_kernel', lambda *args: None))
            yield

    def autocast(self, device: str) -> torch.autocast:
        """A context for one forward pass. As in training and inference, its cache of cast weights lasts for one pass."""
        return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=self.precision == 'bf16')


def build(cfg: Config, device: str, setup: Setup, backend: str = 'inductor') -> torch.nn.Module:
    """A detector with random weights in one set-up."""
    from mmdet.registry import MODELS

    torch.manual_seed(0)
    model_cfg = copy.deepcopy(cfg.model)
    model_cfg.backbone.init_cfg = None
    if setup.channels_last:
        model_cfg.data_preprocessor.channels_last = True
    model = MODELS.build(model_cfg).to(device).eval()
    if setup.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if setup.folded or setup.default:
        try:  # as at inference; the peer has no such thing
            from mmdet.models.inference import prepare_networks
        except ImportError:
            model.backbone = fuse_conv_bn(model.backbone)
        else:
            chosen = {} if setup.default else dict(channels_last=setup.channels_last, fuse=True)
            prepare_networks(model, dict(amp='bf16' if setup.precision == 'bf16' else None, **chosen))
    if setup.compiled:
        for part in (model.backbone, model.neck, model.bbox_head):
            part.compile(backend=backend)
    return model


def exported_network(detector: torch.nn.Module, setup: Setup, images: torch.Tensor) -> Callable[[torch.Tensor], tuple]:
    """The network of a detector in another library, by the product's own export: images to what ``predict_by_feat`` takes.

    Args:
        images: (B, 3, H, W) example, normalised and padded; the only size of a static set-up.
    """
    from mmdet.export.graphs import build_graph, to_onnx
    from mmdet.export.precision import convert_openvino, reduce_onnx
    from mmdet_runtime.backends import open_network

    graph = build_graph(detector, 'raw')
    noise = [dict(image=torch.randn_like(images).numpy()) for _ in range(CALIBRATION_BATCHES)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'network.onnx')
        size_hw = tuple(images.shape[2:])
        to_onnx(graph, file, size_hw, batch=len(images), dynamic=not setup.static, winograd=setup.winograd)
        if setup.precision == 'int8' and setup.openvino:
            source, file = file, file.with_suffix('.xml')
            convert_openvino(source, file, 'int8', lambda: noise, len(noise))
        elif setup.precision == 'int8':
            source, file = file, file.with_name('int8.onnx')
            reduce_onnx(source, file, 'int8', lambda: noise)
        options = dict(backend=setup.backend, precision=setup.precision, threads=torch.get_num_threads())
        network = open_network(file, device=str(images.device).upper(), **options)

    def compute(images: torch.Tensor) -> tuple:
        found = network(images.cpu().numpy())
        return graph.raw_lists([torch.from_numpy(found[name]).to(images.device) for name in graph.output_names])

    return compute


def multiply_adds(model: torch.nn.Module, shape_hw: tuple[int, int]) -> float:
    """Multiply-adds of one image, padded as the preprocessor pads; by torch's counter where the toolbox's own is not (the peer)."""
    try:
        from mmdet.analysis import count_flops
    except ImportError:
        from torch.utils.flop_counter import FlopCounterMode

        height, width = (-(-side // 32) * 32 for side in shape_hw)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 3, height, width), mode='tensor')
        return counter.get_total_flops() / 2
    return count_flops(model, shape_hw).macs


def random_batch(shape_hw: tuple[int, int], batch_size: int, num_boxes: int) -> dict:
    """Random images with random boxes, as a data loader gives them."""
    from mmdet.structures import DetDataSample

    generator = torch.Generator().manual_seed(0)
    height, width = shape_hw
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    meta = dict(img_id=0, img_path='', ori_shape=shape_hw, img_shape=shape_hw, scale_factor=(1.0, 1.0))
    samples = []
    for _ in range(batch_size):
        size = 16 + torch.rand(num_boxes, 2, generator=generator) * 48
        corner = torch.rand(num_boxes, 2, generator=generator) * (torch.tensor([width, height]) - size).clamp(min=0)
        boxes = torch.cat([corner, corner + size], dim=1)
        labels = torch.zeros(num_boxes, dtype=torch.long)
        sample = DetDataSample(metainfo=meta, gt_instances=InstanceData(bboxes=boxes, labels=labels))
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=labels[:0])
        samples.append(sample)
    return dict(inputs=[image] * batch_size, data_samples=samples)


def calls(
    model: torch.nn.Module, setup: Setup, data: dict, device: str, train: bool
) -> dict[str, Callable[[], object]]:
    """What is timed: name -> function without arguments."""
    inputs = model.data_preprocessor(data)['inputs']

    def forward():
        model.eval()
        with torch.no_grad(), setup.autocast(device):
            model(inputs, mode='tensor')

    def test_step():
        model.eval()
        with torch.no_grad(), setup.autocast(device):
            model.test_step(data)

    found: dict[str, Callable[[], object]] = {'forward': forward, 'test step': test_step}
    if train:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

        def train_step():
            model.train()
            batch = model.data_preprocessor(data, training=True)
            with setup.autocast(device):
                losses = model(**batch, mode='loss')
            model.parse_losses(losses)[0].backward()
            optimizer.step()
            optimizer.zero_grad()

        found['train step'] = train_step
    return found


def one_round(
    function: Callable[[], object], device: str, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, int]:
    """Median seconds of the calls of a round, and their number."""
    times = [timed(function, device, clock)]
    while len(times) < CALLS and sum(times) < seconds:
        times.append(timed(function, device, clock))
    return statistics.median(times), len(times)


class Cell:
    """One set-up at one batch size; its row is written after every call, so that a stop loses no figure."""

    def __init__(self, rows: Rows, table: str, name: str, setup: Setup, batch_size: int):
        self.rows, self.table, self.name, self.setup, self.batch_size = rows, table, name, setup, batch_size
        self.figures: dict[str, float] = {}
        self.functions: dict[str, Callable[[], object]] | None = None
        self.failed = False

    def measure(
        self, model: torch.nn.Module, data: dict, device: str, args: argparse.Namespace, macs: float, peak: float | None
    ) -> None:
        """One round of the calls, the first time after one call of each that is not timed; a failure ends the cell."""
        cuda = torch.device(device).type == 'cuda'
        self.failed = True
        with self.rows.attempt(self.table, self.name, self.figures), self.setup.active():
            first = self.functions is None
            if self.functions is None:
                if self.setup.backend:
                    images = model.data_preprocessor(data)['inputs']
                    model.backend_network = exported_network(model, self.setup, images)
                found = calls(model, self.setup, data, device, not args.no_train and self.setup.trains)
                self.functions = {call: function for call, function in found.items() if call in args.calls}
            for call, function in self.functions.items():
                key = call.replace(' ', '_')
                if first:
                    warm_up = timed(function, device)  # chooses algorithms, fills the memory pool, compiles
                    if self.setup.compiled:
                        self.figures[f'{key}_compile_s'] = warm_up
                before = torch.cuda.memory_allocated(device) if cuda else 0
                if cuda:
                    torch.cuda.reset_peak_memory_stats(device)
                clock = time.process_time if args.cpu_time else time.perf_counter
                seconds, count = one_round(function, device, args.round_seconds, clock)
                shares = dict(share_of_bf16=args.peak_tflops, share_of_peak=peak)
                self.keep(key, seconds, count, macs, shares)
                if cuda:
                    most = torch.cuda.max_memory_allocated(device)
                    self.figures[f'{key}_extra_mib'] = (most - before) / 2**20
                self.rows.add(self.table, self.name, **self.figures)
            self.failed = False
        if self.failed:
            self.functions = None
            model.zero_grad(set_to_none=True)

    def keep(self, key: str, seconds: float, count: int, macs: float, rates: dict[str, float | None]) -> None:
        """Record the figures of a round if it is the fastest so far; ``macs`` are those of one image's forward pass."""
        if seconds * 1000 >= self.figures.get(f'{key}_ms', float('inf')):
            return
        self.figures[f'{key}_ms'] = seconds * 1000
        self.figures[f'{key}_images/s'] = self.batch_size / seconds
        self.figures[f'{key}_calls'] = count
        for name, tflops in rates.items():
            if tflops:
                passes = 3 if key == 'train_step' else 1
                self.figures[f'{key}_{name}'] = 2 * macs * passes * self.batch_size / seconds / 1e12 / tflops


class Peer:
    """mmdetection's network in a process of its own, which measures a round of the same calls when it is told to."""

    def __init__(self, folder: str):
        # Of an option that is given twice the last one holds.
        command = [sys.executable, __file__, *sys.argv[1:], '--setups', 'fp32', '--in-turn', '--peer']
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([folder, os.environ.get('PYTHONPATH', '')])}
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._process = subprocess.Popen(command, env=environment, **pipes)

    def turn(self, rows: Rows, table: str, macs: float, rates: dict[str, float | None]) -> dict[tuple, Cell]:
        """Let it measure one round; returns what it has measured so far, with shares of our yardstick."""
        with contextlib.suppress(BrokenPipeError):  # it has ended, which its output says
            print(file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith(TURN):
                cells = {}
                for batch_size, name, figures in json.loads(line.removeprefix(TURN)):
                    cells[batch_size, 'peer'] = cell = Cell(rows, table, name, Setup('fp32'), batch_size)
                    for key in (key.removesuffix('_ms') for key in figures if key.endswith('_ms')):
                        cell.keep(key, figures[f'{key}_ms'] / 1000, figures[f'{key}_calls'], macs, rates)
                return cells
        raise SystemExit(f'the peer ended with code {self._process.wait()}')


def print_table(cells: dict[tuple, Cell]) -> None:
    """Milliseconds of each call, how much faster each is than the first set-up of the same batch size, and its share of the yardstick."""
    keys = ('forward', 'test_step', 'train_step')
    print(f'{"set-up":45} ' + ' '.join(f'{key:>23}' for key in keys))
    for (batch_size, _), cell in cells.items():
        first = next(other for (size, _), other in cells.items() if size == batch_size).figures
        shown = []
        for key in keys:
            own, reference = cell.figures.get(f'{key}_ms'), first.get(f'{key}_ms')
            share = cell.figures.get(f'{key}_share_of_peak')
            text = f'{own:9.1f} ms {reference / own:5.2f}x' if own and reference else '-'
            shown.append(text + (f' {share:4.0%}' if share else ''))
        print(f'{cell.name:45} ' + ' '.join(f'{text:>23}' for text in shown))


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'configs',
        nargs='*',
        default=['gfl/gfl_r50_fpn_1x_coco.py'],
        metavar='CONFIG',
        help='a file, or a path below configs/',
    )
    parser.add_argument('--own-size', action='store_true', help='images as large as the test pipeline makes them')
    parser.add_argument('--cpu-time', action='store_true', help="measure the processor's time, not the clock's")
    parser.add_argument('--shape', type=int, nargs=2, default=(800, 1088), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--batches', type=int, nargs='+', default=[1], help='images of a batch')
    parser.add_argument('--boxes', type=int, default=20, help='objects in a training image')
    parser.add_argument('--repeat', type=int, default=5, help='rounds; the first call of each kind is not timed')
    parser.add_argument('--round-seconds', type=float, default=0.5, help='of a call; 0: one call a round')
    parser.add_argument('--threads', type=int)
    parser.add_argument('--no-train', action='store_true', help='leave the training step out')
    parser.add_argument(
        '--calls',
        nargs='+',
        choices=KINDS,
        default=KINDS,
        help='measure these only; a compiled network is compiled for each',
    )
    parser.add_argument('--setups', nargs='+', type=Setup.parse, default=[Setup.parse(name) for name in DEFAULT_SETUPS])
    parser.add_argument('--compile-backend', default='inductor', help='of torch.compile')
    parser.add_argument(
        '--peer', nargs='?', const=True, metavar='FOLDER',
        help="mmdetection's network beside the others, by the package in that folder; without a folder alone, by the package that is found first",
    )  # fmt: skip
    parser.add_argument('--in-turn', action='store_true', help=argparse.SUPPRESS)  # a round for each line of stdin
    parser.add_argument('--yardstick', action='store_true', help='shares of the rate of a matrix product')
    parser.add_argument('--label', help='title of the table; default: the config')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config')
    add_row_arguments(parser)
    return parser.parse_args()


def own_size(cfg: Config) -> tuple[int, int]:
    """(height, width) to which a config resizes its test images."""
    width, height = next(step.scale for step in cfg.test_pipeline if 'scale' in step)
    return height, width


def read_config(args: argparse.Namespace, config: str) -> Config:
    """The config, of the toolbox or of the peer; registers the modules of either."""
    if args.peer is True:
        import peer_mmdet

        cfg = Config.fromfile(peer_mmdet.prepare() / config)
        cfg.merge_from_dict(args.cfg_options or {})
        return cfg
    if str(REPOSITORY) not in sys.path:
        sys.path.insert(0, str(REPOSITORY))
    from mmdet.utils import load_config, register_all_modules

    register_all_modules()
    path = Path(config)
    return load_config(str(path if path.exists() else REPOSITORY / 'configs' / path), args.cfg_options)


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    rows = Rows(args.rows, args.deadline)
    args.peer_process = Peer(args.peer) if isinstance(args.peer, str) else None
    for config in args.configs:
        measure_config(config, args, rows)


def measure_config(config: str, args: argparse.Namespace, rows: Rows) -> None:
    """All set-ups of one config, and their table."""
    cfg, device = read_config(args, config), str(get_device())
    table = args.label or Path(config).stem
    suffix = ', mmdetection 3.3.0' if args.peer is True else ''
    shape_hw = own_size(cfg) if args.own_size else tuple(args.shape)
    start = time.perf_counter()
    macs = multiply_adds(build(cfg, 'cpu', Setup('fp32')), shape_hw)
    where = torch.cuda.get_device_name() if device.startswith('cuda') else f'CPU, {torch.get_num_threads()} threads'
    print(f'{table}, {shape_hw[0]} x {shape_hw[1]}, {macs / 1e9:.1f} G multiply-adds, {where}')
    models = {setup: build(cfg, device, setup, args.compile_backend) for setup in args.setups}
    print(f'built in {time.perf_counter() - start:.1f} s')
    cells = {
        (size, setup): Cell(rows, table, f'batch {size}, {setup}{suffix}', setup, size)
        for size in args.batches
        for setup in args.setups
    }
    peaks: dict[str, float] = {}
    for precision in (
        sorted({'fp32', *(setup.precision for setup in args.setups)}) if args.yardstick and not args.in_turn else ()
    ):
        with rows.attempt(table, f'yardstick {precision}'):
            allow_tf32(precision == 'tf32')
            size, count = YARDSTICK[torch.device(device).type]
            clock = time.process_time if args.cpu_time else time.perf_counter
            peaks[precision] = matrix_tflops(device, PRECISIONS[precision], size, count, clock)
            rows.add(table, f'yardstick {precision}', tflops=peaks[precision], size=size)
    batches = {size: random_batch(shape_hw, size, args.boxes) for size in args.batches}
    beside: dict[tuple, Cell] = {}
    for _ in range(args.repeat):
        if args.in_turn:
            sys.stdin.readline()
        if args.peer_process:
            beside = args.peer_process.turn(rows, table, macs, dict(share_of_peak=peaks.get('fp32')))
        for (size, setup), cell in cells.items():
            if not (rows.late or cell.failed):
                cell.measure(models[setup], batches[size], device, args, macs, peaks.get(setup.precision))
        if args.in_turn:
            print(TURN, json.dumps([(cell.batch_size, cell.name, cell.figures) for cell in cells.values()]), flush=True)
    for cell in cells.values():
        if cell.functions is None and not cell.failed:
            rows.add(table, cell.name, error='not reached in the time given')
    print_table({**beside, **cells})


if __name__ == '__main__':
    main()
