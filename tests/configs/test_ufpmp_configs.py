"""The values that UFPMP-Det's configs must have, and that the two-stage configs hold the very models of the stages."""

import pytest

from mmdet.apis.testing import default_tta_pipeline
from mmdet.apis.ufpmp import stage_scales
from mmdet.utils import load_config

CLASSES = ('pedestrian', 'people', 'bicycle', 'car', 'van', 'truck', 'tricycle', 'awning-tricycle', 'bus', 'motor')
PROXIES = [2, 3, 2, 5, 4, 8, 8, 4, 3, 3]
# classes, proxies, beta, scale, class-agnostic NMS, batch, repetitions, depth
SHEET = {
    'coarse_det': (10, None, None, (1333, 800), True, 4, 5, 50),
    'mp_det_res50': (10, PROXIES, 0, (1333, 1333), False, 4, 5, 50),
    'mp_det_res101': (10, PROXIES, 0, (1333, 1333), False, 4, 5, 101),
    'mp_det_x101_ms': (10, PROXIES, 0, (1333, 1333), False, 4, 5, 101),
    'UAVDT_coarse_det': (3, None, None, (1024, 540), True, 8, 3, 50),
    'uavdt_mp_det_res50': (3, [4, 4, 4], 1, (540, 540), False, 8, 3, 50),
}


@pytest.fixture(scope='module')
def config(repository):
    return lambda name: load_config(repository / f'configs/UFPMP-Det/{name}.py')


@pytest.mark.parametrize('name', SHEET)
def test_values_of_the_sheet(config, name):
    classes, proxies, beta, scale, agnostic, batch, times, depth = SHEET[name]
    cfg = config(name)
    head, test_cfg = cfg.model.bbox_head, cfg.model.test_cfg
    assert (head.type, head.num_classes) == ('GFLHead' if proxies is None else 'MPHead', classes)
    assert (head.get('proxies_list'), head.get('beta')) == (proxies, beta)
    if proxies is not None:
        assert (head.num_words, head.gamma) == (200, 10)
        assert cfg.default_hooks.optimal_transport == dict(
            type='OptimalTransportHook', interval=2000, start_emb=2, end_estimating=8
        )
    assert 'optimal_transport' in cfg.default_hooks or proxies is None
    assert cfg.model.backbone.depth == depth
    assert test_cfg == dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05, max_per_img=500,
        nms=dict(type='nms', iou_threshold=0.6, **({'class_agnostic': True} if agnostic else {})),
    )  # fmt: skip
    assert cfg.model.train_cfg.assigner == dict(type='ATSSAssigner', topk=9)
    assert cfg.tta_model.tta_cfg == dict(nms=test_cfg.nms, max_per_img=500)

    loader = cfg.train_dataloader
    assert (loader.batch_size, loader.num_workers) == (batch, 2)
    assert (loader.dataset.type, loader.dataset.times) == ('RepeatDataset', times)
    steps = [step.type for step in loader.dataset.dataset.pipeline]
    assert steps == ['LoadImageFromFile', 'LoadAnnotations', 'Resize', 'RandomFlip', 'Albu', 'PackDetInputs']
    assert loader.dataset.dataset.pipeline[2].scale == cfg.test_dataloader.dataset.pipeline[1].scale == scale
    assert len(loader.dataset.dataset.metainfo.classes) == classes
    assert cfg.test_evaluator.max_dets == 500 or cfg.test_evaluator.type == 'VisDroneMetric'

    optimizer = cfg.optim_wrapper
    assert optimizer.optimizer == dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
    assert optimizer.clip_grad == dict(max_norm=10, norm_type=2)
    warmup, steps = cfg.param_scheduler
    assert (warmup.start_factor, warmup.end, steps.milestones, cfg.train_cfg.max_epochs) == (0.001, 500, [8, 11], 12)
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=batch)
    for evaluator, part in ((cfg.val_evaluator, cfg.val_dataloader), (cfg.test_evaluator, cfg.test_dataloader)):
        assert evaluator.ann_file == part.dataset.data_root + part.dataset.ann_file


def test_augmentation(config):
    albu = config('coarse_det').albu
    shift, contrast, colour, jpeg, shuffle, blur = albu.transforms
    assert (shift.shift_limit, shift.scale_limit, shift.rotate_limit, shift.p) == (0.0625, 0.1, 45, 0.5)
    assert shift.border_mode == 0  # black, no mirrored objects
    assert (contrast.brightness_limit, contrast.contrast_limit, contrast.p) == ([0.1, 0.3], [0.1, 0.3], 0.2)
    assert ([part.type for part in colour.transforms], colour.p) == (['RGBShift', 'HueSaturationValue'], 0.1)
    assert (jpeg.quality_range, jpeg.p, shuffle.p) == ((85, 95), 0.2, 0.1)
    assert ([(part.type, part.blur_limit) for part in blur.transforms], blur.p) == (
        [('Blur', 3), ('MedianBlur', 3)],
        0.1,
    )
    assert albu.skip_img_without_anno and albu.bbox_params.min_visibility == 0
    assert 'after_normalize' not in albu
    original, preprocessor = config('coarse_det').albu_original, config('coarse_det').model.data_preprocessor
    assert original.transforms[0] == dict(shift, border_mode=4)
    assert original.transforms[1:] == albu.transforms[1:] and original.bbox_params == albu.bbox_params
    assert original.after_normalize == dict(
        mean=preprocessor.mean, std=preprocessor.std, to_rgb=preprocessor.bgr_to_rgb
    )


def without(model, *keys):
    return {key: value for key, value in model.items() if key not in keys}


