"""Heads that replace single steps of the two-stage heads and of YOLOX with the signatures of mmdetection 3.3; the results stay the same."""

import collections

import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.engine.checkpoint import load_into
from mmdet.models.dense_heads import RPNHead, YOLOXHead
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import load_config
from tests.detector_case import fill, images, samples, train_with_fixed_norms

SIZE = (96, 128)
CALLS: collections.Counter = collections.Counter()


class OwnBBoxHead(Shared2FCBBoxHead):
    def _get_targets_single(self, pos_priors, neg_priors, pos_gt_bboxes, pos_gt_labels, cfg):
        CALLS['targets'] += 1
        labels, weights, targets, target_weights = super()._get_targets_single(
            pos_priors, neg_priors, pos_gt_bboxes, pos_gt_labels, cfg
        )
        assert len(labels) == len(pos_priors) + len(neg_priors) and cfg.pos_weight == -1
        return labels, weights, targets, target_weights

    def _predict_by_feat_single(self, roi, cls_score, bbox_pred, img_meta, rescale=False, rcnn_test_cfg=None):
        CALLS['predict'] += 1
        regions = roi[:, 1:].repeat_interleave(self.num_classes, dim=0)
        boxes = self.bbox_coder.decode(regions, bbox_pred.view(-1, 4), max_shape=img_meta['img_shape'])
        cfg = rcnn_test_cfg
        boxes, scores = boxes.view(len(roi), -1), cls_score.softmax(-1)
        dets, labels = multiclass_nms(boxes, scores, cfg.score_thr, cfg.nms, cfg.max_per_img)
        return InstanceData(bboxes=dets[:, :4], scores=dets[:, 4], labels=labels)


class OwnRoIHead(StandardRoIHead):
    def loss(self, x, rpn_results_list, batch_data_samples):
        CALLS['loss'] += 1
        gt, ignored, _ = unpack_gt_instances(batch_data_samples)
        sampled = []
        for i, proposals in enumerate(rpn_results_list):
            proposals.priors = proposals.pop('bboxes')
            assigned = self.bbox_assigner.assign(proposals, gt[i], ignored[i])
            sampled.append(self.bbox_sampler.sample(assigned, proposals, gt[i], feats=[level[i][None] for level in x]))
        return self.bbox_loss(x, sampled)['loss_bbox']

    def predict_bbox(self, x, batch_img_metas, rpn_results_list, rcnn_test_cfg, rescale=False):
        CALLS['predict_bbox'] += 1
        counts = [len(found.bboxes) for found in rpn_results_list]
        rois = bbox2roi([found.bboxes for found in rpn_results_list])
        outputs = self._bbox_forward(x, rois)
        return self.bbox_head.predict_by_feat(
            rois=rois.split(counts), cls_scores=outputs['cls_score'].split(counts),
            bbox_preds=outputs['bbox_pred'].split(counts), batch_img_metas=batch_img_metas,
            rcnn_test_cfg=rcnn_test_cfg, rescale=rescale,
        )  # fmt: skip


class OwnRPNHead(RPNHead):
    def _bbox_post_process(self, results, cfg, rescale=False, with_nms=True, img_meta=None):
        CALLS['post_process'] += 1
        assert results.level_ids.unique().numel() > 1 and img_meta is not None
        return super()._bbox_post_process(results, cfg, rescale=rescale, with_nms=with_nms, img_meta=img_meta)


class OwnYOLOXHead(YOLOXHead):
    def forward_single(self, x, cls_convs, reg_convs, conv_cls, conv_reg, conv_obj):
        CALLS['forward_single'] += 1
        return conv_cls(cls_convs(x)), *(conv(reg_convs(x)) for conv in (conv_reg, conv_obj))

    def _get_targets_single(
        self, priors, cls_preds, decoded_bboxes, objectness, gt_instances, img_meta, gt_instances_ignore=None
    ):
        CALLS['targets'] += 1
        targets = super()._get_targets_single(
            priors, cls_preds, decoded_bboxes, objectness, gt_instances, img_meta, gt_instances_ignore
        )
        mask, cls_target, obj_target, bbox_target, l1_target, num_pos = targets
        assert num_pos == mask.sum() == len(cls_target) == len(bbox_target) == len(l1_target)
        assert obj_target.shape == (len(priors), 1)
        return targets

    def _get_l1_target(self, l1_target, gt_bboxes, priors, eps=1e-8):
        CALLS['l1'] += 1
        return super()._get_l1_target(l1_target, gt_bboxes, priors, eps)


