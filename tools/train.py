"""Train a detector.

    python tools/train.py CONFIG [--work-dir DIR] [--resume [CKPT]] [--amp] [--cfg-options KEY=VALUE ...]

The config holds ``model``, ``train_dataloader``, ``train_cfg``, ``optim_wrapper`` and, unless ``--no-validate``, the ``val_*`` keys.
Several processes: ``tools/dist_train.sh`` and ``tools/slurm_train.sh``.
"""

import argparse

from mmdet.apis.training import configure_training, run_training
from mmdet.utils import (
    ArgumentParser,
    add_common_arguments,
    checkpoint_to_resume,
    load_config,
    register_all_modules,
    reports_user_errors,
    resolve_work_dir,
    set_local_rank,
)  # fmt: skip


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description='Train a detector')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', '--work_dir', help='where logs and checkpoints go; default work_dirs/<config name>'
    )
    parser.add_argument('--resume', '--resume-from', '--resume_from', nargs='?', const='auto', type=checkpoint_to_resume,
                        default=False, metavar='CKPT', help='continue from CKPT, or from the newest valid checkpoint of the work dir')  # fmt: skip
    parser.add_argument(
        '--auto-resume', dest='resume', action='store_const', const=True, help='same as a bare --resume'
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--auto-scale-lr', '--autoscale-lr', action='store_true', help='scale the learning rate by the total batch size'
    )
    parser.add_argument(
        '--validate', action=argparse.BooleanOptionalAction, default=True, help='evaluate during training'
    )
    parser.add_argument('--seed', type=int, help='seed of the run; default: drawn and logged')
    parser.add_argument('--deterministic', action='store_true', help='deterministic kernels')
    add_common_arguments(parser)
    args = parser.parse_args()
    set_local_rank(args)
    return args


@reports_user_errors
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    configure_training(
        cfg,
        work_dir=resolve_work_dir(cfg, args.config, args.work_dir),
        launcher=args.launcher,
        resume=args.resume,
        amp=args.amp,
        auto_scale_lr=args.auto_scale_lr,
        validate=args.validate,
        seed=args.seed,
        deterministic=args.deterministic,
        trust_checkpoint=args.trust_checkpoint,
    )
    register_all_modules()
    run_training(cfg)


if __name__ == '__main__':
    main()
