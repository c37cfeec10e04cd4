"""What a coarse detector misses, displaces and invents, by hand."""

import numpy as np
import pytest

from mmdet.analysis.coarse_errors import coarse_errors
from mmdet.analysis.predictions import ImagePredictions, PredictionSet
from mmdet.datasets.transforms import ForegroundMosaic
from mmdet.utils import ConfigError


def image(objects=(), boxes=(), scores=(), ignored=()):
    truth, found = (np.array(rows, float).reshape(-1, 4) for rows in ([*objects, *ignored], boxes))
    flags = np.arange(len(truth)) >= len(objects)
    labels = np.zeros(len(truth), np.int64), np.ones(len(found), np.int64)
    return ImagePredictions(0, 'a.jpg', truth, labels[0], flags, found, np.array(scores, float), labels[1])


def errors(*images, **options):
    return coarse_errors(PredictionSet(('a', 'b'), list(images)), **options)


@pytest.mark.parametrize('images', [[], [image()], [image([[0, 0, 10, 10]])]])
def test_nothing_found(images):
    found = errors(*images)
    assert sum(found.missed) == sum(found.objects) == sum(len(each.gt_bboxes) for each in images)
    assert found.false_boxes.sum() == found.repeated == 0 and np.isnan(found.shift)
    assert 'nan' not in str(found)
    assert str(found).startswith(f'{len(images)} images')
    with pytest.raises(ConfigError, match='nothing|no detection'):
        found.config()


def test_pairs_repeats_and_false_boxes():
    """Three sizes; a box two pixels to the right and one lower of 20 x 10; one of twice the width; a repeated one, two false ones."""
    first = image(
        [[0, 0, 20, 10], [100, 100, 140, 140], [200, 200, 300, 300], [500, 0, 510, 10]],
        [[2, 1, 22, 11], [80, 100, 160, 140], [200, 200, 300, 300], [200, 200, 300, 290], [700, 700, 720, 720], [900, 900, 940, 940]],
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.1],
        ignored=[[890, 890, 1000, 1000]],
    )  # fmt: skip
    found = errors(first, image(boxes=[[0, 0, 5, 5]], scores=[0.4]))
    assert (found.images, found.objects, found.missed) == (2, (2, 1, 1), (1, 0, 0))
    assert found.drop == (0.5, 0, 0) and found.repeated == 1 and found.false_boxes.tolist() == [1, 1]
    assert found.shift == pytest.approx(np.sqrt((0.1**2 + 0.1**2) / 6))
    assert found.stretch == pytest.approx(np.sqrt(np.log(2) ** 2 / 6))
    assert found.true_scores.tolist() == [0.9, 0.8, 0.7] and found.false_scores.tolist() == [0.5, 0.4]
    assert '  missed below 32 x 32: 1 of 2 (50.0%)' in str(found) and 'false boxes: 1.0 an image' in str(found)
    settings = found.config()
    assert settings['drop'] == (0.5, 0, 0) and settings['false_boxes'] == (1, 1)
    ForegroundMosaic(**settings)

    strict = errors(first, score_thr=0.75, iou_thr=0.6)
    assert strict.missed == (1, 1, 1) and strict.true_scores.tolist() == [0.9]
    assert strict.false_boxes.tolist() == [1], 'the wide box, IoU 0.5, lies on nothing then'
    for options in (dict(score_thr=2), dict(iou_thr=0)):
        with pytest.raises(ConfigError, match='iou_thr'):
            errors(first, **options)


def test_a_size_without_objects_has_the_rate_of_all():
    found = errors(image([[0, 0, 20, 10], [50, 50, 60, 60]], [[0, 0, 20, 10]], [0.9]))
    assert found.drop == (0.5, 0.5, 0.5)
