"""Translate ``data`` and ``evaluation`` of an old config to dataloaders, evaluators and the model's preprocessor."""

import copy
from collections.abc import Sequence

from ...errors import ConfigError
from .pipeline import PipelineUpgrader, UpgradedPipeline, pop_backend_args
from .report import UpgradeReport

_WRAPPERS = ('RepeatDataset', 'ClassBalancedDataset')
# Images with a shorter side were left out by default, in pixels.
_MIN_SIDE = 32
# Arguments of ``evaluation`` that go to the metric, and their names there.
_METRIC_ARGS = {
    **{name: name for name in ('classwise', 'iou_thrs', 'metric_items', 'proposal_nums')},
    'jsonfile_prefix': 'outfile_prefix',
}
# Arguments of ``evaluation`` that are read elsewhere, or concern the old hook only.
_OTHER_EVALUATION_ARGS = frozenset({
    'broadcast_bn_buffer', 'by_epoch', 'dynamic_intervals', 'gpu_collect', 'interval', 'metric', 'out_dir', 'priority',
    'rule', 'save_best', 'start', 'tmpdir', 'type',
})  # fmt: skip
_LOADER_ARGS = {
    'samples_per_gpu': 'batch_size', 'imgs_per_gpu': 'batch_size', 'workers_per_gpu': 'num_workers',
    **{name: name for name in ('persistent_workers', 'shuffle', 'pin_memory', 'drop_last')},
}  # fmt: skip


