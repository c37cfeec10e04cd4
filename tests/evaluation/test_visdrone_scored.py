"""The UFPMP-Det author's own predictions on VisDrone val give the known numbers (COCO protocol, maxDets 500)."""

import numpy as np
import pytest

from mmdet.evaluation import Detections, GroundTruth, evaluate_boxes

CLASSES = ('pedestrian', 'people', 'bicycle', 'car', 'van', 'truck', 'tricycle', 'awning-tricycle', 'bus', 'motor')


def read_table(folder, separator):
    """Rows x, y, w, h, score, category of all files, with the file's number first; categories 1-10 only."""
    rows = []
    for number, path in enumerate(sorted(folder.glob('*.txt'))):
        for line in path.read_text().split('\n'):
            if line.strip():
                rows.append([number, *map(float, line.split(separator)[:6])])
    rows = np.array(rows)  # (N, 7)
    return rows[(rows[:, 6] >= 1) & (rows[:, 6] <= 10)]


@pytest.fixture(scope='module')
def tables(sample_data):
    folder = sample_data / 'visdrone_val_scored'
    if not folder.is_dir():
        pytest.skip(f'no {folder}')
    gt, dt = read_table(folder / 'annotations', ','), read_table(folder / 'predictions', ' ')
    assert len(gt) == 38759 and len(dt) == 138939
    return GroundTruth(gt[:, 0], gt[:, 6] - 1, gt[:, 1:5]), Detections(
        dt[:, 0], dt[:, 6] - 1, dt[:, 1:5], score=dt[:, 5]
    )


def test_published_predictions(tables):
    result = evaluate_boxes(*tables, num_images=548, num_classes=10, max_dets=(10, 100, 500))

    def percent(value):
        return round(100 * value, 1)

    assert [percent(result.ap(thr)) for thr in (None, 0.5, 0.75)] == [35.6, 57.0, 37.7]
    assert [percent(result.ap(area=area)) for area in ('small', 'medium', 'large')] == [27.2, 46.8, 57.9]
    assert [percent(result.ar(max_dets=limit)) for limit in (10, 100, 500)] == [39.7, 50.9, 51.0]
    assert [round(100 * result.ap(max_dets=limit), 3) for limit in (500, 100)] == [35.590, 35.585]
    by_class = dict(zip(CLASSES, (percent(result.ap(label=label)) for label in range(10))))
    assert by_class == {
        'pedestrian': 33.7,
        'people': 24.2,
        'bicycle': 20.5,
        'car': 63.7,
        'van': 44.9,
        'truck': 36.9,
        'tricycle': 26.4,
        'awning-tricycle': 17.2,
        'bus': 55.8,
        'motor': 32.5,
    }
