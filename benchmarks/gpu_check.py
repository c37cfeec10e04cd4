"""Tests and measures the toolbox on a GPU by running the benchmark scripts, each under its own time limit. See gpu_check.sh.

Needs the standard library only until it has unpacked the wheels. After each part it writes OUT/gpu_check.json (machine, versions, every
figure, every error with its traceback), OUT/gpu_check.md (tables) and OUT/gpu_check.log (what the parts printed).
"""

import argparse
import contextlib
import ctypes
import dataclasses
import datetime
import itertools
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpu_wheels import missing_modules, prepare, unpack

BENCHMARKS = Path(__file__).resolve().parent
REPOSITORY = BENCHMARKS.parent
HIDDEN = ('table', 'name', 'traceback', 'loss_curve', 'device')
# Between a script's own deadline and the kill; and what every training is left by the parts before.
GRACE_SECONDS, TRAINING_SECONDS = 3, 50
WRITE_SECONDS = 2  # between two looks at the rows of a part that runs
LONG_MINUTES = 10  # from here on the other networks are compiled too
# Configs of the networks.
GFL, VIT = 'gfl/gfl_r50_fpn_1x_coco.py', 'vit_adapter/gfl_deit_adapter_small_fpn_3x_coco.py'
DCN = 'gfocal/gfocal_x101_dcn_fpn_ms2x.py'
COARSE, MP, UFPMP = 'UFPMP-Det/coarse_det.py', 'UFPMP-Det/mp_det_res50.py', 'UFPMP-Det/ufpmp_det_res50.py'
# Smaller networks for a dry run: the same kinds of layers, at a share of the time.
NARROW_HEAD = (
    'model.neck.out_channels=64',
    'model.bbox_head.in_channels=64',
    'model.bbox_head.feat_channels=64',
    'model.bbox_head.stacked_convs=1',
)
NARROW = ('model.backbone.base_channels=16', 'model.backbone.stem_channels=16', *NARROW_HEAD)
SMALL = ('model.backbone.depth=18', 'model.neck.in_channels=[16,32,64,128]', *NARROW)
SMALL_STAGES = tuple(
    option.replace('model', f'model.{stage}.detector', 1) for stage in ('coarse', 'fine') for option in SMALL
)
SHALLOW_VIT = (*NARROW_HEAD, 'model.backbone.depth=4', 'model.backbone.interaction_indexes=[[0,0],[1,1],[2,2],[3,3]]',
               'model.backbone.window_attn=[True,True,False,False]', 'model.backbone.window_size=[14,14,None,None]')  # fmt: skip