class DataUpgrader:
    """Translator of ``data`` and ``evaluation``.

    Args:
        cfg: the whole old config, which stays as it is.
        report: receives an entry for each change.
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
        size = self.data.pop('samples_per_gpu', None)
        if size is None:
            size = self.data.pop('imgs_per_gpu', None)
        common = dict(batch_size=2 if size is None else size, num_workers=self.data.pop('workers_per_gpu', 2))
        for split in ('train', 'val', 'test'):
            loader_args = self._loader_args(split)
            dataset = self.data.pop(split, None)
            if dataset is None:
                continue
            if split != 'train':
                common['batch_size'] = dataset.pop('samples_per_gpu', 1) if isinstance(dataset, dict) else 1
            new[f'{split}_dataloader'] = self._loader(split, dataset, {**common, **loader_args})
            self.report.translate(f'data.{split}', f'{split}_dataloader')
            if split != 'train':
                new[f'{split}_evaluator'] = self._evaluator(new[f'{split}_dataloader']['dataset'])
        for key in self.data:
            self.report.drop(f'data.{key}', 'not known')
        for key in self.evaluation:
            if key not in _METRIC_ARGS and key not in _OTHER_EVALUATION_ARGS:
                self.report.drop(f'evaluation.{key}', 'not known')
        for split in ('val', 'test'):
            if split in self.pipelines and self.pipelines[split].tta_steps:
                new['tta_pipeline'] = self.pipelines[split].tta_steps
        return new

    def preprocessor(self) -> dict | None:
        """``data_preprocessor`` from Normalize and Pad, or None; to be called after the pipelines are translated.

        Raises:
            ConfigError: the pipelines of training and testing normalise or pad differently.
        """
        found = {split: (pipeline.normalise, pipeline.size_divisor) for split, pipeline in self.pipelines.items()}
        if not found:
            return None
        first, expected = next(iter(found.items()))
        for split, parts in found.items():
            if parts != expected:
                message = f'Normalize and Pad differ from those of data.{first}: {expected}'
                raise ConfigError(message, field=f'data.{split}', received=parts)
        normalise, divisor = expected
        preprocessor: dict = dict(type='DetDataPreprocessor')
        if normalise:
            preprocessor.update(mean=normalise['mean'], std=normalise['std'], bgr_to_rgb=normalise['to_rgb'])
            self.report.translate('Normalize', 'model.data_preprocessor')
        if divisor:
            preprocessor['pad_size_divisor'] = divisor
            self.report.translate('Pad(size_divisor)', 'model.data_preprocessor.pad_size_divisor')
        return preprocessor

    def _loader_args(self, split: str) -> dict:
        """Arguments of ``data.train_dataloader`` and the like, which exist since 2.21."""
        args = {}
        for key, value in (self.data.pop(f'{split}_dataloader', None) or {}).items():
            if key in _LOADER_ARGS:
                args[_LOADER_ARGS[key]] = value
            else:
                self.report.drop(f'data.{split}_dataloader.{key}', 'not known')
        return args

    def _loader(self, split: str, dataset: dict | list, args: dict) -> dict:
        training = split == 'train'
        sampler = dict(type='DefaultSampler', shuffle=args.pop('shuffle', training))
        kind = dict(batch_sampler=dict(type='AspectRatioBatchSampler')) if training else dict(drop_last=False)
        sizes = dict(batch_size=args['batch_size'], num_workers=args['num_workers'])
        loader = dict(sizes, sampler=sampler, persistent_workers=args['num_workers'] > 0, **kind)
        return {**loader, **args, 'dataset': self._dataset(split, dataset, f'data.{split}')}

    def _dataset(self, split: str, old: dict | list | tuple, where: str) -> dict:
        if isinstance(old, (list, tuple)):
            return self._concatenated(split, old, where)
        if old.get('type') in _WRAPPERS:
            inner = self._dataset(split, old['dataset'], f'{where}.dataset')
            return {key: value for key, value in {**old, 'dataset': inner}.items() if key != 'filter_empty_gt'}
        files, prefixes = old.get('ann_file'), old.get('img_prefix', '')
        if old.get('type') == 'ConcatDataset':
            return self._concatenated(split, old['datasets'], where)
        if isinstance(files, (list, tuple)) or isinstance(prefixes, (list, tuple)):
            # Several annotation files, of one folder of images or of one each.
            files = files if isinstance(files, (list, tuple)) else [old['ann_file']]
            prefixes = prefixes if isinstance(prefixes, (list, tuple)) else [prefixes] * len(files)
            pairs = zip(files, prefixes)
            return self._concatenated(split, [dict(old, ann_file=file, img_prefix=img) for file, img in pairs], where)
        return self._single(split, dict(old), where)

    def _concatenated(self, split: str, parts: Sequence[dict], where: str) -> dict:
        if split != 'train':
            self.report.note(f'{where}: several datasets are evaluated as one')
        datasets = [self._dataset(split, part, f'{where}[{i}]') for i, part in enumerate(parts)]
        return dict(type='ConcatDataset', datasets=datasets)

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
        if old.pop('test_mode', False) or not training:
            new['test_mode'] = True
        for key in ('seg_prefix', 'proposal_file', 'seg_suffix'):
            if old.pop(key, None):
                self.report.drop(f'{where}.{key}', 'neither masks nor stored proposals are used')
        new.update(pop_backend_args(old))
        old.pop('samples_per_gpu', None)
        upgraded = PipelineUpgrader(f'{where}.pipeline', training, self.report)(old.pop('pipeline', []))
        new['pipeline'] = upgraded.steps
        self.pipelines.setdefault(split, upgraded)
        for key in old:
            self.report.keep(f'{where}.{key}')
        return {**new, **old}

    def _evaluator(self, dataset: dict) -> dict:
        metrics = self.evaluation.get('metric', 'bbox')
        metrics = [metrics] if isinstance(metrics, str) else list(metrics)
        boxes = [name for name in metrics if name in ('bbox', 'proposal', 'proposal_fast')] or ['bbox']
        for name in metrics:
            if name not in boxes:
                self.report.drop(f'evaluation.metric {name!r}', 'only the COCO metric of boxes is computed')
        args = {new: self.evaluation.get(old) for old, new in _METRIC_ARGS.items()}
        evaluator = dict(
            type='CocoMetric', ann_file=_annotation_file(dataset), metric=boxes[0] if len(boxes) == 1 else boxes,
            **{name: value for name, value in args.items() if value is not None},
        )  # fmt: skip
        if self.evaluation.get('gpu_collect'):
            evaluator['collect_device'] = 'gpu'
        return evaluator


def _annotation_file(dataset: dict) -> str | None:
    """Path for the metric; None for several datasets, whose ground truth comes from the samples."""
    while dataset.get('type') in _WRAPPERS:
        dataset = dataset['dataset']
    file, root = dataset.get('ann_file'), dataset.get('data_root', '')
    if file is None or not root or file.startswith('/'):
        return file
    return f'{root}{file}' if root.endswith('/') else f'{root}/{file}'
