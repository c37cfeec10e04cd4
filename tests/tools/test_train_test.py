"""tools/train.py and tools/test.py from the command line to the files they leave."""

import json
import os
import re
import shutil

import cv2
import pytest
import torch
from mmengine.config import Config

from mmdet.evaluation import read_results
from mmdet.utils.lock import LOCK_NAME, locked
from tests import processes
from tests.utils.test_lock import another_process

from .tiny_project import CLASSES, NUM_VAL, REPOSITORY, environment, free_port, metrics_of, run_tool, shell

pytestmark = pytest.mark.slow


def load(path):
    return torch.load(path, weights_only=True)


def assert_same_weights(one, other, **tolerance):
    one, other = load(one), load(other)
    for key in ('state_dict', 'ema_state_dict'):
        assert list(one[key]) == list(other[key])
        for name, value in one[key].items():
            torch.testing.assert_close(
                other[key][name], value, msg=f'{key}: {name}', **{'rtol': 0, 'atol': 0, **tolerance}
            )


@pytest.fixture(scope='module')
def plain_metrics(trained, tmp_path_factory):
    """Metrics of ``tools/test.py CONFIG CKPT --eval bbox`` by one process."""
    work_dir = tmp_path_factory.mktemp('plain')
    run_tool('test.py', trained.project.config, trained.checkpoint, '--eval', 'bbox', '--work-dir', work_dir)
    metrics = metrics_of(work_dir)
    assert metrics['coco/bbox_mAP_50'] > 0.5
    return metrics


# -- train.py --------------------------------------------------------------------------------------


def test_training_leaves_checkpoints_logs_and_config(trained):
    names = {path.name for path in trained.work_dir.iterdir()}
    assert {'epoch_1.pth', 'epoch_2.pth', 'last_checkpoint', 'latest.pth', 'tiny.py'} <= names
    assert (trained.work_dir / 'last_checkpoint').read_text().endswith('epoch_2.pth')
    assert re.search(
        r'Epoch\(train\) \[2\]\[24/24\] .*eta: 0:00:00 .*loss: .*loss_cls: .*loss_bbox: .*loss_dfl: ', trained.output
    )
    scores = [float(value) for value in re.findall(r'coco/bbox_mAP_50: ([\d.]+)', trained.output)]
    assert len(scores) == 2 and scores[-1] > 0.5, scores
    meta = load(trained.checkpoint)['meta']
    assert (meta['seed'], meta['epoch'], meta['iter'], meta['dataset_meta']['classes']) == (3, 2, 48, CLASSES)
    (vis_data,) = trained.work_dir.glob('*/vis_data')
    assert list(vis_data.glob('events.out.tfevents.*')) and (vis_data / 'scalars.json').is_file()
    # The dumped config stands alone: nothing of it is in another file.
    dumped = Config.fromfile(trained.work_dir / 'tiny.py')
    assert (
        dumped.model.type == 'GFL'
        and dumped.randomness.seed == 3
        and '_base_ =' not in (trained.work_dir / 'tiny.py').read_text()
    )


@pytest.mark.parametrize('how', ['auto', 'file'])
def test_resumed_training_equals_the_unbroken_one(trained, tmp_path, how):
    shutil.copy(trained.work_dir / 'epoch_1.pth', tmp_path)
    option = ['--auto-resume'] if how == 'auto' else ['--resume', tmp_path / 'epoch_1.pth']
    # Another seed on the command line: that of the checkpoint counts.
    run_tool('train.py', trained.project.config, '--work-dir', tmp_path, '--seed', 8, *option, '--no-validate')
    assert_same_weights(trained.checkpoint, tmp_path / 'epoch_2.pth')


def test_amp_without_validation(trained, tmp_path, capfd):
    run_tool(
        'train.py', trained.project.config, '--work-dir', tmp_path, '--amp', '--no-validate', '--cfg-options', 'train_cfg.max_epochs=1',
        'default_hooks.checkpoint.save_best=coco/bbox_mAP',
    )  # fmt: skip
    output = ''.join(capfd.readouterr())
    checkpoint = load(tmp_path / 'epoch_1.pth')
    assert all(value.isfinite().all() for value in checkpoint['state_dict'].values() if value.is_floating_point())
    assert (
        'loss_scaler' in checkpoint['optimizer']
        and 'Epoch(val)' not in output
        and 'bbox_mAP' not in output.split('Epoch(train)')[-1]
    )
    losses = [float(value) for value in re.findall(r' loss: ([\d.]+)', output)]
    assert len(losses) == 3 and losses[-1] < losses[0]


