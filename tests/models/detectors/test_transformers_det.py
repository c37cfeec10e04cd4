"""TransformersDetector against the library itself, class by class; its sizes, labels, weights and copies."""

import copy
import functools
import re
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData

from mmdet.analysis import count_flops
from mmdet.errors import CheckpointError, ConfigError, ModelInputError
from mmdet.models.detectors.transformers_families import FAMILIES, _InFloat32
from mmdet.models.inference import prepare_networks
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from tests import processes
from tests.models.transformers_case import TINY, TINY_BACKBONES, needs_transformers, tiny_detector, tiny_model

pytestmark = needs_transformers
SIZE = (100, 120)
OBJECTS = [[[10, 20, 50, 60], [0, 0, 30, 10], [90, 70, 120, 100]], [[40, 40, 80, 90]]]
MATES = ('d_fine', 'rf_detr', 'deformable_detr', 'yolos')  # one of each way to pad, to choose queries and to score


def build(kind, **overrides):
    torch.manual_seed(0)
    return MODELS.build(tiny_detector(kind, **overrides))


def samples(objects=OBJECTS, size_hw=SIZE, labels=None):
    found = []
    for boxes in objects:
        own = torch.arange(len(boxes)) % 10 if labels is None else torch.tensor(labels)
        truth = InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4).float(), labels=own)
        meta = dict(img_shape=size_hw, ori_shape=size_hw, scale_factor=(1.0, 1.0))
        found.append(DetDataSample(metainfo=meta, gt_instances=truth))
    return found


def images(count=2, size_hw=SIZE):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 255, (3, *size_hw), dtype=torch.uint8, generator=generator) for _ in range(count)]


def batch(model, given, size_hw=SIZE):
    data = dict(inputs=images(len(given), size_hw), data_samples=given)
    return model.data_preprocessor(data, model.training)


def padded(image):
    return torch.nn.functional.pad(image, (0, 128 - image.shape[2], 0, 128 - image.shape[1]))


@pytest.mark.parametrize('kind', MATES)
def test_cost_of_parts(kind):
    """The parts of the library's model add up to the whole, though the pass begins inside of it."""
    report = count_flops(build(kind), SIZE)
    assert report.modules['model'].macs == report.macs > 0
    assert any(0 < part.macs < report.macs for part in report.down_to(3))


# ------------------------------------------------------------------------------------------------ losses


@pytest.mark.parametrize('objects', [[[], []], [[], OBJECTS[0]]], ids=['none', 'one_image'])
@pytest.mark.parametrize('kind', TINY)
def test_every_trained_parameter_has_a_gradient(kind, objects):
    model = build(kind).train()
    losses = model(**batch(model, samples(objects)), mode='loss')
    loss, logged = model.parse_losses(losses)
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert torch.isfinite(loss) and [name for name in logged if 'loss' in name] == ['loss']
    parts = sum(value for name, value in logged.items() if name != 'loss')
    torch.testing.assert_close(parts, loss.detach(), rtol=1e-5, atol=1e-6)


_SIDES = ['encoder_in_channels', 'decoder_in_channels']
_VIT = dict(
    model_type='dinov3_vit', hidden_size=48, num_hidden_layers=4, num_attention_heads=3, intermediate_size=96, patch_size=16,
    num_register_tokens=0, pos_embed_rescale=None, key_bias=False, apply_layernorm=False, out_indices=[1, 2, 3],
)  # fmt: skip
_SWIN = dict(TINY_BACKBONES['swin'], model_type='swin', out_indices=[2, 3, 4])


