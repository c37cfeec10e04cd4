import random
from logging import getLogger
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData, PixelData
from torch import nn

from mmdet.core.boxes import HorizontalBoxes
from mmdet.core.masks import BitmapMasks
from mmdet.engine import DetRunner
from mmdet.errors import ArgumentError
from mmdet.models.data_preprocessors import (
    BatchBucketPad,
    BatchFixedSizePad,
    BatchResize,
    BatchSyncRandomResize,
    DetDataPreprocessor,
)
from mmdet.structures import DetDataSample


def batch(box_type=torch.tensor):
    """64 x 96 pixels counting up from 0, of which the image is 61 x 93; a box, a mask of it, and an ignored box."""
    sample = DetDataSample(metainfo=dict(img_shape=(61, 93), pad_shape=(64, 96), batch_input_shape=(64, 96)))
    mask = np.zeros((1, 64, 96), np.uint8)
    mask[0, 8:40, 8:32] = 1
    boxes = (
        box_type(torch.tensor([[8.0, 8, 32, 40]])) if box_type is not torch.tensor else torch.tensor([[8.0, 8, 32, 40]])
    )
    sample.gt_instances = InstanceData(
        bboxes=boxes, labels=torch.zeros(1, dtype=torch.long), masks=BitmapMasks(mask, 64, 96)
    )
    sample.ignored_instances = InstanceData(bboxes=torch.tensor([[1.0, 2, 3, 4]]))
    sample.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, 64, 96))
    return torch.arange(6144.0).reshape(1, 1, 64, 96), [sample]


class TestFixedSizePad:
    def test_large_enough(self):
        inputs, samples = batch()
        out, after = BatchFixedSizePad((60, 96))(inputs, samples)
        assert out is inputs and after[0].pad_shape == (64, 96)

    @pytest.mark.parametrize(
        ('size', 'shape'),
        [((80, 90), (80, 96)), ((100, 50), (100, 96)), ((128, 128), (128, 128)), ((64, 97), (64, 97))],
    )
    def test_shapes(self, size, shape):
        out, (sample,) = BatchFixedSizePad(size, img_pad_value=7)(*batch())
        assert out.shape == (1, 1, *shape) and out[0, 0, -1, -1] == 7 and out[0, 0, :64, :96].equal(batch()[0][0, 0])
        assert sample.batch_input_shape == sample.pad_shape == size and sample.img_shape == (61, 93)
        assert sample.gt_instances.bboxes.tolist() == [[8, 8, 32, 40]]

    def test_masks_and_maps(self):
        _, (sample,) = BatchFixedSizePad((100, 100), pad_mask=True, mask_pad_value=1, pad_seg=True, seg_pad_value=9)(
            *batch()
        )
        masks = sample.gt_instances.masks
        assert masks.masks.shape == (1, 100, 100) and masks.masks.sum() == 24 * 32 + 100 * 100 - 64 * 96
        assert sample.gt_sem_seg.sem_seg.shape == (1, 100, 100) and sample.gt_sem_seg.sem_seg[0, -1, -1] == 9

    def test_without_samples(self):
        out, samples = BatchFixedSizePad((80, 100))(batch()[0])
        assert out.shape == (1, 1, 80, 100) and samples is None


class Part(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x).relu()


