"""Images by their own AP."""

import json

import cv2
import numpy as np
import pytest

from mmdet.analysis import best_and_worst, load_prediction_set, score_images, write_ranking
from mmdet.analysis import ranking as ranking_module
from mmdet.utils import ConfigError, load_config

from .cases import image, prediction_set, write_coco_folder, write_coco_results

CAR, BUS = 0, 1
BOX = (0, 0, 10, 10)


def test_no_image_and_no_object():
    assert score_images(prediction_set()) == []
    [score] = score_images(prediction_set(image([], [(*BOX, 0.9, CAR)])))
    assert (score.ap, score.ap_50, score.objects, score.detections) == (None, None, 0, 1)
    assert best_and_worst([score], 5) == ([], [])


@pytest.mark.parametrize(
    'gt, dt, ap, ap_50',
    [
        ([(*BOX, CAR)], [], 0, 0),
        ([(*BOX, CAR)], [(*BOX, 0.9, CAR)], 1, 1),
        ([(*BOX, CAR)], [(*BOX, 0.9, BUS)], 0, 0),
        ([(*BOX, CAR), (50, 50, 60, 60, BUS)], [(*BOX, 0.9, CAR)], 0.5, 0.5),
        # IoU 0.72: right at the five thresholds 0.50 to 0.70
        ([(*BOX, CAR)], [(0, 0, 10, 7.2, 0.9, CAR)], 0.5, 1),
        # a false detection of its class first; one of a class that is not there costs nothing
        ([(*BOX, CAR)], [(50, 50, 60, 60, 0.9, CAR), (*BOX, 0.8, CAR)], 0.5, 0.5),
        ([(*BOX, CAR)], [(50, 50, 60, 60, 0.9, BUS), (*BOX, 0.8, CAR)], 1, 1),
    ],
)
def test_by_hand(gt, dt, ap, ap_50):
    [score] = score_images(prediction_set(image(gt, dt)), score_thr=0.85)
    assert (score.ap, score.ap_50) == (pytest.approx(ap), pytest.approx(ap_50))
    assert score.objects == len(gt)


def test_parts_of_the_data_do_not_change_the_result(monkeypatch):
    images = [image([(*BOX, CAR)], [(*BOX, 0.5, k % 2)], image_id=k) for k in range(5)]
    whole = score_images(prediction_set(*images))
    monkeypatch.setattr(ranking_module, '_IMAGES_AT_ONCE', 2)
    assert score_images(prediction_set(*images)) == whole
    assert [score.ap for score in whole] == [1, 0, 1, 0, 1]


def test_limits_and_crowds():
    wrong, right = (50, 50, 60, 60, 0.9, CAR), (*BOX, 0.8, CAR)
    [score] = score_images(
        prediction_set(image([(*BOX, CAR)], [wrong, right], ignored=[(0, 0, 90, 90, BUS)])), max_dets=1
    )
    assert (score.ap, score.objects) == (0, 1), 'only the best detection counts; a crowd is no object'
    [score] = score_images(prediction_set(image([(*BOX, CAR)], [(50, 50, 60, 60, 0.9, CAR), right], ignored=[(50, 50, 60, 60, CAR)])))  # fmt: skip
    assert score.ap == 1, 'a detection in a crowd of its class costs nothing'
    [score] = score_images(prediction_set(image([], [right], ignored=[(*BOX, CAR)])), score_thr=0.8)
    assert (score.ap, score.objects, score.detections) == (None, 0, 1)
    [score] = score_images(prediction_set(image([], [right])), score_thr=0.81)
    assert score.detections == 0


def test_text():
    rows = [dict(image_id=k, path=f'{k}.jpg', ap=ap, objects=k) for k, ap in ((1, 0.5), (2, 0.25))]
    content = dict(best=[1], worst=[2, 1], mean_ap=0.375, images_without_objects=3, images=rows)
    assert ranking_module.ranking_text(content).splitlines() == [
        'best:', '  AP 0.500, 1 objects: 1.jpg', 'worst:', '  AP 0.250, 2 objects: 2.jpg', '  AP 0.500, 1 objects: 1.jpg',
        "mean of the images' own AP: 0.375; images without objects: 3",
    ]  # fmt: skip
    assert ranking_module.ranking_text(dict(content, best=[], worst=[], mean_ap=None)) == 'best:\nworst:'


def test_truth_on_the_left(tmp_path):
    cv2.imwrite(str(tmp_path / 'x.png'), np.zeros((60, 80, 3), np.uint8) + np.array([10, 20, 30], np.uint8))
    picture = image(
        [(10, 10, 30, 30, CAR)], [(40, 10, 60, 30, 0.5, BUS), (10, 40, 20, 50, 0.4, BUS)], ignored=[(2, 2, 6, 6, CAR)],
        path=str(tmp_path / 'x.png'),
    )  # fmt: skip
    predictions = prediction_set(picture)
    predictions.palette = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    drawn = ranking_module.draw_comparison(picture, predictions, 0.5)
    assert drawn.shape == (60, 160, 3) and drawn[55, 70].tolist() == [30, 20, 10], 'RGB'
    assert drawn[20, 9].tolist() == [200, 0, 0] and drawn[1, 1].tolist() == [170] * 3
    assert drawn[20, 80 + 39].tolist() == [0, 200, 0], 'at the threshold it is drawn'
    assert drawn[45, 80 + 9].tolist() == drawn[20, 80 + 9].tolist() == drawn[1, 81].tolist() == [30, 20, 10]


def test_order_and_ties():
    two = [(*BOX, CAR), (50, 50, 60, 60, CAR)]
    images = [
        image([(*BOX, CAR)], [], image_id='missed one'),
        image(two, [], image_id='missed two'),
        image([(*BOX, CAR)], [(*BOX, 0.9, CAR)], image_id='found one'),
    ]
    best, worst = best_and_worst(score_images(prediction_set(*images)), 2)
    assert [score.image_id for score in best] == ['found one', 'missed two']
    assert [score.image_id for score in worst] == ['missed two', 'missed one']
    with pytest.raises(ConfigError, match='positive'):
        best_and_worst([], 0)


def test_pictures_and_json(tmp_path):
    config, _ = write_coco_folder(tmp_path)
    predictions = load_prediction_set(load_config(config), write_coco_results(tmp_path))
    content = write_ranking(predictions, tmp_path / 'out', topk=1, show_score_thr=0.65)
    assert content['best'] == [1] and content['worst'] == [2] and content['mean_ap'] == pytest.approx(0.25)
    assert json.loads((tmp_path / 'out' / 'ranking.json').read_text()) == content
    assert [row['detections'] for row in content['images']] == [2, 1]
    assert [path.name for path in (tmp_path / 'out' / 'good').iterdir()] == ['001_0.500_1.jpg']
    picture = cv2.imread(str(tmp_path / 'out' / 'bad' / '001_0.000_2.jpg'))
    assert picture.shape[1] >= 2 * 60
