"""Translate the pipelines of old configs, one transform at a time; normalisation and padding go to the model's preprocessor."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...errors import ConfigError
from .report import UpgradeReport

TEST_META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
TTA_META_KEYS = (*TEST_META_KEYS, 'flip', 'flip_direction')
# The same name and arguments in both styles.
_UNCHANGED = frozenset({
    'Expand', 'FilterAnnotations', 'LoadImageFromNDArray', 'MinIoURandomCrop', 'PhotoMetricDistortion',
})  # fmt: skip
# Steps that only turned arrays into tensors; they are left out.
_BUNDLERS = frozenset(
    {'DefaultFormatBundle', 'ImageToTensor', 'ToTensor', 'Transpose', 'WrapFieldsToLists', 'ToDataContainer'}
)
# albumentations 1 filled with the mirrored image (cv2.BORDER_REFLECT_101), its successor fills with black.
_MIRRORING = frozenset({'Rotate', 'ShiftScaleRotate'})
_REFLECT_101 = 4


@dataclass
class UpgradedPipeline:
    """A translated pipeline, and what belongs to other parts of the config.

    Attributes:
        steps: the pipeline.
        normalise: arguments of ``Normalize`` (``mean``, ``std``, ``to_rgb``), or None.
        size_divisor: that of ``Pad``, or None.
        tta_steps: the pipeline for ``--tta`` if the old one tested several views, or None.
    """

    steps: list[dict] = field(default_factory=list)
    normalise: dict | None = None
    size_divisor: int | None = None
    tta_steps: list[dict] | None = None


class PipelineUpgrader:
    """Translator of one pipeline.

    Args:
        where: its place in the config, for the report.
        training: whether it is a training pipeline.
        report: receives an entry for each change.
    """

    def __init__(self, where: str, training: bool, report: UpgradeReport):
        self.where, self.training, self.report = where, training, report
        self.out = UpgradedPipeline()

    def __call__(self, steps: list[dict]) -> UpgradedPipeline:
        """Translate ``steps``; they are left untouched.

        Raises:
            ConfigError: a step without a type, or a combination of arguments that has no meaning.
        """
        self.out.steps = self._convert(steps)
        kinds = [step['type'] for step in self.out.steps]
        if not self.training and 'PackDetInputs' in kinds and 'LoadAnnotations' not in kinds:
            # Ground truth for metrics and pictures: after Resize, so that it stays in pixels of the original image.
            self.out.steps.insert(kinds.index('PackDetInputs'), dict(type='LoadAnnotations', with_bbox=True))
        return self.out

    def _convert(self, steps: list[dict]) -> list[dict]:
        new: list[dict] = []
        for number, step in enumerate(steps):
            if not isinstance(step, dict) or not isinstance(step.get('type'), str):
                raise ConfigError('every step must be dict(type=...)', field=f'{self.where}[{number}]', received=step)
            step = copy.deepcopy(dict(step))
            kind = step.pop('type')
            method = getattr(self, f'_step_{kind}', None)
            if method is not None:
                new += method(step, new)
            elif kind not in _BUNDLERS:
                if kind not in _UNCHANGED:
                    self.report.keep(f'{self.where}: {kind}')
                new.append(dict(type=kind, **step))
        return new

    def _step_LoadImageFromFile(self, step: dict, _done: list[dict]) -> list[dict]:
        step.update(pop_backend_args(step))
        return [dict(type='LoadImageFromFile', **step)]

    def _step_LoadAnnotations(self, step: dict, _done: list[dict]) -> list[dict]:
        step.pop('poly2mask', None)
        for key in ('with_mask', 'with_seg'):
            if step.pop(key, False):
                self.report.drop(f'{self.where}: LoadAnnotations.{key}', 'only boxes are used')
        step.update(pop_backend_args(step))
        return [dict(type='LoadAnnotations', **step)]

    def _step_LoadProposals(self, step: dict, _done: list[dict]) -> list[dict]:
        self.report.drop(f'{self.where}: LoadProposals', 'proposals from files are not supported')
        return []

    def _step_Resize(self, step: dict, _done: list[dict]) -> list[dict]:
        scale, ratio = step.pop('img_scale', None), step.pop('ratio_range', None)
        mode = step.pop('multiscale_mode', 'range')
        step.pop('override', None)
        step.setdefault('keep_ratio', True)
        if 'bbox_clip_border' in step:
            step['clip_object_border'] = step.pop('bbox_clip_border')
        scales = _scales(scale)
        if not scales:
            if 'scale_factor' not in step and 'scale' not in step:
                raise ConfigError('needs img_scale', field=f'{self.where}: Resize', received=step)
            return [dict(type='Resize', **step)]
        if ratio is not None:
            return [dict(type='RandomResize', scale=scales[0], ratio_range=tuple(ratio), **step)]
        if len(scales) == 1:
            return [dict(type='Resize', scale=scales[0], **step)]
        if mode == 'value':
            return [dict(type='RandomChoiceResize', scales=scales, **step)]
        if len(scales) != 2:
            raise ConfigError('a range needs two scales', field=f'{self.where}: Resize.img_scale', received=scale)
        return [dict(type='RandomResize', scale=scales, **step)]

    def _step_RandomFlip(self, step: dict, _done: list[dict]) -> list[dict]:
        ratio = step.pop('flip_ratio', step.pop('prob', None))
        return [] if ratio is None else [dict(type='RandomFlip', prob=ratio, **step)]

    def _step_RandomCrop(self, step: dict, _done: list[dict]) -> list[dict]:
        # Sizes changed from (height, width) to (width, height), ranges did not.
        size = step.get('crop_size')
        if step.get('crop_type', 'absolute') in ('absolute', 'relative') and isinstance(size, (list, tuple)):
            step['crop_size'] = tuple(reversed(size))
            self.report.translate(f'{self.where}: RandomCrop.crop_size (h, w)', f'(w, h) = {step["crop_size"]}')
        return [dict(type='RandomCrop', **step)]

    def _step_Pad(self, step: dict, _done: list[dict]) -> list[dict]:
        if step.get('size_divisor') is not None:
            self.out.size_divisor = step['size_divisor']
            return []
        value = step.pop('pad_val', 0)
        if self.out.normalise is not None and value == 0:
            # It came after Normalize, where 0 is the mean colour; here images are BGR bytes.
            mean = [round(channel) for channel in self.out.normalise['mean']]
            value = tuple(reversed(mean)) if self.out.normalise['to_rgb'] else tuple(mean)
            self.report.translate(f'{self.where}: Pad(pad_val=0) after Normalize', f'pad_val={value}, the mean colour')
        return [dict(type='Pad', pad_val=value, **step)]

    def _step_Normalize(self, step: dict, _done: list[dict]) -> list[dict]:
        self.out.normalise = dict(mean=list(step['mean']), std=list(step['std']), to_rgb=step.get('to_rgb', True))
        return []

    def _step_Albu(self, step: dict, _done: list[dict]) -> list[dict]:
        step.pop('keymap', None)
        params = step.get('bbox_params')
        if params and 'gt_labels' in params.get('label_fields', []):
            params['label_fields'] = ['gt_bboxes_labels', 'gt_ignore_flags']
        mirrored = _set_border_mode(step.get('transforms', []))
        if mirrored:
            self.report.translate(
                f'{self.where}: Albu {", ".join(sorted(mirrored))} (albumentations 1 mirrors the border)',
                f'border_mode={_REFLECT_101}',
            )
        if self.out.normalise is not None:
            self.report.note(
                f'{self.where}: Albu came after Normalize, where albumentations clipped normalised values to [0, 1]; it '
                'now works on bytes, before normalisation and padding'
            )
        return [dict(type='Albu', **step)]

    def _step_AutoAugment(self, step: dict, _done: list[dict]) -> list[dict]:
        return [dict(type='RandomChoice', transforms=[self._convert(policy) for policy in step['policies']])]

    def _step_Collect(self, step: dict, _done: list[dict]) -> list[dict]:
        return [dict(type='PackDetInputs', **({} if self.training else dict(meta_keys=TEST_META_KEYS)))]

    def _step_MultiScaleFlipAug(self, step: dict, done: list[dict]) -> list[dict]:
        """Make the first view the pipeline, and all views the pipeline of ``--tta``."""
        scales = _scales(step.get('img_scale'))
        factors = step.get('scale_factor')
        factors = factors if isinstance(factors, (list, tuple)) else [factors]
        sizes: list[dict] = [dict(img_scale=scale) for scale in scales]
        sizes = sizes or [dict(scale_factor=factor or 1.0) for factor in factors]
        inner = step.get('transforms', [])
        first = [{**one, **sizes[0]} if one.get('type') == 'Resize' else one for one in inner]
        plain = self._convert([one for one in first if one.get('type') != 'RandomFlip'])
        if step.get('flip', False) or len(sizes) > 1:
            self.out.tta_steps = [*done, self._views(step, inner, sizes)]
            views = f'{len(sizes)} scale(s){", flipped too" if step.get("flip") else ""}'
            self.report.note(f'{self.where}: tested {views}; that is tta_pipeline now, and needs --tta')
        return plain

    def _views(self, step: dict, inner: list[dict], sizes: list[dict]) -> dict:
        alternatives: list[list[dict]] = []
        for one in inner:
            if one.get('type') == 'Resize':
                alternatives.append([self._convert([{**one, **size}])[0] for size in sizes])
            elif one.get('type') == 'RandomFlip':
                directions = step.get('flip_direction', 'horizontal') if step.get('flip', False) else []
                directions = [directions] if isinstance(directions, str) else directions
                flips = [dict(type='RandomFlip', prob=1.0, direction=direction) for direction in directions]
                alternatives.append([*flips, dict(type='RandomFlip', prob=0.0)])
            else:
                for new in self._convert([one]):
                    if new['type'] == 'PackDetInputs':
                        alternatives.append([dict(type='LoadAnnotations', with_bbox=True)])
                        new['meta_keys'] = TTA_META_KEYS
                    alternatives.append([new])
        return dict(type='TestTimeAug', transforms=alternatives)


def _scales(scale: int | Sequence | None) -> list[tuple]:
    """A scale, or a list of scales, as a list of (width, height)."""
    if scale is None:
        return []
    if isinstance(scale, int):
        return [(scale, scale)]
    return [tuple(one) for one in scale] if isinstance(scale[0], (list, tuple)) else [tuple(scale)]


def pop_backend_args(settings: dict) -> dict:
    """Take ``file_client_args`` out of the settings of a transform or dataset and return it as ``backend_args``.

    Settings of the local disk, which is the default, are dropped.
    """
    client = settings.pop('file_client_args', None)
    return dict(backend_args=client) if client and client.get('backend', 'disk') != 'disk' else {}


def _set_border_mode(transforms: list[dict]) -> set[str]:
    """Set albumentations 1's default border where none is given; returns the names of the transforms that got it."""
    found = set()
    for one in transforms:
        if one.get('type') in _MIRRORING and 'border_mode' not in one:
            one['border_mode'] = _REFLECT_101
            found.add(one['type'])
        found |= _set_border_mode(one.get('transforms', []))
    return found
