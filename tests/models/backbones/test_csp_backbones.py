"""CSPNeXt and CSPDarknet: names and outputs of mmdetection 3.3 with weights by formula, narrow and shallow."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.errors import ConfigError
from mmdet.models.backbones import CSPDarknet, CSPNeXt
from tests.reference_fill import fill_state_dict, statistics, tensor

SMALL = dict(widen_factor=0.125, deepen_factor=0.33)
DEPTHWISE = dict(out_indices=(2, 3, 4, 5), use_depthwise=True, expand_ratio=0.75)
ALL = [(8, 32, 48), (16, 16, 24), (32, 8, 12), (64, 4, 6), (128, 2, 3)]
P6 = [(32, 8, 16), (64, 4, 8), (96, 2, 4), (128, 1, 2)]
# Type, its arguments, entries of the state dict, shapes of the maps, and statistics of the last one.
CASES = [
    (CSPDarknet, dict(out_indices=range(5)), 210, ALL, (-0.00739, 0.047907, -0.121661, 0.111115, -0.067754, -0.002347)),
    (
        CSPDarknet,
        dict(arch='P6', out_indices=(2, 3, 4, 5)),
        246,
        P6,
        (0.005463, 0.049529, -0.10432, 0.121919, -0.062115, 0.038559),
    ),
    (CSPNeXt, dict(out_indices=range(5)), 242, ALL, (0.003304, 0.043493, -0.092644, 0.107522, -0.054015, 0.016997)),
    (CSPNeXt, dict(arch='P6', **DEPTHWISE), 358, P6, (0.000994, 0.044577, -0.088567, 0.103583, -0.062394, -0.00627)),
]


@pytest.mark.parametrize(('kind', 'options', 'entries', 'shapes', 'expected'), CASES)
def test_outputs(kind, options, entries, shapes, expected):
    backbone = kind(**SMALL, **options).eval()
    backbone.load_state_dict(fill_state_dict(backbone.state_dict()))
    assert len(backbone.state_dict()) == entries
    with torch.no_grad():
        outs = backbone(tensor((1, 3, 64, 128 if len(shapes) == 4 else 96), 7, 2))
    assert [tuple(out.shape[1:]) for out in outs] == shapes
    torch.testing.assert_close(torch.tensor(statistics(outs[-1])), torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('kind', [CSPDarknet, CSPNeXt])
class TestArguments:
    def test_freezing(self, kind):
        backbone = kind(frozen_stages=1, **SMALL)
        assert backbone.train() is backbone
        frozen = {name.split('.')[0] for name, p in backbone.named_parameters() if not p.requires_grad}
        assert frozen == {'stem', 'stage1'}
        assert not backbone.stage1[0].bn.training and backbone.stage2[0].bn.training

    def test_norm_eval(self, kind):
        backbone = kind(norm_eval=True, **SMALL).train()
        assert backbone.training and not any(m.training for m in backbone.modules() if isinstance(m, _BatchNorm))

    def test_own_stages(self, kind):
        backbone = kind(arch_ovewrite=[(8, 16, 1, True, False), (16, 24, 1, False, True)], out_indices=(1, 2))
        assert [tuple(out.shape) for out in backbone(torch.zeros(1, 3, 32, 32))] == [(1, 16, 8, 8), (1, 24, 4, 4)]

    def test_refused(self, kind):
        with pytest.raises(KeyError, match='P7'):
            kind('P7')
        with pytest.raises(AssertionError, match='out_indices'):
            kind(out_indices=(5,))
        with pytest.raises(ConfigError, match='frozen_stages'):
            kind(frozen_stages=4)


def test_small_nets_have_at_least_one_block():
    assert len(CSPNeXt(deepen_factor=0.01, widen_factor=0.125).stage2[-1].blocks) == 1
    assert not hasattr(CSPNeXt(channel_attention=False, **SMALL).stage1[-1], 'attention')


def test_sync_bn_trains_in_one_process_on_the_cpu():
    backbone = CSPNeXt(norm_cfg=dict(type='SyncBN'), **SMALL).train()
    assert isinstance(backbone.stem[0].bn, torch.nn.SyncBatchNorm)
    sum(out.sum() for out in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert backbone.stem[0].conv.weight.grad.abs().sum() > 0 and backbone.stem[0].bn.running_mean.abs().sum() > 0
