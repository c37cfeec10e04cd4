import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmdet.core.boxes import HorizontalBoxes
from mmdet.core.masks import BitmapMasks, PolygonMasks
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS
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


@pytest.mark.parametrize(
    ('options', 'channels'),
    [
        ({}, [10, 20, 30]),
        (dict(rgb_to_bgr=True), [30, 20, 10]),
        (dict(bgr_to_rgb=True), [30, 20, 10]),
        (dict(mean=[5], std=[10]), [0.5, 1.5, 2.5]),
        (dict(mean=[10, 20, 30], std=[1, 2, 3], rgb_to_bgr=True), [20, 0, -20 / 3]),
    ],
)
def test_channels_by_hand(options, channels):
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1)
    batch = DetDataPreprocessor(**options)(dict(inputs=[image]))['inputs']
    torch.testing.assert_close(batch.flatten(), torch.tensor(channels, dtype=torch.float32))


def test_padding_by_hand():
    """Below and to the right, of each image by its own size, after normalisation."""
    inputs = [torch.ones(3, 1, 3, dtype=torch.uint8), torch.ones(3, 2, 1, dtype=torch.uint8)]
    batch = DetDataPreprocessor(mean=[3], std=[2], pad_value=9)(dict(inputs=inputs))['inputs']
    assert batch[:, 0].tolist() == [[[-1, -1, -1], [9, 9, 9]], [[-1, 9, 9], [-1, 9, 9]]]


def test_one_channel_is_not_swapped():
    image = torch.tensor([[[1.0, 2.0]]])
    assert DetDataPreprocessor(bgr_to_rgb=True)(dict(inputs=[image]))['inputs'].tolist() == [[[[1, 2]]]]


@MODELS.register_module()
class AddToBatch(torch.nn.Module):
    """A batch augmentation: adds to the images, and keeps the first sample."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, inputs, data_samples):
        return inputs * 2 + self.value, data_samples[:1]


def test_batch_augments_run_in_order_and_in_training_alone():
    preprocessor = DetDataPreprocessor(
        batch_augments=[dict(type='AddToBatch', value=1), dict(type='AddToBatch', value=5)]
    )
    data = images((2, 2), (2, 2))
    plain, augmented = preprocessor(dict(data)), preprocessor(dict(data), training=True)
    assert torch.equal(augmented['inputs'], 4 * plain['inputs'] + 7)
    assert len(plain['data_samples']) == 2 and len(augmented['data_samples']) == 1


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
    with pytest.raises(AssertionError, match='1 or 3'):
        DetDataPreprocessor(mean=[0, 0], std=[1, 1])
    with pytest.raises(ModelInputError, match='3, h, w'):
        DetDataPreprocessor()(dict(inputs=[torch.zeros(5, 5)]))
    with pytest.raises(ModelInputError, match='3, h, w'):
        DetDataPreprocessor(mean=[0] * 3, std=[1] * 3)(dict(inputs=[torch.zeros(1, 5, 5)]))


def test_channels_last_holds_the_same_values():
    data = images((5, 7), (8, 4))
    plain = DetDataPreprocessor(mean=[1] * 3, std=[2] * 3)(data)['inputs']
    last = DetDataPreprocessor(mean=[1] * 3, std=[2] * 3, channels_last=True)(data)['inputs']
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain, last)


def annotated(*shapes, masks=BitmapMasks):
    data = images(*shapes)
    for sample, (height, width) in zip(data['data_samples'], shapes):
        bitmaps = BitmapMasks(np.ones((2, height, width), np.uint8), height, width)
        polygons = PolygonMasks([[np.array([0.0, 0, 5, 0, 5, 5])]] * 2, height, width)
        boxes = HorizontalBoxes([[0.0, 0, 5, 5], [1, 1, 2, 2]])
        sample.gt_instances = InstanceData(bboxes=boxes, masks=bitmaps if masks is BitmapMasks else polygons)
        sample.ignored_instances = InstanceData(bboxes=boxes[:0])
        sample.gt_sem_seg = PixelData(sem_seg=torch.ones(1, height, width, dtype=torch.uint8))
    return data


@pytest.mark.parametrize('kind', [BitmapMasks, PolygonMasks])
def test_masks_and_maps_are_padded_to_the_batch(kind):
    """mmdetection's own case: (10, 11) and (9, 24) become (10, 24), and no sum changes."""
    shapes = [(10, 11), (9, 24)]
    out = DetDataPreprocessor(pad_mask=True, pad_seg=True, seg_pad_value=0)(annotated(*shapes, masks=kind))
    for sample, (height, width) in zip(out['data_samples'], shapes):
        masks, image_map = sample.gt_instances.masks, sample.gt_sem_seg.sem_seg
        assert (masks.height, masks.width) == tuple(image_map.shape[1:]) == sample.batch_input_shape == (10, 24)
        assert masks.areas.tolist() == ([height * width] * 2 if kind is BitmapMasks else [12.5] * 2)
        assert image_map.sum() == height * width


