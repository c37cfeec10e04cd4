"""The measurements of transformers' detectors: their windows, configs and looks. The trainings and tests are the tools'."""

import json

import cv2
import numpy as np
import pytest
import torch

from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from tests.models.transformers_case import needs_transformers


@pytest.fixture
def script(monkeypatch, repository):
    monkeypatch.syspath_prepend(str(repository / 'benchmarks'))
    import transformer_detectors

    return transformer_detectors


def scene(number: int, boxes: list[list[float]]) -> tuple[dict, list[dict]]:
    rows = [dict(image_id=number, category_id=1, bbox=box, iscrowd=0) for box in boxes]
    return dict(id=number, file_name=f'{number}.png', width=320, height=256), rows


def test_windows(script, monkeypatch, tmp_path):
    """The place with most objects; boxes end at its border, and specks there are none. Scenes of few objects, or of too many, give none."""
    row = [[160 + 20 * i, 100, 16, 16] for i in range(6)]
    scenes = [scene(0, row[:4]), scene(1, row), scene(2, [[200, 100, 9, 9]] * 41)]
    folder = tmp_path / 'scenes'
    (folder / 'annotations').mkdir(parents=True)
    (folder / 'train/images').mkdir(parents=True)
    for entry, _ in scenes:
        cv2.imwrite(
            str(folder / 'train/images' / entry['file_name']), np.full((256, 320, 3), 90 + entry['id'], np.uint8)
        )
    content = dict(
        images=[entry for entry, _ in scenes], annotations=[box for _, rows in scenes for box in rows], categories=[]
    )
    (folder / 'annotations/train.json').write_text(json.dumps(content))
    monkeypatch.setattr(script, 'generate_drone_scenes', lambda *args, **options: folder)
    script.write_windows(tmp_path)
    found = json.loads((tmp_path / 'train.json').read_text())
    assert [entry['file_name'] for entry in found['images']] == ['0.png']
    # The window begins at 160, the first place of the grid from which all six are seen.
    assert [box['bbox'] for box in found['annotations']] == [[20 * i, 100, 16, 16] for i in range(6)]
    image = cv2.imread(str(tmp_path / '0.png'))
    assert image.shape == (128, 128, 3) and (image == 91).all()


@needs_transformers
def test_every_class_has_a_config(script, monkeypatch, tmp_path):
    register_all_modules()
    monkeypatch.setattr(script, 'write_windows', lambda root: None)
    assert set(script.RATES) == set(script.TINY)
    for kind in script.TINY:
        cfg = script.learning_config(tmp_path, kind)
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
        assert 0.3e6 < sum(p.numel() for p in model.parameters()) < 1.1e6
        assert cfg.train_dataloader.dataset.ann_file == 'train.json' and model.input_size_hw((128, 128)) == (128, 128)


@needs_transformers
def test_looks(script, tmp_path):
    """All looks share one detector and its weights."""
    register_all_modules()
    for kind in ('gfl', 'd_fine'):
        cfg = script.drone_config(tmp_path, kind, 3, (4, 2), rate=0.25)
        assert cfg.optim_wrapper.optimizer.lr == dict(gfl=2e-3, d_fine=0.25)[kind]  # GFL's is that of the demo
        assert cfg.param_scheduler[1].end == cfg.train_cfg.max_epochs == 3
        for look in script.LOOKS:
            with torch.device('meta'):
                model = MODELS.build(script.looking(cfg.model.to_dict(), look))
            assert model.only_detector in ('coarse.detector.', 'stage.detector.')
