"""The configs of transformers' detectors: structures of the published models, rates of their parts, schedules, the weights that are named."""

import pytest

import mmdet.engine  # noqa: F401  (registers the constructors)
from mmdet.apis.known_models import indexed_models
from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmdet.utils import register_all_modules
from tests.configs.test_configs import CONFIGS, NAMES, build, config
from tests.models.transformers_case import needs_transformers

# Parameters of the structure with 80 classes; learning rates and decays of the groups, as published.
COCO = {
    'dfine_n_8xb16-160e_coco': (3_782_693, {(4e-4, 1e-4), (4e-4, 0), (8e-4, 1e-4), (8e-4, 0)}),
    'dfine_s_4xb8-132e_coco': (10_321_877, {(1e-4, 1e-4), (1e-4, 0), (2e-4, 1e-4), (2e-4, 0)}),
    'dfine_m_4xb8-132e_coco': (19_590_064, {(2e-5, 1e-4), (2e-5, 0), (2e-4, 1e-4), (2e-4, 0)}),
    'deimv2_n_4xb8-160e_coco': (3_617_189, {(4e-4, 1e-4), (4e-4, 0), (8e-4, 1e-4), (8e-4, 0)}),
    'deimv2_s_4xb8-132e_coco': (9_820_158, {(2.5e-5, 1e-4), (2.5e-5, 0), (5e-4, 1e-4), (5e-4, 0)}),
    'rf_detr_n_1xb4-100e_coco': (30_427_720, None),
    'rf_detr_s_1xb4-100e_coco': (32_071_592, None),
    'rtdetrv2_r18vd_4xb4-120e_coco': (20_184_464, {(1e-4, 1e-4), (1e-4, 0)}),
    'rtdetrv2_r50vd_4xb4-72e_coco': (42_944_620, {(1e-5, 1e-4), (1e-5, 0), (1e-4, 1e-4), (1e-4, 0)}),
}
# Rates and decays from the ViT's embeddings up: the rate of the decoder is 0.7 of the rest's, that of the ViT's top 1.5 * 0.7 ** 2.
RF_DETR = {
    'backbone.backbone.embeddings.cls_token': (1e-4 * 1.5 * 0.49 * 0.8**14, 0),
    'backbone.backbone.encoder.layer.0.norm1.weight': (1e-4 * 1.5 * 0.49 * 0.8**13, 0),
    'backbone.backbone.encoder.layer.11.mlp.fc2.bias': (1e-4 * 1.5 * 0.49 * 0.8**2, 0),
    'backbone.backbone.encoder.layer.11.mlp.fc2.weight': (1e-4 * 1.5 * 0.49 * 0.8**2, 1e-4),
    'backbone.backbone.encoder.layer.11.layer_scale2.lambda1': (1e-4 * 1.5 * 0.49 * 0.8**2, 1e-4),
    'backbone.backbone.layernorm.weight': (1e-4 * 1.5 * 0.49, 0),
    'backbone.projector.projector_layer.conv1.conv.weight': (1e-4, 1e-4),
    'decoder.layers.0.mlp.fc1.weight': (0.7e-4, 1e-4),
    'query_feat.weight': (1e-4, 1e-4),
}


def transformers_configs(ending: str) -> list[str]:
    found = [name for name in NAMES if name.startswith('transformers/') and name.endswith(ending)]
    return [name for name in found if config(name).model.type == 'TransformersDetector']


def groups_of(cfg, model) -> list[dict]:
    """The optimizer's groups, without mixed precision, which needs no other groups."""
    wrapper = dict(cfg.optim_wrapper, type='OptimWrapper')
    constructor = dict(
        type=wrapper.pop('constructor'), paramwise_cfg=wrapper.pop('paramwise_cfg'), optim_wrapper_cfg=wrapper
    )
    return OPTIM_WRAPPER_CONSTRUCTORS.build(constructor)(model).optimizer.param_groups


def test_every_model_is_in_the_tables():
    assert {name.partition('/')[2].removesuffix('.py') for name in transformers_configs('_coco.py')} == set(COCO)
    assert len(transformers_configs('_visdrone.py')) == len(COCO)


def test_parameters_and_files_of_the_index():
    index = {model.name: model for model in indexed_models()}
    assert {name: index[name].parameters for name in COCO} == {
        name: round(count / 1e6, 2) for name, (count, _) in COCO.items()
    }
    assert {index[name].license for name in COCO if index[name].hub} == {'Apache-2.0'}
    for name in COCO:
        text = (CONFIGS / f'transformers/{name}.py').read_text(encoding='utf-8')
        assert (index[name].hub or 'No file of it is in the library') in text


