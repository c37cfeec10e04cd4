"""Configs by mmengine's names, ``mmdet::<family>/<file>``, which resolve through ``mmdet/.mim``."""

from pathlib import Path

import mmengine.hub
import pytest
from mmengine.config import Config

import mmdet
from mmdet.config import load_config
from mmdet.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_one_copy():
    """A checkout has links; an installed package has the files themselves."""
    inside = Path(mmdet.__file__).parent / '.mim'
    assert (inside / 'configs').resolve() == ROOT / 'configs' and (
        inside / 'model-index.yml'
    ).resolve() == ROOT / 'model-index.yml'


def test_bases_and_models(tmp_path):
    path = tmp_path / 'plugin.py'
    path.write_text("_base_ = 'mmdet::_base_/default_runtime.py'\nmodel = dict(type='X')\n")
    assert load_config(path).default_scope == 'mmdet' and load_config(path).model.type == 'X'
    path.write_text("_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'\nmodel = dict(bbox_head=dict(num_classes=3))\n")
    assert load_config(path).model.bbox_head.type == 'GFLHead' and load_config(path).model.bbox_head.num_classes == 3
    for name in ('gfl_r50_fpn_1x_coco', 'gfl_r50_fpn_ms-2x_coco'):
        own = Config.fromfile(ROOT / f'configs/gfl/{name}.py')
        found = mmengine.hub.get_config(f'mmdet::gfl/{name}.py', pretrained=True)
        weights = found.pop('model_path')
        assert found.to_dict() == own.to_dict() and weights.startswith('https://') and weights.endswith('.pth')
    path.write_text("_base_ = 'mmdet::gfl/no_such_config.py'\n")
    with pytest.raises(ConfigError, match='no_such_config'):
        load_config(path)
