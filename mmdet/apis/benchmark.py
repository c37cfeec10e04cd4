"""Measuring the speed of a detector: its test step, its data pipeline, or both together."""

import dataclasses
import json
import re
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from time import process_time
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.dist import all_reduce, get_world_size
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmdet.config.stages import forbid_network
from mmdet.engine.checkpoint.loading import load_into
from mmdet.engine.checkpoint.reading import load_checkpoint_file
from mmdet.errors import ConfigError
from mmdet.models.detectors import CompositeDetector
from mmdet.models.inference import InferenceOptions, networks_of, prepare_networks
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils.class_names import class_names
from mmdet.utils.timing import part_figures, parts_table, sizes_line, synchronise, time_figures

from .backends import BackendSpec, prepare_for

STAGES = ('step', 'data', 'total')
_MOST_TRIES = 3  # of a batch whose sizes are new to a backend
_PART_BATCHES = 100  # largest number of batches for the pass that splits the time by stages


@dataclasses.dataclass
class BenchmarkResult:
    """The result of one measurement.

    Attributes:
        stage: the timed part, one of :data:`STAGES`.
        images: number of measured images of all processes, without the warm-up.
        fps: images per second of all processes together.
        p50_ms, p95_ms: median and 95th percentile of the time of a batch, in milliseconds.
        peak_memory_mb: peak memory in MiB, of the device, or of the process where the device is the CPU.
        device, batch_size, processes: the setting: name of the device, images per batch, number of processes.
        parts: for a composite detector, stage -> ``p50_ms``, ``p95_ms``, ``mean_ms`` of a batch.
        sizes: for a composite detector, means over the images, such as the number of regions.
        cpu_ms: mean CPU time of a batch, of all threads of the process.
        first_ms: median time of a batch with which a backend met a new size; None where none did.
        metrics: metrics of the predictions, by name.
    """

    stage: str
    images: int
    fps: float
    p50_ms: float
    p95_ms: float
    peak_memory_mb: float
    device: str
    batch_size: int
    processes: int = 1
    parts: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    sizes: dict[str, float] = dataclasses.field(default_factory=dict)
    cpu_ms: float | None = None
    first_ms: float | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f'Overall fps: {self.fps:.2f} img/s, p50 {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms a batch of {self.batch_size}, '
            f'peak memory {self.peak_memory_mb:.0f} MB ({self.images} images, stage {self.stage}, {self.device}, '
            f'{self.processes} process{"es" if self.processes > 1 else ""})'
        ]
        if self.parts:
            lines.append(parts_table(self.parts))
        if self.sizes:
            lines.append(sizes_line(self.sizes))
        return '\n'.join(lines)

    def to_json(self) -> str:
        """One line of JSON; empty fields are left out."""
        return json.dumps({name: value for name, value in dataclasses.asdict(self).items() if value not in ({}, None)})


