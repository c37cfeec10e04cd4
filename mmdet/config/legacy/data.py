"""Translate ``data`` and ``evaluation`` of an old config to dataloaders, evaluators and the model's preprocessor."""

import copy

from ...errors import ConfigError
from .pipeline import PipelineUpgrader, UpgradedPipeline
from .report import UpgradeReport

# Images with a shorter side were left out by default, in pixels.
_MIN_SIDE = 32
# Arguments of ``evaluation`` that go to the metric, and their names there.
_METRIC_ARGS = {
    'classwise': 'classwise',
    'iou_thrs': 'iou_thrs',
    'metric_items': 'metric_items',
    'jsonfile_prefix': 'outfile_prefix',
    'proposal_nums': 'proposal_nums',
}
# Arguments of ``evaluation`` that are read elsewhere, or concern the old hook only.
_OTHER_EVALUATION_ARGS = frozenset({
    'broadcast_bn_buffer', 'by_epoch', 'dynamic_intervals', 'gpu_collect', 'interval', 'metric', 'out_dir', 'priority',
    'rule', 'save_best', 'start', 'tmpdir', 'type',
})  # fmt: skip
_LOADER_ARGS = {'samples_per_gpu': 'batch_size', 'imgs_per_gpu': 'batch_size', 'workers_per_gpu': 'num_workers'}