@dataclasses.dataclass
class Part:
    """One script of this folder.

    Attributes:
        name: name in the tables and the log.
        command: script and arguments.
        seconds: time limit; None: the remaining time, divided among the parts without a limit.
        peer: runs with mmdetection's package in place of ours.
        together: consecutive parts with True run at the same time; only for parts that measure no times.
        reports: how the part returns its figures: by ``rows`` (it has ``--rows`` and ``--deadline``), by ``junit``, or not at all.
    """

    name: str
    command: list[str]
    seconds: float | None
    peer: bool = False
    reports: str | None = 'rows'
    together: bool = False


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the inputs and arguments of the scripts, for a run on a GPU or a dry run.

    Attributes:
        shape: height and width of the networks' images.
        batches: images of a batch, the most important size first.
        rounds: arguments of networks.py that set how often it measures.
        compile: arguments of networks.py that set what torch.compile compiles.
        backends: arguments of gpu_backends.py.
        operators: arguments of operators.py.
        latency: arguments of ufpmp_latency.py.
        loading: arguments of loading.py.
        training: arguments of training.py.
        image: overrides of the training configs that set the size of the images.
        narrow: by config, overrides that make its network narrow or shallow.
        pytest: which tests run.
    """

    shape: tuple[str, str] = ('800', '1333')
    batches: tuple[str, ...] = ('8', '1', '16')
    rounds: tuple[str, ...] = ('--repeat', '1', '--round-seconds', '0.25')
    compile: tuple[str, ...] = ()
    backends: tuple[str, ...] = ('--shape', '800', '1344', '--batches', '8', '1')
    operators: tuple[str, ...] = ()
    latency: tuple[str, ...] = ('--images-number', '24', '--batches', '1', '8')
    loading: tuple[str, ...] = ('--batch-size', '8', '--images', '160', '--workers', '1', '2', '4', '8', '16')
    training: tuple[str, ...] = ('--batch-size', '8', '--workers', '8')
    image: tuple[str, ...] = ()
    narrow: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    pytest: tuple[str, ...] = ('-m', 'gpu')


DRY = Sizes(
    shape=('64', '64'),
    batches=('2',),
    rounds=('--repeat', '1', '--round-seconds', '0'),
    compile=('--compile-backend', 'eager'),
    # Without the compiler, whose kernels alone take half a minute: that it compiles is tested where its set-up is.
    backends=('--shape', '64', '64', '--batches', '1', '--images', '2', '--modes'),
    operators=('--objects', '20', '--candidates', '300', '--queries', '50'),
    latency=('--images-number', '2', '--batches', '1', '2', '--cfg-options', 'model.coarse.scale=(96,64)', 'model.fine.scale=(96,96)', *SMALL_STAGES),
    loading=('--batch-size', '2', '--images', '4', '--workers', '0', '1'),
    # float32: on images of 64 x 64 bf16 gradients on the CPU were seen to differ from run to run, and to be NaN in some.
    training=('--batch-size', '2', '--workers', '0', '--fp32'),
    image=('train_dataloader.dataset.dataset.pipeline.2.scale=(96,64)', 'test_dataloader.dataset.pipeline.1.scale=(96,64)'),
    narrow={GFL: SMALL, MP: SMALL, COARSE: SMALL, DCN: (*NARROW, 'model.backbone.depth=50', 'model.neck.in_channels=[64,128,256,512]'), VIT: SHALLOW_VIT},
    pytest=('tests/runtime/test_arguments.py', '-k', 'wrong_value'),
)  # fmt: skip


def name_of_part(name: str) -> str:
    """The table of a part: those of one network share one."""
    return name.removesuffix(' of mmdetection').removesuffix(' compiled')


def cfg_options(*overrides: str) -> list[str]:
    """Arguments of a script that override its config; none without overrides."""
    return ['--cfg-options', *overrides] if overrides else []


def plan(dry: bool, data: Path, long: bool = False) -> list[Part]:
    """The parts in their order; the trainings share the time that the others leave.

    Args:
        dry: tiny sizes, for the CPU.
        data: folder that sample_data.py made.
        long: compile the other networks too, where there is more time than eight minutes.
    """
    sizes = DRY if dry else Sizes()

    def networks(
        name: str,
        config: str,
        *setups: str,
        seconds: float,
        table=name_of_part,
        peer=False,
        first_batch=False,
        calls=(),
    ) -> Part:
        batches = sizes.batches[:1] if first_batch else sizes.batches
        command = [
            'networks.py',
            config,
            '--label',
            table(name),
            '--shape',
            *sizes.shape,
            '--batches',
            *batches,
            *sizes.rounds,
        ]
        command += [
            *sizes.compile,
            *cfg_options(*sizes.narrow.get(config, ())),
            *(['--peer'] if peer else []),
            *(['--calls', *calls] if calls else []),
            '--setups',
            *setups,
        ]
        return Part(name, command, seconds, peer)

    setups = ('fp32', 'bf16', 'bf16 channels_last', 'bf16 channels_last folded', 'tf32')
    compiled = 'bf16 channels_last compiled'
    others = setups[:1] if dry else setups  # of the networks beside GFL's
    annotations, images = (
        data / 'annotations' / 'VisDrone2019-DET-train.json',
        data / 'VisDrone2019-DET-train' / 'images',
    )
    ufpmp = ['ufpmp_latency.py', f'configs/{UFPMP}', str(annotations), str(images)]
    options = {config: cfg_options(*sizes.image, *sizes.narrow.get(config, ())) for config in (COARSE, MP)}

    backends = ['gpu_backends.py', GFL, *sizes.backends, *cfg_options(*sizes.narrow.get(GFL, ()))]

    def training(config: str, *arguments: str) -> list[str]:
        return ['training.py', f'configs/{config}', '--data', str(data), *arguments, *options[config]]

    precision = ('--fp32',) if dry else ()
    # Enough repetitions that no epoch ends while many workers are timed.
    loader = (
        '--cfg-options',
        f'train_dataloader.dataset.dataset.data_root={data}/',
        'train_dataloader.dataset.times=50',
        *sizes.image[:1],
    )
    parts = [
        Part('mosaics', ['sample_data.py', str(data), '--mosaics'], 60, reports=None, together=True),
        Part('tests', ['-m', 'pytest', '-p', 'no:cacheprovider', *sizes.pytest], 60, reports='junit', together=True),
        Part('resume', training(COARSE, '--check-resume', '--batch-size', '2', '--workers', '0', *precision), 60, together=True),
        networks('GFL R50', GFL, *(setups[2:4] if dry else setups), seconds=45),
        networks('GFL R50 of mmdetection', GFL, 'fp32', 'bf16', 'tf32', seconds=35, peer=True),
        Part('UFPMP-Det fp32', [*ufpmp, *sizes.latency], 18),
        Part('UFPMP-Det bf16', [*ufpmp, '--amp', '--channels-last', *sizes.latency], 15),
        Part('exports and runtime', [*backends, '--only', 'torch', 'export', 'runtime'], 60),
        Part('operators', ['operators.py', *sizes.operators], 15),
        Part('operators of mmdetection', ['operators.py', *sizes.operators, '--peer'], 12, peer=True),
        Part('loading', ['loading.py', f'configs/{COARSE}', *sizes.loading, *loader], 25),
        networks('MP-Det R50', MP, *others, seconds=28),
        networks('ViT-Adapter-S', VIT, *others, seconds=28),
        networks('GFLV2 X101-DCN', DCN, *others, 'fp32 twin', seconds=40),
        Part('compile modes', [*backends, '--only', 'compile'], 60),
        networks('GFL R50 compiled', GFL, compiled, seconds=75, first_batch=True, calls=('train step',)),
        *([networks(f'{name} compiled', config, compiled, seconds=40, first_batch=True)
           for name, config in (('ViT-Adapter-S', VIT), ('GFLV2 X101-DCN', DCN), ('MP-Det R50', MP))] if long else []),
        Part('coarse training', training(COARSE, *sizes.training), None),
        Part('MP-Det training', training(MP, *sizes.training), None),
    ]  # fmt: skip
    return [of_dry_run(part) for part in parts] if dry else parts


def of_dry_run(part: Part) -> Part:
    """The part with the limit of a dry run: those in the plan are for a machine with a GPU, and a slow CPU takes longer for the imports alone."""
    return dataclasses.replace(part, seconds=part.seconds and 240)


class Check:
    """A run: its parts, its rows, and its files."""

    popen: Callable = subprocess.Popen  # starts a part

    def __init__(self, out: Path, seconds: float, folders: dict[str, Path], dry: bool):
        self.out, self.folders, self.dry = out, folders, dry
        self.start = time.monotonic()
        self.seconds = seconds
        self.parts: list[dict] = []
        self.lock = threading.Lock()
        self.machine = dict(started=datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'), dry_run=dry)
        out.mkdir(parents=True, exist_ok=True)
        (out / 'gpu_check.log').write_text('', encoding='utf-8')

    @property
    def left(self) -> float:
        """Seconds of the whole run that are left."""
        return self.seconds - (time.monotonic() - self.start)

    def environment(self, peer: bool = False) -> dict[str, str]:
        """Environment variables of a part: with ``peer`` it imports mmdetection's ``mmdet``, otherwise this package."""
        first = [self.folders['peer']] if peer else [REPOSITORY]
        quiet = {'OMP_WAIT_POLICY': 'PASSIVE', 'OMP_NUM_THREADS': '1'} if self.dry else {}
        paths = [*first, *([self.folders['site']] if 'site' in self.folders else []), BENCHMARKS]
        inherited = [] if peer else [os.environ.get('PYTHONPATH', '')]
        # albumentations asks the network for its newest version at import; plugins of pytest that happen to be there are no part of the tests.
        quiet.update(
            NO_ALBUMENTATIONS_UPDATE='1',
            PYTEST_DISABLE_PLUGIN_AUTOLOAD='1',
            PYTORCH_CUDA_ALLOC_CONF='expandable_segments:True',
        )
        return dict(
            os.environ,
            **quiet,
            PYTHONPATH=os.pathsep.join(filter(None, [*map(str, paths), *inherited])),
            PYTHONUNBUFFERED='1',
        )

    def run(self, part: Part, limit: float) -> None:
        """Run one part, and write everything that is known by then."""
        record = dict(part=part.name, limit_s=round(limit, 1), seconds=None, rows=[], errors=[])
        with self.lock:
            self.parts.append(record)
        print(f'--- {part.name}, at most {limit:.0f} s', flush=True)
        begin = time.monotonic()
        if part.peer and 'peer' not in self.folders:
            record['note'] = 'mmdetection is not at hand; gpu_check.sh --prepare collects it'
        elif limit < 3:
            record['errors'].append(dict(name=part.name, error='no time was left', traceback=''))
        else:
            try:
                with tempfile.TemporaryDirectory() as scratch:
                    self._run_command(part, limit, record, Path(scratch))
            except Exception as error:  # no part may end the others
                record['errors'].append(
                    dict(name=part.name, error=f'{type(error).__name__}: {error}', traceback=traceback.format_exc())
                )
        record['seconds'] = round(time.monotonic() - begin, 1)
        self.write()

    def run_all(self, parts: list[Part]) -> None:
        """Run parts in their order, neighbours that time nothing beside each other."""
        waiting = sum(part.seconds is None for part in parts)
        for together, neighbours in itertools.groupby(parts, key=lambda part: part.together):
            group = list(neighbours)
            if together:
                with ThreadPoolExecutor(len(group)) as pool:
                    list(pool.map(self.run, group, [self.limit(part, waiting) for part in group]))
                continue
            for part in group:
                self.run(part, self.limit(part, waiting))
                waiting -= part.seconds is None

    def limit(self, part: Part, waiting: int) -> float:
        """Time limit of a part in seconds; ``waiting`` trainings have not begun. They share the remaining time; other parts leave them a minimum."""
        if part.seconds is None:
            return self.left / waiting
        return min(part.seconds, self.left - TRAINING_SECONDS * waiting)

    def _run_command(self, part: Part, limit: float, record: dict, scratch: Path) -> None:
        rows, junit, log = scratch / 'rows.jsonl', scratch / 'junit.xml', scratch / 'log.txt'
        script = part.command[0]
        command = [
            sys.executable,
            *([str(BENCHMARKS / script)] if script.endswith('.py') else [script]),
            *part.command[1:],
        ]
        if part.reports == 'rows':
            command += ['--rows', str(rows), '--deadline', f'{time.monotonic() + limit - GRACE_SECONDS:.1f}']
            if self.peak:
                command += ['--peak-tflops', str(self.peak)]
            if part.name == 'loading' and self.needed:
                command += ['--needed', str(self.needed)]
            if part.seconds is None:
                command += ['--train-seconds', '1' if self.dry else '3600']
        elif part.reports == 'junit':
            command += ['--junitxml', str(junit)]
        with log.open('wb') as output:
            process = self.popen(
                command,
                cwd=REPOSITORY,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment(part.peer),
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
            code = self._wait(process, limit, rows, record)
            kill_group(process)
        text = log.read_text(encoding='utf-8', errors='replace')
        with (self.out / 'gpu_check.log').open('a', encoding='utf-8') as file:
            file.write(f'--- {part.name}: {" ".join(command)}\n{text}\n')
        latest = latest_rows(rows)
        if junit.is_file():
            latest.update(read_junit(junit, part.name))
        record['rows'] = list(latest.values())
        record['errors'] += [
            {key: row.get(key, '') for key in ('name', 'error', 'traceback')}
            for row in record['rows']
            if 'error' in row
        ]
        if code is None:
            record['errors'].append(dict(name=part.name, error=f'stopped after {limit:.0f} s', traceback=text[-2000:]))
        elif code and not record['errors']:
            record['errors'].append(dict(name=part.name, error=f'ended with {code}', traceback=text[-4000:]))
        for error in record['errors']:
            print(f'    {error["name"]}: {error["error"]}', flush=True)

    def _wait(self, process: subprocess.Popen, limit: float, rows: Path, record: dict) -> int | None:
        """Exit status of a part, None after its limit. Its rows are written while it runs, so that stopping the check loses none."""
        end = time.monotonic() + limit
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(min(left, WRITE_SECONDS))
            latest = list(latest_rows(rows).values())
            if latest != record['rows']:
                record['rows'] = latest
                self.write()
        return None

    def _figure(self, table: str, name: str, key: str) -> float | None:
        rows = [row for part in self.parts for row in part['rows'] if (row['table'], row['name']) == (table, name)]
        return rows[-1].get(key) if rows else None

    @property
    def peak(self) -> float | None:
        """The measured bf16 matrix rate."""
        return self._figure('device', 'bf16', 'tflops')

    @property
    def needed(self) -> float | None:
        """Images a second of the fastest measured training step of GFL R50 at batch 8."""
        return self._figure('GFL R50', 'batch 8, bf16 channels_last', 'train_step_images/s')

    def write(self) -> None:
        """Write the JSON and the Markdown file."""
        with self.lock:
            self._write()

    def _write(self) -> None:
        document = dict(machine=self.machine, seconds=round(time.monotonic() - self.start, 1), parts=self.parts)
        (self.out / 'gpu_check.json').write_text(json.dumps(document, indent=1), encoding='utf-8')
        (self.out / 'gpu_check.md').write_text(markdown(document), encoding='utf-8')

    @property
    def failed(self) -> bool:
        """Whether anything went wrong."""
        return any(part['errors'] for part in self.parts)


def end_with_parent() -> None:
    """Runs in a part before its script: the kernel ends it when this process dies, so that nothing goes on behind a stopped check."""
    with contextlib.suppress(OSError, AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def read_rows(path: Path) -> list[dict]:
    """The rows that a part wrote; a last line cut off by the kill is left out."""
    rows = []
    for line in path.read_text(encoding='utf-8').splitlines() if path.is_file() else []:
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def latest_rows(path: Path) -> dict[tuple[str, str], dict]:
    """The last row of each table and name."""
    return {(row['table'], row['name']): row for row in read_rows(path)}


def kill_group(process: subprocess.Popen) -> None:
    """End a part with everything that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it had ended, and left nothing
        return
    process.wait()


def read_junit(path: Path, part: str) -> dict[tuple[str, str], dict]:
    """Rows of a pytest run: the counts, and each failure.

    Raises:
        xml.etree.ElementTree.ParseError: the run was stopped while it wrote.
    """
    suite = next(ElementTree.parse(path).iter('testsuite'))
    counts = {key: int(suite.get(key, 0)) for key in ('tests', 'failures', 'errors', 'skipped')}
    rows = {(part, 'pytest'): dict(table=part, name='pytest', **counts)}
    if counts['tests'] == counts['skipped']:
        rows[part, 'pytest']['error'] = 'no test ran'
    for case in suite.iter('testcase'):
        for kind in ('failure', 'error'):
            found = case.find(kind)
            if found is not None:
                name = f'{case.get("classname")}::{case.get("name")}'
                message, text = found.get('message', '')[:300], (found.text or '')[-4000:]
                rows[part, name] = dict(table=part, name=name, error=message, traceback=text)
    return rows


def markdown(document: dict) -> str:
    """Tables of all figures, the times of the parts, and the errors."""
    machine = document['machine']
    title = 'dry run on ' if machine.get('dry_run') else ''
    described = ', '.join(
        f'{key} {value}' for key, value in machine.items() if key not in ('started', 'dry_run', 'device')
    )
    lines = [
        f'{title}{machine.get("device", "unknown device")}; {described}; {machine["started"]}, {document["seconds"]} s in all.',
        '',
    ]
    tables: dict[str, dict[str, dict]] = {}
    for part in document['parts']:
        for row in part['rows']:
            tables.setdefault(row['table'], {})[row['name']] = row
    for table, rows in tables.items():
        columns = list(dict.fromkeys(key for row in rows.values() for key in row if key not in HIDDEN))
        lines += [f'**{table}**', '', '| | ' + ' | '.join(column.replace('_', ' ') for column in columns) + ' |']
        lines += ['|' + '---|' * (len(columns) + 1)]
        lines += [
            f'| {name} | ' + ' | '.join(shown(row.get(column)) for column in columns) + ' |'
            for name, row in rows.items()
        ]
        lines.append('')
    lines += ['**Parts**', '', '| part | seconds | limit | errors |', '|---|---|---|---|']
    for part in document['parts']:
        errors = part.get('note') or '; '.join(f'{error["name"]}: {error["error"]}' for error in part['errors'])
        lines.append(f'| {part["part"]} | {part["seconds"]} | {part["limit_s"]} | {shown(errors or None)} |')
    return '\n'.join(lines) + '\n'


def shown(value) -> str:
    """A cell of a Markdown table."""
    text = '' if value is None else f'{value:g}' if isinstance(value, float) else str(value)
    return text.replace('|', '/').replace('\n', ' ')[:160]


DESCRIBE = """
import json, sys, torch
found = dict(torch=torch.__version__, cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version())
if torch.cuda.is_available():
    card = torch.cuda.get_device_properties(0)
    found.update(device=card.name, memory_gib=round(card.total_memory / 2**30, 1), capability=f'{card.major}.{card.minor}')
for name in ('torchvision', 'triton', 'mmengine', 'mmcv', 'cv2', 'numpy', 'onnx', 'onnxruntime', 'tensorrt'):
    try:
        found[name] = __import__(name).__version__
    except Exception as error:
        found[name] = f'{type(error).__name__}: {error}'[:80]
print('\\n' + json.dumps(found))
"""


def describe(check: Check) -> dict:
    """Device and versions, as the parts see them."""
    found = (
        dict(cpu=cpu_name(), shared_memory_gib=round(shutil.disk_usage('/dev/shm').total / 2**30, 1))
        if sys.platform == 'linux'
        else {}
    )
    for name, command in (
        ('driver', ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']),
        ('commit', ['git', 'rev-parse', '--short', 'HEAD']),
    ):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=True)
            found[name] = done.stdout.strip().splitlines()[0]
    try:
        done = subprocess.run(
            [sys.executable, '-c', DESCRIBE], env=check.environment(), capture_output=True, text=True, timeout=90
        )
    except subprocess.TimeoutExpired as error:
        return dict(found, error=str(error))
    if done.returncode:
        return dict(found, error=done.stderr[-1000:])
    return dict(found, **json.loads(done.stdout.strip().splitlines()[-1]))


def cpu_name() -> str:
    """Model of the processor."""
    lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    return next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')), platform.machine())


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu_check'), help='folder of the three files')
    parser.add_argument(
        '--minutes', type=float, default=8, help='of the whole run (default: 8); from 10 on, more is compiled'
    )
    parser.add_argument('--only', nargs='+', metavar='PART', help='run these parts only')
    parser.add_argument(
        '--wheels', type=Path, default=REPOSITORY / '.whl', help='what --prepare collected (default: .whl)'
    )
    parser.add_argument('--dry-run', action='store_true', help='every part on the CPU at tiny sizes')
    parser.add_argument('--prepare', action='store_true', help='collect the wheels and images that travel')
    parser.add_argument('--python', default='3.12', help='of the GPU machine, for --prepare')
    parser.add_argument(
        '--visdrone', type=Path, help='folder of VisDrone2019-DET-{train,val}; --prepare takes it along'
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    if args.prepare:
        return min(prepare(args.wheels, args.visdrone, args.python), 1)
    folders = unpack(args.wheels)
    sys.path[:0] = [str(folders[name]) for name in folders if name == 'site']
    missing = missing_modules()
    if missing:
        print(
            f'these modules are missing: {missing}; collect them by gpu_check.sh --prepare and bring {args.wheels} along'
        )
        return 2
    if args.dry_run:
        os.environ['CUDA_VISIBLE_DEVICES'] = ''
    check = Check(args.out.resolve(), 60 * args.minutes, folders, args.dry_run)
    check.machine.update(python=platform.python_version(), cores=os.cpu_count(), **describe(check))
    if not args.dry_run and 'device' not in check.machine:
        print(f'no CUDA device answers, so nothing is measured (--dry-run is for the CPU): {check.machine}')
        return 2
    images = args.visdrone or (args.wheels / 'visdrone' if (args.wheels / 'visdrone').is_dir() else None)
    scratch = Path(tempfile.mkdtemp(prefix='gpu_check_data_'))
    source = ['--limit', '4'] if args.dry_run else ['--visdrone', str(images)] if images else []
    check.machine['images'] = 'drawn' if args.dry_run or not images else 'VisDrone'
    try:
        first = [
            Part('device', ['measuring.py', '--size', '256' if args.dry_run else '8192'], 25),
            Part('images', ['sample_data.py', str(scratch), *source], 20, reports=None),
        ]
        for part in map(of_dry_run, first) if args.dry_run else first:
            check.run(part, part.seconds)
        parts = plan(args.dry_run, scratch, long=args.minutes >= LONG_MINUTES and not args.dry_run)
        check.run_all([part for part in parts if not args.only or part.name in args.only])
    finally:
        for folder in (scratch, *(path.parent for path in folders.values())):
            shutil.rmtree(folder, ignore_errors=True)
    print((check.out / 'gpu_check.md').read_text(encoding='utf-8'))
    return int(check.failed)


if __name__ == '__main__':
    sys.exit(main())
