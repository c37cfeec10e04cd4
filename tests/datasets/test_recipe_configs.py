"""The configs of the recipes in the documentation give batches that a detector can be trained with."""

import re
from pathlib import Path

import pytest
from mmengine.runner import Runner

from mmdet.datasets import generate_drone_scenes
from mmdet.registry import HOOKS, MODELS
from mmdet.utils import load_config

REPOSITORY = Path(__file__).resolve().parents[2]
SECTION = re.search(r'\n## Recipes\n(.*?)\n## ', (REPOSITORY / 'docs/data_pipeline.md').read_text(), re.DOTALL).group(1)
RECIPES = dict(re.findall(r'\*\*([\w \-()]+)\.\*\*.*?```python\n(.*?)```', SECTION, re.DOTALL))


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    return generate_drone_scenes(
        tmp_path_factory.mktemp('scenes') / 'drone', num_train=8, num_val=1, size_wh=(320, 200), workers=1
    )


def test_all_are_found():
    assert len(RECIPES) == SECTION.count('```python') == 5


@pytest.mark.parametrize('name', RECIPES)
def test_recipe(tmp_path, scenes, name):
    path = tmp_path / 'recipe.py'
    path.write_text(RECIPES[name].replace("'demo/", f"'{REPOSITORY}/configs/demo/"))
    cfg = load_config(path)
    dataset = cfg.train_dataloader.dataset
    dataset.get('dataset', dataset).update(data_root=str(scenes), generate=None)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False, batch_size=2)
    for hook in cfg.custom_hooks:
        HOOKS.build(hook)
    batches = list(Runner.build_dataloader(cfg.train_dataloader, seed=1))
    assert len(batches) == 4 and sum(len(s.gt_instances) for batch in batches for s in batch['data_samples']) > 8
    model = MODELS.build(cfg.model).train()
    losses = model(**model.data_preprocessor(batches[-1], training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite() and all(
        p.grad is not None and p.grad.isfinite().all() for p in model.bbox_head.parameters()
    )
