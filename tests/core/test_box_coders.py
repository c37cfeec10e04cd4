"""Coders of boxes; golden values: mmdetection 3.3.0."""

import pytest
import torch

from mmdet.core import DeltaXYWHBBoxCoder, DistancePointBBoxCoder, TBLRBBoxCoder, YOLOBBoxCoder
from mmdet.core.boxes import HorizontalBoxes, delta2bbox
from mmdet.core.boxes.tblr_bbox_coder import bboxes2tblr, tblr2bboxes
from mmdet.errors import ArgumentError

PRIORS = torch.tensor([[0.0, 0, 32, 64], [10, 10, 42, 42]])
BOXES = torch.tensor([[4.0, 8, 40, 60], [0, 0, 100, 20]])
DELTAS = torch.tensor([[1.0, -2, 3, 4], [0, 0, 100, -100]])
DELTA = DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
CODERS = [DeltaXYWHBBoxCoder(), TBLRBBoxCoder(), DistancePointBBoxCoder()]


def anchors(coder, boxes=PRIORS):
    return boxes[..., :2] if isinstance(coder, DistancePointBBoxCoder) else boxes


@pytest.mark.parametrize('coder', CODERS)
def test_nothing(coder):
    assert coder.encode(anchors(coder)[:0], BOXES[:0]).shape == (0, 4)
    assert coder.decode(anchors(coder)[:0], DELTAS[:0], max_shape=(50, 60)).shape == (0, 4)


@pytest.mark.parametrize('coder', CODERS)
def test_there_and_back(coder):
    assert torch.allclose(coder.decode(anchors(coder), coder.encode(anchors(coder), BOXES)), BOXES, atol=1e-4)
    boxed = type(coder)(use_box_type=True)
    inputs = anchors(coder) if isinstance(coder, DistancePointBBoxCoder) else HorizontalBoxes(PRIORS)
    decoded = boxed.decode(inputs, boxed.encode(inputs, HorizontalBoxes(BOXES)))
    assert isinstance(decoded, HorizontalBoxes) and torch.allclose(decoded.tensor, BOXES, atol=1e-4)


@pytest.mark.parametrize('coder', CODERS)
def test_batches_with_a_size_for_each_image(coder):
    batch, deltas = anchors(coder, torch.stack([PRIORS, PRIORS])), torch.stack([DELTAS, DELTAS])
    expected = torch.stack([coder.decode(batch[0], DELTAS, shape) for shape in ((50, 60), (20, 30))])
    for shapes in ([(50, 60), (20, 30)], torch.tensor([[50, 60], [20, 30]])):
        assert torch.equal(coder.decode(batch, deltas, max_shape=shapes), expected)
    assert torch.equal(coder.decode(batch, deltas, max_shape=(20, 30, 3))[0], expected[1])
    with pytest.raises(ArgumentError, match='img_shape'):
        coder.decode(batch, deltas, max_shape=[(50, 60)])


@pytest.mark.parametrize('coder', CODERS)
@pytest.mark.parametrize('others', [BOXES[:1], BOXES[:, :3]])
def test_refuses(coder, others):
    with pytest.raises(AssertionError):
        coder.encode(anchors(coder), others)
    with pytest.raises(ValueError, match='equally many'):
        coder.decode(anchors(coder), others)


def test_delta_golden():
    encoded = torch.tensor([[1.875, 0.3125, 0.588915, -1.038197], [7.5, -5.0, 5.697172, -2.350018]])
    torch.testing.assert_close(DELTA.encode(PRIORS, BOXES), encoded, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        DeltaXYWHBBoxCoder().encode(torch.tensor([[0.0, 0, 10, 20], [5, 5, 15, 15]]), torch.tensor([[5.0, 5, 15, 15], [0, 0, 10, 20]])),
        torch.tensor([[0.5, 0, 0, -0.69315], [-0.5, 0, 0, 0.69315]]), rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    decoded = torch.tensor([[-9.953901, -52.017307, 48.353905, 90.417313], [-974.000061, 25.743999, 1026.0, 26.256001]])
    torch.testing.assert_close(DELTA.decode(PRIORS, DELTAS), decoded, rtol=1e-5, atol=1e-3)
    clipped = torch.tensor([[0, 0, 48.353905, 50], [0, 25.743999, 60, 26.256001]])
    torch.testing.assert_close(DELTA.decode(PRIORS, DELTAS, (50, 60)), clipped, rtol=1e-5, atol=1e-3)
    unclipped = DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2), clip_border=False)
    torch.testing.assert_close(unclipped.decode(PRIORS, DELTAS, (50, 60)), decoded, rtol=1e-5, atol=1e-3)


