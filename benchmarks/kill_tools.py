"""Stop the tools that write with SIGKILL, SIGTERM and SIGINT at random instants, start them again, and compare with unbroken runs.

    python benchmarks/kill_tools.py [JOB ...] [--times 10] [--signals KILL TERM INT] [--work-dir DIR] [--fresh]

JOB is one of train, train2 (two processes over gloo), mosaics, mosaics2, search, search2, test_out, test_out2, visdrone2coco, coco2visdrone,
uavdt2coco, pascal_voc, publish, demo (both stages on a few scenes); all by default.
Each is stopped TIMES times by each signal, at an instant drawn uniformly over its run; half of the time the signal goes to its loader workers,
too, and half of the time a SIGKILL hits only one of two processes. What counts:

- SIGTERM and SIGINT end with status 143 and 130, one line and no traceback, and leave no lock and no temporary file;
- a process whose peer was killed ends by itself, with status 1 and one line;
- the same command (with --resume where there is that option) then runs to its end, with the result of the unbroken run, and leaves nothing either.

Runs are forked from a process that has imported everything, so that the instants fall into the work; ``--fresh`` starts interpreters instead, and
a signal that comes before the tool's own code, while it imports, ends them in Python's way, with a traceback. ``benchmarks/kill_resume.py`` aims at the saving of checkpoints.
"""

import argparse
import contextlib
import datetime
import json
import os
import random
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from kill_resume import COMPARED, REPOSITORY, last_checkpoint, same

from mmdet.config import ending

CONFIG = """
_base_ = '{repository}/configs/demo/gfl_demo.py'
model = dict(
    backbone=dict(base_channels=8, stem_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=16, norm_cfg=dict(num_groups=4)),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(192, 108), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(192, 108), keep_ratio=True), *_base_.test_pipeline[2:]]
data = dict(data_root='{data}/', generate=None)
train_dataloader = dict(batch_size=2, dataset=dict(**data, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**data, pipeline=test_pipeline))
test_dataloader = val_dataloader
del data
val_evaluator = dict(ann_file='{data}/annotations/val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=4, val_interval=1)
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=1, max_keep_ckpts=2, save_best='coco/bbox_mAP'))
"""
TIMEOUT = 300.0  # a run that takes longer hangs; a busy machine takes some time for the demo
CODES = {'KILL': {-9}, 'TERM': {143}, 'INT': {130}}
STOPPING = {signal.SIGTERM, signal.SIGINT}
BEFORE_MAIN = {-15, -2, 1}  # stopped while the tool imports: Python's own way


@dataclass
class Job:
    """A tool to stop: its script and arguments for an output folder, those for starting again, and what it has made."""

    command: Callable[[Path], list]
    result: Callable[[Path], Any]
    again: Callable[[Path], list] = lambda folder: []
    processes: int = 1


