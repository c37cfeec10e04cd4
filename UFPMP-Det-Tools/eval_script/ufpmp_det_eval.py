"""UFPMP-Det end to end from the configs and checkpoints of its two stages: both scores, and the latency of every stage.

    python UFPMP-Det-Tools/eval_script/ufpmp_det_eval.py \\
        configs/UFPMP-Det/coarse_det.py work_dirs/coarse_det/epoch_12.pth \\
        configs/UFPMP-Det/mp_det_res50.py work_dirs/mp_det_res50/epoch_12.pth \\
        data/VisDrone2019-DET/annotations/VisDrone2019-DET-val.json data/VisDrone2019-DET/VisDrone2019-DET-val/images

The annotations are those of the original images, not of mosaics. Several GPUs: torchrun --nproc_per_node N and --launcher pytorch.
"""

import argparse

import torch

from mmdet.apis.backends import add_backend_arguments, use_backend
from mmdet.apis.building import choose_device
from mmdet.apis.composite_evaluation import comparison_table, evaluate_composite, write_pictures, write_reports
from mmdet.apis.ufpmp import build_sliced, build_ufpmp
from mmdet.config.reading import ArgumentParser, add_inference_arguments, add_value_range
from mmdet.engine import init_dist
from mmdet.utils import add_common_arguments, reports_user_errors, set_local_rank
from mmdet.utils.outputs import refuse_inputs


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('coarse_config', metavar='COARSE_CFG', help='config of the coarse detector')
    parser.add_argument('coarse_checkpoint', metavar='COARSE_CKPT', help='checkpoint of the coarse detector')
    parser.add_argument('mp_config', metavar='MP_CFG', help='config of MP-Det')
    parser.add_argument('mp_checkpoint', metavar='MP_CKPT', help='checkpoint of MP-Det')
    parser.add_argument('dataset_anno', metavar='ANN', help='COCO annotation file of the original images')
    parser.add_argument('dataset_root', metavar='IMG_ROOT', help='folder that its file names are relative to')
    parser.add_argument(
        '--out',
        metavar='PREFIX',
        help='write PREFIX.bbox.json and PREFIX_txt/, with --baselines also PREFIX_coarse..., PREFIX_sliced...',
    )
    parser.add_argument('--json', metavar='FILE', help='write scores and times there')
    parser.add_argument('--classwise', action='store_true', help='score every class')
    parser.add_argument('--device', help='default: the best there is')
    parser.add_argument('--batch-size', type=int, default=1, help='images together (default: 1)')
    parser.add_argument('--num-warmup', type=int, default=3, help='first batches, which are not timed (default: 3)')
    parser.add_argument(
        '--no-flip', action='store_true', help='without the flipped views, which both stages have by default'
    )
    parser.add_argument(
        '--coarse-weight', type=float, default=0.0, help='merge the coarse boxes too, with their scores times this'
    )
    parser.add_argument(
        '--on-empty',
        choices=['skip', 'whole'],
        default='skip',
        help='images without coarse boxes: no result, or the whole image as the mosaic',
    )
    parser.add_argument('--expand', type=float, default=1.5, help='enlargement of coarse boxes (default: 1.5)')
    parser.add_argument('--mode', choices=['reference', 'exact'], default='reference', help='pixel borders of regions')
    parser.add_argument('--packing', choices=['guillotine', 'dense'], default='guillotine')
    parser.add_argument('--max-side', type=float, help='limit of the sides of the mosaic; default: none')
    parser.add_argument(
        '--baselines', action='store_true', help='evaluate the coarse detector alone and on overlapping tiles, too'
    )
    parser.add_argument(
        '--tile',
        type=int,
        nargs=2,
        default=(640, 640),
        metavar=('W', 'H'),
        help='width and height of the tiles of --baselines (default: 640 640)',
    )
    parser.add_argument(
        '--overlap', type=float, default=0.2, help='share of a tile that the next one repeats (default: 0.2)'
    )
    parser.add_argument('--show-dir', metavar='DIR', help='write pictures of clusters, mosaics and merged boxes there')
    parser.add_argument(
        '--show', type=int, default=8, metavar='N', help='images with pictures, the first ones (default: 8)'
    )
    parser.add_argument('--threads', type=int, help='CPU threads; default: all')
    add_value_range(parser)
    add_backend_arguments(parser)
    add_inference_arguments(parser)
    add_common_arguments(parser)
    args = parser.parse_args(argv)
    set_local_rank(args)
    return args


@reports_user_errors
def main(argv=None) -> None:
    args = parse_args(argv)
    refuse_inputs(
        [args.json],
        [args.coarse_config, args.coarse_checkpoint, args.mp_config, args.mp_checkpoint, args.dataset_anno],
        field='--json',
    )
    refuse_inputs([args.show_dir], [args.dataset_root], field='--show-dir')
    device = args.device
    if args.launcher != 'none':
        init_dist(args.launcher)
        device = device or (f'cuda:{torch.cuda.current_device()}' if torch.cuda.is_available() else None)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = choose_device(device, args.backend)
    shared = dict(
        device=device, flip=not args.no_flip, cfg_options=args.cfg_options, trust_checkpoint=args.trust_checkpoint
    )
    coarse = (args.coarse_config, args.coarse_checkpoint)
    models = {}
    if args.baselines:
        models['coarse'] = build_sliced(*coarse, tile_wh=None, **shared)
        models['sliced'] = build_sliced(*coarse, tile_wh=args.tile, overlap=args.overlap, **shared)
    models['UFPMP-Det'] = build_ufpmp(
        args.coarse_config, args.mp_config, args.coarse_checkpoint, args.mp_checkpoint,
        coarse_weight=args.coarse_weight, on_empty=args.on_empty,
        ufp=dict(scale=args.expand, mode=args.mode, packing=args.packing, max_side=args.max_side), **shared,
    )  # fmt: skip
    reports = {}
    for name, model in models.items():
        if args.backend or args.backend_precision:
            use_backend(model, args.backend or 'torch', args.backend_precision)
        out = args.out if name == 'UFPMP-Det' or args.out is None else f'{args.out}_{name}'
        reports[name] = evaluate_composite(
            model, args.dataset_anno, args.dataset_root,
            batch_size=args.batch_size, num_warmup=args.num_warmup, outfile_prefix=out, classwise=args.classwise,
            value_range=args.value_range,
        )  # fmt: skip
    if not reports['UFPMP-Det'].metrics:  # only the first process has the metrics
        return
    for name, report in reports.items():
        print(f'{name}\n{report}\n' if args.baselines else report)
    if args.baselines:
        print(comparison_table(reports))
    if args.json:
        write_reports(args.json, reports, 'UFPMP-Det')
    if args.show_dir:
        write_pictures(
            models['UFPMP-Det'],
            args.dataset_anno,
            args.dataset_root,
            args.show_dir,
            args.show,
            value_range=args.value_range,
        )


if __name__ == '__main__':
    main()
