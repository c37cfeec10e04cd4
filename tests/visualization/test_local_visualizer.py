import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.utils import ConfigError
from mmdet.visualization import DetLocalVisualizer, local_visualizer
from mmdet.visualization.local_visualizer import _class_colors
from tests import processes


def sample(gt=(), predictions=(), scores=()):
    data_sample = DetDataSample()
    data_sample.gt_instances = InstanceData(
        bboxes=torch.tensor(gt, dtype=torch.float32).reshape(-1, 4), labels=torch.zeros(len(gt), dtype=torch.long)
    )
    data_sample.pred_instances = InstanceData(
        bboxes=torch.tensor(predictions, dtype=torch.float32).reshape(-1, 4),
        labels=torch.zeros(len(predictions), dtype=torch.long),
        scores=torch.tensor(scores),
    )
    return data_sample


IMAGE = np.full((60, 80, 3), 90, np.uint8)


def test_empty_predictions():
    visualizer = DetLocalVisualizer()
    visualizer.add_datasample('x', IMAGE, sample(), draw_gt=False)
    assert (visualizer.get_image() == IMAGE).all()
    visualizer.add_datasample('x', IMAGE, None)
    assert (visualizer.get_image() == IMAGE).all()
    visualizer.add_datasample('x', IMAGE, DetDataSample())
    assert (visualizer.get_image() == IMAGE).all()


def test_ground_truth_stands_beside_predictions(tmp_path):
    visualizer = DetLocalVisualizer(bbox_color=(255, 0, 0), line_width=1)
    out_file = tmp_path / 'new' / 'x.png'
    visualizer.add_datasample('x', IMAGE, sample([[10, 20, 30, 40]], [[50, 20, 70, 40]], [0.9]), out_file=str(out_file))
    drawn = visualizer.get_image()
    assert drawn.shape == (60, 160, 3)
    assert drawn[30, 9].tolist() == [255, 0, 0] and drawn[30, 80 + 49].tolist() == [255, 0, 0]
    assert drawn[30, 80 + 9].tolist() == [90, 90, 90]
    assert (cv2.imread(str(out_file))[..., ::-1] == drawn).all()


def test_score_threshold():
    visualizer = DetLocalVisualizer(bbox_color='red')
    data_sample = sample([], [[10, 20, 30, 40], [50, 20, 70, 40]], [0.9, 0.3])
    visualizer.add_datasample('x', IMAGE, data_sample, draw_gt=False, pred_score_thr=0.3)
    drawn = visualizer.get_image()
    assert drawn[30, 9].tolist() == [255, 0, 0] and drawn[30, 49].tolist() == [90, 90, 90]


def test_colours_come_from_the_dataset():
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = {'classes': ('car',), 'palette': [(1, 2, 3)]}
    visualizer.add_datasample('x', IMAGE, sample([], [[10, 20, 30, 40]], [0.9]), draw_gt=False)
    assert visualizer.get_image()[30, 9].tolist() == [1, 2, 3]
    assert DetLocalVisualizer().dataset_meta is None, 'other visualizers keep their own'


RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize(
    'colors, count, expected',
    [
        (None, 2, None),
        ('red', 2, [RED, RED]),
        (BLUE, 3, [BLUE] * 3),
        ([255, 0, 0], 1, [RED]),
        ([RED, 'blue'], 2, [RED, BLUE]),
        ([[RED], ['blue']], 2, [RED, BLUE]),
        (['orange'], 2, [(255, 165, 0)]),
    ],
)
def test_colours_of_classes(colors, count, expected):
    assert _class_colors(colors, count) == expected
    if expected and count == 2 and len(colors) == 2:
        with pytest.raises(ConfigError, match='three integers'):
            _class_colors([(1, 2)], 1)


def test_own_colours_and_options_reach_the_picture(monkeypatch):
    """The visualizer's colours come before the dataset's; the keys of older datasets are upper-case."""
    seen = []
    monkeypatch.setattr(local_visualizer, 'draw_boxes', lambda *args, **options: seen.append((args, options)) or IMAGE)
    visualizer = DetLocalVisualizer(bbox_color='red', text_color='blue', line_width=3, alpha=0.5, legend=2)
    visualizer.dataset_meta = {'CLASSES': ('car', 'van'), 'PALETTE': [(1, 2, 3)]}
    visualizer.add_datasample('x', IMAGE, sample([[1, 1, 5, 5]], [[2, 2, 6, 6], [3, 3, 7, 7]], [0.2, 0.9]))
    (gt, options), (found, _) = seen
    assert options.pop('ignored') is None
    assert options == dict(colors=[RED, RED], line_width=3, text_color=BLUE, alpha=0.5, legend=2)
    assert gt[1].tolist() == [[1, 1, 5, 5]] and gt[3] is None and gt[4] == ('car', 'van')
    assert found[1].tolist() == [[3, 3, 7, 7]] and found[3].tolist() == pytest.approx([0.9])
    plain = DetLocalVisualizer()
    plain.dataset_meta = visualizer.dataset_meta
    plain.add_datasample('x', IMAGE, sample([[1, 1, 5, 5]]), draw_pred=False)
    assert seen[-1][1]['colors'] == [(1, 2, 3)] and seen[-1][1]['text_color'] is None


