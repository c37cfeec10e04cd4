"""A plug-in as one writes it for mmdetection 3.x: a head that derives from GFLHead, a hook and a transform, and a training with them.

Nothing here is of this package; the file runs under mmdetection, too (``python gfl_plugin.py`` prints the losses of the training).
"""

import json
import os
import tempfile

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet.models.dense_heads import GFLHead
from mmdet.models.utils import multi_apply
from mmdet.registry import HOOKS, MODELS, TRANSFORMS
from mmdet.structures.bbox import autocast_box_type, bbox_overlaps
from mmdet.utils import register_all_modules

CLASSES = ('disc', 'square', 'bar')


@TRANSFORMS.register_module()
class ShiftImage(BaseTransform):
    """Move the picture and its boxes by whole pixels; what leaves it on one side is cut off."""

    def __init__(self, shift_xy):
        self.shift_xy = shift_xy

    @autocast_box_type()
    def transform(self, results):
        (dx, dy), (height, width) = self.shift_xy, results['img'].shape[:2]
        moved = np.zeros_like(results['img'])
        moved[dy:, dx:] = results['img'][: height - dy, : width - dx]
        results['img'] = moved
        results['gt_bboxes'].translate_([dx, dy])
        results['gt_bboxes'].clip_((height, width))
        inside = results['gt_bboxes'].is_inside((height, width)).numpy()
        for key in ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags'):
            results[key] = results[key][inside]
        return results

    def __repr__(self):
        return f'{type(self).__name__}(shift_xy={self.shift_xy})'


@HOOKS.register_module()
class RampHook(Hook):
    """Raise the weight of the positives from iteration to iteration, and keep the losses."""

    def __init__(self, step):
        self.step = step
        self.tape = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        runner.model.bbox_head.positive_weight = 1 + self.step * runner.iter

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.tape.append({name: float(value.detach()) for name, value in outputs.items()})


@MODELS.register_module()
class RampedGFLHead(GFLHead):
    """GFL whose positives have a weight that changes, and whose box losses are weighted by the overlap instead of the score."""

    def __init__(self, *args, power=0.5, **kwargs):
        super().__init__(*args, **kwargs)
        self.power = power
        self.positive_weight = 1.0

    def get_targets(
        self,
        anchor_list,
        valid_flag_list,
        batch_gt_instances,
        batch_img_metas,
        batch_gt_instances_ignore=None,
        unmap_outputs=True,
    ):
        targets = super().get_targets(
            anchor_list, valid_flag_list, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore, unmap_outputs
        )
        anchors, labels, label_weights, bbox_targets, bbox_weights, avg_factor = targets
        (label_weights,) = multi_apply(self.weigh, labels, label_weights)
        return anchors, labels, label_weights, bbox_targets, bbox_weights, avg_factor

    def weigh(self, labels, weights):
        return (torch.where(labels < self.num_classes, weights * self.positive_weight, weights),)

    def loss_by_feat_single(
        self, anchors, cls_score, bbox_pred, labels, label_weights, bbox_targets, stride, avg_factor
    ):
        anchors, bbox_targets = anchors.reshape(-1, 4), bbox_targets.reshape(-1, 4)
        scores = cls_score.permute(0, 2, 3, 1).reshape(-1, self.cls_out_channels)
        bins = bbox_pred.permute(0, 2, 3, 1).reshape(-1, 4 * (self.reg_max + 1))
        labels, label_weights = labels.reshape(-1), label_weights.reshape(-1)
        quality = scores.new_zeros(labels.shape)
        pos = torch.nonzero((labels >= 0) & (labels < self.num_classes)).squeeze(1)
        if len(pos) == 0:
            nothing = bins.sum() * 0
            loss_bbox, loss_dfl, weight_sum = nothing, nothing, scores.new_tensor(0.0)
        else:
            centers = self.anchor_center(anchors[pos]) / stride[0]
            boxes, targets = self.bbox_coder.decode(centers, self.integral(bins[pos])), bbox_targets[pos] / stride[0]
            quality[pos] = bbox_overlaps(boxes.detach(), targets, is_aligned=True).clamp(min=1e-6) ** self.power
            weights = quality[pos]
            sides = self.bbox_coder.encode(centers, targets, self.reg_max).reshape(-1)
            loss_bbox = self.loss_bbox(boxes, targets, weight=weights, avg_factor=1.0)
            loss_dfl = self.loss_dfl(
                bins[pos].reshape(-1, self.reg_max + 1),
                sides,
                weight=weights[:, None].expand(-1, 4).reshape(-1),
                avg_factor=4.0,
            )
            weight_sum = weights.sum()
        loss_cls = self.loss_cls(scores, (labels, quality), weight=label_weights, avg_factor=avg_factor)
        return loss_cls, loss_bbox, loss_dfl, weight_sum


