"""UFPMP-Det out of two small stages: as one model, as one checkpoint, by the tools."""

import importlib.util
import json
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from mmdet.apis import (
    DetInferencer,
    build_sliced,
    build_ufpmp,
    composite_evaluation,
    evaluate_composite,
    inference_detector,
    init_detector,
)
from mmdet.apis.benchmark import build_model
from mmdet.apis.ufpmp import stage_scales
from mmdet.engine.checkpoint.converting import join_checkpoints
from mmdet.registry import MODELS
from mmdet.utils import CheckpointError, ConfigError, DataError
from mmdet.utils.timing import part_figures

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(96, 64), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]
CLASSES = ('dot', 'block')


@pytest.fixture(scope='module')
def stages(repository, tmp_path_factory):
    """Configs (a file each) and checkpoints of the two stages, random but with something to find."""
    folder = tmp_path_factory.mktemp('stages')
    base = Config.fromfile(repository / 'configs/_base_/models/gfl_small_fpn.py').model
    base.backbone.base_channels = base.backbone.stem_channels = 8
    base.neck.update(in_channels=[8, 16, 32, 64], out_channels=32)
    base.bbox_head.update(num_classes=2, in_channels=32, feat_channels=32, stacked_convs=1)
    base.test_cfg.update(score_thr=0.009, max_per_img=20)
    fine = base.copy()
    fine.bbox_head = ConfigDict(base.bbox_head, type='MPHead', num_words=4, proxies_list=[1, 2])
    made = {}
    for seed, (name, model_cfg) in enumerate((('coarse', base), ('fine', fine))):
        dataset = dict(type='CocoDataset', metainfo=dict(classes=CLASSES), pipeline=PIPELINE)
        cfg = Config(dict(default_scope='mmdet', model=model_cfg, test_dataloader=dict(dataset=dataset)))
        cfg.dump(folder / f'{name}.py')
        torch.manual_seed(seed)
        model = MODELS.build(cfg.model)
        if name == 'coarse':
            with torch.no_grad():
                model.bbox_head.gfl_cls.weight.mul_(20)
        torch.save(
            dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=CLASSES)), optimizer={}),
            folder / f'{name}.pth',
        )
        made[name] = (str(folder / f'{name}.py'), str(folder / f'{name}.pth'))
    return made


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Three images of different sizes and an annotation file with ids of several kinds; the last image has no object."""
    folder = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    images = []
    for image_id, (width, height) in (('first', (120, 90)), (5, (90, 120)), (2, (64, 64))):
        cv2.imwrite(str(folder / f'{image_id}.png'), rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        images.append(dict(id=image_id, file_name=f'{image_id}.png', width=width, height=height))
    annotations = [
        dict(id=k, image_id=image_id, category_id=k, bbox=[10, 10, 40, 30], area=1200, iscrowd=0)
        for k, image_id in ((1, 'first'), (2, 5))
    ]
    document = dict(
        images=images, annotations=annotations, categories=[dict(id=1, name='dot'), dict(id=2, name='block')]
    )
    (folder / 'ann.json').write_text(json.dumps(document))
    return folder


def full_config(stages) -> Config:
    """What configs/UFPMP-Det/ufpmp_det_res50.py is for the large stages."""
    parts = {
        name: dict(
            detector=dict(Config.fromfile(config).model, init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
            scale=(96, 64),
            flip=True,
        )
        for name, (config, checkpoint) in stages.items()
    }
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]
    dataset = dict(type='CocoDataset', metainfo=dict(classes=CLASSES), pipeline=pipeline)
    return Config(
        dict(default_scope='mmdet', model=dict(type='UFPMPDet', **parts), test_dataloader=dict(dataset=dataset))
    )


@pytest.fixture(scope='module')
def model(stages):
    return build_ufpmp(stages['coarse'][0], stages['fine'][0], stages['coarse'][1], stages['fine'][1], device='cpu')


def equal(found, expected):
    assert len(found.scores) == len(expected.scores) > 0
    torch.testing.assert_close(found.bboxes, expected.bboxes, rtol=0, atol=1e-3)
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-6)


def test_scales():
    def tta(*scales):
        views = [[dict(type='Resize', scale=scale) for scale in scales], [dict(type='RandomFlip', prob=1.0)]]
        return Config(dict(tta_pipeline=[dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=views)]))

    assert stage_scales(Config(dict(test_pipeline=PIPELINE))) == [(96, 64)]
    assert stage_scales(tta((96, 64), (128, 96))) == [(96, 64), (128, 96)]
    with pytest.raises(ConfigError, match='Resize'):
        stage_scales(Config(dict(test_pipeline=PIPELINE[:1])))


def test_one_model_by_four_ways(stages, model, data, tmp_path):
    """From two configs; from the joined checkpoint; from the checkpoints that a config names; by init_weights."""
    image = str(data / 'first.png')
    expected = inference_detector(model, image).pred_instances
    assert model.dataset_meta['classes'] == CLASSES

    lines = join_checkpoints(stages['coarse'][1], stages['fine'][1], tmp_path / 'joined.pth')
    assert any(line.startswith('coarse: GFL head, 2 classes') for line in lines)
    content = torch.load(tmp_path / 'joined.pth', weights_only=True)
    assert set(content) == {'meta', 'state_dict'} and {name.split('.')[0] for name in content['state_dict']} == {
        'coarse',
        'fine',
    }
    joined = init_detector(full_config(stages), str(tmp_path / 'joined.pth'), device='cpu')
    assert joined.dataset_meta['classes'] == CLASSES
    equal(inference_detector(joined, image).pred_instances, expected)

    named = init_detector(full_config(stages), device='cpu')
    equal(inference_detector(named, image).pred_instances, expected)

    fresh = MODELS.build(full_config(stages).model)
    fresh.init_weights()
    fresh.eval().cfg = full_config(stages)
    equal(inference_detector(fresh, image).pred_instances, expected)


def test_options_of_the_builders(stages):
    coarse, fine = stages['coarse'], stages['fine']
    model = build_ufpmp(
        coarse[0], fine[0], device='cpu', flip=False, batch_size=3, coarse_weight=0.5, on_empty='whole',
        cfg_options={'model.test_cfg.score_thr': 0.125},
    )  # fmt: skip
    assert (model.coarse_weight, model.on_empty, model.training) == (0.5, 'whole', False)
    for stage in (model.coarse, model.fine):
        assert (stage.scales, stage.flip, stage.batch_size) == ([(96, 64)], False, 3)
        assert stage.test_cfg.score_thr == 0.125
    sliced = build_sliced(*coarse, tile_wh=(50, 40), overlap=0.3, flip=False, batch_size=2, device='cpu')
    assert (sliced.tile_wh, sliced.overlap, sliced.stage.flip, sliced.stage.batch_size) == ((50, 40), 0.3, False, 2)
    assert sliced.whole == dict(scale=[(96, 64)], flip=False, batch_size=2) and sliced.max_per_img == 20
    assert sliced.nms == dict(sliced.stage.test_cfg.nms) and sliced.nms['class_agnostic'] is False
    assert sliced.dataset_meta['classes'] == CLASSES


def test_missing_and_wrong_checkpoints(stages, tmp_path):
    config = full_config(stages)
    config.model.fine.detector.init_cfg.checkpoint = str(tmp_path / 'nowhere.pth')
    with pytest.raises(CheckpointError, match=r'nowhere\.pth.*model\.fine\.detector\.init_cfg\.checkpoint'):
        init_detector(config, device='cpu')
    with pytest.raises(CheckpointError, match='does not fit'):
        build_ufpmp(stages['coarse'][0], stages['fine'][0], stages['coarse'][1], stages['coarse'][1], device='cpu')
    join_checkpoints(stages['coarse'][1], stages['fine'][1], tmp_path / 'joined.pth')
    with pytest.raises(CheckpointError, match='checkpoint of one detector'):
        join_checkpoints(tmp_path / 'joined.pth', stages['fine'][1], tmp_path / 'twice.pth')
    other = torch.load(stages['fine'][1], weights_only=True)
    other['meta']['dataset_meta']['classes'] = ('block', 'dot')
    torch.save(other, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='its classes are not'):
        join_checkpoints(stages['coarse'][1], tmp_path / 'other.pth', tmp_path / 'joined.pth')
    with pytest.raises(ConfigError, match='single detector'):
        build_ufpmp(full_config(stages), stages['fine'][0], device='cpu')


def test_sliced_detector_reads_the_checkpoint_of_its_detector(stages):
    config = full_config(stages)
    config.model = dict(type='SlicedDet', stage=config.model.coarse, tile_wh=(64, 64))
    model = init_detector(config, stages['coarse'][1], device='cpu')
    stored = torch.load(stages['coarse'][1], weights_only=True)['state_dict']
    assert torch.equal(model.stage.detector.neck.fpn_convs[0].conv.weight, stored['neck.fpn_convs.0.conv.weight'])
    # Its own checkpoint is read as it is.
    own = {f'stage.detector.{name}': value for name, value in stored.items()}
    assert model.adapt_state_dict(own, '') == [] and 'stage.detector.neck.fpn_convs.0.conv.weight' in own


def test_one_tile_is_the_detector_alone(stages):
    """The baseline without tiles gives the detections of the stage itself; its NMS goes class by class."""
    alone = build_sliced(*stages['coarse'], tile_wh=None, device='cpu')
    image = torch.zeros(3, 48, 64, dtype=torch.uint8)
    image[:, 10:20, 10:30] = 200
    expected = alone.stage([image])[0]
    found = alone.detect([image])[0]
    assert torch.equal(found.bboxes, expected.bboxes) and torch.equal(found.scores, expected.scores)
    assert alone.whole is None and alone.stage.test_cfg.nms.class_agnostic is False
    with pytest.raises(ConfigError, match='tile_wh'):
        build_sliced(*stages['coarse'], tile_wh=(0, 640), device='cpu')


def test_inferencer_on_images_and_video(stages, data, tmp_path):
    join_checkpoints(stages['coarse'][1], stages['fine'][1], tmp_path / 'joined.pth')
    inferencer = DetInferencer(full_config(stages), str(tmp_path / 'joined.pth'), device='cpu', show_progress=False)
    names = [str(data / f'{name}.png') for name in ('first', 5, 2)]
    alone = inferencer(names, batch_size=1)['predictions']
    together = inferencer(names, batch_size=3, out_dir=str(tmp_path / 'out'))['predictions']
    for one, other in zip(alone, together):
        np.testing.assert_allclose(one['bboxes'], other['bboxes'], atol=1e-2)
        np.testing.assert_allclose(one['scores'], other['scores'], atol=1e-5)
    assert len(alone[0]['scores']) > 0
    assert len(list((tmp_path / 'out/vis').glob('*.png'))) == 3

    writer = cv2.VideoWriter(str(tmp_path / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10, (64, 48))
    for grey in (50, 100, 150):
        writer.write(np.full((48, 64, 3), grey, dtype=np.uint8))
    writer.release()
    result = inferencer(str(tmp_path / 'clip.mp4'), batch_size=2)
    assert len(result['predictions']) == len(result['inputs']) == 3


def test_evaluation_counts_every_image_and_times_every_stage(model, data, tmp_path):
    report = evaluate_composite(
        model, str(data / 'ann.json'), str(data), num_warmup=1, outfile_prefix=str(tmp_path / 'run')
    )
    assert list(report.latency) == ['read', 'coarse', 'packing', 'mosaic', 'fine', 'merge', 'end to end']
    whole = report.latency['end to end']['mean_ms']
    assert (
        sum(figures['mean_ms'] for name, figures in report.latency.items() if name not in ('read', 'end to end'))
        <= whole
    )
    assert report.sizes['regions'] > 0 and report.sizes['mosaic_w'] > 0
    assert {'visdrone/AP', 'coco/bbox_mAP', 'coco/bbox_mAP_50'} <= set(report.metrics)
    assert len(list((tmp_path / 'run_txt').iterdir())) == 3
    text = str(report)
    assert 'VisDrone toolkit rules: AP ' in text and 'COCO rules, maxDets 500: mAP ' in text
    assert '2 batches of 1 after 1 of warm-up, float32, CPU' in text and 'coarse: 96x64, plain and flipped' in text
    assert not model.record_times

    batched = evaluate_composite(model, str(data / 'ann.json'), str(data), batch_size=2)
    assert batched.metrics == pytest.approx(report.metrics)


def test_evaluation_of_16_bit_images(model, data, tmp_path):
    for path in data.glob('*.png'):
        cv2.imwrite(str(tmp_path / path.name), cv2.imread(str(path)).astype(np.uint16) * 16)
    with pytest.raises(DataError, match='value_range'):
        evaluate_composite(model, str(data / 'ann.json'), str(tmp_path))
    options = dict(batch_size=3, value_range=(0, 255 * 16))
    deep = evaluate_composite(model, str(data / 'ann.json'), str(tmp_path), **options)
    assert deep.metrics == evaluate_composite(model, str(data / 'ann.json'), str(data), batch_size=3).metrics


class Timed(torch.nn.Module):
    """A composite detector that finds nothing and takes 0.6 s a batch, the first one 9 s."""

    def __init__(self, clock):
        super().__init__()
        self.weight, self.clock, self.dataset_meta = torch.nn.Parameter(torch.zeros(1)), clock, dict(classes=CLASSES)
        self.record_times, self.stage_times, self.stage_sizes = False, {'old': [1.0]}, {'old': [1.0]}

    def test_step(self, data):
        first = self.clock.calls == 0
        self.clock.calls += 1
        self.clock.now += 9.0 if first else 0.6
        if self.record_times:
            self.stage_times.setdefault('coarse', []).append(8.0 if first else 0.2)
            self.stage_sizes.setdefault('regions', []).extend([100 if first else 4] * len(data['inputs']))
        for sample in data['data_samples']:
            sample.pred_instances = InstanceData(
                bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0).long()
            )
        return data['data_samples']


@pytest.mark.parametrize(
    'batch_size, num_warmup, timed, read, coarse, whole, regions',
    [
        (1, 1, '2 batches of 1 after 1', 50, 200, 600, 4),
        (1, 9, '1 batches of 1 after 2', 50, 200, 600, 4),  # one batch at least is timed
        (2, 1, '1 batches of 2 after 1', 50, 100, 600, 4),  # the last batch has one image
        (3, 0, '1 batches of 3 after 0', 50, 8000 / 3, 3000, 100),
    ],
)
def test_times_and_sizes_without_the_warm_up(
    data, monkeypatch, batch_size, num_warmup, timed, read, coarse, whole, regions
):
    clock = SimpleNamespace(now=0.0, calls=0)

    def decoded(path, **options):
        clock.now += 0.05
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(composite_evaluation, 'time', SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(composite_evaluation, 'decode_image', decoded)
    model = Timed(clock)
    report = evaluate_composite(model, str(data / 'ann.json'), str(data), batch_size=batch_size, num_warmup=num_warmup)
    assert {stage: figures['mean_ms'] for stage, figures in report.latency.items()} == pytest.approx(
        {'read': read, 'coarse': coarse, 'end to end': whole}
    )
    assert report.sizes == {'regions': regions} and report.setting.startswith(timed)
    assert model.record_times is False


def test_truth_beside_the_stages(tmp_path, monkeypatch):
    """Boxes as corners; crowds are drawn as ignored regions; folders of images are kept."""
    boxes = [dict(id=k, image_id=7, category_id=1, bbox=[10 * k, 2, 5, 6], area=30, iscrowd=k) for k in (0, 1)]
    document = dict(
        images=[dict(id=k, file_name=f'seq/{k}.jpg', width=60, height=40) for k in (7, 8)], annotations=boxes,
        categories=[dict(id=1, name='dot'), dict(id=2, name='block')],
    )  # fmt: skip
    (tmp_path / 'ann.json').write_text(json.dumps(document))
    (tmp_path / 'seq').mkdir()
    for name in (7, 8):
        cv2.imwrite(str(tmp_path / f'seq/{name}.jpg'), np.zeros((40, 60, 3), np.uint8))
    seen = []

    def drawn(image, boxes, labels, classes, ignored):
        seen.append((boxes.tolist(), labels.tolist(), classes, ignored.tolist()))
        return image

    monkeypatch.setattr(composite_evaluation, 'draw_boxes', drawn)
    monkeypatch.setattr(composite_evaluation, 'draw_ufp_steps', lambda *args, **options: dict(merged=args[0]))
    model = Timed(None)
    model.predict_with_mosaic = lambda image: {}
    written = composite_evaluation.write_pictures(
        model, str(tmp_path / 'ann.json'), str(tmp_path), str(tmp_path / 'out'), 2
    )
    assert seen == [([[0, 2, 5, 8]], [0], CLASSES, [[10, 2, 15, 8]]), ([], [], CLASSES, [])]
    names = [f'seq/{image}_{part}.jpg' for image in (7, 8) for part in ('1_merged', '2_truth')]
    assert [str(path.relative_to(tmp_path / 'out')) for path in written] == names and all(
        path.is_file() for path in written
    )
    with pytest.raises(ConfigError, match='batch_size'):
        evaluate_composite(model, str(tmp_path / 'ann.json'), str(tmp_path), batch_size=0)
    document['images'][0]['file_name'] = '../seq/7.jpg'
    (tmp_path / 'ann.json').write_text(json.dumps(document))
    with pytest.raises(DataError, match='image 7: file_name: must lead into the image folder'):
        composite_evaluation.write_pictures(model, str(tmp_path / 'ann.json'), str(tmp_path), str(tmp_path / 'out'), 2)


def script(repository, path):
    spec = importlib.util.spec_from_file_location('script', repository / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_scripts_of_the_original(repository, stages, data, tmp_path, capsys):
    build = script(repository, 'UFPMP-Det-Tools/build_dataset/UFP_VisDrone2COCO.py')
    out = [str(tmp_path / 'mosaics'), str(tmp_path / 'mosaics.json')]
    build([*stages['coarse'], str(data), str(data / 'ann.json'), *out, '--device', 'cpu', '--workers', '1'])
    assert '3 mosaics' in capsys.readouterr().out
    document = json.loads((tmp_path / 'mosaics.json').read_text())
    assert [image['id'] for image in document['images']] == ['first', 5, 2]
    assert cv2.imread(str(tmp_path / 'mosaics/5.png')) is not None

    evaluate = script(repository, 'UFPMP-Det-Tools/eval_script/ufpmp_det_eval.py')
    evaluate([
        *stages['coarse'], *stages['fine'], str(data / 'ann.json'), str(data), '--device', 'cpu', '--num-warmup', '1',
        '--json', str(tmp_path / 'figures.json'), '--baselines', '--tile', '40', '40', '--show-dir', str(tmp_path / 'vis'),
        '--show', '2',
    ])  # fmt: skip
    printed = capsys.readouterr().out
    assert 'end to end' in printed
    assert [line.split()[0] for line in printed.splitlines()[-4:]] == ['method', 'coarse', 'sliced', 'UFPMP-Det']
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert figures['latency']['coarse']['p50_ms'] > 0
    assert list(figures['baselines']) == ['coarse', 'sliced'] and figures['baselines']['sliced']['sizes']['tiles'] > 1
    pictures = sorted(path.name for path in (tmp_path / 'vis').iterdir())
    assert pictures == [
        f'{image}_{step}.jpg' for image in ('2', '5', 'first') for step in ('1_regions', '2_mosaic', '3_merged', '4_truth')
        if image != '2'
    ]  # fmt: skip

    join = script(repository, 'tools/model_converters/join_ufpmp.py')
    join([stages['coarse'][1], stages['fine'][1], str(tmp_path / 'joined.safetensors')])
    assert 'joined.safetensors' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        evaluate([*stages['coarse'], *stages['fine'], str(tmp_path / 'none.json'), str(data), '--device', 'cpu'])
    assert 'no such file' in capsys.readouterr().err


def test_mosaics_of_uavdt(repository, stages, data, tmp_path, capsys):
    """Ignored areas of its annotation file are painted, and no boxes of the mosaics count them."""
    document = json.loads((data / 'ann.json').read_text())
    area = dict(id=9, image_id=2, category_id=1, bbox=[0, 0, 64, 64], area=4096, iscrowd=1, ignore=1)
    document['annotations'].append(area)
    (tmp_path / 'ann.json').write_text(json.dumps(document))
    build = script(repository, 'UFPMP-Det-Tools/build_dataset/UFP_UAVDT2COCO.py')
    arguments = [
        *stages['coarse'],
        str(data),
        str(tmp_path / 'ann.json'),
        str(tmp_path / 'out'),
        str(tmp_path / 'out.json'),
    ]
    build([*arguments, '--device', 'cpu', '--workers', '1', '--paint-ignored'])
    output = capsys.readouterr().out
    assert '3 mosaics' in output and 'ignored regions painted: 1' in output and 'of 2 boxes' in output
    assert cv2.imread(str(tmp_path / 'out/2.png')).max() == 0
    assert cv2.imread(str(tmp_path / 'out/5.png')).max() > 0
    made = json.loads((tmp_path / 'out.json').read_text())
    assert all(row.get('ignore') for row in made['annotations'] if row['image_id'] == 2)


def test_benchmark_tool_times_whole_images_and_stages_apart(repository, stages, tmp_path, capsys, monkeypatch):
    from mmdet.models.detectors import UFPMPDet

    recorded = []
    detect = UFPMPDet.detect

    def watched(self, images):
        recorded.append(self.record_times)
        return detect(self, images)

    monkeypatch.setattr(UFPMPDet, 'detect', watched)
    full_config(stages).dump(tmp_path / 'full.py')
    options = ['--device', 'cpu', '--shape', '40', '60', '--max-iter', '5', '--num-warmup', '2']
    monkeypatch.setattr('sys.argv', ['benchmark.py', str(tmp_path / 'full.py'), *options])
    script(repository, 'tools/benchmark.py')()
    output = capsys.readouterr().out
    assert '3 images, stage step' in output and 'coarse' in output and 'on average an image has regions' in output
    assert len(re.findall(r'^(coarse|packing|mosaic|fine|merge) ', output, re.MULTILINE)) == 5
    assert recorded == [False] * 5 + [True] * 3


def test_benchmark_splits_stages_and_fuses_both_detectors(stages):
    config = full_config(stages)
    torch.manual_seed(0)
    plain = build_model(config, device='cpu')
    fused = build_model(config, device='cpu', fuse=True)
    for model, layers in ((plain, True), (fused, False)):
        for stage in (model.coarse, model.fine):
            kinds = {type(module).__name__ for module in stage.detector.backbone.modules()}
            assert any('BatchNorm' in kind for kind in kinds) == layers
    plain.record_times = True
    for _ in range(3):
        plain.detect([torch.zeros(3, 40, 60, dtype=torch.uint8)])
    parts, sizes = part_figures(plain)
    assert list(parts) == ['coarse', 'packing', 'mosaic', 'fine', 'merge']
    assert len(plain.stage_times['coarse']) == 3 and set(sizes) == {'regions', 'mosaic_w', 'mosaic_h'}
    with pytest.raises(ConfigError, match='backbone'):
        from mmdet.apis.benchmark import fuse_backbones

        fuse_backbones(torch.nn.Linear(1, 1))


@pytest.mark.parametrize(
    'rank, world, share', [(0, 1, ['first', 5, 2]), (0, 2, ['first', 2]), (1, 2, [5]), (2, 4, [2])]
)
def test_each_process_evaluates_its_share(data, monkeypatch, rank, world, share):
    seen = []
    metric = SimpleNamespace(
        process=lambda _, samples: seen.extend(sample['img_id'] for sample in samples),
        evaluate=lambda size: {'size': size},
    )
    monkeypatch.setattr(composite_evaluation, 'VisDroneMetric', lambda *args, **options: metric)
    monkeypatch.setattr(composite_evaluation, 'get_dist_info', lambda: (rank, world))
    report = evaluate_composite(Timed(SimpleNamespace(now=0.0, calls=0)), str(data / 'ann.json'), str(data))
    assert seen == share and report.metrics == {'size': 3}, 'the metric knows the number of all images'