def test_windows(monkeypatch):
    shown = []
    monkeypatch.setattr(cv2, 'imshow', lambda name, image: shown.append((name, image)))
    monkeypatch.setattr(cv2, 'waitKey', lambda milliseconds: shown.append(milliseconds))
    visualizer = DetLocalVisualizer()
    image = np.zeros((4, 4, 3), np.uint8) + np.array([1, 2, 3], np.uint8)
    visualizer.add_datasample('name', image, None, show=True, wait_time=1.5)
    assert shown[0][0] == 'name' and shown[0][1][0, 0].tolist() == [3, 2, 1] and shown[1] == 1500
    visualizer.show()
    assert shown[2][0] == 'image' and shown[3] == 0

    def no_window(name, image):
        raise cv2.error('no display')

    monkeypatch.setattr(cv2, 'imshow', no_window)
    with pytest.raises(ConfigError, match='no window'):
        visualizer.show()


def test_ignored_regions_are_dashed_grey():
    data_sample = sample([[10, 20, 30, 40]])
    data_sample.ignored_instances = InstanceData(
        bboxes=torch.tensor([[50.0, 20, 70, 40]]), labels=torch.zeros(1).long()
    )
    visualizer = DetLocalVisualizer(bbox_color=[(255, 0, 0)])
    visualizer.add_datasample('x', IMAGE, data_sample, draw_pred=False)
    column = visualizer.get_image()[19:40, 49]
    assert (column == 170).all(1).any() and (column == 90).all(1).any()


def test_scalars_and_pictures_reach_the_backend(tmp_path):
    visualizer = VISUALIZERS.build(
        dict(
            type='DetLocalVisualizer',
            name='scalars',
            vis_backends=[dict(type='LocalVisBackend')],
            save_dir=str(tmp_path),
        )
    )
    visualizer.add_scalar('loss', 1.5, step=3)
    visualizer.add_scalars({'coco/bbox_mAP': 0.25}, step=4)
    visualizer.add_datasample('val', IMAGE, sample([[10, 20, 30, 40]]), step=5)
    folder = tmp_path / 'vis_data'
    assert (folder / 'scalars.json').read_text() == '{"loss": 1.5, "step": 3}\n{"coco/bbox_mAP": 0.25, "step": 4}\n'
    assert [p.name for p in (folder / 'vis_image').iterdir()] == ['val_5.png']


def test_methods_of_the_base_class_still_draw():
    visualizer = DetLocalVisualizer(image=IMAGE)
    visualizer.draw_bboxes(np.array([[10, 20, 30, 40]]), edge_colors='r')
    assert visualizer.get_image().shape == IMAGE.shape
    assert (visualizer.get_image() != IMAGE).any()
    visualizer.set_image(IMAGE)
    assert (visualizer.get_image() == IMAGE).all()


def test_errors():
    with pytest.raises(ConfigError, match='set_image'):
        DetLocalVisualizer().get_image()
    visualizer = DetLocalVisualizer(bbox_color='mauve-ish')
    with pytest.raises(ConfigError, match='mauve-ish'):
        visualizer.add_datasample('x', IMAGE, sample([[10, 20, 30, 40]]))


def test_drawing_does_not_import_matplotlib():
    """Nor does the import of the package, says tests/test_import.py."""
    code = """if True:
        import sys, numpy as np
        from mmdet.visualization import DetLocalVisualizer
        for name in [name for name in sys.modules if name.partition('.')[0] == 'matplotlib']:
            del sys.modules[name]
        visualizer = DetLocalVisualizer()
        visualizer.add_datasample('x', np.zeros((9, 9, 3), np.uint8))
        visualizer.get_image()
        sys.exit('matplotlib' in sys.modules)"""
    done = processes.run(['-c', code])
    assert done.returncode == 0, done.stderr
