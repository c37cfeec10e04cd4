"""Configs with Python keywords as keys can be written and read back."""

import pytest
from mmengine.config import Config

from mmdet.utils import load_config

BLOCKS = [
    {'class': 'ConvKXBNRELU', 'in': 3, 'out': 8, 'k': 3},
    {'class': 'X', 'in': 8, 'L': [1, 2], 'lambda': {'if': 1}},
]


@pytest.mark.parametrize(
    'content',
    [
        {},
        dict(a=1, b=dict(c=[1, dict(d='in')])),
        dict(model=dict(backbone=dict(structure=BLOCKS)), other=({'from': 'a'}, '@class')),
    ],
)
def test_text_reads_back_as_the_same_config(content, tmp_path):
    cfg = Config(content)
    path = tmp_path / 'config.py'
    path.write_text(cfg.pretty_text)
    assert Config.fromfile(path).to_dict() == cfg.to_dict() == content
    cfg.dump(tmp_path / 'dumped.py')
    assert (tmp_path / 'dumped.py').read_text() == cfg.pretty_text


def test_configs_with_a_structure_can_be_written(repository, tmp_path):
    cfg = load_config(repository / 'configs/maedet/maedet_s_6x_lr0.02.py')
    cfg.dump(tmp_path / 'maedet.py')
    assert load_config(tmp_path / 'maedet.py').model == cfg.model