def jobs(root: Path, data: Path, config: Path, checkpoint: Path) -> dict[str, Job]:
    """Every job by name."""
    tools, ufp = REPOSITORY / 'tools', REPOSITORY / 'UFPMP-Det-Tools'
    val, images = data / 'annotations' / 'val.json', data / 'train' / 'images'

    def train(folder: Path) -> list:
        return [tools / 'train.py', config, '--work-dir', folder / 'run', '--seed', 0]

    def mosaics(folder: Path) -> list:
        inputs = [config, checkpoint, images, data / 'annotations' / 'train.json']
        return [ufp / 'build_dataset' / 'UFP_VisDrone2COCO.py', *inputs, folder / 'images', folder / 'mosaics.json', '--batch-size', 1]  # fmt: skip

    def search(folder: Path) -> list:
        options = ['search.num_random_nets=6000', 'search.exchange_interval=500', 'search.popu_size=32']
        source = REPOSITORY / 'configs/tinynas/classification/R50_FLOPs.py'
        return [tools / 'search.py', source, '--work-dir', folder / 'run', '--cfg-options', *options]

    def resumes_search(folder: Path) -> list:
        return ['--resume'] if (folder / 'run' / 'search_state.json').exists() else []

    def found(folder: Path) -> dict:
        return {name: (folder / 'run' / name).read_bytes() for name in ('best_structure.json', 'pareto_front.json')}

    def test(folder: Path) -> list:
        return [tools / 'test.py', config, checkpoint, '--work-dir', folder / 'run', '--out', folder / 'out' / 'results.json']  # fmt: skip

    def to_coco(folder: Path) -> list:
        return [ufp / 'build_dataset' / 'VisDrone2COCO.py', images, data / 'train' / 'annotations', folder / 'out' / 'train.json']  # fmt: skip

    def to_visdrone(folder: Path) -> list:
        return [ufp / 'eval_script' / 'coco2VisDrone.py', val, root / 'unbroken_test_out' / 'out' / 'results.json', folder / 'out']  # fmt: skip

    def from_uavdt(folder: Path) -> list:
        return [ufp / 'build_dataset' / 'UAVDT2COCO.py', root / 'uavdt', folder / 'out', '--size', '320x180']

    def from_voc(folder: Path) -> list:
        return [tools / 'dataset_converters' / 'pascal_voc.py', root / 'voc', folder / 'out']

    def demo(folder: Path) -> list:
        tree = folder / 'run' / 'tree'
        if not tree.exists():  # the demo writes into its own repository
            for part in ('tools', 'UFPMP-Det-Tools', 'configs'):
                shutil.copytree(REPOSITORY / part, tree / part, ignore=shutil.ignore_patterns('__pycache__'))
            scenes = tree / 'configs/_base_/datasets/drone_scenes.py'
            scenes.write_text(scenes.read_text().replace('num_train=400, num_val=80', 'num_train=12, num_val=2'))
        return [tree / 'tools/misc/demo.py', '--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']

    def shown(folder: Path) -> dict:
        made = folder / 'run' / 'tree' / 'work_dirs' / 'ufpmp_demo'
        mosaics = made / 'mosaics'
        made_of = (
            path for path in mosaics.rglob('*') if path.is_file() and path.suffix != '.jsonl'
        )  # these hold absolute paths
        files = {str(path.relative_to(mosaics)): path.read_bytes() for path in made_of}
        return dict(mosaics=files, report=(made / 'report.html').exists(), **trained(made / 'mp_det'))

    def publish(folder: Path) -> list:
        return [tools / 'model_converters' / 'publish_model.py', checkpoint, folder / 'out' / 'model.pth']

    def written(folder: Path) -> dict:
        kept = (path for path in folder.rglob('*') if path.is_file() and 'run' not in path.relative_to(folder).parts)
        return {str(path.relative_to(folder)): path.read_bytes() for path in kept}

    def run_trained(folder: Path) -> dict:
        return trained(folder / 'run')

    def resumed(folder: Path) -> list:
        return ['--resume']

    return dict(
        train=Job(train, run_trained, resumed),
        train2=Job(train, run_trained, resumed, processes=2),
        mosaics=Job(mosaics, written),
        mosaics2=Job(mosaics, written, processes=2),
        search=Job(search, found, resumes_search),
        search2=Job(search, found, resumes_search, processes=2),
        test_out=Job(test, written),
        test_out2=Job(test, written, processes=2),
        visdrone2coco=Job(to_coco, written),
        coco2visdrone=Job(to_visdrone, written),
        uavdt2coco=Job(from_uavdt, written),
        pascal_voc=Job(from_voc, written),
        publish=Job(publish, written),
        demo=Job(demo, shown),
    )


def trained(folder: Path) -> dict:
    """What is compared of the last checkpoint of a training."""
    path = last_checkpoint(folder)
    content = torch.load(path, weights_only=True)
    return dict(name=path.name, **{key: content.get(key) for key in COMPARED})


