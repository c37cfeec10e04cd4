import pytest
import torch
from mmengine.structures import BaseDataElement

from mmdet.errors import ConfigError, ModelInputError
from mmdet.models.layers.lsq import LSQLinear
from mmdet.registry import MODELS
from tests.models.backbones.test_tinynas import small
from tests.models.backbones.test_tinynas_3d import clip_structure


def build(**kwargs):
    return MODELS.build(dict(type='TinyNASClassifier', **dict(dict(structure=small(), num_classes=5), **kwargs)))


def test_logits_loss_and_predictions():
    torch.manual_seed(0)
    model = build()
    model.init_weights()
    x = torch.randn(2, 3, 64, 64)
    samples = [BaseDataElement(gt_label=torch.tensor([1])), BaseDataElement(gt_label=torch.tensor(3))]
    model.eval()
    logits = model(x)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([1, 3]))
    assert model(x, samples, mode='loss')['loss'].item() == pytest.approx(expected.item())
    assert model(x, torch.tensor([1, 3]), mode='loss')['loss'].item() == pytest.approx(expected.item())
    for results in (model(x, mode='predict'), model(x, samples, mode='predict')):
        for result, row in zip(results, logits.softmax(-1)):
            torch.testing.assert_close(result.pred_scores, row)
            assert result.pred_label == row.argmax()


def test_logits_are_those_of_the_pooled_last_map():
    """Averages over all positions (and frames), the hidden layer, the classes."""
    torch.manual_seed(0)
    for structure, x in ((small(), torch.randn(2, 3, 64, 96)), (clip_structure(), torch.randn(2, 3, 3, 64, 64))):
        model = build(structure=structure, hidden_channels=6).eval()
        with torch.no_grad():
            pooled = model.backbone(x)[-1].flatten(2).mean(2)
            torch.testing.assert_close(model(x), model.fc_linear(torch.nn.functional.silu(model.head[0](pooled))))
        assert pooled.shape == (2, 32) == model.extract_feat(x).shape and model.head[2].p == 0.2
        assert model.backbone.out_indices == (4,)


def test_half_precision_logits_are_read_in_float32(monkeypatch):
    model, logits = build(), torch.tensor([[0.1, 3.0, -1, 0, 2], [1, 0.3, 0, 5, 0]]).bfloat16()
    monkeypatch.setattr(model, '_logits', lambda inputs: logits)
    loss = model.loss(None, torch.tensor([1, 0]))['loss']
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(-logits.float().log_softmax(1)[[0, 1], [1, 0]].mean().item())
    first, second = model.predict(None)
    assert torch.equal(first.pred_scores, logits.float().softmax(1)[0])
    assert (first.pred_label, second.pred_label) == (1, 3)


def test_training_reduces_the_loss():
    torch.manual_seed(0)
    model = build().train()
    model.init_weights()
    x, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 5
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for _ in range(8):
        loss = model(x, labels, mode='loss')['loss']
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_quantised_head_and_clips():
    quantised = build(structure=small('SuperQuantResK1DWK1'))
    assert isinstance(quantised.fc_linear, LSQLinear) and quantised.fc_linear.weight_quantizer.bits == 8
    assert quantised(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    clips = build(structure=clip_structure(), hidden_channels=16)
    assert clips(torch.randn(2, 3, 4, 32, 32)).shape == (2, 5)


def test_initialisation_of_the_last_layer():
    torch.manual_seed(0)
    model = build(num_classes=500)
    model.init_weights()
    assert model.fc_linear.weight.std().item() == pytest.approx(32**-0.5, rel=0.05)
    assert model.fc_linear.bias.abs().max() == 0


def test_weights_without_the_backbone_prefix():
    model, other = build(), build()
    state = {key.removeprefix('backbone.'): value for key, value in model.state_dict().items()}
    other.load_state_dict(state)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(model.eval()(x), other.eval()(x))


def test_errors():
    with pytest.raises(ConfigError, match='num_classes'):
        build(num_classes=0)
    with pytest.raises(ConfigError, match='block 0: class'):
        build(structure=[{'class': 'Conv', 'in': 3, 'out': 3, 'k': 3}])
    model = build()
    with pytest.raises(ModelInputError, match='labels'):
        model(torch.randn(2, 3, 32, 32), mode='loss')
    with pytest.raises(ModelInputError, match='2 labels'):
        model(torch.randn(2, 3, 32, 32), torch.zeros(3, dtype=torch.long), mode='loss')
    with pytest.raises(RuntimeError, match='mode'):
        model(torch.randn(2, 3, 32, 32), mode='other')
