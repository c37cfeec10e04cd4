"""The command line of the mosaic builders in ``UFPMP-Det-Tools/build_dataset``."""

import argparse
import contextlib
import datetime
import hashlib
import json
import os
from dataclasses import fields

import torch
import torch.distributed as torch_dist
from mmengine.dist import barrier, get_dist_info

from ..config.reading import (
    ArgumentParser,
    add_common_arguments,
    add_inference_arguments,
    add_value_range,
    set_local_rank,
)
from ..datasets.converters import MosaicBuilder, MosaicOptions, MosaicReport
from ..engine import init_dist, locked_for_all
from ..utils.outputs import refuse_inputs
from .building import read_config
from .ufpmp import build_stage, stage_scales

# Processes wait for the slowest one, which may take a day; the default timeout of half an hour would end the run.
_PATIENCE_SECONDS = 7 * 86400


def mosaic_parser(description: str, *, with_txt: bool) -> ArgumentParser:
    """The arguments of the original scripts and further options; ``with_txt`` adds ``--txt_path`` for VisDrone's ``.txt`` files."""
    defaults = MosaicOptions()
    parser = ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('detector_config', help='config of the coarse detector')
    add('detector_ckpt', help='its checkpoint')
    add('dataset_root', help='folder of the images')
    add('dataset_anno', help='COCO annotation file of the images')
    add('ufp_images_output_dir', help='folder of the mosaics; made where it is missing')
    add('ufp_anno_output_path', help='annotation file of the mosaics')
    if with_txt:
        painted = "VisDrone's .txt files: their ignored regions are painted black"
        add('--txt_path', '--txt-path', metavar='DIR', help=painted)
    add('--paint-ignored', action='store_true', help='paint the ignored regions that the annotation file knows')
    add('--quality', type=int, default=defaults.quality, help=f'quality of JPEG files (default: {defaults.quality})')
    add('--segmentation', choices=['box', 'none'], default=defaults.segmentation,
        help='write the corners of each moved box as its segmentation (default), or write none')  # fmt: skip
    add('--on-empty', choices=['whole', 'skip'], default=defaults.on_empty,
        help='an image in which nothing was found becomes its own mosaic (default), or is left out')  # fmt: skip
    add('--drop-empty', action='store_true', help='leave out mosaics without a box')
    add('--min-visible', type=float, default=defaults.min_visible,
        help='leave out boxes of which a tile shows this share of the area or less (default: 0)')  # fmt: skip
    add('--expand', type=float, default=defaults.expand, help='enlargement of coarse boxes (default: 1.5)')
    add('--mode', choices=['reference', 'exact'], default=defaults.mode,
        help='borders of regions: as in the original (default), or moved outwards to whole pixels')  # fmt: skip
    add('--packing', choices=['guillotine', 'dense'], default=defaults.packing,
        help='how regions are packed: as in the original (default), or into less space')  # fmt: skip
    add('--max-side', type=float, help='limit of the sides of a mosaic in pixels; default: none')
    add('--no-flip', action='store_true', help='do not detect on the flipped image')
    add('--batch-size', type=int, default=8, help='images per batch (default: 8)')
    add('--workers', type=int, default=4, help='threads per process that read and write images (default: 4)')
    add_value_range(parser)
    add('--device', help="like 'cpu' or 'cuda:0'; default: the best one here")
    add('--restart', action='store_true', help='start from the beginning, not where an earlier run stopped')
    add_inference_arguments(parser)
    add_common_arguments(parser)
    return parser


def build_from_arguments(args: argparse.Namespace) -> MosaicReport | None:
    """Run a mosaic builder; returns its report on the first rank, None on the others.

    Raises:
        ConfigError, CheckpointError, DataError: the options, the checkpoint or the data cannot be used.
    """
    set_local_rank(args)
    device, patient = args.device, None
    if args.launcher != 'none':
        init_dist(args.launcher)
        # Of its own, since processes that join wait so long for each other, too.
        patient = torch_dist.new_group(timeout=datetime.timedelta(seconds=_PATIENCE_SECONDS), backend='gloo')
        device = device or (f'cuda:{torch.cuda.current_device()}' if torch.cuda.is_available() else None)
    rank, world = get_dist_info()
    paint = getattr(args, 'txt_path', None) or ('json' if args.paint_ignored else 'none')
    given = {field.name: getattr(args, field.name) for field in fields(MosaicOptions) if hasattr(args, field.name)}
    options = MosaicOptions(**given, paint=paint)
    refuse_inputs([args.ufp_anno_output_path], [args.detector_config, args.detector_ckpt], field='ufp_anno_output_path')
    config = read_config(args.detector_config, args.cfg_options)
    stage = build_stage(
        config, args.detector_ckpt, device=device, flip=not args.no_flip, batch_size=2 * args.batch_size,
        trust_checkpoint=args.trust_checkpoint,
    )  # fmt: skip
    checkpoint = args.detector_ckpt  # a known name or an address is recorded as it is, a file by its content
    if os.path.isfile(checkpoint):
        digest = hashlib.sha256()
        with open(checkpoint, 'rb') as file:
            for block in iter(lambda: file.read(1 << 20), b''):
                digest.update(block)
        checkpoint = digest.hexdigest()
    identity = dict(
        detector=hashlib.sha256(json.dumps(config.model, sort_keys=True, default=str).encode()).hexdigest(),
        checkpoint=checkpoint,
        scales=stage_scales(config),
        flip=not args.no_flip,
    )
    if amp := (config.get('inference') or {}).get('amp'):  # the boxes, and with them the mosaics, differ a little
        identity['amp'] = amp
    builder = MosaicBuilder(
        args.dataset_anno, args.dataset_root, args.ufp_images_output_dir, args.ufp_anno_output_path,
        options=options, batch_size=args.batch_size, identity=identity,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        for lock in builder.locks:
            note = stack.enter_context(locked_for_all(lock))
            if note and rank == 0:
                print(note)
        if rank == 0 and (done := builder.start(args.restart)):
            print(f'{done} of {len(builder.images)} images are done already')
        barrier(patient)
        builder.run(stage, rank, world, args.workers)
        barrier(patient)
        return builder.join() if rank == 0 else None