def write_data(folder, count=8, size=96):
    """Pictures of three shapes on a grey ramp, and their annotations in COCO's format."""
    images, annotations = [], []
    for i in range(count):
        picture = np.repeat(np.linspace(20, 120, size).astype(np.uint8)[None, :, None], size, 0).repeat(3, 2).copy()
        for k in range(1 + i % 3):
            x, y, w, h = 7 + 29 * k, 11 + (17 * i + 23 * k) % 50, 18 + 3 * k, (18 + 3 * k, 24, 9)[k]
            cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), (40 * k, 255 - 60 * k, 30 * i), -1)
            box = dict(bbox=[x, y, w, h], area=w * h, category_id=k + 1, iscrowd=0)
            annotations.append(dict(box, id=len(annotations) + 1, image_id=i))
        cv2.imwrite(os.path.join(folder, f'{i}.png'), picture)
        images.append(dict(id=i, file_name=f'{i}.png', width=size, height=size))
    categories = [dict(id=k + 1, name=name) for k, name in enumerate(CLASSES)]
    with open(os.path.join(folder, 'train.json'), 'w') as file:
        json.dump(dict(images=images, annotations=annotations, categories=categories), file)


def make_config(folder):
    model = dict(
        type='GFL',
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[100.0] * 3, std=[60.0] * 3, bgr_to_rgb=True, pad_size_divisor=32),
        backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, num_stages=4, out_indices=(1, 2, 3), style='pytorch'),
        neck=dict(type='FPN', in_channels=[16, 32, 64], out_channels=16, add_extra_convs='on_output', num_outs=5),
        bbox_head=dict(
            type='RampedGFLHead', num_classes=3, in_channels=16, feat_channels=32, stacked_convs=1, power=0.5,
            anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128]),
            loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
            loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
            reg_max=16,
        ),
        train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False),
        test_cfg=dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=100),
    )  # fmt: skip
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='ShiftImage', shift_xy=(5, 3)),
        dict(type='Resize', scale=(128, 128), keep_ratio=True),
        dict(type='PackDetInputs'),
    ]
    dataset = dict(
        type='CocoDataset', data_root=folder, ann_file='train.json', data_prefix=dict(img=''), metainfo=dict(classes=CLASSES),
        pipeline=pipeline,
    )  # fmt: skip
    return Config(
        dict(
            default_scope='mmdet',
            model=model,
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                persistent_workers=False,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dataset,
            ),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.004, momentum=0.9)),
            default_hooks=dict(logger=dict(type='LoggerHook', interval=100), checkpoint=None),
            custom_hooks=[dict(type='RampHook', step=0.5), dict(type='NumClassCheckHook')],
            work_dir=os.path.join(folder, 'work'),
            log_level='ERROR',
        )
    )


def fill(model):
    """The same weights in any order of initialisation: each tensor from the place of its name in the sorted list."""
    state = model.state_dict()
    names = sorted(name for name in state if not name.endswith(('num_batches_tracked', 'project')))
    for seed, name in enumerate(names):
        tensor, generator = state[name], torch.Generator().manual_seed(seed)
        values = torch.randn(tensor.shape, generator=generator)
        if name.endswith('running_var'):
            values = 1 + 0.1 * values.abs()
        elif tensor.dim() > 1:
            values = values / max(tensor[0].numel(), 1) ** 0.5
        else:
            values = 0.1 * values + (name.endswith('weight') or 'scale' in name) - 4 * name.endswith('gfl_cls.bias')
        tensor.copy_(values)


def train(folder):
    """The losses of every iteration."""
    register_all_modules()
    torch.set_num_threads(1)
    write_data(folder)
    runner = Runner.from_cfg(make_config(folder))
    fill(runner.model)
    runner.model.init_weights = lambda: None
    runner.train()
    return next(hook.tape for hook in runner.hooks if isinstance(hook, RampHook))


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as path:
        print(json.dumps(train(path)))
