"""NanoDet against numbers of RangiLyu/nanodet: outputs, losses, gradients, detections, checkpoints; weights and inputs by formula."""

import copy
import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.apis import inference_detector, init_detector
from mmdet.engine.checkpoint import load_checkpoint_file, load_into
from mmdet.engine.checkpoint.converting import convert_checkpoint, write_checkpoint
from mmdet.errors import ConfigError, ModelInputError
from mmdet.models.detectors import nanodet
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import load_config
from tests.detector_case import train_with_fixed_norms
from tests.reference_fill import fill_state_dict, statistics, tensor, u
from tests.reference_keys import reference_keys
from tests.tools.tiny_project import metrics_of, run_tool

HEIGHT, WIDTH = 192, 256
META = dict(img_shape=(HEIGHT, WIDTH), pad_shape=(HEIGHT, WIDTH), ori_shape=(HEIGHT, WIDTH), scale_factor=(1.0, 1.0))
BOXES = torch.tensor([[12.5, 20.25, 96, 110.5], [100, 8, 131.5, 44], [140, 60, 250, 180], [40, 130, 58, 150]])
G1 = InstanceData(bboxes=BOXES, labels=torch.tensor([3, 17, 0, 56]))
TINY = InstanceData(bboxes=torch.tensor([[1.0, 1, 7, 7]]), labels=torch.tensor([5]))
# Network: parameters here, those of the published file that are dropped (box predictors that it does not use).
PARAMETERS = {
    'nanodet_g': (3_805_656, 17_028), 'nanodet_m': (959_348, 9_312), 'nanodet_m-0.5x': (280_368, 9_312),
    'nanodet_m-1.5x': (2_077_776, 12_384), 'nanodet_plus-m': (4_330_904, 0), 'nanodet_efficientnet-lite0': (3_109_136, 9_312),
    'nanodet_repvgg-a0': (7_404_408, 17_028), 'nanodet_t': (1_360_404, 12_384),
}  # fmt: skip


def built(repository, config):
    cfg = load_config(repository / 'configs/nanodet' / f'{config}.py').model
    cfg.backbone.init_cfg = None
    return MODELS.build(cfg).eval()


def published(name):
    """A state dict with the names of the published files."""
    shapes = {key: shape for key, shape in reference_keys(name).items() if not key.endswith('project')}
    return fill_state_dict({key: torch.zeros(shape) for key, shape in shapes.items()})


@pytest.fixture(scope='module')
def networks(repository):
    """By name: config, image size, and rows of outputs."""
    found = {}
    for line in (repository / 'tests/assets/nanodet_networks.txt').read_text().splitlines()[2:]:
        first, *rest = line.split()
        if first == '#':
            name, config, *size = rest
            found[name] = (config, tuple(map(int, size)), rows := {})
        else:
            rows[first] = (tuple(map(int, rest[0].split('x'))), tuple(map(float, rest[1:])))
    return found