@pytest.mark.parametrize(
    ('kind', 'model', 'frozen'),
    [
        # As DEIMv2-S has it, here with a layer above the last map.
        ('deimv2', dict(backbone_config=_VIT, encoder_hidden_dim=48, d_model=48, **dict.fromkeys(_SIDES, [48] * 3)),
         {'embeddings.mask_token', 'model.layer.3', 'backbone.norm', 'decoder.reg_scale', 'decoder.up'}),
        ('d_fine', dict(backbone_config=_SWIN, encoder_in_channels=[24, 48, 96]), {'swin.layernorm', 'decoder.reg_scale', 'decoder.up'}),
    ],
)  # fmt: skip
def test_other_backbones(kind, model, frozen):
    """What of them no map depends on is not trained."""
    detector = build(kind, model=model).train()
    detector(**batch(detector, samples()), mode='loss')['loss'].backward()
    left = {name for name, parameter in detector.named_parameters() if parameter.grad is None}
    assert left == {name for name, parameter in detector.named_parameters() if not parameter.requires_grad}
    assert all(any(part in name for part in frozen) for name in left)
    assert all(any(part in name for name in left) for part in frozen)


@pytest.mark.parametrize('kind', TINY)
def test_loss_and_detections_of_the_library(kind):
    """Two images of different sizes in a batch, with labels made here by hand, and the library's own post-processing; both are padded to 128 x 128."""
    from transformers import AutoConfig, AutoModelForObjectDetection, RTDetrImageProcessor, YolosImageProcessor

    model = build(kind)
    with torch.no_grad():  # scores and boxes as different as those of a trained model
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    plain = AutoModelForObjectDetection.from_config(AutoConfig.for_model(**tiny_model(kind, num_labels=10)))
    plain.load_state_dict(model.model.state_dict())
    sizes = [SIZE, (90, 128)]
    pair = [images(2, size)[number] for number, size in enumerate(sizes)]
    given = samples()
    given[1].set_metainfo(dict(img_shape=sizes[1], ori_shape=sizes[1]))
    pixels = torch.stack([padded(image.flip(0) / 255) for image in pair])
    labels = [
        dict(
            class_labels=torch.arange(len(boxes)),
            boxes=torch.tensor([[(x1 + x2) / 256, (y1 + y2) / 256, (x2 - x1) / 128, (y2 - y1) / 128] for x1, y1, x2, y2 in boxes]),
        )
        for boxes in OBJECTS
    ]  # fmt: skip
    torch.manual_seed(3)  # of the noise of the denoising queries
    expected = plain.train()(pixel_values=pixels, labels=labels)
    torch.manual_seed(3)
    found = model.train()(**model.data_preprocessor(dict(inputs=pair, data_samples=given)), mode='loss')
    close = functools.partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
    close(found['loss'], expected.loss)
    weights = (
        dict(loss_bbox=5, loss_giou=2) if 'loss_ce' in expected.loss_dict else {}
    )  # the others are weighted by the library
    last = [name for name in expected.loss_dict if name.count('_') == 1 and name.startswith('loss_')]
    assert len(last) >= 3
    for name in last:
        close(found[name.removeprefix('loss_')], expected.loss_dict[name].detach() * weights.get(name, 1))

    with torch.no_grad():
        outputs = plain.eval()(pixel_values=pixels)
    processor = YolosImageProcessor() if kind == 'yolos' else RTDetrImageProcessor()
    processed = processor.post_process_object_detection(outputs, threshold=0, target_sizes=[(128, 128)] * 2)
    model.test_cfg.update(score_thr=0, max_per_img=30)
    results = model.eval()(**model.data_preprocessor(dict(inputs=pair, data_samples=given)), mode='predict')
    for result, theirs, (height, width) in zip(results, processed, sizes, strict=True):
        clipped = theirs['boxes'].clamp(min=0).minimum(torch.tensor([width, height, width, height]))
        order = theirs['scores'].argsort(descending=True, stable=True)
        order = order[(clipped[order, 2:] > clipped[order, :2]).all(1)]
        own = result.pred_instances
        assert len(own) == len(order) > 0 and torch.equal(own.labels, theirs['labels'][order])
        close(own.scores, theirs['scores'][order])
        close(own.bboxes / 128, clipped[order] / 128, rtol=0)  # as fractions, which the model computes


