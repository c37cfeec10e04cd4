"""Measure the speed of a detector: images per second, p50 and p95 latency, peak memory.

    python tools/benchmark.py CONFIG [CKPT] [--stage step|data|total] [--max-iter 2000] [--shape 800 1333]
    python tools/benchmark.py CONFIG CKPT --backend all
    python tools/benchmark.py CONFIG CKPT --backend torch openvino:bf16 torch+plain

By default batches of 1, five batches of warm-up, and a line every 50 batches; the device is synchronised around every step. ``--shape``
measures random images of that size instead of the config's test dataset; without a checkpoint the weights are random. For UFPMPDet and
SlicedDet a second, shorter pass lists the time of each stage; unlike the first it waits for the device between the stages. With random
weights or images the first stage finds nothing, so that the second one costs nothing.

``--backend`` gives one table: a row for each backend, measured in a process of its own on one pass over the test data, with the AP of the
config's metric where the weights are not random and the pass is complete. What cannot be had here is named with the reason.
"""

import argparse
import functools

import torch
from mmengine.device import get_device
from mmengine.dist import is_main_process

from mmdet.apis.benchmark import STAGES
from mmdet.apis.benchmark_rows import (
    Setup,
    backend_names,
    measure_config,
    measure_rows,
    own_command,
    read_setups,
    rows_table,
)
from mmdet.config.reading import add_inference_arguments
from mmdet.engine import init_dist
from mmdet.utils import (
    ArgumentParser,
    add_common_arguments,
    load_config,
    register_all_modules,
    reports_user_errors,
    set_local_rank,
)
from mmdet.utils.files import append_line
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file or known name; random weights without it')
    parser.add_argument('--checkpoint', dest='checkpoint_option', help='the same as the positional argument')
    parser.add_argument(
        '--stage', choices=STAGES, default='step', help='time the test step (default), the data loading, or both'
    )
    parser.add_argument('--device', help="like 'cpu' or 'cuda:0'; default: the best one here")
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='random images of this size instead of the dataset',
    )
    parser.add_argument('--batch-size', type=int, default=1, help='images per batch and process; default: 1')
    parser.add_argument(
        '--max-iter', type=int,
        help='largest number of batches, warm-up included; default: 2000, with --backend one pass over the data or 50 random images',
    )  # fmt: skip
    parser.add_argument('--num-warmup', type=int, default=5, help='first batches that do not count; default: 5')
    parser.add_argument('--log-interval', type=int, default=50, help='batches between two lines; default: 50')
    parser.add_argument('--num-workers', type=int, help='processes that load data; default: as in the config')
    parser.add_argument('--threads', type=int, help='CPU threads; default: all')
    parser.add_argument(
        '--fuse-conv-bn', action='store_true', help='fold batch norms even where the results are not equal to 1e-5'
    )
    parser.add_argument('--channels-last', action='store_true', help='channels last also where it is not the default')
    parser.add_argument('--plain', action='store_true', help='neither channels last nor folded batch norms')
    add_inference_arguments(parser)
    parser.add_argument('--backend', nargs='+', metavar='ROW', help=f'one table: {backend_names()}')
    parser.add_argument('--row', help=argparse.SUPPRESS)  # measure this row of the table, in this process
    parser.add_argument('--json', help='append the figures to this file as one line of JSON')
    add_common_arguments(parser)
    args = parser.parse_args()
    set_local_rank(args)
    named = [
        f'--{name.replace("_", "-")}' for name in ('fuse_conv_bn', 'channels_last', 'plain') if getattr(args, name)
    ]
    named += [f'--{name}' for name in ('amp', 'compile') if f'inference.{name}' in (args.cfg_options or {})]
    if args.backend and (named or args.launcher != 'none' or args.stage == 'data'):
        parser.error(
            f'--backend goes without --launcher, --stage data and {", ".join(named) or "--amp"}: rows are named as torch:bf16, torch-compile, '
            'torch+fused+channels-last, and measured one after the other'
        )
    return args


@reports_user_errors
def main() -> None:
    args = parse_args()
    register_all_modules()
    refuse_inputs([args.json], [args.config, args.checkpoint, args.checkpoint_option], field='--json')
    cfg = load_config(args.config, args.cfg_options)
    if args.launcher != 'none':
        init_dist(args.launcher)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = args.device or get_device()
    if args.backend and args.row is None:
        rows = measure_rows(
            read_setups(args.backend), own_command(), device=device, log=functools.partial(print, flush=True)
        )
        print(rows_table(rows))
        for row in rows if args.json else ():
            append_line(args.json, row.to_json())
        return
    inference = dict(cfg.get('inference') or {})
    for name, asked in (('channels_last', args.channels_last), ('fuse', args.fuse_conv_bn)):
        if asked or args.plain:
            inference[name] = asked
    result = measure_config(
        cfg, args.checkpoint or args.checkpoint_option, Setup.read(args.row) if args.row else None, inference=inference,
        stage=args.stage, device=device, shape_hw=args.shape, batch_size=args.batch_size, max_iter=args.max_iter,
        num_warmup=args.num_warmup, log_interval=args.log_interval, num_workers=args.num_workers, one_pass=bool(args.row),
        trust_checkpoint=args.trust_checkpoint, log=print if is_main_process() else (lambda line: None),
    )  # fmt: skip
    if is_main_process():
        print(result)
        if args.json:
            append_line(args.json, result.to_json())


if __name__ == '__main__':
    main()
