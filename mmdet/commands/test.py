"""``mmdet test``."""

from typing import Annotated

from .options import InferenceOptions, RunOptions
from .signature import Option


def test(
    config: str,
    checkpoint: str,
    *,
    work_dir: str | None = None,
    eval: Annotated[list[str] | None, Option(metavar='METRIC')] = None,
    eval_options: Annotated[dict | None, Option(('--options',))] = None,
    out: str | None = None,
    format_only: bool = False,
    show: bool = False,
    show_dir: str | None = None,
    show_score_thr: float = 0.3,
    wait_time: float = 2.0,
    fuse_conv_bn: bool = False,
    tta: bool = False,
    cost: bool = False,
    inference: InferenceOptions,
    run: RunOptions,
) -> None:
    """Evaluate a detector.

    The config holds ``model``, ``test_dataloader``, ``test_cfg`` and ``test_evaluator``.
    Several processes: ``tools/dist_test.sh`` and ``tools/slurm_test.sh``.

    Args:
        config: config file, or the name of one.
        checkpoint: checkpoint file or known name; 'published' for the weights that the config names by from_pretrained.
        work_dir: where logs and metrics go; default work_dirs/<config name>.
        eval: 'bbox', 'proposal' or 'proposal_fast'; default: the config's.
        eval_options: arguments of the metric, e.g. classwise=True.
        out: write the results: .pkl (one dict for each image) or .json (COCO).
        format_only: write COCO JSON without evaluating.
        show: open a window for every image.
        show_dir: write a picture of every image there.
        show_score_thr: least score of a drawn box.
        wait_time: seconds a window stays.
        fuse_conv_bn: fold batch norms into convolutions even where the results are not equal to 1e-5.
        tta: flip test, or the config's own tta_pipeline.
        cost: also give megapixels through the network and CPU seconds of an image.
    """
    launcher = run.settled_launcher()
    from ..apis.known_models import named_config
    from ..apis.testing import configure_testing, run_testing
    from ..utils import load_config, register_all_modules, resolve_work_dir

    config = named_config(config)
    cfg = load_config(config, run.overrides(inference.as_cfg_options()))
    configure_testing(
        cfg, checkpoint=checkpoint, work_dir=resolve_work_dir(cfg, config, work_dir), launcher=launcher, metrics=eval, out=out,
        format_only=format_only, show=show, show_dir=show_dir, show_score_thr=show_score_thr, wait_time=wait_time, tta=tta,
        eval_options=eval_options, trust_checkpoint=run.trust_checkpoint,
    )  # fmt: skip
    register_all_modules()
    run_testing(
        cfg, fuse=fuse_conv_bn, tta=tta, cost=cost, backend=inference.backend, precision=inference.backend_precision
    )