def test_what_is_left_out_is_counted():
    model = build('yolos', model=dict(num_detection_tokens=2)).train()
    given = samples([[[10, 20, 50, 60], [5, 5, 5, 30]], [[0, 0, 9, 9]] * 5])
    given[0].ignored_instances = InstanceData(bboxes=torch.tensor([[60.0, 60, 90, 90]]), labels=torch.zeros(1).long())
    losses = model(**batch(model, given), mode='loss')
    assert losses['boxes_without_area'] == 1 and losses['objects_beyond_queries'] == 3
    assert 'boxes_without_area' not in model(**batch(model, samples([[]])), mode='loss')


@pytest.mark.parametrize('label', [-1, 10])
def test_labels_out_of_range(label):
    model = build('yolos').train()
    with pytest.raises(ModelInputError, match=r'gt_instances.labels: labels must be in \[0, 10\)'):
        model(**batch(model, samples([[[1, 2, 3, 4]]], labels=[label])), mode='loss')


# ------------------------------------------------------------------------------------------------ sizes, precision


@pytest.mark.parametrize(
    ('kind', 'given', 'expected'),
    [
        ('d_fine', (64, 64), (64, 64)),  # 64 + 16 + 4 cells of 8, 16 and 32 pixels for 30 queries
        ('d_fine', (1, 1), (64, 32)),  # 16 + 4 + 1 are too few
        ('d_fine', (33, 640), (64, 640)),
        ('rf_detr', (64, 90), (96, 96)),  # 24 cells of 16 pixels are too few
        ('rf_detr', (65, 97), (96, 128)),
        ('lw_detr', (32, 33), (96, 96)),  # patches of 16 in 2 x 2 windows
        ('deformable_detr', (20, 101), (65, 101)),  # the last map has cells of 64 pixels, and must have two
        ('yolos', (17, 16), (32, 16)),
    ],
)
def test_padded_size(kind, given, expected):
    model = build(kind).eval()
    assert model.input_size_hw(given) == expected
    data = model.data_preprocessor(dict(inputs=images(1, given)))['inputs'][..., : given[0], : given[1]]
    logits, boxes = model(data, mode='tensor')
    assert logits.shape[:2] == boxes.shape[:2] == (1, 30) and boxes.dtype == torch.float32


@pytest.mark.parametrize(
    ('stages', 'levels', 'given', 'expected'),
    [
        (['stage4'], 1, (9, 9), (161, 129)),  # 6 * 5 cells of 32 pixels
        (['stage3', 'stage4'], 2, (64, 64), (80, 80)),  # 25 + 9
        (['stage3', 'stage4'], 3, (64, 64), (65, 65)),  # 25 + 9 + 4
        (['stage1', 'stage2'], 2, (9, 9), (17, 17)),  # 25 + 9 of 4 and 8 pixels
    ],
)
def test_padded_size_for_the_maps_of_a_deformable_detr(stages, levels, given, expected):
    inner = {**TINY['deformable_detr']['backbone_config'], 'out_features': stages}
    model = build('deformable_detr', model=dict(backbone_config=inner, num_feature_levels=levels)).eval()
    assert model.input_size_hw(given) == expected
    with torch.no_grad():
        logits, boxes = model(torch.rand(1, 3, *given), mode='tensor')
    assert logits.shape == (1, 30, 10) and bool(boxes.isfinite().all())


@pytest.mark.parametrize('kind', TINY)
def test_boxes_under_autocast_are_computed_in_float32(kind):
    model = build(kind).eval()
    inputs = batch(model, samples())['inputs']
    prepare_networks(model, dict(amp='bf16', fuse=False, channels_last=False))
    logits, boxes = model(inputs, mode='tensor')
    assert logits.dtype == torch.bfloat16 and boxes.dtype == torch.float32
    assert not torch.equal(boxes, boxes.bfloat16().float())  # not only converted