def test_padding_values_of_masks_and_maps():
    preprocessor = DetDataPreprocessor(pad_mask=True, mask_pad_value=1, pad_seg=True, pad_size_divisor=4)
    sample = preprocessor(annotated((3, 4)))['data_samples'][0]
    assert sample.gt_instances.masks.areas.tolist() == [16, 16]
    assert sample.gt_sem_seg.sem_seg[0].tolist() == [[1] * 4] * 3 + [[255] * 4]
    plain = DetDataPreprocessor(pad_size_divisor=4)(annotated((3, 4)))['data_samples'][0]
    assert plain.gt_instances.masks.height == 3 and plain.gt_sem_seg.sem_seg.shape == (1, 3, 4)
    without = DetDataPreprocessor(pad_mask=True, pad_seg=True)(images((3, 4)))['data_samples'][0]
    assert 'gt_instances' not in without and 'gt_sem_seg' not in without


def test_boxes_become_tensors():
    for switch, kind in ((True, torch.Tensor), (False, HorizontalBoxes)):
        data = annotated((10, 11))
        sample = DetDataPreprocessor(boxtype2tensor=switch)(data)['data_samples'][0]
        assert type(sample.gt_instances.bboxes) is type(sample.ignored_instances.bboxes) is kind
        assert sample.gt_instances.bboxes.shape == (2, 4) and sample.ignored_instances.bboxes.shape == (0, 4)
        assert type(data['data_samples'][0].gt_instances.bboxes) is HorizontalBoxes  # of the caller
    assert DetDataPreprocessor()(images((4, 4)))['data_samples'][0].keys() == []


def test_names_that_subclasses_read():
    preprocessor = DetDataPreprocessor(mean=[0] * 3, std=[1] * 3, bgr_to_rgb=True, pad_size_divisor=8)
    assert preprocessor._enable_normalize and preprocessor._channel_conversion
    plain = DetDataPreprocessor()
    assert not plain._enable_normalize and not plain._channel_conversion
    assert preprocessor._get_pad_shape(images((9, 8), (1, 17))) == [(16, 8), (8, 24)]
    assert preprocessor._get_pad_shape(dict(inputs=torch.zeros(2, 3, 5, 5))) == [(8, 8)] * 2


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('options', [dict(bgr_to_rgb=True), dict(), dict(mean=[5.5], std=[3.3])])
def test_8_bit_images_get_the_values_of_other_types(options, channels_last):
    """8-bit ones are looked up in a table, others are computed: equal to the last bit, in both layouts."""
    given = dict(dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], pad_value=7), **options)
    preprocessor = DetDataPreprocessor(**given, channels_last=channels_last)
    data = images((5, 7), (4, 9))
    data['inputs'].append(torch.randint(0, 256, (6, 3, 3), dtype=torch.uint8).permute(2, 0, 1))  # channels last itself
    looked_up = preprocessor(data)['inputs']
    computed = preprocessor(dict(inputs=[image.float() for image in data['inputs']]))['inputs']
    assert torch.equal(looked_up, computed)
    assert looked_up.is_contiguous(memory_format=torch.channels_last) == channels_last
