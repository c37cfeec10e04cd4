"""The decode that all dense heads share: factors, several priors of a location, a background channel, steps that a subclass replaces."""

import pytest
import torch
from torch import logit, tensor

from mmdet.core import AnchorGenerator, DistancePointBBoxCoder
from mmdet.models.dense_heads import BaseDenseHead
from mmdet.models.dense_heads.base_dense_head import to_config_dict

NMS = dict(nms=dict(type='nms', iou_threshold=0.6), max_per_img=10)
META = dict(img_shape=(32, 32, 3), scale_factor=(2.0, 1.0))


class TwoPriors(BaseDenseHead):
    """One level of 2 x 1 locations, stride 16, a square prior of side 16 and one of 32 at each; boxes are distances from its corner."""

    num_classes = 2

    def __init__(self):
        super().__init__()
        self.prior_generator = AnchorGenerator(strides=[16], ratios=[1.0], scales=[1.0, 2.0])
        self.bbox_coder = DistancePointBBoxCoder()
        self.test_cfg = to_config_dict(NMS)

    def forward(self, x):
        raise AssertionError('not called')

    def loss_by_feat(self, *args, **kwargs):
        raise AssertionError('not called')

    def decode_boxes(self, bbox_pred, priors, stride, img_shape):
        return self.bbox_coder.decode(priors[:, :2], bbox_pred * stride, img_shape)


@pytest.fixture
def head():
    return TwoPriors()


PROBABILITY = tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.4], [0.6, 0.5]])


def outputs():
    """Scores of prior a at location x in row 2 x + a: maps (1, 2 * channels, 1, 2); the boxes reach 2 strides to the right and down."""
    cls = logit(PROBABILITY).view(2, -1).t().reshape(1, -1, 1, 2)
    reg = tensor([0.0, 0, 2, 2] * 2).view(1, 8, 1, 1).expand(1, 8, 1, 2)
    return [cls], [reg]


def test_nothing_above_the_threshold(head):
    for rule in ('pairs', 'priors'):
        found = head.predict_by_feat(
            *outputs(), batch_img_metas=[META], cfg=dict(NMS, score_thr=0.95, nms_pre_rule=rule)
        )[0]
        assert found.bboxes.shape == (0, 4) and len(found) == 0 and 'score_factors' not in found


@pytest.mark.parametrize('rule', ['pairs', 'priors'])
def test_priors_of_one_location(head, rule):
    cfg = dict(NMS, score_thr=0.55, nms_pre_rule=rule)
    found = head.predict_by_feat(*outputs(), batch_img_metas=[META], cfg=cfg)[0]
    # Corners (-8, -8) and (-16, -16) at the first location, (0, -16) for the second prior of the second one; clipped at 0.
    assert found.labels.tolist() == [0, 1, 0]
    torch.testing.assert_close(found.scores, tensor([0.9, 0.8, 0.6]))
    torch.testing.assert_close(found.bboxes, tensor([[0.0, 0, 24, 24], [0, 0, 16, 16], [0, 0, 32, 16]]))
    halved = head.predict_by_feat(*outputs(), batch_img_metas=[META], cfg=cfg, rescale=True)[0]
    torch.testing.assert_close(halved.bboxes[0], tensor([0.0, 0, 12, 24]))


@pytest.mark.parametrize('rule', ['pairs', 'priors'])
def test_factors_come_after_the_selection(head, rule):
    factors = [logit(tensor([0.1, 0.5, 0.5, 0.9])).view(2, 2).t().reshape(1, 2, 1, 2)]
    options = dict(batch_img_metas=[META], cfg=dict(NMS, score_thr=0.55, nms_pre=2, nms_pre_rule=rule))
    found = head.predict_by_feat(*outputs(), factors, **options)[0]
    # The two best by class score alone; 0.9 * 0.1 stays although it lies below the threshold.
    assert found.labels.tolist() == [1, 0]
    torch.testing.assert_close(found.scores, tensor([0.8 * 0.5, 0.9 * 0.1]))


@pytest.mark.parametrize('rule', ['pairs', 'priors'])
def test_softmax_scores_lose_their_background(head, rule):
    head.use_sigmoid_cls = False
    shares = tensor([[0.1, 0.2, 0.7], [0.6, 0.1, 0.3], [0.1, 0.1, 0.8], [0.1, 0.5, 0.4]])
    cls = [shares.log().view(2, 6).t().reshape(1, 6, 1, 2)]
    cfg = dict(NMS, score_thr=0.15, nms_pre_rule=rule)
    found = head.predict_by_feat(cls, outputs()[1], batch_img_metas=[META], cfg=cfg)[0]
    assert found.labels.tolist() == [0, 1, 1]
    torch.testing.assert_close(found.scores, tensor([0.6, 0.5, 0.2]))


def test_replaced_steps_are_used():
    """With the names and arguments that subclasses written for mmdetection 3.x use."""

    class Replaced(TwoPriors):
        def _predict_by_feat_single(
            self,
            cls_score_list,
            bbox_pred_list,
            score_factor_list,
            mlvl_priors,
            img_meta,
            cfg,
            rescale=False,
            with_nms=True,
        ):
            assert [tuple(maps[0].shape) for maps in (cls_score_list, bbox_pred_list)] == [(4, 1, 2), (8, 1, 2)]
            assert score_factor_list == [None] and len(mlvl_priors[0]) == 4 and cfg.max_per_img == 10
            return super()._predict_by_feat_single(
                cls_score_list, bbox_pred_list, score_factor_list, mlvl_priors, img_meta, cfg, rescale, with_nms
            )

        def _bbox_post_process(self, results, cfg, rescale=False, with_nms=True, img_meta=None):
            results.rank = torch.arange(len(results))
            results = super()._bbox_post_process(
                results=results, cfg=cfg, rescale=rescale, with_nms=with_nms, img_meta=img_meta
            )
            return results[:1]

    found = Replaced().predict_by_feat(*outputs(), batch_img_metas=[META])[0]
    assert found.rank.tolist() == [0] and found.labels.tolist() == [0]