def test_delta_clamps_the_shift_when_asked():
    """A shift of 32 and of -128 pixels becomes 2; the second height shrinks without limit."""
    decoded = DeltaXYWHBBoxCoder(add_ctr_clamp=True, ctr_clamp=2).decode(PRIORS, DELTAS)
    expected = torch.tensor([[-303.3686, -1717.1407, 339.3686, 1777.1407], [-974.0001, 26, 1026, 26]])
    torch.testing.assert_close(decoded, expected, rtol=1e-5, atol=1e-3)


def test_deltas_of_several_classes():
    both = delta2bbox(PRIORS, torch.cat([DELTAS, DELTAS / 10], dim=1))
    assert both.shape == (2, 8) and torch.equal(both[:, :4], delta2bbox(PRIORS, DELTAS))
    assert torch.equal(both[:, 4:], delta2bbox(PRIORS, DELTAS / 10))


def test_tblr_golden():
    encoded = torch.tensor([[0.09375, 0.109375, 0.09375, 0.1875], [0.203125, -0.046875, 0.203125, 0.578125]])
    torch.testing.assert_close(TBLRBBoxCoder().encode(PRIORS, BOXES), encoded)
    decoded = torch.tensor([[-22.4, 6.4, 67.2, 83.2], [-12.4, 13.2, 77.2, 51.6]])
    torch.testing.assert_close(TBLRBBoxCoder().decode(PRIORS, torch.tensor([[0.1, 0.2, 0.3, 0.4]] * 2)), decoded)


def test_tblr_with_a_normaliser_each_and_in_pixels():
    encoded = TBLRBBoxCoder(normalizer=(1, 2, 3, 4)).encode(PRIORS, BOXES)
    expected = torch.tensor([[0.375, 0.21875, 0.125, 0.1875], [0.8125, -0.09375, 0.270833, 0.578125]])
    torch.testing.assert_close(encoded, expected)
    pixels = bboxes2tblr(PRIORS, BOXES, normalizer=1.0, normalize_by_wh=False)
    assert pixels.tolist() == [[24, 28, 12, 24], [26, -6, 26, 74]]
    assert torch.equal(tblr2bboxes(PRIORS, pixels, 1.0, normalize_by_wh=False), BOXES)


class TestYOLO:
    # An anchor of 20 x 10 pixels in the middle of a cell of 8 pixels, and one of 8 x 32 in one of 16.
    ANCHORS = torch.tensor([[-6.0, -1, 14, 9], [20, 8, 28, 40]])
    STRIDES = torch.tensor([8, 16])

    def test_nothing(self):
        coder = YOLOBBoxCoder()
        assert coder.encode(self.ANCHORS[:0], BOXES[:0], self.STRIDES[:0]).shape == (0, 4)
        assert coder.decode(self.ANCHORS[:0], DELTAS[:0], 8).shape == (0, 4)

    def test_by_hand(self):
        # Centres (2, 6) and (24, 28); those of the anchors are (4, 4) and (24, 24).
        boxes = torch.tensor([[-18.0, 1, 22, 11], [20, 12, 28, 44]])
        log2 = 0.6931472
        expected = torch.tensor([[0.25, 0.75, log2, 0], [0.5, 0.75, 0, 0]])
        for coder in (YOLOBBoxCoder(), YOLOBBoxCoder(use_box_type=True)):
            codes = coder.encode(HorizontalBoxes(self.ANCHORS), HorizontalBoxes(boxes), self.STRIDES)
            torch.testing.assert_close(codes, expected)
            for strides in (self.STRIDES, self.STRIDES[:, None]):
                found = coder.decode(self.ANCHORS, codes, strides)
                assert isinstance(found, HorizontalBoxes) == coder.use_box_type
                torch.testing.assert_close(getattr(found, 'tensor', found), boxes)
            torch.testing.assert_close(coder.encode(self.ANCHORS[:1], boxes[:1], 8), expected[:1])

    def test_batches(self):
        codes = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(0))
        found = YOLOBBoxCoder().decode(self.ANCHORS, codes, self.STRIDES)
        for one, code in zip(found, codes):
            torch.testing.assert_close(one, YOLOBBoxCoder().decode(self.ANCHORS, code, self.STRIDES))

    def test_targets_are_limited(self):
        far = torch.tensor([[100.0, -100, 100, -90]])  # outside the cell, and without width
        codes = YOLOBBoxCoder(eps=0.01).encode(self.ANCHORS[:1], far, 8)
        torch.testing.assert_close(codes, torch.tensor([[0.99, 0.01, -4.6051702, 0]]))

    def test_refuses(self):
        with pytest.raises(ArgumentError, match='gt_bboxes'):
            YOLOBBoxCoder().encode(self.ANCHORS, BOXES[:1], 8)