@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        ('d_fine', {'bbox_embed', 'enc_bbox_head', 'pre_bbox_head', 'integral'}),
        ('deimv2', {'bbox_embed', 'enc_bbox_head', 'pre_bbox_head', 'integral'}),
        ('rt_detr', {'bbox_embed', 'enc_bbox_head'}),
        ('rt_detr_v2', {'bbox_embed', 'enc_bbox_head'}),
        ('deformable_detr', {'bbox_embed'}),
        ('yolos', {'bbox_predictor'}),
    ],
)
def test_layers_of_boxes_are_found(kind, expected):
    """The layers whose outputs are float32 under autocast, by the names of those who hold them."""
    layers = [name for name, part in build(kind).named_modules() if isinstance(part, _InFloat32)]
    found = {re.sub(r'\.\d+$', '', name).rpartition('.')[2] for name in layers}
    assert found == expected


@pytest.mark.parametrize('kind', ['d_fine', 'lw_detr'])
def test_losses_under_autocast_are_computed_in_float32(kind):
    model = build(kind).train()
    given = batch(model, samples())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model(**given, mode='loss')
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert losses['loss'] != losses['loss'].bfloat16()
    copied = copy.deepcopy(model)
    assert copied.model.loss_function is not model.model.loss_function


# ------------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize('kind', TINY)
def test_class_layers_are_those_that_depend_on_the_classes(kind):
    ten, four = (
        {name: value.shape for name, value in build(kind, num_classes=n).model.state_dict().items()} for n in (10, 4)
    )
    found = {name for name in ten if re.search(FAMILIES[kind].class_layers, name)}
    assert found == {name for name in ten if ten[name] != four[name]}


@pytest.fixture(scope='module', params=MATES)
def published(request, tmp_path_factory):
    """A folder as ``save_pretrained`` writes it, and the detector whose weights are in it."""
    model, folder = build(request.param).eval(), tmp_path_factory.mktemp(request.param)
    model.model.config.id2label = {k: f'name {k}' for k in range(10)}
    model.model.save_pretrained(folder)
    return request.param, model, folder


def test_weights_of_a_folder(published, no_network):
    kind, model, folder = published
    found = MODELS.build(dict(tiny_detector(kind), model=dict(from_pretrained=str(folder))))
    found.init_weights()
    inputs = batch(model, samples())['inputs']
    for one, other in zip(found.eval()(inputs, mode='tensor'), model(inputs, mode='tensor'), strict=True):
        assert torch.equal(one, other)
    assert found.published_classes == tuple(f'name {k}' for k in range(10))

    rebuilt = MODELS.build(dict(tiny_detector(kind), model={**found.full_config(), 'from_pretrained': 'gone/away'}))
    assert rebuilt.model.config.to_dict() == found.model.config.to_dict()
    rebuilt.load_state_dict(found.state_dict())


def test_other_classes_are_said(published, monkeypatch):
    kind, model, folder = published
    said = []
    monkeypatch.setattr('mmdet.models.detectors.transformers_det.print_log', lambda text, **_: said.append(text))
    found = MODELS.build(dict(tiny_detector(kind, num_classes=3), model=dict(from_pretrained=str(folder))))
    found.init_weights()
    assert found.published_classes is None
    name = 'class_labels_classifier' if kind == 'yolos' else 'class_embed'
    said = ' '.join(said)
    assert 'new, for other classes (3 here)' in said and name in said
    new = {
        name for name, value in found.model.state_dict().items() if value.shape != model.model.state_dict()[name].shape
    }
    assert new and all(re.search(FAMILIES[kind].class_layers, name) for name in new)
    for name, value in found.model.state_dict().items():
        assert name in new or torch.equal(value, model.model.state_dict()[name]), name


