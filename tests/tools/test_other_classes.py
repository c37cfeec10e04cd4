"""Training, testing and fine-tuning where the classes are others than those of the checkpoint, or in another order; by the tools."""

import json
import re

import pytest
import torch

from mmdet.errors import ConfigError

from .tiny_project import CLASSES, metrics_of, run_tool

DATASET = 'test_dataloader.dataset.metainfo.classes'


def state_of(path):
    return torch.load(path, map_location='cpu', weights_only=False)


def run_test(trained, folder, *options):
    """The metrics and the log of ``tools/test.py`` with these overrides."""
    run_tool('test.py', trained.project.config, trained.checkpoint, '--work-dir', folder, '--cfg-options', *options)
    return metrics_of(folder), ''.join(path.read_text() for path in folder.glob('*/*.log'))


def test_another_order_gives_the_same_figures(trained, tmp_path):
    one, quiet = run_test(trained, tmp_path / 'a', 'test_evaluator.classwise=True')
    two, said = run_test(trained, tmp_path / 'b', 'test_evaluator.classwise=True', f"{DATASET}=('dark','bright')")
    assert one == two and one['coco/bbox_mAP_50'] > 0.1
    assert 'mapped by name' in said and 'mapped by name' not in quiet


def test_a_subset_of_the_classes(trained, tmp_path):
    whole, _ = run_test(trained, tmp_path / 'a', 'test_evaluator.classwise=True')
    part, said = run_test(trained, tmp_path / 'b', 'test_evaluator.classwise=True', f"{DATASET}=('dark',)")
    assert part['coco/bbox_mAP'] == part['coco/dark_precision'] == whole['coco/dark_precision']
    assert "lacks 1 of the 2 classes of the model; their detections are left out: 'bright'" in said


def test_other_numbers_of_classes_are_an_error_before_the_first_image(trained, tmp_path, capsys):
    content = state_of(trained.checkpoint)
    for name, change in (
        ('nameless.pth', lambda meta: meta.pop('dataset_meta')),
        ('other.pth', lambda meta: meta.update(dataset_meta=dict(classes=('x', 'y')))),
    ):
        meta = dict(content['meta'])
        change(meta)
        torch.save(dict(content, meta=meta), tmp_path / name)
    file = json.loads((trained.project.folder / 'val.json').read_text())
    file['categories'].append(dict(id=99, name='third'))
    (tmp_path / 'val.json').write_text(json.dumps(file))
    changes = [
        f"{DATASET}=('bright','dark','third')",
        f'test_dataloader.dataset.ann_file={tmp_path}/val.json',
        f'test_evaluator.ann_file={tmp_path}/val.json',
    ]
    for name, message in (('nameless.pth', 'has num_classes=2, the CocoDataset'), ('other.pth', 'no name is the same')):
        with pytest.raises(SystemExit) as ended:
            run_tool(
                'test.py',
                trained.project.config,
                tmp_path / name,
                '--work-dir',
                tmp_path / name[:5],
                '--cfg-options',
                *changes,
            )
        log = next((tmp_path / name[:5]).glob('*/*.log')).read_text()
        said = f'{ended.value.code} {capsys.readouterr().err}'
        assert message in said and 'Epoch(test)' not in log, said


def test_fine_tuning_keeps_the_rows_of_equal_names(trained, tmp_path):
    """One epoch with a learning rate of 0: what is written is what was loaded."""
    file = json.loads((trained.project.folder / 'train.json').read_text())
    file['categories'].append(dict(id=99, name='third'))
    (tmp_path / 'train.json').write_text(json.dumps(file))
    inner = 'train_dataloader.dataset.dataset'
    options = [
        f'load_from={trained.checkpoint}', 'map_classes=True', 'model.bbox_head.num_classes=3', f"{inner}.metainfo.classes=('third','dark','bright')",
        f'{inner}.ann_file={tmp_path}/train.json', 'train_dataloader.dataset.times=1', 'train_cfg.max_epochs=1', 'optim_wrapper.optimizer.lr=0',
        'custom_hooks=[]',
    ]  # fmt: skip
    run_tool(
        'train.py', trained.project.config, '--work-dir', tmp_path / 'w', '--no-validate', '--cfg-options', *options
    )
    old, new = state_of(trained.checkpoint)['state_dict'], state_of(tmp_path / 'w' / 'epoch_1.pth')['state_dict']
    for name in ('bbox_head.gfl_cls.weight', 'bbox_head.gfl_cls.bias'):
        assert torch.equal(new[name][1:], old[name].flip(0)), name
    assert new['bbox_head.gfl_cls.bias'][0].item() == pytest.approx(-4.595, abs=1e-3)
    assert torch.equal(new['neck.fpn_convs.0.conv.weight'], old['neck.fpn_convs.0.conv.weight'])
    log = ''.join(path.read_text() for path in (tmp_path / 'w').glob('*/*.log'))
    assert 'map_classes: 2 of 3 classes continue one' in log and re.search(
        r'third: new, initial weights\n *dark: from dark, class 1', log
    )


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (dict(rename=dict(drak='dark')), "training set has no class of this name; it has 'dark', 'lamp'"),
        (dict(rename=dict(lamp='light')), "checkpoint has no class of this name; it has 'bright', 'dark'"),
        (dict(names=('a',)), 'must be True, or a dict'),
        (dict(rename=['lamp']), r'map_classes\.rename: must be a dict'),
        (dict(trained='dark'), r'map_classes\.trained: must be a list of names'),
        (dict(trained=None), None),
    ],
)
def test_options_of_map_classes(option, message):
    from mmdet.engine.checkpoint.class_rows import ClassRows

    if message is None:
        with pytest.raises(ConfigError, match='does not name its classes'):
            ClassRows(option, None, ('dark', 'lamp'), 'x.pth')
        return
    with pytest.raises(ConfigError, match=message):
        ClassRows(option, CLASSES, ('dark', 'lamp'), 'x.pth')


@pytest.mark.parametrize(
    ('option', 'trained', 'wanted', 'sources'),
    [
        (True, ('a', 'b'), ('a', 'b'), [0, 1]),
        (True, ('a', 'b'), ('b', 'c', 'A'), [1, -1, 0]),
        (True, ('a', 'A'), ('a',), [0]),
        (dict(rename=dict(c='a')), ('a', 'b'), ('b', 'c'), [1, 0]),
        (dict(rename=dict(c='a')), ('a', 'b'), ('a', 'c'), [0, 0]),
        (dict(trained=('x', 'y')), None, ('y',), [1]),
        (dict(trained=('x', 'y')), ('z', 'x', 'y'), ('y',), [2]),  # a file that names its classes knows better
        (True, ('a',), ('b',), [-1]),
    ],
)
def test_which_class_continues_which(option, trained, wanted, sources):
    from mmdet.engine.checkpoint.class_rows import ClassRows

    assert ClassRows(option, trained, wanted, 'x.pth').sources == sources
