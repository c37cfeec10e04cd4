"""A model, a dataset and a runner small enough to train in a second, in mmdet's own formats."""

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import nn

from mmdet.engine import DetRunner
from mmdet.registry import DATASETS, METRICS, MODELS


class ToyHead(nn.Module):
    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes
        self.gfl_cls = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.gfl_cls(x)


@MODELS.register_module(force=True)
class ToyDetector(BaseModel):
    """Two layers, unless ``plain`` a batch norm and a dropout; the loss has two parts."""

    def __init__(
        self, num_classes: int = 3, poison_at: int = -1, poison_rank: int | None = None, plain: bool = False, **kwargs
    ):
        super().__init__(**kwargs)
        layers = (
            [nn.Linear(4, 8), nn.ReLU()] if plain else [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.25)]
        )
        self.backbone = nn.Sequential(*layers)
        self.bbox_head = ToyHead(num_classes)
        self.poison_at, self.poison_rank, self.calls, self.seen = poison_at, poison_rank, 0, []

    def forward(self, inputs, targets, mode='tensor'):
        x, target = torch.stack(inputs), torch.stack(targets)
        scores = self.bbox_head(self.backbone(x))
        if mode != 'loss':
            return [dict(score=score) for score in scores]
        self.seen.append(x.clone())
        self.calls += 1
        loss_cls = nn.functional.cross_entropy(scores, target)
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        if self.calls == self.poison_at and self.poison_rank in (None, rank):
            loss_cls = loss_cls * float('nan')
        return dict(loss_cls=loss_cls, loss_bbox=[scores.square().mean() * 0.1, scores.abs().mean() * 0.1])


@DATASETS.register_module(force=True)
class ToyDataset(BaseDataset):
    """Vectors that are a function of their index."""

    METAINFO = dict(classes=('car', 'van', 'bus'))

    def __init__(self, length: int = 20, **kwargs):
        self.length = length
        super().__init__(**kwargs)

    def load_data_list(self):
        return [dict(number=number) for number in range(self.length)]

    def prepare_data(self, idx):
        generator = torch.Generator().manual_seed(int(idx))
        return dict(inputs=torch.randn(4, generator=generator), targets=torch.tensor(int(idx) % 3))


@METRICS.register_module(force=True)
class ToyMetric(BaseMetric):
    """A score from a list, one each time it is asked."""

    default_prefix = 'coco'

    def __init__(self, scores=(0.1, 0.3, 0.2), **kwargs):
        super().__init__(**kwargs)
        self.scores, self.asked = list(scores), 0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        self.asked += 1
        return dict(bbox_mAP=self.scores[(self.asked - 1) % len(self.scores)])


def toy_config(work_dir, *, epochs=3, iters=None, batch_size=4, val=False, ema=True, **overrides) -> Config:
    """Config of a toy training: SGD with momentum, warm-up, EMA."""
    loader = dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(type='ToyDataset'),
    )
    by_epoch = iters is None
    cfg = dict(
        default_scope='mmdet',
        work_dir=str(work_dir),
        model=dict(type='ToyDetector'),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs)
        if by_epoch
        else dict(by_epoch=False, max_iters=iters, val_interval=1000),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=6),
            dict(type='MultiStepLR', by_epoch=by_epoch, milestones=[2], gamma=0.5),
        ],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=by_epoch),
            logger=dict(type='LoggerHook', interval=2),
        ),
        randomness=dict(seed=7),
        log_level='ERROR',
        visualizer=dict(type='DetLocalVisualizer', vis_backends=[]),
    )
    if ema:
        cfg['custom_hooks'] = [dict(type='EMAHook', momentum=0.1)]
    if val:
        cfg.update(
            val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
            val_cfg=dict(),
            val_evaluator=dict(type='ToyMetric'),
        )
    cfg = Config(cfg, format_python_code=False)  # which takes longer than the training
    cfg.merge_from_dict(overrides)
    return cfg


def toy_runner(work_dir, **options) -> DetRunner:
    """Runner of :func:`toy_config`; names must differ, or mmengine hands out the message hub of an earlier test."""
    cfg = toy_config(work_dir, **options)
    toy_runner.count = getattr(toy_runner, 'count', 0) + 1
    cfg.experiment_name = f'toy{toy_runner.count}'
    return DetRunner.from_cfg(cfg)