def test_weights_of_frozen_norms_for_norms_that_train(tmp_path, monkeypatch):
    """Published files were written with frozen batch norms, which have no counter of batches."""
    frozen = MODELS.build(tiny_detector('d_fine', model=dict(freeze_backbone_batch_norms=True)))
    frozen.model.save_pretrained(tmp_path)
    said = []
    monkeypatch.setattr('mmdet.models.detectors.transformers_det.print_log', lambda text, **_: said.append(text))
    free = MODELS.build(tiny_detector('d_fine', model=dict(from_pretrained=str(tmp_path))))
    free.init_weights()
    own, old = free.model.state_dict(), frozen.model.state_dict()
    counters = [name for name in own if name not in old]
    assert counters and all(name.endswith('num_batches_tracked') and own[name] == 0 for name in counters)
    assert all(torch.equal(value, own[name]) for name, value in old.items()) and 'new' not in said[-1]


def test_weights_that_do_not_fit(published):
    kind, _, folder = published
    change = dict(yolos=dict(num_detection_tokens=9), rf_detr=dict(num_queries=9)).get(kind, dict(decoder_ffn_dim=32))
    found = MODELS.build(dict(tiny_detector(kind), model=dict(from_pretrained=str(folder), **change)))
    with pytest.raises(CheckpointError, match='the weights do not fit the network, .*of another shape, '):
        found.init_weights()


def test_more_queries_than_the_weights_had(tmp_path):
    """They are chosen among the cells of the maps."""
    build('d_fine').model.save_pretrained(tmp_path)
    found = MODELS.build(dict(tiny_detector('d_fine'), model=dict(from_pretrained=str(tmp_path), num_queries=70)))
    found.init_weights()
    assert found.max_objects == 70 and found.eval()(torch.rand(1, 3, 64, 64), mode='tensor')[0].shape == (1, 70, 10)
    assert type(found).max_objects_of(dict(model=dict(from_pretrained=str(tmp_path)))) == 30


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (dict(), 'model: must be a dict with model_type or from_pretrained'),
        ('d_fine', 'model: must be a dict with model_type or from_pretrained'),
        (dict(model_type='dfine'), r'model\.model_type: transformers has no model of this type; near names: d_fine'),
        (dict(model_type='bert'), 'is no detector that is known here; must be one of d_fine, '),
        (dict(from_pretrained=None), 'model: must be a dict with model_type or from_pretrained'),
        (dict(model_type=['d_fine']), r'model\.model_type: transformers has no model of this type'),
        (tiny_model('d_fine', num_querys=9), 'DFineConfig has no key of this name; near names: num_queries'),
        (tiny_model('d_fine', backbone_config=dict(model_type='hgnet_v2', dephts=[1])), r'model\.backbone_config: .* near names: depths'),
        (tiny_model('d_fine', num_labels=3), r'model\.num_labels: is not taken from here'),
        (tiny_model('d_fine', num_queries='many'), r"model\.num_queries: transformers refuses it: .* Received: 'many'"),
        (tiny_model('d_fine', attn_implementation='some/kernel'), r"model\.attn_implementation: must be one of \('eager', 'sdpa'\)"),
        (tiny_model('d_fine', num_queries=0), r'model\.num_queries: must be 1 or more. Received: 0'),
        (tiny_model('deformable_detr', two_stage_num_proposals=-1), r'model\.two_stage_num_proposals: must be 1 or more'),
        (tiny_model('rf_detr', group_detr=0), r'model\.group_detr: must be 1 or more'),
        (tiny_model('rf_detr', backbone_config=dict(TINY['rf_detr']['backbone_config'], num_windows=0)), r'model\.backbone_config\.num_windows: must be'),
        (tiny_model('yolos', image_size=[8, 128]), r'model\.image_size: must be 16 or more. Received: \[8, 128\]'),
        (tiny_model('lw_detr', projector_scale_factors=[3.0]), 'transformers refuses it: .*Unsupported scale factor: 3.0'),
        (tiny_model('rf_detr', activation_function='relo'), 'transformers cannot build the model'),
        (dict(from_pretrained=7), r'model\.from_pretrained: must be a folder, or the id'),
        (dict(from_pretrained='./gone'), r'model\.from_pretrained: there is no such folder, and it is no id OWNER/NAME'),
        (dict(from_pretrained='a folder/with blanks'), 'there is no such folder, and it is no id of a model of the hub'),
        (dict(from_pretrained='nobody/nothing-at-all'), 'no such folder, and the hub.s cache has no config.json .*`hf download nobody/nothing-at-all`'),
    ],
)  # fmt: skip
def test_configs_that_are_refused(model, message, no_network):
    with pytest.raises(ConfigError, match=message):
        MODELS.build(dict(type='TransformersDetector', model=model, num_classes=2))