@needs_transformers
@pytest.mark.parametrize('name', COCO)
def test_structure_and_rates(name):
    """Built without memory; each key of the rates names parameters, or the constructor would refuse it."""
    register_all_modules()
    parameters, rates = COCO[name]
    cfg = config(f'transformers/{name}.py')
    model = build(cfg.model, 'meta')
    assert sum(p.numel() for p in model.parameters()) == parameters
    groups = groups_of(cfg, model)
    if rates is not None:
        assert {(round(group['lr'], 9), group['weight_decay']) for group in groups} == rates
    else:
        named = dict(model.model.model.named_parameters())
        found = {id(p): (group['lr'], group['weight_decay']) for group in groups for p in group['params']}
        for key, expected in RF_DETR.items():
            assert found[id(named[key])] == pytest.approx(expected), key
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=0.1, norm_type=2)


@needs_transformers
def test_biases_and_norms_of_the_vit_of_deimv2_are_not_decayed():
    register_all_modules()
    cfg = config('transformers/deimv2_s_4xb8-132e_coco.py')
    model = build(cfg.model, 'meta')
    decays = {id(p): group['weight_decay'] for group in groups_of(cfg, model) for p in group['params']}
    vit = {name: decays.get(id(p)) for name, p in model.model.model.conv_encoder.backbone.named_parameters()}
    assert {name for name, decay in vit.items() if decay == 0} == {
        name for name in vit if name.endswith('.bias') or 'norm' in name
    }
    assert [name for name, decay in vit.items() if decay is None] == ['embeddings.mask_token']


@pytest.mark.parametrize('name', transformers_configs('_visdrone.py'))
def test_visdrone(name):
    """Ten classes, up to 500 detections, ratios kept; more queries where the weights allow them: those of RF-DETR are parameters."""
    cfg = config(name)
    model = cfg.model
    assert (model.num_classes, model.test_cfg.max_per_img) == (10, 500)
    assert model.model.num_queries == (300 if 'rf_detr' in name else 500)
    # The authors' probability of a class at the start; that of the library is 1 / 11 for ten classes.
    assert model.model.get('initializer_bias_prior_prob') == (None if 'rf_detr' in name else 0.01)
    assert cfg.train_pipeline[-3] == dict(
        type='RandomResize', scale=(1024, 768), ratio_range=(0.75, 1.25), keep_ratio=True
    )
    assert cfg.train_cfg.max_epochs == 72 and cfg.custom_hooks[1].switch_epoch == 64


# Epochs; at which the pipeline changes: to mosaics and mixtures, back, to the plain one.
@pytest.mark.parametrize(
    ('name', 'epochs', 'switches'),
    [
        ('dfine_n_8xb16-160e_coco', 160, [148]), ('dfine_s_4xb8-132e_coco', 132, [120]), ('dfine_m_4xb8-132e_coco', 132, [120]),
        ('deimv2_n_4xb8-160e_coco', 160, [4, 78, 148]), ('deimv2_s_4xb8-132e_coco', 132, [4, 64, 120]), ('rf_detr_n_1xb4-100e_coco', 100, []),
        ('rf_detr_s_1xb4-100e_coco', 100, []), ('rtdetrv2_r18vd_4xb4-120e_coco', 120, [117]), ('rtdetrv2_r50vd_4xb4-72e_coco', 72, [71]),
    ],
)  # fmt: skip
def test_schedules(name, epochs, switches):
    cfg = config(f'transformers/{name}.py')
    ema, *hooks = cfg.custom_hooks
    assert cfg.train_cfg.max_epochs == epochs and [hook.switch_epoch for hook in hooks] == switches
    assert ema.type == 'EMAHook' and ema.priority < 50  # before the checkpoint hook
    kinds = [{step.type for step in hook.switch_pipeline} for hook in hooks]
    if len(kinds) == 3:
        assert 'CachedMixUp' in kinds[0] and 'Expand' in kinds[1]
        assert cfg.param_scheduler[1].end == switches[2] and cfg.param_scheduler[1].begin == switches[1]
    if kinds:
        assert not kinds[-1] & {'PhotoMetricDistortion', 'Expand', 'RandomApply', 'CachedMixUp'}
    augments = cfg.model.data_preprocessor.get('batch_augments') or []
    assert all(augment.get('stop_epoch') == (switches[-1] if switches else None) for augment in augments)
