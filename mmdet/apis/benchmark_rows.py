"""One table of what a detector costs in several backends: each row is measured in a process of its own."""

import dataclasses
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdet.errors import ConfigError
from mmdet.models.detectors import CompositeDetector
from mmdet.models.inference import InferenceOptions
from mmdet.utils.class_names import class_names

from .backends import BackendSpec, first_calls
from .benchmark import BenchmarkResult, build_loader, build_model, measure, measure_parts, synthetic_batches
from .testing import ScoredPass

# The rows of `all`; those that cannot be had on a machine are named there.
ALL = (
    'torch+plain',
    'torch',
    'torch:bf16',
    'torch-compile',
    'torch-compile:bf16',
    'onnxruntime',
    'openvino',
    'openvino-winograd',
    'openvino:bf16',
)
_WORDS = ('plain', 'fused', 'channels-last')


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a row measures; written ``torch:bf16+fused+channels-last``.

    Attributes:
        spec: the backend and its precision.
        words: of torch, the memory layout and whether batch norms are folded: what of ``'fused'`` and ``'channels-last'`` is named, and nothing else; none
            for ``'plain'``. Without words, what is chosen automatically.
    """

    spec: BackendSpec = BackendSpec()
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return '+'.join([str(self.spec), *self.words])

    @classmethod
    def read(cls, text: str) -> 'Setup':
        """The setup of a text.

        Raises:
            ConfigError: unknown words, or words for a backend that is not torch.
        """
        backend, *words = text.split('+')
        spec = BackendSpec.read(backend)
        if not set(words) <= set(_WORDS) or ('plain' in words and len(words) > 1) or (words and not spec.is_torch):
            message = f'behind torch and + there may be {", ".join(_WORDS[1:])}, both, or {_WORDS[0]}'
            raise ConfigError(message, field='--backend', received=text)
        return cls(spec, tuple(words))

    def options(self, settings: Any) -> InferenceOptions:
        """The ``inference`` dict of a config with precision, compilation and words of the row."""
        options = self.spec.options(InferenceOptions.read(settings, amp=False, compile=False))
        if not self.words:
            return options
        return dataclasses.replace(options, channels_last='channels-last' in self.words, fuse='fused' in self.words)


def read_setups(texts: Sequence[str]) -> list[Setup]:
    """The rows of ``--backend``, each once; ``all`` stands for :data:`ALL`."""
    named = [row for text in texts for row in (ALL if text == 'all' else (text,))]
    return list(dict.fromkeys(map(Setup.read, named)))


def measure_config(
    cfg: Config,
    checkpoint: str | None,
    setup: Setup | None = None,
    *,
    inference: dict | None = None,
    stage: str = 'step',
    device: str = 'cpu',
    shape_hw: Sequence[int] | None = None,
    batch_size: int = 1,
    max_iter: int | None = None,
    num_warmup: int = 5,
    log_interval: int = 50,
    num_workers: int | None = None,
    one_pass: bool = False,
    trust_checkpoint: bool = False,
    log: Callable[[str], None] = print,
) -> BenchmarkResult:
    """Build the detector of a config, and measure it on the test data or on random images.

    Args:
        cfg, checkpoint, inference, trust_checkpoint: see :func:`~mmdet.apis.benchmark.build_model`.
        setup: the backend, and how the weights are prepared; None leaves it to ``inference``.
        stage, device, num_warmup, log_interval, log: see :func:`~mmdet.apis.benchmark.measure`.
        shape_hw: size of the random images; None takes the test data.
        batch_size, num_workers: see :func:`~mmdet.apis.benchmark.build_loader`.
        max_iter: largest number of batches; None takes 2000, with ``one_pass`` no more than the test data has, or 50 random ones.
        one_pass: also compute the metrics of the config's ``test_evaluator`` where the weights are not random.
    """
    model: Any = None
    step = scored = None
    if stage != 'data':
        model = build_model(
            cfg, checkpoint, device=device, trust_checkpoint=trust_checkpoint,
            inference=inference if setup is None else setup.options(inference),
            backend=None if setup is None or setup.spec.is_torch else setup.spec,
        )  # fmt: skip
        step = model.test_step
    if shape_hw:
        batches = synthetic_batches((shape_hw[0], shape_hw[1]), batch_size)
        max_iter = max_iter or (50 if one_pass else 2000)
    else:
        loader = build_loader(cfg, batch_size, num_workers)
        # A small dataset is gone through again until there are enough batches.
        batches = itertools.chain.from_iterable(itertools.repeat(loader))
        max_iter = max_iter or (min(2000, len(loader) + num_warmup) if one_pass else 2000)
        if one_pass and checkpoint and model is not None and cfg.get('test_evaluator'):
            scored = ScoredPass(cfg, loader.dataset, class_names(model.dataset_meta))
    result = measure(
        batches, step, stage=stage, max_iter=max_iter, num_warmup=num_warmup, log_interval=log_interval, device=device,
        log=log, first_calls=(lambda: 0) if model is None else (lambda: first_calls(model)), collect=scored,
    )  # fmt: skip
    if isinstance(model, CompositeDetector):
        result.parts, result.sizes = measure_parts(model, batches, max_iter=max_iter - num_warmup, device=device)
    if scored is not None:
        result.metrics = scored.metrics()
    return result


@dataclasses.dataclass
class Row:
    """A line of the table: what was measured, or why it was not."""

    setup: Setup
    result: BenchmarkResult | None = None
    reason: str = ''

    def to_json(self) -> str:
        """One line of JSON: ``backend``, and the fields of the result or ``reason``."""
        content = dict(reason=self.reason) if self.result is None else json.loads(self.result.to_json())
        return json.dumps(dict(backend=str(self.setup), **content))


def measure_rows(
    setups: Sequence[Setup], command: Sequence[str], *, device: str = 'cpu', log: Callable[[str], Any] = print
) -> list[Row]:
    """Measure every setup by a process of its own, so that its peak memory is its own and no library's threads disturb another's.

    Args:
        setups: the rows.
        command: command that measures one: it is called with ``--row SETUP --json FILE`` behind it, and appends a :class:`BenchmarkResult` to
            the file as JSON.
        device: device of the model; what cannot run there, or is not installed, is not tried.
        log: called with each line.
    """
    rows = []
    for setup in setups:
        reason = setup.spec.missing(device)
        if reason is None:
            slow = (
                ' (compiles before the first batch, for half a minute or more)'
                if setup.spec.name == 'torch-compile'
                else ''
            )
            log(f'{setup} ...{slow}')
            row = _measure_row(setup, command)
        else:
            row = Row(setup, reason=f'skipped: {setup.spec.name} {reason}')
        log(f'{setup}: {row.result or row.reason}')
        rows.append(row)
    return rows


def _measure_row(setup: Setup, command: Sequence[str]) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path, errors = Path(folder, 'row.json'), Path(folder, 'errors')
        with errors.open('w+') as stream:
            done = subprocess.run(
                [*command, '--row', str(setup), '--json', str(path)], stdout=subprocess.DEVNULL, stderr=stream
            )
        if done.returncode == 0 and path.is_file():
            return Row(setup, BenchmarkResult(**json.loads(path.read_text().splitlines()[-1])))
        lines = [line for line in errors.read_text(errors='replace').splitlines() if line.strip()]
    ending = lines[-1] if lines else 'no message'
    if done.returncode < 0:
        ending = f'ended by signal {-done.returncode}, for which a lack of memory may be the cause; {ending}'
    return Row(setup, reason=f'failed: {ending}')


def rows_table(rows: Sequence[Row]) -> str:
    """The table as text: the measured rows, and below them one line for each of the others.

    Times are of a batch; ``faster`` is the median of the first row divided by that of the row; ``first`` is the time of a first call with a new
    size; AP is in percent, ``n/a`` without it.
    """
    width = max([7, *(len(str(row.setup)) for row in rows)])
    heads = ('p50 ms', 'p95 ms', 'CPU ms', 'img/s', 'faster', 'peak MB', 'first ms', 'AP')
    lines = [' '.join([f'{"backend":<{width}}', *(f'{head:>9}' for head in heads)])]
    base = next((row.result.p50_ms for row in rows if row.result), 0.0)
    for row in rows:
        if row.result is None:
            continue
        r = row.result
        first = '-' if r.first_ms is None else f'{r.first_ms:.0f}'
        ap = main_metric(r.metrics)
        cells = [
            f'{r.p50_ms:.1f}', f'{r.p95_ms:.1f}', f'{r.cpu_ms or 0:.1f}', f'{r.fps:.2f}', f'{base / r.p50_ms:.2f}x', f'{r.peak_memory_mb:.0f}',
            first, 'n/a' if ap is None else f'{100 * ap:.2f}',
        ]  # fmt: skip
        lines.append(' '.join([f'{row.setup!s:<{width}}', *(f'{cell:>9}' for cell in cells)]))
    lines += [f'{row.setup!s:<{width}} {row.reason}' for row in rows if row.result is None]
    return '\n'.join(lines)


def main_metric(metrics: dict[str, float]) -> float | None:
    """The first value whose name ends in ``AP``, such as ``visdrone/AP`` or ``coco/bbox_mAP``, in 0..1; None without one."""
    return next((value for name, value in metrics.items() if name.endswith('AP') and value >= 0), None)


def own_command() -> list[str]:
    """The command that started this process."""
    script, *arguments = sys.argv
    return [sys.executable, *(['-m', 'mmdet'] if Path(script).name == '__main__.py' else [script]), *arguments]
