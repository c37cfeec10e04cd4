import pytest
import torch

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmdet.utils import ModelInputError


def images(*shapes):
    return dict(inputs=[torch.randint(0, 256, (3, *shape), dtype=torch.uint8) for shape in shapes],
                data_samples=[DetDataSample(metainfo=dict(img_shape=shape)) for shape in shapes])  # fmt: skip


def test_no_image():
    with pytest.raises(ModelInputError, match='at least one'):
        DetDataPreprocessor()(dict(inputs=[], data_samples=[]))


@pytest.mark.parametrize(
    ('divisor', 'shapes', 'batch', 'pads'),
    [
        (1, [(10, 11), (9, 14)], (10, 14), [(10, 11), (9, 14)]),
        (5, [(10, 11), (9, 24)], (10, 25), [(10, 15), (10, 25)]),
        (32, [(224, 224)], (224, 224), [(224, 224)]),
        (32, [(400, 600), (600, 400)], (608, 608), [(416, 608), (608, 416)]),
    ],
)
def test_shapes(divisor, shapes, batch, pads):
    out = DetDataPreprocessor(pad_size_divisor=divisor)(images(*shapes))
    assert out['inputs'].shape == (len(shapes), 3, *batch)
    assert out['inputs'].dtype == torch.float32
    assert [sample.pad_shape for sample in out['data_samples']] == pads
    assert {sample.batch_input_shape for sample in out['data_samples']} == {batch}


def test_values_by_hand():
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1).expand(3, 1, 1)
    preprocessor = DetDataPreprocessor(mean=[1, 2, 3], std=[1, 2, 3], bgr_to_rgb=True, pad_size_divisor=2, pad_value=7)
    batch = preprocessor(dict(inputs=[image]))['inputs']
    torch.testing.assert_close(batch[0, :, 0, 0], torch.tensor([29.0, 9.0, 7 / 3]))
    assert batch[0, :, 0, 1].eq(7).all()
    assert batch[0, :, 1].eq(7).all()
    assert image[0].item() == 10


def test_equals_the_plain_formula_and_keeps_its_inputs(device):
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    data = images((5, 7))
    before = data['inputs'][0].clone()
    batch = DetDataPreprocessor(mean=mean, std=std, bgr_to_rgb=True).to(device)(data)['inputs']
    assert batch.device.type == device
    expected = (before[[2, 1, 0]].float() - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(batch[0].cpu(), expected, rtol=0, atol=0 if device == 'cpu' else 1e-6)
    assert torch.equal(data['inputs'][0], before)


def test_stacked_tensor_and_no_samples():
    batch = DetDataPreprocessor(pad_size_divisor=4)(dict(inputs=torch.ones(2, 3, 5, 5)))
    assert batch['inputs'].shape == (2, 3, 8, 8)
    assert batch['data_samples'] is None


def test_statistics_are_not_in_the_checkpoint():
    assert DetDataPreprocessor(mean=[0] * 3, std=[1] * 3).state_dict() == {}


def test_refuses():
    with pytest.raises(AssertionError):
        DetDataPreprocessor(mean=[0, 0, 0])
    with pytest.raises(AssertionError):
        DetDataPreprocessor(bgr_to_rgb=True, rgb_to_bgr=True)
    with pytest.raises(ModelInputError, match='3, h, w'):
        DetDataPreprocessor(mean=[0] * 3, std=[1] * 3)(dict(inputs=[torch.zeros(1, 5, 5)]))


def test_channels_last_holds_the_same_values():
    data = images((5, 7), (8, 4))
    plain = DetDataPreprocessor(mean=[1] * 3, std=[2] * 3)(data)['inputs']
    last = DetDataPreprocessor(mean=[1] * 3, std=[2] * 3, channels_last=True)(data)['inputs']
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain, last)