def start(command: list, folder: Path, processes: int, fresh: bool) -> list[int]:
    """Start the processes of a run, each in a session of its own; returns their numbers. They write to logs beside the folder."""
    arguments = [str(part) for part in command]
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    pids = []
    for rank in range(processes):
        environment = dict(PYTHONPATH=str(REPOSITORY), CUDA_VISIBLE_DEVICES='-1', OMP_WAIT_POLICY='PASSIVE')
        if processes > 1:
            environment.update(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), MASTER_ADDR='127.0.0.1', MASTER_PORT=port
            )  # fmt: skip
        with open(f'{folder}.log.{rank}', 'ab') as output:
            if fresh:
                process = subprocess.Popen(
                    [sys.executable, *arguments], cwd=folder, stdout=output, stderr=output, env={**os.environ, **environment}, start_new_session=True
                )  # fmt: skip
                process.returncode = 0  # waited for by its number
                pids.append(process.pid)
                continue
            sys.stdout.flush()
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # Python's own work after a fork is not to be hit
            pid = os.fork()
            if pid == 0:
                run_here(arguments, folder, output.fileno(), environment)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            pids.append(pid)
    return pids


def run_here(arguments: list[str], folder: Path, output: int, environment: dict) -> None:
    """Become the process of a tool. Does not return."""

    def prepare() -> None:
        os.setsid()
        for descriptor in (1, 2):
            os.dup2(output, descriptor)

    if Path(arguments[0]).name == 'demo.py':
        subprocess.Popen = ForkedTool  # type: ignore[misc, assignment]
    become(arguments, folder, {**os.environ, **environment}, prepare)


POPEN, GRACE_SECONDS = subprocess.Popen, ending.GRACE_SECONDS


class ForkedTool:
    """In the place of ``subprocess.Popen`` in the demo, which starts tools: forks, so that the instants fall into work there, too."""

    def __init__(self, command: list[str], cwd: Path, env: dict, preexec_fn: Callable[[], None]):
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            subprocess.Popen = POPEN  # type: ignore[misc]
            for number, handler in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
                signal.signal(number, handler)  # the demo's own are inherited
            ending.GRACE_SECONDS = GRACE_SECONDS
            become(command[1:], cwd, env, preexec_fn)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)


def become(arguments: list[str], folder: Path, environment: dict, prepare: Callable[[], None]) -> None:
    """Run a tool in this process, and end it."""
    code = 1
    try:
        prepare()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = arguments
        # After a fork the first call replaces torch's pool of threads; two threads of a tool making it at once find none.
        torch.set_num_threads(torch.get_num_threads())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        runpy.run_path(arguments[0], run_name='__main__')
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # what an interpreter of its own would print
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait(pids: list[int], until: float) -> list[int | None]:
    """The exit status of each process, None for those that run at a time (of ``time.monotonic``)."""
    codes: list[int | None] = [None] * len(pids)
    while None in codes and time.monotonic() < until:
        for index, pid in enumerate(pids):
            if codes[index] is None:
                ended, status = os.waitpid(pid, os.WNOHANG)
                codes[index] = os.waitstatus_to_exitcode(status) if ended else None
        time.sleep(0.002)
    return codes


def finish(pids: list[int], codes: list[int | None]) -> list[int | None]:
    """Wait for the rest; a process that hangs is killed and has no status."""
    running = [pid for pid, code in zip(pids, codes) if code is None]
    rest = iter(wait(running, time.monotonic() + TIMEOUT))
    codes = [next(rest) if code is None else code for code in codes]
    for pid, code in zip(pids, codes):
        if code is None:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return codes


def leftovers(folder: Path) -> list[str]:
    """Temporary files and locks; each process works in its own folder, where mmengine's temporary ones would be.

    The lock file of drawn scenes stays by design, empty and unlocked (docs/drone_scenes.md).
    """
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob('.*')
        if ('.tmp' in path.name or path.name.endswith(('.lock', '.dist_test'))) and path.name != '.drone_scenes.lock'
    )


