"""Settings of an export: what may be asked for, and the config as they change it."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from mmengine.config import Config

from ..config.reading import type_name
from ..config.stages import inner_test_dataset, test_pipeline_config
from ..errors import ConfigError, DataError
from ..registry import DATASETS
from ..utils.checks import is_int
from .precision import check_precision, library

_LAST_OPSET = 20  # of the exporter by TorchScript
_LARGEST = 16384  # side of a test image; a batch of one such has 3 GB


@dataclass(kw_only=True)
class ExportSettings:
    """Choices for :func:`mmdet.apis.exporting.export_detector`.

    Attributes:
        to: ``'onnx'``, ``'openvino'`` or ``'torch-export'``.
        outputs: ``'raw'``, ``'candidates'`` (before the NMS) or ``'boxes'`` (after it); None takes boxes where the NMS can be written, and
            candidates for others, for composite detectors and for torch.export.
        size_wh: (w, h) that test images are resized to; None takes that of the test pipeline.
        static: allow this size alone, and the batch size ``batch`` or 1.
        batch: allow this batch size alone.
        precision: ``'fp32'``, ``'fp16'``, ``'bf16'`` or ``'int8'``.
        winograd: fewer multiplications in the 3 x 3 convolutions of necks and heads, see :mod:`mmdet.export.winograd`; fp32 only.
        symmetric: int8 activations of ONNX files with a zero point of 0, as TensorRT takes them.
        calibration: folder, image or annotation file of the images that int8 is calibrated by; None takes the training data of the config.
        calibration_images: how many of them.
        parity_images: folder or image for the parity check; None takes the test data of the config, or else drawn scenes.
        ann_file, image_root: annotation file (COCO) and folder of its images for AP before and after; None takes the test data of the config.
        ap_images: how many images AP is measured on at most; 0 leaves it out.
        opset: version of the ONNX operators.
        random_weights: export without a checkpoint, to measure the speed of a structure.
    """

    to: str
    outputs: str | None = None
    size_wh: tuple[int, int] | None = None
    static: bool = False
    batch: int | None = None
    precision: str = 'fp32'
    winograd: bool = False
    symmetric: bool = False
    calibration: str | None = None
    calibration_images: int = 64
    parity_images: str | None = None
    ann_file: str | None = None
    image_root: str | None = None
    ap_images: int = 500
    opset: int = 17
    random_weights: bool = False

    @property
    def measures_ap(self) -> bool:
        """Where results may change, or the user names the ground truth; raw outputs and files of torch.export are not for the runtime."""
        asked = self.ann_file is not None or self.precision != 'fp32'
        return asked and self.outputs != 'raw' and self.to != 'torch-export'


def check_settings(settings: ExportSettings) -> None:
    """Raise a ConfigError for settings that no detector can be exported with or a missing package, a DataError for annotations that are not there."""
    check_precision(settings.to, settings.precision)
    for name in dict(onnx=('onnx', 'onnxruntime'), openvino=('onnx', 'openvino')).get(settings.to, ()):
        library(name)
    if settings.precision == 'int8' and settings.to == 'openvino':
        library('nncf')
    for name, value, least in (
        ('--batch', 1 if settings.batch is None else settings.batch, 1), ('--ap-images', settings.ap_images, 0),
        ('--calibration-images', settings.calibration_images, 1), ('--opset', settings.opset, 17),
    ):  # fmt: skip
        if not is_int(value, least):
            raise ConfigError(f'must be an integer >= {least}', field=name, received=value)
    if settings.opset > _LAST_OPSET:
        raise ConfigError(
            f'must be 17 to {_LAST_OPSET}, the last that torch writes', field='--opset', received=settings.opset
        )
    size = settings.size_wh
    if size is not None and not (len(size) == 2 and all(is_int(side, 1) and side <= _LARGEST for side in size)):
        raise ConfigError(f'must be width and height, two integers from 1 to {_LARGEST}', field='--size', received=size)
    if settings.symmetric and (settings.to, settings.precision) != ('onnx', 'int8'):
        raise ConfigError('is for int8 files of onnx', field='--symmetric', received=(settings.to, settings.precision))
    if settings.winograd and (settings.to == 'torch-export' or settings.precision != 'fp32'):
        message = 'is for fp32 files of onnx and openvino: in other types its sums lose too many digits'
        raise ConfigError(message, field='--winograd', received=(settings.to, settings.precision))
    if settings.calibration is not None and settings.precision != 'int8':
        raise ConfigError('is for --precision int8', field='--calibration', received=settings.precision)
    if (settings.ann_file is None) != (settings.image_root is None):
        raise ConfigError('--ann and --img are given together, or neither of them', field='--ann')
    if settings.ann_file is not None and not os.path.isfile(settings.ann_file):
        raise DataError('no such annotation file', file=settings.ann_file, field='--ann')
    if settings.image_root is not None and not os.path.isdir(settings.image_root):
        raise DataError('no such folder', file=settings.image_root, field='--img')


def config_for(cfg: Config, settings: ExportSettings, log: Callable[[str], None]) -> Config:
    """A config with its test images resized as the runtime does and to the size that is asked for, its test data those that are asked for."""
    for step in test_pipeline_config(cfg):
        if type_name(step) == 'Resize' and step.get('backend') == 'ipp':
            step['backend'] = 'cv2'
            log("the test pipeline resizes with backend='ipp', the export with 'cv2', as not every machine has the other: pixels differ by one grey level")  # fmt: skip
    if settings.size_wh is not None:
        steps = test_pipeline_config(cfg)
        sized = [step for step in steps if type_name(step) in ('Resize', 'WarpResize')]
        if len(sized) != 1:
            message = 'needs a test pipeline with one Resize; stages of composite detectors have their own: --cfg-options model.coarse.scale=...'
            raise ConfigError(message, field='--size', received=[type_name(step) for step in steps])
        sized[0]['scale'] = tuple(settings.size_wh)
        for step in steps:
            if type_name(step) == 'Pad' and step.get('size') is not None:
                step['size'] = tuple(settings.size_wh)
    if settings.ann_file is not None:
        given = inner_test_dataset(cfg)
        own = getattr(
            DATASETS.get(type_name(given)), 'METAINFO', {}
        )  # those of a VisDroneDataset, say, are in no config
        dataset = dict(
            type='CocoDataset', ann_file=settings.ann_file, data_root='', data_prefix=dict(img=settings.image_root), test_mode=True,
            pipeline=test_pipeline_config(cfg), metainfo=given.get('metainfo') or (dict(own) if own.get('classes') else None),
        )  # fmt: skip
        cfg.test_dataloader = dict(dataset=dataset)
        cfg.test_evaluator = dict(type='CocoMetric', ann_file=settings.ann_file)
    return cfg
