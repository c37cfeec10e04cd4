"""Evaluate a detector.

    python tools/test.py CONFIG CKPT [--eval bbox] [--out results.pkl|.json] [--show-dir DIR] [--tta] [--cfg-options KEY=VALUE ...]

The config holds ``model``, ``test_dataloader``, ``test_cfg`` and ``test_evaluator``.
Several processes: ``tools/dist_test.sh`` and ``tools/slurm_test.sh``.
"""

import argparse

from mmdet.apis.backends import add_backend_arguments
from mmdet.apis.testing import configure_testing, run_testing
from mmdet.config.reading import add_inference_arguments
from mmdet.utils import (
    ArgumentParser,
    CfgOptions,
    add_common_arguments,
    load_config,
    register_all_modules,
    reports_user_errors,
    resolve_work_dir,
    set_local_rank,
)  # fmt: skip


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description='Evaluate a detector')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or known name')
    parser.add_argument('--work-dir', '--work_dir', help='where logs and metrics go; default work_dirs/<config name>')
    parser.add_argument(
        '--eval', nargs='+', metavar='METRIC', help="'bbox', 'proposal' or 'proposal_fast'; default: the config's"
    )
    parser.add_argument(
        '--eval-options', '--options', nargs='+', action=CfgOptions, help='arguments of the metric, e.g. classwise=True'
    )
    parser.add_argument('--out', help='write the results: .pkl (one dict for each image) or .json (COCO)')
    parser.add_argument('--format-only', action='store_true', help='write COCO JSON without evaluating')
    parser.add_argument('--show', action='store_true', help='open a window for every image')
    parser.add_argument('--show-dir', help='write a picture of every image there')
    parser.add_argument('--show-score-thr', type=float, default=0.3, help='least score of a drawn box')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds a window stays')
    parser.add_argument(
        '--fuse-conv-bn',
        action='store_true',
        help='fold batch norms into convolutions even where the results are not equal to 1e-5',
    )
    parser.add_argument('--tta', action='store_true', help="flip test, or the config's own tta_pipeline")
    parser.add_argument(
        '--cost', action='store_true', help='also give megapixels through the network and CPU seconds of an image'
    )
    add_backend_arguments(parser)
    add_inference_arguments(parser)
    add_common_arguments(parser)
    args = parser.parse_args()
    set_local_rank(args)
    return args


@reports_user_errors
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    configure_testing(
        cfg,
        checkpoint=args.checkpoint,
        work_dir=resolve_work_dir(cfg, args.config, args.work_dir),
        launcher=args.launcher,
        metrics=args.eval,
        out=args.out,
        format_only=args.format_only,
        show=args.show,
        show_dir=args.show_dir,
        show_score_thr=args.show_score_thr,
        wait_time=args.wait_time,
        tta=args.tta,
        eval_options=args.eval_options,
        trust_checkpoint=args.trust_checkpoint,
    )
    register_all_modules()
    run_testing(
        cfg,
        fuse=args.fuse_conv_bn,
        tta=args.tta,
        cost=args.cost,
        backend=args.backend,
        precision=args.backend_precision,
    )


if __name__ == '__main__':
    main()