def test_two_process_training(trained, tmp_path):
    """The small model's batch norms see half a batch each: equal weights are the business of tests/test_ddp.py."""
    done = shell(
        REPOSITORY / 'tools' / 'dist_train.sh', trained.project.config, 2, '--work-dir', tmp_path, '--seed', 3, '--validate',
        '--cfg-options', 'train_cfg.max_epochs=1', 'train_dataloader.batch_size=2',
        cwd=tmp_path, PORT=free_port(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    checkpoint = load(tmp_path / 'epoch_1.pth')
    assert checkpoint['meta']['world_size'] == 2 and checkpoint['meta']['iter'] == 24
    assert len(re.findall(r'Epoch\(val\) \[1\]\[2/2\] .*coco/bbox_mAP: 0\.', done.stdout)) == 1  # rank 0 alone speaks


# -- test.py ---------------------------------------------------------------------------------------


def test_plain_test_gives_the_metrics_of_training(trained, plain_metrics):
    recorded = [float(value) for value in re.findall(r'coco/bbox_mAP: ([\d.]+)', trained.output)][-1]
    assert abs(plain_metrics['coco/bbox_mAP'] - recorded) < 1e-4 and len(plain_metrics) == 6


def test_results_as_pickle_and_json(trained, tmp_path, plain_metrics):
    config = trained.project.config
    run_tool(
        'test.py',
        config,
        trained.checkpoint,
        '--eval',
        'bbox',
        '--out',
        tmp_path / 'results.pkl',
        '--work-dir',
        tmp_path,
    )
    assert metrics_of(tmp_path) == plain_metrics
    samples = read_results(tmp_path / 'results.pkl')
    assert [sample['img_id'] for sample in samples] == list(range(100, 100 + NUM_VAL))

    run_tool('test.py', config, trained.checkpoint, '--out', tmp_path / 'results.json', '--work-dir', tmp_path)
    rows = json.loads((tmp_path / 'results.json').read_text())
    assert len(rows) == sum(len(sample['pred_instances']['scores']) for sample in samples)
    assert {row['category_id'] for row in rows} <= {5, 6} and {row['image_id'] for row in rows} <= set(range(100, 105))
    assert [row['score'] for row in rows] == sorted((row['score'] for row in rows), reverse=True)
    best = max((sample for sample in samples), key=lambda sample: sample['pred_instances']['scores'].max().item())
    x1, y1, x2, y2 = best['pred_instances']['bboxes'][0].tolist()
    assert (
        rows[0]['bbox'] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-4) and rows[0]['image_id'] == best['img_id']
    )


def test_format_only(trained, tmp_path):
    run_tool('test.py', trained.project.config, trained.checkpoint, '--format-only', '--work-dir', tmp_path)
    assert metrics_of(tmp_path) == {}
    rows = json.loads((tmp_path / 'results.bbox.json').read_text())
    assert rows and set(rows[0]) == {'image_id', 'category_id', 'bbox', 'score'}


def test_pictures(trained, tmp_path, plain_metrics):
    run_tool('test.py', trained.project.config, trained.checkpoint, '--show-dir', 'pictures', '--work-dir', tmp_path)
    pictures = sorted(tmp_path.glob('*/pictures/*.png'))
    assert [path.stem for path in pictures] == [f'val_{index}' for index in range(NUM_VAL)]
    assert all(cv2.imread(str(path)).shape[0] >= 64 for path in pictures)
    assert metrics_of(tmp_path) == plain_metrics


def test_fused_convolutions_give_the_same_ap(trained, tmp_path, plain_metrics):
    run_tool('test.py', trained.project.config, trained.checkpoint, '--fuse-conv-bn', '--work-dir', tmp_path)
    assert metrics_of(tmp_path) == pytest.approx(plain_metrics, abs=1e-6)


def test_flip_test(trained, tmp_path):
    run_tool(
        'test.py',
        trained.project.config,
        trained.checkpoint,
        '--tta',
        '--out',
        tmp_path / 'tta.pkl',
        '--work-dir',
        tmp_path,
    )
    assert metrics_of(tmp_path)['coco/bbox_mAP_50'] > 0.5
    samples = read_results(tmp_path / 'tta.pkl')
    assert len(samples) == NUM_VAL and all(sample['ori_shape'] == (64, 64) for sample in samples)


def test_options_of_the_metric(trained, tmp_path):
    run_tool(
        'test.py', trained.project.config, trained.checkpoint, '--eval', 'bbox', 'proposal', '--eval-options', 'classwise=True',
        f'jsonfile_prefix={tmp_path / "mine"}', '--cfg-options', 'model.test_cfg.max_per_img=10', '--work-dir', tmp_path,
    )  # fmt: skip
    metrics = metrics_of(tmp_path)
    assert {'coco/bright_precision', 'coco/dark_precision', 'coco/AR@100'} <= set(metrics)
    rows = json.loads((tmp_path / 'mine.bbox.json').read_text())
    assert max(sum(row['image_id'] == image for row in rows) for image in range(100, 105)) <= 10


def test_two_process_test_gives_the_same_ap(trained, tmp_path, plain_metrics):
    """Five images by two processes: one of them sees an image twice, which must not count twice."""
    out = tmp_path / 'results.pkl'
    command = [
        REPOSITORY / 'tools/test.py',
        trained.project.config,
        trained.checkpoint,
        '--launcher',
        'pytorch',
        '--eval',
        'bbox',
    ]
    done = processes.run_together(
        [*command, '--out', out, '--work-dir', tmp_path],
        [environment(**rank) for rank in processes.ranks()],
        cwd=tmp_path,
    )
    assert [process.returncode for process in done] == [0, 0], done
    assert metrics_of(tmp_path) == pytest.approx(plain_metrics, abs=1e-9)
    assert sorted(sample['img_id'] for sample in read_results(out)) == list(range(100, 100 + NUM_VAL))


@pytest.mark.parametrize(
    ('tool', 'arguments'),
    [('train.py', ['{config}']), ('search.py', ['{repository}/configs/tinynas/classification/R50_FLOPs.py'])],
)
def test_a_work_dir_in_use_is_refused_before_anything_is_written(project, tmp_path, capfd, tool, arguments):
    arguments = [argument.format(config=project.config, repository=REPOSITORY) for argument in arguments]
    with another_process(lambda: locked(tmp_path / LOCK_NAME)) as pid:
        with pytest.raises(SystemExit) as stop:
            run_tool(tool, *arguments, '--work-dir', tmp_path)
        lines = capfd.readouterr().err.splitlines()
        assert stop.value.code == 2 and f'in use by process {pid} on' in lines[-1]
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_NAME]