class TestBucketPad:
    SIZES = [(128, 96), (64, 96), (96, 128), (64, 128)]

    @pytest.mark.parametrize(
        ('sizes', 'shape'),
        [(SIZES, (64, 96)), (SIZES[2:], (64, 128)), (SIZES[:1], (128, 96)), (SIZES[2:3], (96, 128)), ([(32, 256)], (64, 96))],
    )  # fmt: skip
    def test_the_smallest_that_holds_the_batch(self, sizes, shape):
        out, (sample,) = BatchBucketPad(sizes, img_pad_value=7)(*batch())
        assert out.shape == (1, 1, *shape) and out[0, 0, :64, :96].equal(batch()[0][0, 0])
        assert out.sum() == batch()[0].sum() + 7 * (shape[0] * shape[1] - 64 * 96)
        assert sample.batch_input_shape == shape and (sample.pad_shape, sample.img_shape) == ((64, 96), (61, 93))

    def test_layout_and_no_samples(self):
        inputs = torch.rand(2, 3, 64, 96).to(memory_format=torch.channels_last)
        out, samples = BatchBucketPad(self.SIZES[:1])(inputs)
        assert out.is_contiguous(memory_format=torch.channels_last) and samples is None

    @pytest.mark.parametrize('sizes', [[], [(64,)], [(64, 0)], [(64.5, 64)]])
    def test_refused(self, sizes):
        with pytest.raises(ArgumentError, match='BatchBucketPad.sizes'):
            BatchBucketPad(sizes)

    @pytest.mark.parametrize(
        ('augments', 'graphs'), [([], 6), ([dict(type='BatchBucketPad', sizes=[(32, 64), (64, 64)])], 4)]
    )
    def test_graphs_and_losses(self, augments, graphs):
        """Two parts, three sizes of batches in two buckets; the losses are those without compiling."""
        compiled = []

        def count(module, inputs):
            compiled.append(module)
            return module.forward

        torch._dynamo.reset()
        torch.manual_seed(0)
        model = nn.Module()
        model.backbone, model.bbox_head = Part(nn.Conv2d(3, 4, 3)), Part(nn.Conv2d(4, 2, 1))
        preprocessor = DetDataPreprocessor(pad_size_divisor=32, batch_augments=augments)
        runner = SimpleNamespace(
            model=model, cfg=dict(compile=dict(backend=count, dynamic=False)), logger=getLogger('test')
        )
        losses = []
        for step in range(2):
            for shape in ((30, 40), (40, 64), (20, 30), (30, 60)):
                image = torch.full((3, *shape), 100, dtype=torch.uint8)
                inputs = preprocessor(dict(inputs=[image]), training=True)['inputs']
                losses.append(model.bbox_head(model.backbone(inputs)).square().mean())
            if step == 0:
                DetRunner._maybe_compile(runner, 'train_step')
        assert losses[:4] == losses[4:] and len(compiled) == graphs


@pytest.fixture
def hub():
    hub = MessageHub.get_instance(f'batch_augments_{random.random()}')
    hub.update_info('iter', 0)
    return hub