def stop_and_repeat(job: Job, folder: Path, name: str, draw: random.Random, duration: float, expected: Any, fresh: bool) -> dict | None:  # fmt: skip
    """Stop a run once, start it again, and say what was wrong; None where it had ended before the signal."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder.with_name(f'{folder.name}.log')
    for old in log.parent.glob(f'{log.name}.*'):
        old.unlink()
    number = getattr(signal, f'SIG{name}')
    after = draw.uniform(0, duration)
    began = time.monotonic()
    pids = start(job.command(folder), folder, job.processes, fresh)
    codes = wait(pids, began + after)
    if None not in codes:
        return None
    alone = name == 'KILL' and job.processes > 1 and draw.random() < 0.5
    hit = [draw.randrange(job.processes)] if alone else range(job.processes)
    send = os.killpg if draw.random() < 0.5 else os.kill
    for index in hit:
        if codes[index] is None:
            try:
                send(pids[index], number)
            except ProcessLookupError:  # forked just now, it has no session yet
                os.kill(pids[index], number)
    codes = finish(pids, codes)
    if set(codes) == {0}:
        return None
    wrong = []
    for rank, code in enumerate(codes):
        output = Path(f'{log}.{rank}').read_text(errors='replace')
        importing = name != 'KILL' and 'in wrapper' not in output  # a traceback of the tool's own work names it
        # A process may have ended by itself; those whose peer alone was killed end with 1.
        allowed = CODES[name] | {0} | ({1} if alone else set()) | (BEFORE_MAIN if importing else set())
        if code not in allowed or (code == 0 and job.processes == 1):
            wrong.append(f'status {code} of process {rank}')
        if 'Traceback' in output and not importing:
            wrong.append('traceback')
    left = leftovers(folder)
    if name != 'KILL' and left:
        wrong.append(f'left {left}')
    codes = finish(start([*job.command(folder), *job.again(folder)], folder, job.processes, fresh), [None] * job.processes)  # fmt: skip
    if codes != [0] * job.processes:
        wrong.append(f'started again: status {codes}')
    else:
        if not same(job.result(folder), expected):
            wrong.append('another result')
        if leftovers(folder):
            wrong.append(f'started again: left {leftovers(folder)}')
    return dict(signal=name, seconds=round(after, 2), alone=alone, workers=send is os.killpg, left=left, wrong=wrong)


def prepare(root: Path) -> tuple[Path, Path]:
    """Draw some scenes and write a config that trains on them in seconds; returns the folder and the config."""
    import mmdet.analysis  # noqa: F401  (for the processes that are forked, as the next ones)
    import mmdet.apis.build_mosaics
    import mmdet.apis.testing
    import mmdet.apis.training
    import mmdet.datasets.converters
    import mmdet.engine.checkpoint.converting
    import mmdet.nas.search  # noqa: F401
    from mmdet.datasets.drone_scenes import generate_drone_scenes
    from mmdet.engine.dist import init_dist
    from mmdet.utils import register_all_modules

    register_all_modules()
    # One whose peer is killed before they have met waits until a time-out, by default half an hour (torchrun would end it at once).
    init_dist.__kwdefaults__['timeout'] = TIMEOUT / 10  # type: ignore[index]
    torch.distributed.distributed_c10d.default_pg_timeout = datetime.timedelta(seconds=TIMEOUT / 10)
    torch.set_num_threads(1)
    data = generate_drone_scenes(root / 'data', num_train=12, num_val=4, size_wh=(320, 180), workers=1)
    write_uavdt(root / 'uavdt')
    write_voc(root / 'voc', data)
    config = root / 'tiny.py'
    config.write_text(CONFIG.format(repository=REPOSITORY.as_posix(), data=data.as_posix()))
    return data, config


def write_uavdt(root: Path) -> None:
    """Ground truth of the sequences of a train and a test split, without frames."""
    (root / 'GT').mkdir(parents=True)
    for sequence in ('M0101', 'M0203'):
        rows = ''.join(
            f'{frame},{target},{10 * target},20,40,30,1,1,1\n' for frame in range(1, 401) for target in range(1, 21)
        )
        (root / 'GT' / f'{sequence}_gt_whole.txt').write_text(rows)
        (root / 'GT' / f'{sequence}_gt_ignore.txt').touch()


def write_voc(root: Path, data: Path) -> None:
    """Forty images in PASCAL VOC's layout, all of them a drawn scene."""
    names = [f'scene{index}' for index in range(40)]
    for part in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (root / part).mkdir(parents=True)
    image = min((data / 'train' / 'images').iterdir())
    box = '<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>40</xmax><ymax>30</ymax></bndbox>'
    for name in names:
        shutil.copy(image, root / 'JPEGImages' / f'{name}.jpg')
        objects = f'<object><name>car</name><difficult>0</difficult>{box}</object>' * 20
        (root / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{objects}</annotation>')
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('\n'.join(names))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('jobs', nargs='*', metavar='JOB')
    parser.add_argument('--times', type=int, default=10, help='stopped runs of each job and signal')
    parser.add_argument('--signals', nargs='+', choices=CODES, default=list(CODES))
    parser.add_argument('--work-dir', default='work_dirs/kill_tools')
    parser.add_argument('--fresh', action='store_true', help='an interpreter for each run, as a user starts it')
    parser.add_argument('--seed', type=int, default=0, help='of the instants')
    parser.add_argument('--json', help='write the table here')
    args = parser.parse_args()
    # A shell starts what runs in its background with SIGINT ignored, and children inherit that: no run would ever be stopped by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    root = Path(args.work_dir).resolve()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    data, config = prepare(root)
    checkpoint = root / 'unbroken_train' / 'run' / 'epoch_4.pth'
    known = jobs(root, data, config, checkpoint)
    unknown = set(args.jobs) - set(known)
    if unknown:
        parser.error(f'unknown job {sorted(unknown)}; known are {", ".join(known)}')
    chosen = args.jobs or list(known)
    draw, rows = random.Random(args.seed), []
    for name in sorted({'train', 'test_out', *chosen}, key=list(known).index):  # the others use what these two make
        job, folder = known[name], root / f'unbroken_{name}'
        folder.mkdir()
        began = time.monotonic()
        codes = finish(start(job.command(folder), folder, job.processes, args.fresh), [None] * job.processes)  # fmt: skip
        duration = time.monotonic() - began
        if codes != [0] * job.processes or leftovers(folder):
            print(f'{name}: the unbroken run failed with {codes}, left {leftovers(folder)}; see {folder}.log.*')
            return 2
        if name not in chosen:
            continue
        expected = job.result(folder)
        print(f'{name}: unbroken {duration:.1f} s', flush=True)
        for kind in args.signals:
            done: list[dict] = []
            span = duration
            while len(done) < args.times:
                row = stop_and_repeat(job, root / f'{name}_{kind}_{len(done):02d}', kind, draw, span, expected, args.fresh)  # fmt: skip
                if row is None:
                    span *= 0.95  # it had ended before: this machine has become faster
                    continue
                done.append(dict(job=name, **row))
                if row['wrong']:
                    print(f'  {kind} {len(done):2d} at {row["seconds"]} s: {"; ".join(row["wrong"])}', flush=True)
                else:
                    shutil.rmtree(root / f'{name}_{kind}_{len(done) - 1:02d}')
            good = sum(not row['wrong'] for row in done)
            torn = sum(bool(row['left']) for row in done)
            print(f'{name}: SIG{kind}: {good} of {len(done)} right; {torn} left something for the next start', flush=True)  # fmt: skip
            rows += done
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1), encoding='utf-8')
    return int(any(row['wrong'] for row in rows))


if __name__ == '__main__':
    sys.exit(main())