@pytest.mark.parametrize(
    ('name', 'coarse', 'fine'),
    [
        ('ufpmp_det_res50', 'coarse_det', 'mp_det_res50'),
        ('ufpmp_det_res101', 'coarse_det', 'mp_det_res101'),
        ('ufpmp_det_x101_ms', 'coarse_det', 'mp_det_x101_ms'),
        ('uavdt_ufpmp_det_res50', 'UAVDT_coarse_det', 'uavdt_mp_det_res50'),
        ('ufpmp_det_small', 'coarse_det_small', 'mp_det_small'),
    ],
)
def test_both_stages_are_the_models_that_are_trained(config, name, coarse, fine):
    both = config(name)
    for stage, single in ((both.model.coarse, config(coarse)), (both.model.fine, config(fine))):
        trained = without(single.model, 'train_cfg')
        for part in trained.values():
            if isinstance(part, dict):
                part.pop('init_cfg', None)
        assert without(stage.detector, 'init_cfg') == trained, name
        scales = stage.scale if isinstance(stage.scale, list) else [stage.scale]
        assert scales == stage_scales(single) and stage.flip
        assert stage.detector.init_cfg.checkpoint.startswith('work_dirs/')
    epochs = [config(single).train_cfg.max_epochs for single in (coarse, fine)]
    assert both.model.coarse.detector.init_cfg.checkpoint == f'work_dirs/{coarse}/epoch_{epochs[0]}.pth'
    assert both.model.fine.detector.init_cfg.checkpoint == f'work_dirs/{fine}/epoch_{epochs[1]}.pth'
    assert both.model.ufp == dict(scale=1.5, mode='reference', packing='guillotine')
    assert (both.model.nms.iou_threshold, both.model.nms.offset, both.model.min_overlap) == (0.6, 1, 0.9)
    assert both.train_dataloader is None and both.val_dataloader is None


@pytest.mark.parametrize('name', ['ufpmp_det_res50', 'sliced_det_res50', 'sliced_det_small'])
def test_tested_in_full_resolution_by_both_rules(config, name):
    cfg = config(name)
    assert [step.type for step in cfg.test_dataloader.dataset.pipeline] == ['LoadImageFromFile', 'PackDetInputs']
    assert cfg.test_dataloader.dataset.data_prefix.img == 'VisDrone2019-DET-val/images/'
    assert (cfg.test_evaluator.type, cfg.test_evaluator.max_dets) == ('VisDroneMetric', 500)
    assert cfg.test_evaluator.proposal_nums == (10, 100, 500)
    assert cfg.metainfo.classes == CLASSES


def test_flip_test_of_a_single_stage(config):
    """--tta builds one flipped view beside the plain one, and six views for the multi-scale config."""
    pipeline = default_tta_pipeline(config('mp_det_res50').test_dataloader.dataset.pipeline)
    assert [len(step) for step in pipeline[-1]['transforms']][:2] == [1, 2]
    scales, flips = config('mp_det_x101_ms').tta_pipeline[1].transforms[:2]
    assert [step.scale for step in scales] == [(1000, 1000), (1333, 1333), (1666, 1666)] and len(flips) == 2


def test_layout_of_the_reference(tmp_path, repository):
    """docs/ufpmp_det.md: a data set prepared for the reference's code, by a config of a few lines."""
    text = (repository / 'docs/ufpmp_det.md').read_text(encoding='utf-8')
    recipe = text.partition('# reference_layout.py')[2].partition('```')[0]
    path = tmp_path / 'reference_layout.py'
    path.write_text(recipe.replace('configs/', f'{repository}/configs/'))
    cfg = load_config(path)
    dataset = cfg.train_dataloader.dataset.dataset
    assert (dataset.data_root, dataset.ann_file) == ('/data/UAV/', 'annotations/instances_UAVtrain.json')
    assert dataset.data_prefix.img == 'images/UAVtrain/'
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file == '/data/UAV/annotations/instances_UAVval.json'
    assert cfg.test_dataloader.dataset.data_prefix.img == 'images/UAVval/'


@pytest.mark.parametrize(
    ('name', 'head'), [('ufpmp_shared_gfl_r50', 'coarse_det'), ('ufpmp_shared_mp_r50', 'mp_det_res50')]
)
def test_one_detector_is_trained_as_the_two(config, name, head):
    """Its network and its sizes are those of the two-stage configs; it is trained from the .txt files, and validated as both stages."""
    shared, single = config(name), config(head)
    assert shared.model.coarse.detector.bbox_head == single.model.bbox_head
    assert 'train_cfg' in shared.model.coarse.detector and shared.model.fine == dict(scale=(1333, 1333))
    assert shared.model.coarse.test_cfg.nms == config('coarse_det').model.test_cfg.nms
    assert shared.default_hooks.get('optimal_transport') == single.default_hooks.get('optimal_transport')
    images = shared.train_dataloader.dataset.dataset
    assert (
        images.ann_file.endswith('annotations/')
        and images.border_margin == 10
        and shared.train_dataloader.batch_sampler is None
    )
    (whole,), (mosaic, resize) = images.pipeline[2].transforms
    assert whole.scale == shared.model.coarse.scale == (1333, 800) and resize.scale == shared.model.fine.scale
    assert mosaic.type == 'ForegroundMosaic' and mosaic.ufp == shared.model.ufp
    for loader in (shared.val_dataloader, shared.test_dataloader):
        assert [step.type for step in loader.dataset.pipeline] == ['LoadImageFromFile', 'PackDetInputs']
    assert shared.val_evaluator.type == 'VisDroneMetric' and shared.val_evaluator.proposal_nums == (10, 100, 500)