def test_the_lock_of_a_killed_training_is_taken_over_with_a_line_in_the_log(trained, tmp_path):
    shutil.copy(trained.checkpoint, tmp_path)
    with another_process(lambda: locked(tmp_path / LOCK_NAME)) as pid:  # killed at the end
        pass
    run_tool('train.py', trained.project.config, '--work-dir', tmp_path, '--resume', '--no-validate')
    (log,) = tmp_path.glob('*/*.log')
    assert f'taken over from process {pid} on' in log.read_text() and not (tmp_path / LOCK_NAME).exists()


def test_a_checkpoint_is_tested_while_its_training_runs(trained, tmp_path):
    with another_process(lambda: locked(trained.work_dir / LOCK_NAME)):
        run_tool('test.py', trained.project.config, trained.checkpoint, '--work-dir', trained.work_dir)
    (trained.work_dir / LOCK_NAME).unlink()


# -- user errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        ('train.py', ['{config}', '--auto-scale-lr'], r'ConfigError: auto_scale_lr\.base_batch_size: '),
        (
            'train.py',
            ['{config}', '--cfg-options', 'train_dataloader.dataset.dataset.ann_file=gone.json'],
            r'DataError: .*gone\.json: ',
        ),
        (
            'train.py',
            ['{config}', '--cfg-options', 'model.bbox_head.num_classes=7'],
            r'ArgumentError: .*num_classes=7.*2 classes',
        ),
        (
            'train.py',
            ['{config}', '--cfg-options', 'model.type=GFLL'],
            r"UnknownTypeError: type: no model of this name.*Received: 'GFLL'",
        ),
        (
            'train.py',
            ['{config}', '--cfg-options', 'model.colour=red'],
            r"ArgumentError: SingleStageDetector: .*'colour'.* takes backbone, neck",
        ),
        ('test.py', ['{config}', 'x.pth', '--out', 'x.txt'], r"ConfigError: --out: must end in .*Received: 'x\.txt'"),
        (
            'test.py',
            ['{config}', 'x.pth', '--eval', 'bbox', '--format-only'],
            r'ConfigError: --eval and --format-only exclude',
        ),
    ],
)
def test_user_errors(project, tmp_path, capfd, monkeypatch, tool, arguments, message):
    monkeypatch.delenv('MMDET_TRACEBACK', raising=False)
    arguments = [argument.format(config=project.config, tmp=tmp_path) for argument in arguments]
    if tool in ('train.py', 'test.py'):
        arguments[1:1] = ['--work-dir', str(tmp_path / 'work')] if tool == 'train.py' else []
    with pytest.raises(SystemExit) as stop:
        run_tool(tool, *arguments)
    error = capfd.readouterr().err
    assert stop.value.code == 2
    assert re.search(f'^{message}', error, re.MULTILINE) and 'Traceback' not in error, error


