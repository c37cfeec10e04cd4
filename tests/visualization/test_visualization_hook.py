import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmdet.utils import ConfigError, DataError
from mmdet.visualization import DetLocalVisualizer


@pytest.fixture
def samples(tmp_path):
    samples = []
    for folder in ('a', 'b'):
        path = tmp_path / 'images' / folder / 'x.png'
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.full((60, 80, 3), 90, np.uint8))
        sample = DetDataSample(metainfo=dict(img_path=str(path)))
        sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[10.0, 20, 30, 40]]), labels=torch.zeros(1).long(), scores=torch.tensor([0.9])
        )
        samples.append(sample)
    return samples


@pytest.fixture
def runner(tmp_path):
    backends = [dict(type='LocalVisBackend')]
    visualizer = DetLocalVisualizer(vis_backends=backends, save_dir=str(tmp_path / 'run'), bbox_color='red')
    return SimpleNamespace(visualizer=visualizer, work_dir=str(tmp_path / 'run'), timestamp='stamp', iter=100)


def build(**kwargs):
    return HOOKS.build(dict(type='DetVisualizationHook', **kwargs))


def pictures(runner):
    return sorted(str(p.relative_to(runner.work_dir)) for p in Path(runner.work_dir).rglob('*.png'))


def test_off_by_default(runner, samples):
    build().after_val_iter(runner, 0, {}, samples)
    build(test_out_dir='vis').after_test_iter(runner, 0, {}, samples)
    assert pictures(runner) == []


def test_first_sample_of_every_other_validation_batch(runner, samples):
    hook = build(draw=True, interval=2)
    for batch in range(3):
        hook.after_val_iter(runner, batch, {}, samples)
    hook.after_val_iter(runner, 4, {}, [])
    assert pictures(runner) == [f'vis_data/vis_image/val_img_{step}.png' for step in (100, 102)]


def test_every_test_image_under_its_own_name(runner, samples):
    hook = build(draw=True, test_out_dir='vis')
    for _ in range(2):  # a second run writes the same names again
        hook.before_test_epoch(runner)
        hook.after_test_iter(runner, 0, {}, samples)
    assert pictures(runner) == ['stamp/vis/x.png', 'stamp/vis/x_2.png']
    drawn = cv2.imread(f'{runner.work_dir}/stamp/vis/x.png')
    assert drawn.shape == (60, 160, 3), 'ground truth | predictions'
    assert drawn[30, 80 + 9].tolist() == [0, 0, 255]


def test_processes_name_their_shares_as_one_does(runner, samples):
    """Whichever draws first: the names follow the order of the dataset."""
    infos = [dict(img_path=sample.img_path) for sample in samples]
    dataset = type('Dataset', (), dict(get_data_info=lambda self, i: infos[i], __len__=lambda self: 2))()
    runner.test_dataloader = SimpleNamespace(dataset=dataset)
    hooks = [build(draw=True, test_out_dir='vis') for _ in range(2)]
    for rank in (1, 0):
        hooks[rank].before_test_epoch(runner)
        hooks[rank].after_test_iter(runner, 0, {}, [samples[rank]])
    assert pictures(runner) == ['stamp/vis/x.png', 'stamp/vis/x_2.png']
    record = [json.loads(line) for line in Path(runner.work_dir, 'stamp/vis_sources.jsonl').read_text().splitlines()]
    assert record == [dict(name=name, source=sample.img_path) for name, sample in zip(('x', 'x_2'), samples)]


def test_pictures_do_not_go_to_the_images(runner, samples):
    before = [Path(sample.img_path).read_bytes() for sample in samples]
    hook = build(draw=True, test_out_dir=str(Path(samples[1].img_path).parent))
    with pytest.raises(ConfigError, match='test_out_dir: is an input'):
        hook.after_test_iter(runner, 0, {}, samples[1:])
    assert [Path(sample.img_path).read_bytes() for sample in samples] == before


@pytest.mark.parametrize(
    'name, written',
    [('y.JPEG', 'y.jpeg'), ('y.bmp', 'y.bmp'), ('y.webp', 'y.webp'), ('y.tif', 'y.jpg'), ('y.png.ppm', 'y.png.jpg')],
)
def test_formats_of_test_pictures(runner, samples, tmp_path, name, written):
    """The picture has the format of its image if that is a common one, else it is a JPEG."""
    cv2.imwrite(str(tmp_path / name), np.full((60, 80, 3), 90, np.uint8))
    samples[0].set_metainfo(dict(img_path=str(tmp_path / name)))
    build(draw=True, test_out_dir='vis').after_test_iter(runner, 0, {}, samples[:1])
    folder = tmp_path / 'run' / 'stamp' / 'vis'
    assert [path.name for path in folder.iterdir()] == [written]
    assert cv2.imread(str(folder / written)).shape == (60, 160, 3)


def test_score_threshold(runner, samples):
    build(draw=True, score_thr=0.95, test_out_dir='vis').after_test_iter(runner, 0, {}, samples)
    assert (cv2.imread(f'{runner.work_dir}/stamp/vis/x.png') == 90).all()


def test_unreadable_image(runner, samples):
    with open(samples[0].img_path, 'wb') as file:
        file.write(b'no image')
    with pytest.raises(DataError, match='x.png'):
        build(draw=True).after_val_iter(runner, 0, {}, samples)