class DataUpgrader:
    """Translator of ``data`` and ``evaluation``.

    Args:
        cfg: the whole old config; left untouched.
        report: written to.
    """

    def __init__(self, cfg: dict, report: UpgradeReport):
        self.data = copy.deepcopy(dict(cfg.get('data') or {}))
        self.evaluation = dict(cfg.get('evaluation') or {})
        self.data_root = cfg.get('data_root') if isinstance(cfg.get('data_root'), str) else ''
        self.report = report
        self.pipelines: dict[str, UpgradedPipeline] = {}

    def __call__(self) -> dict:
        """The new top-level keys: ``*_dataloader``, ``*_evaluator`` and ``tta_pipeline``."""
        new: dict = {}
        batch_size = self.data.pop('samples_per_gpu', None)
        batch_size = self.data.pop('imgs_per_gpu', None) if batch_size is None else batch_size
        common = dict(
            batch_size=2 if batch_size is None else batch_size, num_workers=self.data.pop('workers_per_gpu', 2)
        )
        for split in ('train', 'val', 'test'):
            loader_args = self._loader_args(split)
            dataset = self.data.pop(split, None)
            if dataset is None:
                continue
            if split != 'train':
                common['batch_size'] = 1
                if isinstance(dataset, dict) and 'samples_per_gpu' in dataset:
                    common['batch_size'] = dataset.pop('samples_per_gpu')
            new[f'{split}_dataloader'] = self._loader(split, dataset, {**common, **loader_args})
            self.report.translate(f'data.{split}', f'{split}_dataloader')
            if split != 'train':
                new[f'{split}_evaluator'] = self._evaluator(new[f'{split}_dataloader']['dataset'])
        for key in self.data:
            self.report.drop(f'data.{key}', 'not known')
        for key in self.evaluation:
            if key not in _METRIC_ARGS and key not in _OTHER_EVALUATION_ARGS:
                self.report.drop(f'evaluation.{key}', 'not known')
        tta = next(
            (p.tta_steps for p in (self.pipelines.get('test'), self.pipelines.get('val')) if p and p.tta_steps), None
        )
        if tta is not None:
            new['tta_pipeline'] = tta
        return new

    def preprocessor(self) -> dict | None:
        """``data_preprocessor`` from Normalize and Pad, or None; to be called after the pipelines are translated.

        Raises:
            ConfigError: the pipelines of training and testing normalise or pad differently.
        """
        found = [(p.normalise, p.size_divisor) for p in self.pipelines.values()]
        if not found:
            return None
        for name, parts in zip(self.pipelines, found):
            if parts != found[0]:
                first = next(iter(self.pipelines))
                raise ConfigError(
                    f'Normalize and Pad differ from those of data.{first}: {found[0]}',
                    field=f'data.{name}',
                    received=parts,
                )
        normalise, divisor = found[0]
        preprocessor: dict = dict(type='DetDataPreprocessor')
        if normalise:
            preprocessor.update(mean=normalise['mean'], std=normalise['std'], bgr_to_rgb=normalise['to_rgb'])
            self.report.translate('Normalize', 'model.data_preprocessor')
        if divisor:
            preprocessor['pad_size_divisor'] = divisor
            self.report.translate('Pad(size_divisor)', 'model.data_preprocessor.pad_size_divisor')
        return preprocessor

    # ---- loaders

    def _loader_args(self, split: str) -> dict:
        """Arguments of ``data.train_dataloader`` and the like, which exist since 2.21."""
        args = {}
        for key, value in dict(self.data.pop(f'{split}_dataloader', None) or {}).items():
            if key in _LOADER_ARGS:
                args[_LOADER_ARGS[key]] = value
            elif key in ('persistent_workers', 'shuffle', 'pin_memory', 'drop_last'):
                args[key] = value
            else:
                self.report.drop(f'data.{split}_dataloader.{key}', 'not known')
        return args

    def _loader(self, split: str, dataset: dict | list, args: dict) -> dict:
        training = split == 'train'
        shuffle = args.pop('shuffle', training)
        loader = dict(
            batch_size=args.pop('batch_size'),
            num_workers=args.pop('num_workers'),
            sampler=dict(type='DefaultSampler', shuffle=shuffle),
        )
        loader['persistent_workers'] = args.pop('persistent_workers', loader['num_workers'] > 0)
        if training:
            loader['batch_sampler'] = dict(type='AspectRatioBatchSampler')
        else:
            loader['drop_last'] = False
        loader.update(args)
        loader['dataset'] = self._dataset(split, dataset, f'data.{split}')
        return loader

    # ---- datasets

    def _dataset(self, split: str, old: dict | list | tuple, where: str) -> dict:
        if isinstance(old, (list, tuple)):
            return self._concatenated(split, [dict(one) for one in old], where)
        old = dict(old)
        kind = old.get('type')
        if kind in ('RepeatDataset', 'ClassBalancedDataset'):
            inner = self._dataset(split, old.pop('dataset'), f'{where}.dataset')
            old.pop('filter_empty_gt', None)
            return dict(old, dataset=inner)
        if kind == 'ConcatDataset':
            return self._concatenated(split, list(old['datasets']), where)
        for key in ('ann_file', 'img_prefix'):
            if isinstance(old.get(key), (list, tuple)):
                return self._concatenated(split, self._one_by_one(old), where)
        return self._single(split, old, where)

    def _concatenated(self, split: str, parts: list[dict], where: str) -> dict:
        if split != 'train':
            self.report.note(f'{where}: several datasets are evaluated as one')
        datasets = [self._dataset(split, part, f'{where}[{i}]') for i, part in enumerate(parts)]
        return dict(type='ConcatDataset', datasets=datasets)

    @staticmethod
    def _one_by_one(old: dict) -> list[dict]:
        """Split a dataset with several annotation files into several datasets."""
        files = old['ann_file'] if isinstance(old['ann_file'], (list, tuple)) else [old['ann_file']]
        prefix = old.get('img_prefix', '')
        prefixes = prefix if isinstance(prefix, (list, tuple)) else [prefix] * len(files)
        return [dict(old, ann_file=file, img_prefix=folder) for file, folder in zip(files, prefixes)]

    def _single(self, split: str, old: dict, where: str) -> dict:
        training = split == 'train'
        new: dict = dict(type=old.pop('type', 'CocoDataset'))
        classes = old.pop('classes', None)
        if classes is not None:
            new['metainfo'] = dict(classes=classes if isinstance(classes, str) else tuple(classes))
            if 'palette' in old:
                new['metainfo']['palette'] = old.pop('palette')
            self.report.translate(f'{where}.classes', 'metainfo.classes')
        ann_file, prefix = old.pop('ann_file', ''), old.pop('img_prefix', '') or ''
        root = old.pop('data_root', None)
        if root is None and self.data_root and all(path.startswith(self.data_root) for path in (ann_file, prefix)):
            root = self.data_root
            ann_file, prefix = ann_file[len(root) :], prefix[len(root) :]
        if root:
            new['data_root'] = root
        new.update(ann_file=ann_file, data_prefix=dict(img=prefix))
        filter_empty = old.pop('filter_empty_gt', True)
        if training:
            new['filter_cfg'] = dict(filter_empty_gt=filter_empty, min_size=_MIN_SIDE)
        if not training or old.get('test_mode'):
            new['test_mode'] = True
        old.pop('test_mode', None)
        for key in ('seg_prefix', 'proposal_file', 'seg_suffix'):
            if old.pop(key, None):
                self.report.drop(f'{where}.{key}', 'neither masks nor stored proposals are used')
        client = old.pop('file_client_args', None)
        if client and client.get('backend', 'disk') != 'disk':
            new['backend_args'] = client
        old.pop('samples_per_gpu', None)
        upgraded = PipelineUpgrader(f'{where}.pipeline', training, self.report)(old.pop('pipeline', []))
        new['pipeline'] = upgraded.steps
        self.pipelines.setdefault(split, upgraded)
        for key, value in old.items():
            self.report.keep(f'{where}.{key}')
            new[key] = value
        return new

    # ---- evaluation

    def _evaluator(self, dataset: dict) -> dict:
        metrics = self.evaluation.get('metric', 'bbox')
        metrics = [metrics] if isinstance(metrics, str) else list(metrics)
        boxes = [name for name in metrics if name in ('bbox', 'proposal', 'proposal_fast')]
        for name in metrics:
            if name not in boxes:
                self.report.drop(f'evaluation.metric {name!r}', 'only the COCO metric of boxes is computed')
        boxes = boxes or ['bbox']
        evaluator = dict(
            type='CocoMetric', ann_file=_annotation_file(dataset), metric=boxes[0] if len(boxes) == 1 else boxes
        )
        for old, new in _METRIC_ARGS.items():
            if self.evaluation.get(old) is not None:
                evaluator[new] = self.evaluation[old]
        if self.evaluation.get('gpu_collect'):
            evaluator['collect_device'] = 'gpu'
        return evaluator


def _annotation_file(dataset: dict) -> str | None:
    """Path for the metric; None for several datasets, whose ground truth comes from the samples."""
    while dataset.get('type') in ('RepeatDataset', 'ClassBalancedDataset'):
        dataset = dataset['dataset']
    if 'ann_file' not in dataset:
        return None
    root = dataset.get('data_root', '')
    separator = '' if not root or root.endswith('/') or dataset['ann_file'].startswith('/') else '/'
    return dataset['ann_file'] if dataset['ann_file'].startswith('/') else f'{root}{separator}{dataset["ann_file"]}'


__all__ = ['DataUpgrader']