@pytest.fixture(scope='module')
def model_of(repository, networks):
    """A detector with the weights by formula, by name; each is built once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = built(repository, networks[name][0])
            load_into(made[name], published(name), strict=True)
        return made[name]

    return get


def outputs(model, size):
    """The raw outputs of every part, by the names of the reference."""
    found, names = {}, ('conv1', 'maxpool', 'stage2', 'stage3', 'stage4')
    parts = [(name, getattr(model.backbone, name)) for name in names if hasattr(model.backbone, name)]
    parts += [(f'stage{i}', stage) for i, stage in enumerate(getattr(model.backbone, 'stages', []))]
    for name, part in parts:
        part.register_forward_hook(lambda _, inputs, output, name=name: found.update({name: output}))
    with torch.no_grad():
        maps = model.backbone(tensor((1, 3, *size), 7, 2.0))
        pyramid = model.neck(maps)
        listed = [('C', maps), ('P', pyramid), *zip(('cls', 'reg'), model.bbox_head(pyramid))]
        if getattr(model, 'aux_fpn', None) is not None:
            beside = model.aux_fpn(maps)
            pairs = tuple(torch.cat(pair, 1) for pair in zip(pyramid, beside))
            listed += [('auxP', beside), *zip(('auxcls', 'auxreg'), model.aux_head(pairs))]
    return found | {f'{name}{i}': level for name, levels in listed for i, level in enumerate(levels, start=3)}


@pytest.mark.parametrize('name', PARAMETERS)
def test_outputs_of_published_names(name, networks, model_of):
    model, (_, size, rows) = model_of(name), networks[name]
    of_file, dropped = PARAMETERS[name]
    assert sum(parameter.numel() for parameter in model.parameters()) == of_file - dropped
    found = outputs(model, size)
    assert set(rows) <= set(found) and len(rows) >= 9
    for output, (shape, expected) in rows.items():
        assert tuple(found[output].shape) == shape
        # Of RepVGG, whose numbers are in the thousands, relative to the standard deviation.
        assert statistics(found[output]) == pytest.approx(expected, abs=2e-5 * max(1, expected[1])), output


@pytest.mark.parametrize('size, of_file', [('lite1_416', 4_011_768), ('lite2_512', 4_706_488)])
def test_larger_efficientnets(size, of_file, repository):
    with torch.device('meta'):
        model = built(repository, f'nanodet_efficientnet-{size}_coco')
    assert sum(parameter.numel() for parameter in model.parameters()) == of_file - 17_028


def test_fused_repvgg(model_of, repository):
    model, image = copy.deepcopy(model_of('nanodet_repvgg-a0')), tensor((1, 3, 64, 96), 7, 2.0)
    with torch.no_grad():
        expected = model.backbone(image)
        found = model.backbone.fuse()(image)
    for level, want in zip(found, expected):
        torch.testing.assert_close(level, want, rtol=1e-4, atol=1e-4 * want.abs().max().item())
    # A file of the fused form is read into a model that was built to be trained, and into one that was not.
    options = {'model.backbone.deploy': True}
    path = repository / 'configs/nanodet/nanodet_repvgg-a0_416_coco.py'
    for other in (built(repository, path.stem), MODELS.build(load_config(path, options).model).eval()):
        assert load_into(other, model.state_dict(), strict=True).exact and same(other, model)


def test_positions_of_t_have_one_size(model_of):
    with pytest.raises(ModelInputError, match=r'must be \(20, 20\)'):
        model_of('nanodet_t')(torch.zeros(1, 3, 64, 64), mode='tensor')


def test_configs(repository):
    names = sorted(path.stem for path in (repository / 'configs/nanodet').glob('nanodet*_coco.py'))
    for name in names:
        cfg = load_config(repository / 'configs/nanodet' / f'{name}.py')
        side = int(name.split('_')[-2])
        for pipeline, place in ((cfg.train_pipeline, 2), (cfg.test_pipeline, 1)):
            assert pipeline[place].scale == (side, side), name
        assert cfg.train_dataloader.dataset.pipeline == cfg.train_pipeline
        assert cfg.test_dataloader.dataset.pipeline == cfg.val_dataloader.dataset.pipeline == cfg.test_pipeline
        assert cfg.auto_scale_lr.base_batch_size == cfg.train_dataloader.batch_size
        assert all(s.end == cfg.train_cfg.max_epochs for s in cfg.param_scheduler if s.by_epoch)


# ------------------------------------------------------------------------------------------------------- losses


def predictions(strides, batch, channels, tag):
    """Class logits and side logits by formula, L maps each."""
    cells = [(-(-HEIGHT // stride), -(-WIDTH // stride)) for stride in strides]
    count = sum(h * w for h, w in cells)
    values = u(batch * count * channels, tag).reshape(batch, count, channels)
    values[..., :80], values[..., 80:] = 2 * values[..., :80] - 3, 3 * values[..., 80:]
    return as_maps(values, cells)


def as_maps(values, cells):
    rows = torch.from_numpy(values.astype(np.float32)).split([h * w for h, w in cells], dim=1)
    maps = [level.transpose(1, 2).unflatten(2, cell) for level, cell in zip(rows, cells)]
    return [level[:, :80] for level in maps], [level[:, 80:] for level in maps]


def summed(losses):
    return [float(sum(level.detach() for level in levels)) for levels in losses.values()]


V0 = {
    ('nanodet_g', 'G1'): (8.697838, 1.567593, 0.889155),
    ('nanodet_g', 'G1+G0'): (16.596233, 1.567593, 0.889155),
    ('nanodet_g', 'G0'): (0, 0, 0),
    ('nanodet_m', 'G1'): (9.163246, 1.475962, 0.837827),
    ('nanodet_m', 'G1+G0'): (17.365763, 1.475962, 0.837827),
    ('nanodet_m', 'G0'): (0, 0, 0),
}
TRUTHS = {'G1': [G1], 'G1+G0': [G1, G1[:0]], 'G0': [G1[:0]], 'tiny': [TINY]}
POSITIVES = {
    'nanodet_g': [
        77, 78, 79, 109, 110, 111, 141, 142, 143, 517, 518, 549, 550, 581, 582, 875, 876, 891, 892, 893, 907, 908,
    ],
    'nanodet_m': [
        77, 78, 79, 109, 110, 111, 142, 517, 518, 549, 550, 581, 582, 818, 819, 834, 835, 836, 851, 989, 990,
    ],
}  # fmt: skip


@pytest.mark.parametrize('name, case', V0)
def test_losses(name, case, model_of):
    head, truth = model_of(name).bbox_head, TRUTHS[case]
    maps = predictions((8, 16, 32), len(truth), 80 + head.rows_of_no_class, 21)
    metas = [META] * len(truth)
    assert summed(head.loss_by_feat(*maps, truth, metas)) == pytest.approx(V0[name, case], rel=1e-5)
    # By level, as a subclass with its own targets is trained.
    sizes = [tuple(level.shape[-2:]) for level in maps[0]]
    by_level = head._losses_by_level(*maps, *head.get_targets(*head.get_anchors(sizes, metas, 'cpu'), truth, metas))
    assert summed(by_level) == pytest.approx(V0[name, case], rel=1e-5)


@pytest.mark.parametrize('name', POSITIVES)
def test_positives(name, model_of):
    found = model_of(name).bbox_head.match_targets([(24, 32), (12, 16), (6, 8)], [G1], [META], None, 'cpu')
    assert found.pos_inds.tolist() == POSITIVES[name]


def test_ignored_cells_have_no_weight(repository):
    head = built(repository, 'nanodet_g_416_coco').bbox_head
    head.assigner.ignore_iof_thr = 0.5
    truth, ignored = G1[torch.tensor([0, 1, 3])], InstanceData(bboxes=BOXES[2:3])
    found = head.match_targets([(24, 32), (12, 16), (6, 8)], [truth], [META], [ignored], 'cpu')
    assert found.pos_inds.tolist() == POSITIVES['nanodet_g'][:15] and (found.label_weights == 0).sum() == 200
    maps = predictions((8, 16, 32), 1, 124, 21)
    expected = (10.067506, 1.763131, 0.883328)
    assert summed(head.loss_by_feat(*maps, [truth], [META], [ignored])) == pytest.approx(expected, rel=1e-5)


PLUS = {
    'G1': (10.624165, 1.287919, 0.852198, 10.009914, 1.024839, 0.722106),
    'G1+G0': (20.727945, 1.287919, 0.852198, 19.786833, 1.024839, 0.722106),
    'G0': (192.725662, 0, 0, 185.676971, 0, 0),
    'tiny': (192.725662, 0, 0, 185.676971, 0, 0),
}
STRIDES = (8, 16, 32, 64)


class _Branches(torch.nn.Module):
    """Stands for everything before the predictions of a NanoDet-Plus."""

    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def forward(self, x):
        return self.maps


@pytest.mark.parametrize('case', PLUS)
def test_losses_of_plus(case, model_of, monkeypatch):
    model, truth = model_of('nanodet_plus-m'), TRUTHS[case]
    own, helping = (predictions(STRIDES, len(truth), 112, tag) for tag in (21, 22))
    for name in ('backbone', 'neck', 'aux_fpn'):
        monkeypatch.setitem(model._modules, name, _Branches(own[0]))
    for name, maps in (('bbox_head', own), ('aux_head', helping)):
        monkeypatch.setattr(getattr(model, name), 'forward', lambda x, maps=maps: maps)
    samples = [DetDataSample(metainfo=META, gt_instances=gt) for gt in truth]
    losses = model.loss(torch.zeros(1), samples)
    names = [f'{prefix}loss_{part}' for prefix in ('', 'aux_') for part in ('cls', 'bbox', 'dfl')]
    assert list(losses) == names and summed(losses) == pytest.approx(PLUS[case], rel=1e-5)


def test_losses_of_plus_without_auxiliary_head(model_of):
    head = model_of('nanodet_plus-m').bbox_head
    losses = head.loss_by_feat(*predictions(STRIDES, 1, 112, 21), [G1], [META])
    assert summed(losses) == pytest.approx((10.953686, 0.989708, 0.723462), rel=1e-5)


GRADIENTS = {
    ('nanodet_g', 0): (768.930664, dict(backbone=2617.632, neck=609.251, bbox_head=1364.348)),
    ('nanodet_plus-m', 0): (
        1722.314697,
        dict(backbone=574.172, neck=895.356, bbox_head=523.438, aux_fpn=819.165, aux_head=6442.120),
    ),
    ('nanodet_plus-m', 10): (
        1722.314697,
        dict(backbone=173.860, neck=519.571, bbox_head=523.438, aux_fpn=819.165, aux_head=6442.120),
    ),
}


@pytest.mark.parametrize('name, epoch', GRADIENTS)
def test_gradients(name, epoch, model_of, monkeypatch):
    monkeypatch.setattr(nanodet, 'current_epoch', lambda: epoch)
    model, (total, norms) = train_with_fixed_norms(model_of(name)), GRADIENTS[name, epoch]
    model.zero_grad()
    losses = model.loss(tensor((1, 3, HEIGHT, WIDTH), 7, 2.0), [DetDataSample(metainfo=META, gt_instances=G1)])
    loss = sum(sum(levels) for levels in losses.values())
    loss.backward()
    assert float(loss.detach()) == pytest.approx(total, rel=1e-5)
    for part, norm in norms.items():
        squares = [p.grad.double().square().sum() for p in getattr(model, part).parameters()]
        assert float(torch.stack(squares).sum().sqrt()) == pytest.approx(norm, rel=1e-4), part
    model.eval()


# --------------------------------------------------------------------------------------------------- detections

# Sums of scores, labels and boxes; the first box, its score and label.
DETECTIONS = {
    'nanodet_g': (
        (8, 16, 32), 8.191288, 3831, (6601.913, 5354.653, 19470.043, 17294.176), (91.8036, 0, 256, 192), 0.0847341, 60,
    ),
    'nanodet_plus-m': (
        STRIDES, 8.135946, 3826, (7635.927, 7403.864, 18417.491, 16793.135), (0, 0, 256, 176.343), 0.0839225, 40,
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', DETECTIONS)
def test_detections(name, model_of):
    strides, scores, labels, boxes, first, score, label = DETECTIONS[name]
    head = model_of(name).bbox_head
    channels = 80 + head.rows_of_no_class
    cells = [(-(-HEIGHT // stride), -(-WIDTH // stride)) for stride in strides]
    index = np.arange(sum(h * w for h, w in cells) * channels)
    logits = 3 * u(len(index), 23).reshape(1, -1, channels)
    logits[..., :80] = 2 * logits[..., :80] - 8.5 + 1e-6 * index.reshape(1, -1, channels)[..., :80]
    (found,) = head.predict_by_feat(*as_maps(logits, cells), batch_img_metas=[META], rescale=True)
    assert len(found) == 100 and found.labels.sum() == labels
    assert float(found.scores.double().sum()) == pytest.approx(scores, rel=1e-3)
    assert found.bboxes.double().sum(0).tolist() == pytest.approx(boxes, rel=1e-3)
    assert found.bboxes[0].tolist() == pytest.approx(first, abs=1e-3) and found.labels[0] == label
    assert float(found.scores[0]) == pytest.approx(score, abs=1e-6)


def test_sizes_that_do_not_halve_are_refused(model_of):
    for name in ('nanodet_g', 'nanodet_plus-m'):
        model = model_of(name)
        with pytest.raises(ModelInputError, match='pad_size_divisor'):
            model(torch.zeros(1, 3, 64, 80), mode='tensor')


@pytest.mark.parametrize(
    'field, value',
    [('bbox_head.kernel_size', 4), ('bbox_head.reg_max', 0), ('neck.out_channels', 97), ('neck.kernel_size', 4)],
)
def test_arguments_that_no_map_fits_are_refused(field, value, repository):
    cfg = load_config(repository / 'configs/nanodet/nanodet_plus-m_320_coco.py', {f'model.{field}': value}).model
    with torch.device('meta'), pytest.raises(ConfigError, match=field.split('.')[1]):
        MODELS.build(cfg)


@pytest.mark.parametrize('field, value', [('num_classes', 6), ('reg_max', 10)])
def test_the_auxiliary_head_predicts_what_the_other_does(field, value, repository):
    cfg = load_config(
        repository / 'configs/nanodet/nanodet_plus-m_320_coco.py', {f'model.aux_head.{field}': value}
    ).model
    with torch.device('meta'), pytest.raises(ConfigError, match=rf'aux_head\.{field}: must be that of bbox_head'):
        MODELS.build(cfg)


# -------------------------------------------------------------------------------------------------- checkpoints


def same(model, other):
    state = other.state_dict()
    return all(value.equal(state[name]) for name, value in model.state_dict().items())


def test_layouts_of_checkpoints(repository, model_of, tmp_path):
    expected, state = model_of('nanodet_plus-m'), published('nanodet_plus-m')
    stale = {f'model.{key}': value + 1 for key, value in state.items()}
    layouts = dict(
        lightning=dict(state_dict={f'model.{key}': value for key, value in state.items()}, epoch=3, global_step=7),
        averaged=dict(state_dict=stale | {f'avg_model.{key}': value for key, value in state.items()}),
        wrapped=dict(state_dict={f'module.{key}': value for key, value in state.items()}, iter=1),
    )
    model = built(repository, 'nanodet_plus-m_416_coco')
    for name, content in layouts.items():
        path = tmp_path / f'{name}.ckpt'
        torch.save(content, path)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        report = load_into(model, load_checkpoint_file(path)['state_dict'], strict=True)
        assert report.exact and same(model, expected), name


def test_a_file_for_inference_lacks_the_auxiliary_branch(repository, model_of):
    expected = model_of('nanodet_plus-m')
    state = {key: value for key, value in published('nanodet_plus-m').items() if not key.startswith('aux_')}
    model = built(repository, 'nanodet_plus-m_416_coco')
    report = load_into(model, state, strict=True)
    assert same(model.bbox_head, expected.bbox_head) and same(model.aux_fpn, expected.neck)
    assert ['auxiliary' in note for note in report.notes] == [True]
    # And the other way round: a model that trains without it.
    cfg = load_config(repository / 'configs/nanodet/nanodet_plus-m_416_coco.py', {'model.aux_head': None}).model
    cfg.backbone.init_cfg = None
    plain = MODELS.build(cfg)
    report = load_into(plain, published('nanodet_plus-m'), strict=True)
    assert same(plain.neck, expected.neck) and 'auxiliary branch left out' in report.notes[0]


def folded(state):
    """Batch norms of a published state dict folded into their convolutions."""
    result = {}
    for key, value in state.items():
        stem = key.removesuffix('.conv.weight')
        if stem == key or f'{stem}.bn.weight' not in state:
            if '.bn.' not in key:
                result[key] = value
            continue
        weight, bias, mean, variance = (
            state[f'{stem}.bn.{part}'] for part in ('weight', 'bias', 'running_mean', 'running_var')
        )
        factor = weight / (variance + 1e-5).sqrt()
        result[key], result[f'{stem}.conv.bias'] = value * factor[:, None, None, None], bias - mean * factor
    return result


def test_folded_norms(repository, model_of):
    image, expected = tensor((1, 3, 96, 128), 7, 2.0), model_of('nanodet_g')
    state = folded(published('nanodet_g'))
    model = built(repository, 'nanodet_g_416_coco')
    report = load_into(model, state, strict=True)
    assert any('28 batch norms were folded' in note for note in report.notes)
    # A model without norms takes the same file as it is, and can be trained.
    options = {'model.backbone.norm_cfg': None, 'model.bbox_head.norm_cfg': None}
    cfg = load_config(repository / 'configs/nanodet/nanodet_g_416_coco.py', options).model
    plain = MODELS.build(cfg).eval()
    report = load_into(plain, state, strict=True)
    assert not any('folded' in note for note in report.notes)
    # It reads a file with norms, too, and folds them itself.
    folding = MODELS.build(cfg).eval()
    report = load_into(folding, published('nanodet_g'), strict=True)
    assert any(note.startswith('28 batch norms') for note in report.notes)
    with torch.no_grad():
        wanted = expected(image, mode='tensor')
        for other in (model, plain, folding):
            for maps, levels in zip(other(image, mode='tensor'), wanted):
                for level, want in zip(maps, levels):
                    torch.testing.assert_close(level, want, rtol=1e-4, atol=1e-4)


def test_classes_of_another_data_set(repository, tmp_path):
    """Those that it shares with COCO, taken by name out of a checkpoint that names none."""
    path, state = tmp_path / 'coco.safetensors', folded(published('nanodet_g'))
    write_checkpoint(dict(state_dict=state, meta={}), path)
    cfg = load_config(repository / 'configs/nanodet/nanodet_g_visdrone6.py')
    options = dict(map_classes=cfg.map_classes, classes=cfg.metainfo.classes)
    checkpoint, report = convert_checkpoint(path, model=MODELS.build(cfg.model), **options)
    assert checkpoint['meta']['dataset_meta']['classes'] == ('person', 'bicycle', 'car', 'motor', 'bus', 'truck')
    rows = [0, 1, 2, 3, 5, 7, *range(80, 124)]  # of COCO's classes, and of the boxes
    for level in range(3):
        for kind in ('weight', 'bias'):
            found = checkpoint['state_dict'][f'bbox_head.gfl_cls.{level}.{kind}']
            assert found.equal(state[f'head.gfl_cls.{level}.{kind}'][rows])
    assert '  motor: from motorcycle, class 3 of the checkpoint' in report.lines()
    with pytest.raises(ConfigError, match='no class for .*boulder'):
        convert_checkpoint(
            path, model=built(repository, 'nanodet_g_416_coco'), map_classes=dict(trained='coco'), classes=('boulder',)
        )


# ------------------------------------------------------------------------------------------------- real weights


@pytest.fixture(scope='module')
def real(sample_data, repository):
    """The published nanodet-g with folded norms, and what it gave in the original repository."""
    folder = sample_data / 'weights'
    weights = folder / 'nanodet_g_416_coco_folded.safetensors'
    if not weights.is_file():
        pytest.skip('the sample data lacks weights/nanodet_g_416_coco_folded.safetensors')
    config = repository / 'configs/nanodet/nanodet_g_416_coco.py'
    return init_detector(config, str(weights), device='cpu'), json.loads(
        (folder / 'nanodet_g_reference.json').read_text()
    )


def test_real_weights(real, sample_data):
    model, reference = real
    for record in reference['images'].values():
        path, expected = str(sample_data / record['path']), record['centred']
        raw = []
        hook = model.bbox_head.register_forward_hook(lambda module, inputs, output, raw=raw: raw.extend(zip(*output)))
        found = inference_detector(model, path).pred_instances
        hook.remove()
        fields = ('mean', 'std', 'min', 'max', 'first', 'last')
        for stride, maps in zip((8, 16, 32), raw):
            for name, level in zip(('cls', 'reg'), maps):
                wanted = [expected['raw'][f'{name}{stride}'][field] for field in fields]
                assert statistics(level) == pytest.approx(wanted, abs=1e-4)
        assert len(found) == expected['n_detections']
        for i, wanted in enumerate(expected['top20']):
            assert found.bboxes[i].tolist() == pytest.approx(wanted['bbox_xyxy'], abs=0.05)
            assert float(found.scores[i]) == pytest.approx(wanted['score'], abs=1e-4)
            assert found.labels[i] == wanted['label']


def test_ap_of_real_weights(real, sample_data, repository, tmp_path):
    """The published test setting on the six validation images of the COCO sample, by the tool: AP 16.98, AP50 31.48 in the original."""
    root = sample_data / 'coco_mini/tinycoco'
    annotations = root / 'annotations/instances_val2017.json'
    if not annotations.is_file():
        pytest.skip(f'the sample data lacks {annotations}')
    run_tool(
        'test.py', repository / 'configs/nanodet/nanodet_g_416_coco.py', sample_data / 'weights/nanodet_g_416_coco_folded.safetensors',
        '--work-dir', tmp_path, '--cfg-options', f'test_dataloader.dataset.data_root={root}/',
        f'test_dataloader.dataset.ann_file={annotations}', 'test_dataloader.dataset.data_prefix.img=images/val2017/',
        f'test_evaluator.ann_file={annotations}', 'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False',
        'test_dataloader.pin_memory=False',
    )  # fmt: skip
    found = metrics_of(tmp_path)
    assert 100 * found['coco/bbox_mAP'] == pytest.approx(16.98, abs=0.1)
    assert 100 * found['coco/bbox_mAP_50'] == pytest.approx(31.48, abs=0.1)