def test_load_is_checked_without_a_folder():
    with pytest.raises(ConfigError, match=r"load: must be one of \('local', 'hub'\). Received: 'web'"):
        build('yolos', load='web')


@pytest.mark.parametrize(
    ('kind', 'given', 'inner', 'expected'),
    [  # The default of a part is sdpa, if it can.
        ('d_fine', {}, {}, ('sdpa', 'eager')),
        ('d_fine', dict(attn_implementation='sdpa'), {}, ('sdpa', 'eager')),
        ('d_fine', dict(attn_implementation='eager'), {}, ('eager', 'eager')),
        ('rf_detr', {}, {}, ('sdpa', 'sdpa')),
        ('rf_detr', dict(attn_implementation='eager'), {}, ('eager', 'eager')),
        ('rf_detr', {}, dict(attn_implementation='eager'), ('sdpa', 'eager')),
        ('rf_detr', dict(attn_implementation='eager'), dict(attn_implementation='sdpa'), ('eager', 'sdpa')),
    ],
)
def test_attention_as_given_and_from_the_checkpoint(kind, given, inner, expected):
    def found(detector):
        config = detector.model.config
        return config._attn_implementation, config.backbone_config._attn_implementation

    model = build(kind, model=dict(given, backbone_config={**TINY[kind]['backbone_config'], **inner}))
    assert found(model) == expected
    assert found(MODELS.build(dict(tiny_detector(kind), model=model.full_config()))) == expected


@pytest.fixture
def no_network(monkeypatch):
    """Any connection fails the test, whatever catches exceptions on its way."""
    tried = []
    monkeypatch.setattr(
        'socket.getaddrinfo', lambda *args, **kwargs: tried.append(args) or (_ for _ in ()).throw(OSError('no network'))
    )
    yield tried
    assert tried == []


def test_offline_is_told_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv('HTTPS_PROXY', 'http://127.0.0.1:9')  # where nobody answers, whatever network there is
    monkeypatch.setattr('time.sleep', lambda seconds: pytest.fail('waits to try again'))
    model = dict(type='TransformersDetector', model=dict(from_pretrained='nobody/nothing-at-all'), load='hub')
    with pytest.raises(ConfigError, match='from_pretrained: the hub cannot be reached'):
        MODELS.build(model)


def test_folders_that_are_refused(tmp_path):
    for content, message in (
        (None, 'the folder has no config.json: it is none that transformers has written'),
        ('{', 'cannot be read as JSON'),
        ('[]', 'must be a dict with model_type'),
    ):
        if content is not None:
            (tmp_path / 'config.json').write_text(content)
        with pytest.raises(ConfigError, match=message):
            MODELS.build(dict(type='TransformersDetector', model=dict(from_pretrained=str(tmp_path))))
    model = build('yolos')
    model.model.config.save_pretrained(tmp_path)
    torch.save(model.model.state_dict(), tmp_path / 'pytorch_model.bin')
    found = MODELS.build(dict(tiny_detector('yolos'), model=dict(from_pretrained=str(tmp_path))))
    with pytest.raises(
        CheckpointError, match=r'has no model.safetensors; pytorch_model.bin is a pickle, which can run code'
    ):
        found.init_weights()
    (tmp_path / 'model.safetensors').write_bytes(b'version https://git-lfs.github.com/spec/v1')
    with pytest.raises(CheckpointError, match='is a pointer of git-lfs'):
        found.init_weights()
    (tmp_path / 'model.safetensors').write_bytes(b'nothing')
    with pytest.raises(CheckpointError, match='the weights cannot be loaded'):
        found.init_weights()
    next(model.model.bbox_predictor.parameters()).data[0] = torch.nan
    model.model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"the weights are not finite: 'bbox_predictor\.layers\.0\.weight'$"):
        found.init_weights()