class TestSyncRandomResize:
    @pytest.mark.parametrize('box_type', [torch.tensor, HorizontalBoxes])
    def test_numbers_of_mmdetection(self, hub, box_type, monkeypatch):
        augment = BatchSyncRandomResize((96, 96), interval=1)
        monkeypatch.setattr(augment, '_get_random_size', lambda *args: (96, 128))
        out, (sample,) = augment(*batch(box_type))
        assert out.shape == (1, 1, 64, 96) and sample.img_shape == (61, 93)  # the first keeps its size
        out, (sample,) = augment(*batch(box_type))
        assert out.shape == (1, 1, 96, 128) and out.mean().item() == pytest.approx(3071.5)
        assert out[0, 0, 0, 0] == 0 and out[0, 0, 50, 70].item() == pytest.approx(3236.3752)
        assert sample.img_shape == (91, 124) and sample.pad_shape == sample.batch_input_shape == (96, 128)
        boxes = sample.gt_instances.bboxes
        assert isinstance(boxes, HorizontalBoxes) == (box_type is HorizontalBoxes)
        boxes = boxes.tensor if isinstance(boxes, HorizontalBoxes) else boxes
        torch.testing.assert_close(boxes, torch.tensor([[10.666667, 12, 42.666668, 60]]))
        torch.testing.assert_close(sample.ignored_instances.bboxes, torch.tensor([[1.333333, 3, 4, 6]]))
        assert sample.gt_instances.masks.masks.shape == (1, 96, 128)

    def test_draws_after_the_last_of_each_interval(self, hub):
        augment, heights = BatchSyncRandomResize((320, 320), interval=3), []
        for iteration in range(5):
            hub.update_info('iter', iteration)
            heights.append(augment(*batch())[0].shape[2])
        assert heights == [64, 64, 64, 320, 320]

    def test_sizes(self, hub):
        def drawn(span, aspect_ratio):
            augment = BatchSyncRandomResize(span)
            return {augment._get_random_size(aspect_ratio, torch.device('cpu')) for _ in range(300)}

        assert drawn((480, 800), 0.5) == {(32 * n, 32 * (n // 2)) for n in range(15, 26)}
        assert drawn((470, 500), 1) == {(480, 480), (512, 512)}

    def test_a_resumed_run_goes_on_with_the_size(self, hub):
        hub.update_info('iter', 9)
        BatchSyncRandomResize((320, 320))(*batch())
        hub.update_info('iter', 10)
        assert BatchSyncRandomResize((320, 320))(*batch())[0].shape == (1, 1, 320, 480)
        hub.update_info('iter', 0)  # another run
        assert BatchSyncRandomResize((320, 320))(*batch())[0].shape == (1, 1, 64, 96)

    @pytest.mark.parametrize(('share', 'expected'), [(0.0, {96}), (0.5, {64, 96}), (1.0, {64})])
    def test_the_own_size_is_among_those_drawn(self, hub, share, expected):
        augment = BatchSyncRandomResize((96, 96), interval=1, own_size_share=share)
        augment(*batch())  # keeps its size and draws the first
        assert {augment(*batch())[0].shape[2] for _ in range(30)} == expected

    def test_ends_with_its_epoch(self, hub):
        augment, heights = BatchSyncRandomResize((320, 320), interval=1, stop_epoch=2), []
        for epoch in (0, 0, 1, 2, 3):
            hub.update_info('epoch', epoch)
            inputs, samples = batch()
            out, (sample,) = augment(inputs, samples)
            heights.append(out.shape[2])
        assert heights == [64, 320, 320, 64, 64] and out is inputs and sample.img_shape == (61, 93)

    @pytest.mark.parametrize(
        ('options', 'field'),
        [(dict(random_size_range=(800, 480)), 'random_size_range'), (dict(own_size_share=1.5), 'own_size_share')],
    )
    def test_refused(self, options, field):
        with pytest.raises(AssertionError, match=field):
            BatchSyncRandomResize(**{'random_size_range': (480, 800), **options})


@pytest.mark.parametrize(
    ('options', 'shape', 'img_shape', 'factor'),
    [
        (dict(scale=(128, 100)), (85, 128), (81, 124), 4 / 3),
        (dict(scale=(100, 128)), (85, 128), (81, 124), 4 / 3),
        (dict(scale=(100, 400)), (100, 150), (95, 145), 1.5625),
        (dict(scale=(100, 400), pad_size_divisor=32, pad_value=5), (128, 160), (95, 145), 1.5625),
        (dict(scale=(33, 50), pad_size_divisor=8), (40, 56), (31, 47), 0.515625),
    ],
)
def test_batch_resize(options, shape, img_shape, factor):
    out, (sample,) = BatchResize(**options)(*batch())
    assert out.shape == (1, 1, *shape) and out[0, 0, -1, -1] == (
        options.get('pad_value', 0) if 'pad_size_divisor' in options else 6143
    )
    assert sample.img_shape == img_shape and sample.pad_shape == sample.batch_input_shape == shape
    assert sample.scale_factor == (factor, factor)
    torch.testing.assert_close(sample.gt_instances.bboxes, factor * torch.tensor([[8.0, 8, 32, 40]]))
    torch.testing.assert_close(sample.ignored_instances.bboxes, factor * torch.tensor([[1.0, 2, 3, 4]]))


@pytest.mark.parametrize(
    ('height', 'width', 'expected'), [(100, 30, (333, 100)), (333, 333, (100, 100)), (64, 96, (100, 150))]
)
def test_target_size(height, width, expected):
    assert BatchResize((100, 400)).get_target_size(height, width)[:2] == expected


def test_in_training_alone():
    preprocessor = DetDataPreprocessor(batch_augments=[dict(type='BatchFixedSizePad', size=(10, 12))])
    data = dict(
        inputs=[torch.zeros(3, 4, 5, dtype=torch.uint8)], data_samples=[DetDataSample(metainfo=dict(img_shape=(4, 5)))]
    )
    assert preprocessor(data)['inputs'].shape == (1, 3, 4, 5)
    out = preprocessor(data, training=True)
    assert out['inputs'].shape == (1, 3, 10, 12) and out['data_samples'][0].pad_shape == (10, 12)