@pytest.fixture(scope='module')
def configs(repository):
    """Small Faster R-CNN and YOLOX."""
    faster = load_config(repository / 'configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py').model
    faster.backbone.update(depth=18, base_channels=16, stem_channels=16, init_cfg=None)
    faster.neck.update(in_channels=[16, 32, 64, 128], out_channels=32)
    faster.rpn_head.update(in_channels=32, feat_channels=32)
    faster.roi_head.bbox_roi_extractor.out_channels = 32
    faster.roi_head.bbox_head.update(in_channels=32, fc_out_channels=64)
    faster.test_cfg.rpn.max_per_img = faster.train_cfg.rpn_proposal.max_per_img = 40
    yolox = load_config(repository / 'configs/yolox/yolox_nano_8xb8-300e_coco.py').model
    return dict(faster=faster, yolox=yolox)


def results_of(cfg):
    """Losses, detections and candidates of a filled detector."""
    model, inputs, data = fill(MODELS.build(cfg)), images(SIZE), samples(SIZE, (4, 0))
    for module in model.modules():
        if isinstance(module, YOLOXHead):
            module.use_l1 = True
    torch.manual_seed(0)
    losses = train_with_fixed_norms(model)(inputs, data, mode='loss')
    model.eval()
    with torch.no_grad():
        found = [sample.pred_instances for sample in model(inputs, data, mode='predict')]
        found += model.candidates(inputs, [sample.metainfo for sample in data])
    sums = {name: sum(value) if isinstance(value, list) else value for name, value in losses.items()}
    return sums, found


@pytest.mark.parametrize(
    ('name', 'part', 'kind', 'calls'),
    [
        ('faster', ('roi_head', 'bbox_head'), OwnBBoxHead, dict(targets=2, predict=4)),
        ('faster', ('roi_head',), OwnRoIHead, dict(loss=1, predict_bbox=2)),
        ('faster', ('rpn_head',), OwnRPNHead, dict(post_process=6)),
        ('yolox', ('bbox_head',), OwnYOLOXHead, dict(forward_single=9, targets=2, l1=2)),
    ],
)
def test_steps_that_are_replaced(configs, name, part, kind, calls):
    plain, own = configs[name].copy(), configs[name].to_dict()
    head = own
    for key in part:
        head = head[key]
    head['type'] = kind
    CALLS.clear()
    (losses, found), (own_losses, own_found) = results_of(plain), results_of(own)
    assert calls == CALLS
    torch.testing.assert_close(own_losses, losses)
    assert all(len(image) > 0 for image in found)
    for image, own_image in zip(found, own_found):
        torch.testing.assert_close(own_image.scores, image.scores)
        torch.testing.assert_close(own_image.bboxes, image.bboxes)


def test_steps_of_the_box_head_from_shared_layers(configs):
    """The names that subclasses with layers of their own read."""
    cfg = configs['faster'].roi_head.bbox_head
    head = Shared2FCBBoxHead(**{key: value for key, value in cfg.items() if key != 'type'})
    convs, fcs, width = head._add_conv_fc_branch(1, 1, head.shared_out_channels)
    assert (len(convs), fcs[0].in_features, width) == (1, 256, 64)
    assert (head.num_shared_fcs, head.num_cls_convs, head.cls_last_dim, head.reg_last_dim) == (2, 0, 64, 64)
    assert head.relu(torch.tensor([-1.0])).item() == 0 and not head.custom_activation


def test_dense_heads_of_the_other_kind_of_detector(configs):
    """An RPN initialises a detector of two stages, under either name of its head, and the other way round."""
    faster = fill(MODELS.build(configs['faster']))
    cfg = {key: value for key, value in configs['faster'].items() if key != 'roi_head'}
    alone = fill(MODELS.build({**cfg, 'type': 'RPN'}))
    assert not load_into(alone, faster.state_dict()).missing
    for name in ('bbox_head.', 'rpn_head.'):
        state = {key.replace('bbox_head.', name): value + 1 for key, value in alone.state_dict().items()}
        other = MODELS.build(configs['faster'])
        report = load_into(other, state)
        assert {key.split('.')[0] for key in report.missing} == {'roi_head'} and not report.unexpected
        assert other.rpn_head.rpn_cls.weight.equal(alone.bbox_head.rpn_cls.weight + 1)