def test_without_the_extra(monkeypatch):
    from mmdet.models.utils import transformers_library

    monkeypatch.setattr(transformers_library, 'library', transformers_library.library.__wrapped__)
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ConfigError, match=r'is not installed, .*: pip install "mmdet-dense\[transformers\]"'):
        MODELS.build(tiny_detector('yolos'))
    monkeypatch.setitem(sys.modules, 'transformers', SimpleNamespace(__version__='5.23.1'))
    with pytest.raises(ConfigError, match=r'must be of version 5.24 or later, below 6.* Received: \'5.23.1\''):
        MODELS.build(tiny_detector('yolos'))


# ------------------------------------------------------------------------------------------------ training


def test_rows_of_classes_are_taken_over():
    for kind in MATES:
        old, new = build(kind, num_classes=5), build(kind, num_classes=3)
        state = old.state_dict()
        changed, left = new.take_class_rows(state, '', [4, -1, 0], 5)
        assert changed and left == []
        new.load_state_dict(state)
        for name in changed:
            own, theirs = new.state_dict()[name], old.state_dict()[name]
            assert torch.equal(own[0], theirs[4]) and torch.equal(own[2], theirs[0])
            assert len(own) == 3 or torch.equal(own[3], theirs[5])  # the background, or the class of the padding


def test_copies_keep_ties_and_precision():
    """As an EMA hook copies and averages a model."""
    for kind in ('d_fine', 'deformable_detr'):
        model = build(kind)
        average = copy.deepcopy(model)
        names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
        assert len(names) > len(list(model.parameters())) == len(list(average.parameters()))
        assert [type(part) for part in model.modules()] == [type(part) for part in average.modules()]
        assert all(one is not other for one, other in zip(model.parameters(), average.parameters()))


@pytest.mark.parametrize('kind', TINY)
def test_norms_are_not_decayed_where_that_is_asked(kind):
    """Whatever classes they are of."""
    model = build(kind)
    cfg = dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05), paramwise_cfg=dict(norm_decay_mult=0))
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    decayed = {id(parameter) for group in groups if group['weight_decay'] for parameter in group['params']}
    norms = [part for part in model.modules() if type(part).__name__.endswith(('Norm', 'Norm2d'))]
    weights = [norm.weight for norm in norms if getattr(norm, 'weight', None) is not None]
    assert len(weights) > 4 and not any(id(weight) in decayed for weight in weights)


@pytest.mark.parametrize('constructor', ['DefaultOptimWrapperConstructor', 'GroupedOptimWrapperConstructor'])
def test_learning_rates_of_parts(constructor):
    model = build('d_fine')
    optimizer, keys = dict(type='AdamW', lr=0.1, weight_decay=0.05), dict(backbone=dict(lr_mult=0.5))
    cfg = dict(
        type='OptimWrapper',
        optimizer=optimizer,
        paramwise_cfg=dict(custom_keys=keys, norm_decay_mult=0),
        constructor=constructor,
    )
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    rates = {id(parameter): group['lr'] for group in groups for parameter in group['params']}
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(rates) == len(trained) == sum(len(group['params']) for group in groups)
    assert {name for name, parameter in trained if rates[id(parameter)] == 0.05} == {
        name for name, _ in trained if 'backbone' in name
    }


