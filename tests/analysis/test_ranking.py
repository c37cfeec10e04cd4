"""Images by their own AP."""

import json

import cv2
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
    monkeypatch.setattr(ranking_module, '_PAIRS_AT_ONCE', 2)
    assert score_images(prediction_set(*images)) == whole
    assert [score.ap for score in whole] == [1, 0, 1, 0, 1]


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
