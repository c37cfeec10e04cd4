"""``mmdet train``."""

from typing import Annotated

from .options import RunOptions
from .signature import Option


def _checkpoint(word: str) -> str:
    if word.lower().endswith(('.py', '.json', '.yaml', '.yml')):  # a config, which belongs to another argument
        raise ValueError(f'must be a checkpoint. Received: {word}')
    return word


def train(
    config: str,
    *,
    work_dir: str | None = None,
    resume: Annotated[bool | str, Option(('--resume-from',), metavar='CKPT', parse=_checkpoint)] = False,
    auto_resume: Annotated[bool, Option(hidden=True)] = False,
    amp: bool = False,
    auto_scale_lr: Annotated[bool, Option(('--autoscale-lr',))] = False,
    validate: bool = True,
    seed: int | None = None,
    deterministic: bool = False,
    run: RunOptions,
) -> None:
    """Train a detector.

    The config holds ``model``, ``train_dataloader``, ``train_cfg``, ``optim_wrapper`` and, unless ``--no-validate``, the ``val_*`` keys.
    Several processes: ``tools/dist_train.sh`` and ``tools/slurm_train.sh``.

    Args:
        config: config file, or the name of one.
        work_dir: where logs and checkpoints go; default work_dirs/<config name>.
        resume: continue from CKPT, or from the newest valid checkpoint of the work dir.
        auto_resume: the same as a bare --resume.
        amp: automatic mixed precision.
        auto_scale_lr: scale the learning rate by the total batch size.
        validate: evaluate during training.
        seed: seed of the run; default: drawn and logged.
        deterministic: deterministic kernels.
    """
    launcher = run.settled_launcher()
    from ..apis.known_models import named_config
    from ..apis.training import configure_training, run_training
    from ..utils import load_config, register_all_modules, resolve_work_dir

    config = named_config(config)
    cfg = load_config(config, run.overrides())
    configure_training(
        cfg, work_dir=resolve_work_dir(cfg, config, work_dir), launcher=launcher, resume=resume or auto_resume, amp=amp,
        auto_scale_lr=auto_scale_lr, validate=validate, seed=seed, deterministic=deterministic, trust_checkpoint=run.trust_checkpoint,
    )  # fmt: skip
    register_all_modules()
    run_training(cfg)