def test_batch_norms_are_frozen_only_with_weights(tmp_path):
    model = tiny_model('rt_detr_v2')
    del model['freeze_backbone_batch_norms']
    for source, frozen in ((model, False), (dict(model, freeze_backbone_batch_norms=True), True)):
        found = MODELS.build(dict(tiny_detector('rt_detr_v2'), model=source))
        assert (
            isinstance(
                next(part for name, part in found.named_modules() if name.endswith('normalization')),
                torch.nn.BatchNorm2d,
            )
            != frozen
        )
    found.model.save_pretrained(tmp_path)
    found = MODELS.build(dict(tiny_detector('rt_detr_v2'), model=dict(from_pretrained=str(tmp_path))))
    assert found.model.config.freeze_backbone_batch_norms


def test_backbone_of_deformable_detr_is_trained(tmp_path):
    model = build('deformable_detr')
    assert all(parameter.requires_grad for name, parameter in model.named_parameters() if '.backbone.' in name)
    model.model.save_pretrained(tmp_path)
    found = MODELS.build(dict(tiny_detector('deformable_detr'), model=dict(from_pretrained=str(tmp_path))))
    stages = {
        name.split('stages.')[1][0] for name, p in found.named_parameters() if 'stages.' in name and p.requires_grad
    }
    assert stages == {'1', '2', '3'}


def test_activations_computed_twice():
    given = samples()
    gradients = []
    for with_cp in (False, True):
        model = build('deformable_detr', with_cp=with_cp).train()
        model(**batch(model, given), mode='loss')['loss'].backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.requires_grad])
    torch.testing.assert_close(*gradients)
    with pytest.raises(
        ConfigError, match=r'model.with_cp: DFineForObjectDetection of transformers cannot compute activations twice'
    ):
        build('d_fine', with_cp=True)


def test_compiled_network(monkeypatch):
    """One graph of the whole model, without the comparisons that would break it; the compiler itself is not run."""
    from transformers.models.d_fine import modeling_d_fine

    calls = []

    def compiler(function, **options):
        def compiled(images):
            modeling_d_fine.torch_compilable_check(torch.tensor(False), 'is not looked at')
            calls.append(options)
            return function(images)

        return compiled

    monkeypatch.setattr(torch, 'compile', compiler)
    model = build('d_fine').eval()
    assert 'torch.compile of model as one graph' in prepare_networks(model, dict(compile=True))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad(), model.inference_context(image):
        found = model(image, mode='tensor')
        torch.testing.assert_close(found, model.raw_outputs(image))
    assert calls == [dict(fullgraph=True, dynamic=True, mode=None)]


@pytest.mark.parametrize('kind', ['d_fine', 'deformable_detr'])
def test_parts_that_a_training_compiles(kind, monkeypatch):
    from mmdet.engine import DetRunner

    said, compiled = [], []
    monkeypatch.setattr(torch.nn.Module, 'compile', lambda module, **options: compiled.append(module))
    model = build(kind)
    runner = SimpleNamespace(model=model, cfg=dict(compile=True), logger=SimpleNamespace(info=said.append))
    DetRunner._maybe_compile(runner, 'train_step')
    assert compiled == [model.backbone] and said[0].endswith('once for every size of the batches: backbone')


def train_a_rank():
    """Two steps of some classes in a group of two processes, of which the second has no objects."""
    from mmengine.dist import get_rank
    from mmengine.model import MMDistributedDataParallel

    from mmdet.utils import register_all_modules

    register_all_modules()
    torch.distributed.init_process_group('gloo')
    rank = get_rank()
    for kind in MATES:
        model = build(kind).train()
        wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        for _ in range(2):
            optimizer.zero_grad()
            wrapped(**batch(model, samples([OBJECTS[0]] if rank == 0 else [[]])), mode='loss')['loss'].backward()
            optimizer.step()
        weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        both = [torch.empty_like(weights) for _ in range(2)]
        torch.distributed.all_gather(both, weights)
        assert torch.equal(*both) and weights.isfinite().all(), kind


def test_a_rank_without_objects():
    processes.call_together(train_a_rank)
