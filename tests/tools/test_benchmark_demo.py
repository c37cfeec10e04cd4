"""tools/benchmark.py and the demo tools on the tiny project."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import cv2
import pytest

from mmdet.apis import demo
from mmdet.config import ending
from mmdet.utils import reports_user_errors
from tests import processes

from .tiny_project import NUM_VAL, run_tool

pytestmark = pytest.mark.slow

OVERALL = r'Overall fps: ([\d.]+) img/s, p50 ([\d.]+) ms, p95 ([\d.]+) ms a batch of (\d+), peak memory (\d+) MB \((\d+) images, stage (\w+), CPU'


def benchmark(capsys, *arguments):
    run_tool('benchmark.py', *arguments, '--device', 'cpu', '--num-workers', 0)
    output = capsys.readouterr().out
    return output, re.search(OVERALL, output).groups()


def test_with_a_checkpoint(trained, capsys):
    """12 images of a dataset of 5, the first 2 of them not counted."""
    output, (fps, p50, p95, batch, memory, images, stage) = benchmark(
        capsys, trained.project.config, trained.checkpoint, '--max-iter', 12, '--num-warmup', 2, '--log-interval', 5
    )
    assert float(fps) > 0 and 0 < float(p50) <= float(p95) and int(memory) > 0
    assert (batch, images, stage) == ('1', '10', 'step')
    assert len(re.findall(r'fps', output)) > 1  # running figures too


@pytest.mark.parametrize('stage', ['data', 'total'])
def test_stages_without_a_checkpoint(project, tmp_path, capsys, stage):
    _, found = benchmark(
        capsys,
        project.config,
        '--stage',
        stage,
        '--max-iter',
        6,
        '--num-warmup',
        1,
        '--batch-size',
        2,
        '--json',
        tmp_path / 'figures.json',
    )
    assert found[-1] == stage and found[3] == '2'
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert figures['stage'] == stage and figures['fps'] > 0


@pytest.mark.parametrize(
    'options', [['--fuse-conv-bn'], ['--amp'], ['--channels-last']], ids=lambda options: options[0]
)
def test_options_on_random_images(project, capsys, options):
    _, found = benchmark(capsys, project.config, '--shape', 64, 96, '--max-iter', 4, '--num-warmup', 1, *options)
    assert found[5] == '3'


def test_image_demo(trained, tmp_path, capsys):
    folder = trained.project.folder / 'images'
    run_tool(
        'image_demo.py', f'{folder}/val_*.png', trained.project.config, '--weights', trained.checkpoint, '--out-dir', tmp_path,
        '--device', 'cpu', '--batch-size', 2,
    )  # fmt: skip
    assert f'{NUM_VAL} images done; results are in {tmp_path}' in capsys.readouterr().out
    assert sorted(path.stem for path in (tmp_path / 'vis').iterdir()) == [f'val_{index}' for index in range(NUM_VAL)]
    truth = json.loads((trained.project.folder / 'val.json').read_text())['annotations']
    first = [annotation for annotation in truth if annotation['image_id'] == 100]
    found = json.loads((tmp_path / 'preds' / 'val_0.json').read_text())
    x, y, width, height = first[0]['bbox']
    assert found['labels'][0] == first[0]['category_id'] - 5
    assert found['bboxes'][0] == pytest.approx([x, y, x + width, y + height], abs=6)
    assert cv2.imread(str(tmp_path / 'vis' / 'val_0.png')) is not None


def test_image_demo_finds_the_config_beside_a_checkpoint(trained, tmp_path, capsys):
    run_tool(
        'image_demo.py',
        trained.project.folder / 'images' / 'val_0.png',
        trained.checkpoint,
        '--out-dir',
        tmp_path,
        '--device',
        'cpu',
    )
    assert '1 images done' in capsys.readouterr().out


def test_video_demo(trained, tmp_path, capsys):
    video = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*'MJPG'), 5, (64, 64))
    frame = cv2.imread(str(trained.project.folder / 'images' / 'val_0.png'))
    for _ in range(3):
        writer.write(frame)
    writer.release()
    out = tmp_path / 'made' / 'annotated.mp4'
    run_tool('video_demo.py', video, trained.project.config, trained.checkpoint, '--out', out, '--device', 'cpu')
    made = cv2.VideoCapture(str(out))
    assert made.isOpened() and made.get(cv2.CAP_PROP_FRAME_COUNT) == 3


STEP = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.6)  # longer than subprocess.run would leave it
    pathlib.Path(sys.argv[1]).touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print('ready', flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize('stop', [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_demo_leaves_no_step_behind(tmp_path, stop):
    """A step may tidy up where the demo can wait for it, and ends with the demo in any case."""
    if stop == signal.SIGKILL and sys.platform != 'linux':
        pytest.skip('only Linux ends a process with its parent')
    (tmp_path / 'step.py').write_text(STEP)
    starter = (
        'import sys; from pathlib import Path; from mmdet.apis import demo; from mmdet.config.reading import reports_user_errors; '
        'reports_user_errors(demo.run_tool)(*map(Path, sys.argv[1:]))'
    )
    command = ['-c', starter, tmp_path / 'step.py', tmp_path / 'tidy']
    read, write = os.pipe()
    with open(read, encoding='utf-8') as output:
        with open(write, 'wb') as end:
            started = processes.start(command, output=end)
        try:
            while (line := output.readline()) != 'ready\n':
                assert line
            os.kill(started.pid, stop)
            begin = time.monotonic()
            errors = output.read()  # waits for the step, which holds the other end of the pipe
            assert time.monotonic() - begin < 30
            started.wait(30)
        finally:
            started.kill()
    ended = (started.returncode, errors, (tmp_path / 'tidy').exists())
    assert ended == ((143, 'Stopped by SIGTERM.\n', True) if stop == signal.SIGTERM else (-9, '', False))


SLOW_TOOL = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.5)
    pathlib.Path('cleaned').touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
pathlib.Path('started').touch()
time.sleep(60)
"""


def test_a_stopped_demo_gives_its_tool_the_time_to_clean_up(tmp_path, monkeypatch):
    monkeypatch.setattr(ending, 'GRACE_SECONDS', 0.1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tool.py').write_text(SLOW_TOOL)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the processes of pytest-xdist ignore it
        try:
            reports_user_errors(demo.run_tool)(Path('tool.py'))
        except SystemExit as ended:
            os._exit(ended.code)
        finally:
            os._exit(9)
    while not (tmp_path / 'started').exists():
        time.sleep(0.01)
    os.kill(pid, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert (tmp_path / 'cleaned').exists()