def synthetic_batches(shape_hw: tuple[int, int], batch_size: int) -> Iterator[dict]:
    """Endless collated batches of one random uint8 image, for models whose dataset is not at hand."""
    image = torch.randint(0, 256, (3, *shape_hw), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    meta = dict(img_id=0, img_path='', ori_shape=shape_hw, img_shape=shape_hw, scale_factor=(1.0, 1.0))
    while True:
        yield pseudo_collate([dict(inputs=image, data_samples=DetDataSample(metainfo=meta)) for _ in range(batch_size)])


def build_loader(cfg: Config, batch_size: int, num_workers: int | None = None) -> DataLoader:
    """The test data loader of a config at another batch size; each process gets its share of the data."""
    loader = cfg.test_dataloader.copy()
    loader['batch_size'] = batch_size
    if num_workers is not None:
        loader['num_workers'] = num_workers
    if not loader.get('num_workers'):
        loader['persistent_workers'] = False
    return Runner.build_dataloader(loader, seed=0)


def build_model(
    cfg: Config,
    checkpoint: str | None = None,
    *,
    device: str | None = None,
    fuse: bool = False,
    compiled: bool = False,
    channels_last: bool = False,
    trust_checkpoint: bool = False,
    inference: dict | InferenceOptions | None = None,
    backend: BackendSpec | None = None,
) -> torch.nn.Module:
    """The detector of a config in evaluation mode, in float32 and otherwise as the arguments say.

    Args:
        cfg: config with ``model``.
        checkpoint: file or known name of the weights; None leaves the random ones of construction.
        device: device of the model; None takes the best one.
        fuse: fold batch norms into convolutions.
        compiled: compile backbone, neck and dense head by ``torch.compile``; in a composite detector those of every stage.
        channels_last: images and weights in channels-last order.
        trust_checkpoint: allow unpickling arbitrary objects.
        inference: the ``inference`` dict of a config, instead of the three.
        backend: what computes the network, see :func:`~mmdet.apis.backends.use_backend`.
    """
    forbid_network(cfg.model)
    model = MODELS.build(cfg.model)
    if checkpoint:
        content = load_checkpoint_file(checkpoint, trust=trust_checkpoint)
        load_into(model, content['state_dict'], strict=True)
        model.dataset_meta = {'classes': class_names(content.get('meta') or {})}
    model = model.to(device or get_device())
    if inference is None:
        inference = InferenceOptions(channels_last=channels_last, fuse=fuse, compile=compiled)
    if fuse or compiled:
        one_stage_detectors(model)
    return prepare_for(model, backend, inference)


def one_stage_detectors(model: torch.nn.Module) -> list[torch.nn.Module]:
    """What :func:`~mmdet.models.inference.networks_of` gives.

    Raises:
        ConfigError: no part of the model has a backbone.
    """
    found = networks_of(model)
    if not found:
        raise ConfigError('must have a backbone to be fused or compiled', field='model', received=type(model).__name__)
    return found


def fuse_backbones(model: torch.nn.Module) -> None:
    """Fold the batch norms of every network into its convolutions, see :func:`~mmdet.models.inference.prepare_networks`."""
    one_stage_detectors(model)
    prepare_networks(model, InferenceOptions(channels_last=False, fuse=True))


def device_name(device: str | torch.device) -> str:
    """The name of a GPU, or 'CPU' with the number of threads."""
    is_gpu = torch.device(device).type == 'cuda'
    return torch.cuda.get_device_name(device) if is_gpu else f'CPU, {torch.get_num_threads()} threads'


def _peak_memory_mb(device: str) -> float:
    if torch.device(device).type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path('/proc/self/status')
    peak = re.search(r'VmHWM:\s*(\d+)', status.read_text()) if status.is_file() else None
    if peak:  # unlike the other, it does not begin with the memory of the process that started this one
        return int(peak[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(
    batches: Iterable[dict],
    step: Callable[[dict], object] | None,
    *,
    stage: str = 'step',
    max_iter: int = 2000,
    num_warmup: int = 5,
    log_interval: int = 50,
    device: str = 'cpu',
    amp: bool = False,
    log: Callable[[str], None] = print,
    first_calls: Callable[[], int] = lambda: 0,
    collect: Callable[[dict, Any], object] | None = None,
) -> BenchmarkResult:
    """Time batches as mmdetection does: synchronise, step, synchronise; the warm-up does not count.

    Args:
        batches, step: collated batches and the model's test step, None for stage 'data'.
        stage: 'step' times the step alone (transfer, preprocessing, network, post-processing), 'data' the loading alone,
            'total' both.
        max_iter: largest number of batches, the warm-up included.
        num_warmup: number of first batches that do not count.
        log_interval: batches between two lines of the log.
        device: device of the model.
        amp: run under autocast.
        log: called with each line.
        first_calls: how often the network met a size that was new to it. A batch with such a call is passed on again: its first time is not among
            the others, see ``first_ms``.
        collect: called with each batch and what the step returned; its time does not count.

    Raises:
        ConfigError: an unknown stage, no step for one that needs it, or no batch left after the warm-up.
    """
    if stage not in STAGES:
        raise ConfigError(f'must be one of {STAGES}', field='--stage', received=stage)
    if step is None and stage != 'data':
        raise ConfigError(f'stage {stage} needs a step', field='step', received=None)
    times, sizes, first, cpu = [], [], [], []
    source = iter(batches)
    kind = torch.device(device).type
    autocast = torch.autocast(kind, torch.float16 if kind == 'cuda' else torch.bfloat16) if amp else nullcontext()
    with torch.no_grad(), autocast:
        for i in range(max_iter):
            loading = time.perf_counter()
            batch = next(source, None)
            if batch is None:
                break
            synchronise(device)
            loaded = time.perf_counter() - loading
            took, spent, outputs = 0.0, 0.0, None
            for _ in range(_MOST_TRIES):
                if step is None or stage == 'data':
                    break
                known, start, begin = first_calls(), time.perf_counter(), process_time()
                outputs = step(batch)
                synchronise(device)
                took, spent = time.perf_counter() - start, process_time() - begin
                if first_calls() == known:
                    break
                first.append(took)
            if collect is not None:
                collect(batch, outputs)
            if i < num_warmup:
                continue
            times.append(took if stage == 'step' else loaded if stage == 'data' else loaded + took)
            cpu.append(spent)
            sizes.append(len(batch['inputs']))
            if (i + 1) % log_interval == 0:
                log(f'Done image [{sum(sizes):<3}/ {(max_iter - num_warmup) * sizes[0]}], fps: {sum(sizes) / sum(times):.2f} img/s, '
                    f'{1000 * sum(times) / sum(sizes):.1f} ms/img')  # fmt: skip
    if not times:
        message = 'no batch is left to measure: lower the warm-up or give more images'
        raise ConfigError(message, field='--max-iter', received=(max_iter, num_warmup))
    figures = time_figures(times)
    # Processes run side by side: their rates add up.
    totals = torch.tensor([sum(sizes), sum(sizes) / sum(times)], dtype=torch.float64)
    all_reduce(totals, op='sum')
    return BenchmarkResult(
        stage=stage,
        images=int(totals[0]),
        fps=float(totals[1]),
        p50_ms=figures['p50_ms'],
        p95_ms=figures['p95_ms'],
        peak_memory_mb=_peak_memory_mb(device),
        device=device_name(device),
        batch_size=sizes[0],
        processes=get_world_size(),
        cpu_ms=round(1000 * sum(cpu) / len(cpu), 3) if stage != 'data' else None,
        first_ms=time_figures(first)['p50_ms'] if first else None,
    )


def measure_parts(
    model: CompositeDetector, batches: Iterable[dict], *, max_iter: int, device: str = 'cpu', amp: bool = False
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """What :func:`~mmdet.utils.timing.part_figures` returns, from a separate pass that waits for the device after each stage.

    The model must be warmed up; its earlier records are deleted. The other arguments are as for :func:`measure`, but at most 100
    batches are used.
    """
    model.stage_times.clear()
    model.stage_sizes.clear()
    model.record_times = True
    limit = min(max_iter, _PART_BATCHES)
    try:
        measure(batches, model.test_step, max_iter=limit, num_warmup=0, device=device, amp=amp, log=lambda line: None)
    finally:
        model.record_times = False
    return part_figures(model)
