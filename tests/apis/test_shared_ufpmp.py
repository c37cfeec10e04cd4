"""From annotated images to the score of a UFPMPDet with one detector, by the tools."""

import json
import runpy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

CLASSES = ('dot', 'block')


@pytest.fixture(scope='module')
def project(repository, tmp_path_factory):
    """Four images with two objects each, and the config of a training of two iterations, validated as both stages."""
    folder = tmp_path_factory.mktemp('shared')
    rng = np.random.default_rng(0)
    document = dict(images=[], annotations=[], categories=[dict(id=k, name=name) for k, name in enumerate(CLASSES)])
    for number in range(4):
        cv2.imwrite(str(folder / f'{number}.png'), rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
        document['images'].append(dict(id=number, file_name=f'{number}.png', width=120, height=90))
        for label, box in enumerate([[10, 10, 20, 16], [60, 40, 24, 30]]):
            row = dict(id=2 * number + label + 1, image_id=number, category_id=label, bbox=box, area=1, iscrowd=0)
            document['annotations'].append(row)
    (folder / 'ann.json').write_text(json.dumps(document))
    cfg = Config.fromfile(repository / 'configs/UFPMP-Det/ufpmp_shared_scenes.py')
    detector = cfg.model.coarse.detector
    # PyTorch's convolutions of so few channels write past their memory in the other layout.
    detector.data_preprocessor.channels_last = False
    detector.backbone.update(base_channels=8, stem_channels=8)
    detector.neck.update(in_channels=[8, 16, 32, 64], out_channels=12)
    detector.bbox_head.update(num_classes=2, in_channels=12, feat_channels=12)
    detector.test_cfg.update(score_thr=0.005, max_per_img=10)
    cfg.model.coarse.scale, cfg.model.fine.scale = (96, 64), (96, 96)
    cfg.model.ufp.min_score = None
    dataset = dict(
        type='CocoDataset',
        metainfo=dict(classes=CLASSES),
        ann_file=str(folder / 'ann.json'),
        data_prefix=dict(img=f'{folder}/'),
    )
    train = cfg.train_dataloader.dataset.pipeline
    for step in (train[2].transforms[0][0], train[2].transforms[1][1]):
        step.scale = (96, 96)
    train[3].crop_size = (64, 64)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset = dict(dataset, pipeline=loader.dataset.pipeline, test_mode=loader is not cfg.train_dataloader)
    cfg.val_evaluator.ann_file = cfg.test_evaluator.ann_file = str(folder / 'ann.json')
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.5, update_buffers=True)]
    cfg.vis_backends = cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    cfg.dump(folder / 'shared.py')
    return folder


def call(repository, tool, *arguments):
    """Run a tool in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('sys.argv', [tool, *map(str, arguments)])
        try:
            runpy.run_path(str(repository / 'tools' / tool), run_name='__main__')
        except SystemExit as end:  # some tools hand their status over, 0 where all went well
            assert not end.code


@pytest.fixture(scope='module')
def trained(repository, project):
    """The checkpoint of one command."""
    call(repository, 'train.py', project / 'shared.py', '--work-dir', project / 'run', '--seed', 0)
    return project / 'run/epoch_1.pth'


@pytest.fixture(scope='module')
def metrics(repository, project, trained):
    """Those of a test that looks once and of one that looks twice; the first leaves its detections in ``one.pkl``."""
    found = {}
    for name, option in (('one', 'model.look_below=0'), ('two', 'model.on_empty=whole')):
        call(repository, 'test.py', project / 'shared.py', trained, '--work-dir', project / name, '--cost', '--out', project / f'{name}.pkl', '--cfg-options', option)  # fmt: skip
        (log,) = (project / name).glob('*/*.json')
        found[name] = json.loads(log.read_text().splitlines()[-1])
    return found


def test_one_training_one_checkpoint(trained, project):
    content = torch.load(trained, weights_only=True)
    names = [name for name in content['state_dict'] if 'project' not in name]
    assert names and all(name.startswith('coarse.detector.') for name in names)
    assert tuple(content['meta']['dataset_meta']['classes']) == CLASSES
    lines = next((project / 'run').glob('*/vis_data/scalars.json')).read_text().splitlines()
    assert 'visdrone/AP' in json.loads(lines[-1]), 'the validation has run both stages'


def test_the_cost_of_one_look_and_of_two(metrics):
    one, two = metrics['one'], metrics['two']
    assert one['cost/megapixels'] == pytest.approx(64 * 96 / 1e6), '120 x 90 becomes 85 x 64, padded by 32'
    assert one['cost/megapixels'] < two['cost/megapixels'] <= (64 * 96 + 96 * 96) / 1e6 + 1e-9
    assert one['cost/cpu_seconds'] > 0 and 'visdrone/AP' in two


@pytest.mark.usefixtures('metrics')
def test_the_errors_of_its_coarse_stage(repository, project, capsys):
    call(repository, 'analysis_tools/coarse_errors.py', project / 'shared.py', project / 'one.pkl', '--iou-thr', 0.01)
    output = capsys.readouterr().out
    assert '4 images, 8 objects' in output and output.splitlines()[-1].startswith("dict(type='ForegroundMosaic', drop=")
