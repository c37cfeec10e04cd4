"""The command line of the export of a detector, in ``tools/export.py``."""

import argparse
from dataclasses import fields
from pathlib import Path

from ..config.reading import CfgOptions
from ..errors import ConfigError
from .exporting import ExportedDetector, ExportSettings, export_detector
from .known_models import config_by_name


def add_detector_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the export of a detector; those that are named like fields of :class:`ExportSettings` mean the same."""
    defaults = ExportSettings(to='')
    add = parser.add_argument
    add('config', help='config file, or known name of a model')
    add('checkpoint', nargs='?', help='weights; not needed for a composite detector whose config names those of its stages')  # fmt: skip
    add('--to', required=True, choices=['onnx', 'openvino', 'torch-export'], help='form of the networks')
    add('--out', metavar='DIR', help='folder to write; default exported/<config>-<to>-<precision>')
    add('--outputs', choices=['raw', 'candidates', 'boxes'],
        help='what a network gives: outputs of the head, decoded boxes before the NMS, or after it (default; composite detectors: candidates)')  # fmt: skip
    add('--size', dest='size_wh', type=int, nargs=2, metavar=('W', 'H'),
        help='size that images are resized to; default: that of the test pipeline')  # fmt: skip
    add('--static', action='store_true', help='allow this size alone, and one batch size; default: any')
    add('--batch', type=int, metavar='N', help='allow this batch size alone')
    add('--precision', choices=['fp32', 'fp16', 'bf16', 'int8'], default=defaults.precision, help='default: fp32')
    add('--symmetric', action='store_true', help='int8 activations with a zero point of 0, as TensorRT takes them; onnx only')  # fmt: skip
    add('--calibration', metavar='PATH', help='images, or their annotation file, for int8; default: the training data of the config')  # fmt: skip
    add('--calibration-images', type=int, metavar='N', default=defaults.calibration_images, help='how many of them (default: %(default)s)')  # fmt: skip
    add('--parity-images', metavar='PATH',
        help='images to compare both detectors on; default: the first 20 of the test data, or drawn scenes')  # fmt: skip
    add('--ann', dest='ann_file', metavar='FILE',
        help='annotations (COCO) for AP before and after, with --img; default: the test data of the config')  # fmt: skip
    add('--img', dest='image_root', metavar='DIR', help='folder of the images of --ann')
    add('--ap-images', type=int, metavar='N', default=defaults.ap_images,
        help='images that AP is measured on at most (default: %(default)s; 0: none); in fp32 only with --ann')  # fmt: skip
    add('--opset', type=int, default=defaults.opset, help='version of the ONNX operators (default: %(default)s)')
    add(
        '--random-weights', action='store_true', help='export without a checkpoint, to measure the speed of a structure'
    )
    add('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE', help='override config values')
    add('--trust-checkpoint', action='store_true', help='allow unpickling arbitrary objects: only for files you trust')


def export_from_arguments(args: argparse.Namespace) -> ExportedDetector:
    """Export what the arguments say.

    Raises:
        ConfigError, CheckpointError, DataError: see :func:`export_detector`; also for what is no config.
    """
    if Path(config_by_name(args.config)).suffix != '.py':
        message = 'must be a config (.py) or a known name of one; a file of structures is exported without --to'
        raise ConfigError(message, field='CONFIG', received=args.config)
    out = args.out or f'exported/{Path(args.config).stem}-{args.to}-{args.precision}'
    given = {field.name: getattr(args, field.name) for field in fields(ExportSettings)}
    settings = ExportSettings(**{**given, 'size_wh': args.size_wh and tuple(args.size_wh)})
    options = dict(cfg_options=args.cfg_options, trust_checkpoint=args.trust_checkpoint)
    return export_detector(args.config, args.checkpoint, out, settings, **options)