@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'benchmark.py'])
def test_cfg_options_need_an_equals_sign(capsys, tool):
    with pytest.raises(SystemExit) as stop:
        run_tool(tool, 'a.py', *(['b.pth'] if tool == 'test.py' else []), '--cfg-options', 'model.type')
    assert stop.value.code == 2 and "expects key=value pairs. Received: 'model.type'" in capsys.readouterr().err


# -- torchrun and slurm -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('script', 'arguments', 'ending'),
    [
        (
            'slurm_train.sh',
            ['part', 'job', 'c.py', 'out', '--amp'],
            'tools/train.py c.py --work-dir out --launcher slurm --seed 1 --amp',
        ),
        (
            'slurm_test.sh',
            ['part', 'job', 'c.py', 'k.pth', '--eval', 'bbox'],
            'tools/test.py c.py k.pth --launcher slurm --seed 1 --eval bbox',
        ),
    ],
)
def test_slurm_scripts(tmp_path, script, arguments, ending):
    """What they ask of srun; a stand-in prints it."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    done = shell(
        REPOSITORY / 'tools' / script, *arguments, cwd=tmp_path, PATH=f'{tmp_path}:{os.environ["PATH"]}', GPUS='4', PY_ARGS='--seed 1',
        SRUN_ARGS='--time=10 -w n1',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (
        '-p part --job-name=job --gres=gpu:4 --ntasks=4 --ntasks-per-node=4' in done.stdout
        and '--time=10 -w n1' in done.stdout
    )
    assert done.stdout.strip().endswith(ending)


@pytest.mark.parametrize(
    ('script', 'arguments', 'ending'),
    [
        ('dist_train.sh', ['c.py', '3', '--amp'], '{tools}/train.py c.py --launcher pytorch --amp'),
        ('dist_search.sh', ['c.py', '3', '--seed', '1'], '{tools}/search.py c.py --launcher pytorch --seed 1'),
        (
            'dist_test.sh',
            ['c.py', 'k.pth', '3', '--eval', 'bbox'],
            '{tools}/test.py c.py k.pth --launcher pytorch --eval bbox',
        ),
    ],
)
def test_scripts_of_torchrun(tmp_path, script, arguments, ending):
    """What they ask of torchrun; a stand-in for Python prints it. The first one is also run, by test_two_process_training."""
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\necho "$PYTHONPATH" "$@"\n')
    python.chmod(0o755)
    done = shell(
        REPOSITORY / 'tools' / script, *arguments, cwd=tmp_path, PYTHON=str(python), PORT='29', PYTHONPATH='mine'
    )
    assert done.returncode == 0, done.stderr
    start = f'{REPOSITORY}:mine -m torch.distributed.run --nnodes=1 --node_rank=0 --nproc_per_node=3 --master_addr=127.0.0.1 --master_port=29 '
    assert done.stdout.strip() == start + ending.format(tools=REPOSITORY / 'tools')


def test_scripts_say_how_they_are_used(tmp_path):
    for script in ('dist_train.sh', 'dist_test.sh', 'dist_search.sh', 'slurm_train.sh', 'slurm_test.sh'):
        done = shell(REPOSITORY / 'tools' / script, cwd=tmp_path)
        assert done.returncode and f'usage: {script} ' in done.stderr
