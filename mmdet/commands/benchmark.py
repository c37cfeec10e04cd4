"""``mmdet benchmark``."""

from typing import Annotated, Literal

from .options import PrecisionOptions, RunOptions
from .signature import Option


def benchmark(
    config: str,
    checkpoint: str | None = None,
    *,
    checkpoint_option: Annotated[str | None, Option(('--checkpoint',), hidden=True)] = None,
    stage: Literal['step', 'data', 'total'] = 'step',
    device: str | None = None,
    shape: Annotated[tuple[int, int] | None, Option(metavar=('HEIGHT', 'WIDTH'))] = None,
    batch_size: int = 1,
    max_iter: int | None = None,
    num_warmup: int = 5,
    log_interval: int = 50,
    num_workers: int | None = None,
    threads: int | None = None,
    fuse_conv_bn: bool = False,
    channels_last: bool = False,
    plain: bool = False,
    backend: Annotated[list[str] | None, Option(metavar='ROW')] = None,
    row: Annotated[str | None, Option(hidden=True)] = None,
    json: Annotated[str | None, Option(metavar='FILE')] = None,
    precision: PrecisionOptions,
    run: RunOptions,
) -> None:
    """Measure the speed of a detector: images per second, p50 and p95 latency, peak memory.

        mmdet benchmark CONFIG [CKPT] [--stage step|data|total] [--max-iter 2000] [--shape 800 1333]
        mmdet benchmark CONFIG CKPT --backend all
        mmdet benchmark CONFIG CKPT --backend torch openvino:bf16 torch+plain

    By default batches of 1, five batches of warm-up, and a line every 50 batches; the device is synchronised around every step. ``--shape``
    measures random images of that size instead of the config's test dataset; without a checkpoint the weights are random. For UFPMPDet and
    SlicedDet a second, shorter pass lists the time of each stage; unlike the first it waits for the device between the stages. With random
    weights or images the first stage finds nothing, so that the second one costs nothing.

    ``--backend`` gives one table: a row for each backend, measured in a process of its own on one pass over the test data, with the AP of the
    config's metric where the weights are not random and the pass is complete. What cannot be had here is named with the reason.

    Args:
        config: config file, or the name of one.
        checkpoint: checkpoint file or known name; random weights without it.
        checkpoint_option: the same as the positional argument.
        stage: time the test step, the data loading, or both.
        device: like 'cpu' or 'cuda:0'; default: the best one here.
        shape: random images of this size instead of the dataset.
        batch_size: images per batch and process.
        max_iter: largest number of batches, warm-up included; default: 2000, with --backend one pass over the data or 50 random images.
        num_warmup: first batches that do not count.
        log_interval: batches between two lines.
        num_workers: processes that load data; default: as in the config.
        threads: CPU threads; default: all.
        fuse_conv_bn: fold batch norms even where the results are not equal to 1e-5.
        channels_last: channels last also where it is not the default.
        plain: neither channels last nor folded batch norms.
        backend: one table: all, or any of torch, torch-compile, onnxruntime, openvino, openvino-winograd, each with :PRECISION, and torch with +plain or
            +fused+channels-last behind it.
        row: measure this row of the table, in this process.
        json: append the figures to this file as one line of JSON.
    """
    launcher = run.settled_launcher()
    import functools

    import torch
    from mmengine.device import get_device
    from mmengine.dist import is_main_process

    from ..apis.benchmark_rows import Setup, measure_config, measure_rows, own_command, read_setups, rows_table
    from ..apis.known_models import named_config
    from ..engine import init_dist
    from ..errors import ConfigError
    from ..utils import load_config, register_all_modules
    from ..utils.files import append_line
    from ..utils.outputs import refuse_inputs

    chosen = {
        'fuse-conv-bn': fuse_conv_bn,
        'channels-last': channels_last,
        'plain': plain,
        'amp': precision.amp,
        'compile': precision.compile,
    }
    named = [f'--{name}' for name, given in chosen.items() if given]
    if backend and (named or launcher != 'none' or stage == 'data'):
        raise ConfigError(
            f'--backend goes without --launcher, --stage data and {", ".join(named) or "--amp"}: rows are named as torch:bf16, torch-compile, '
            'torch+fused+channels-last, and measured one after the other'
        )  # fmt: skip
    weights = checkpoint or checkpoint_option
    config = named_config(config)
    register_all_modules()
    refuse_inputs([json], [config, weights], field='--json')
    cfg = load_config(config, run.overrides(precision.as_cfg_options()))
    if launcher != 'none':
        init_dist(launcher)
    if threads:
        torch.set_num_threads(threads)
    device = device or get_device()
    if backend and row is None:
        rows = measure_rows(
            read_setups(backend), own_command(), device=device, log=functools.partial(print, flush=True)
        )
        print(rows_table(rows))
        if json:
            for line in rows:
                append_line(json, line.to_json())
        return
    inference = dict(cfg.get('inference') or {})
    for name, asked in (('channels_last', channels_last), ('fuse', fuse_conv_bn)):
        if asked or plain:
            inference[name] = asked
    result = measure_config(
        cfg, weights, Setup.read(row) if row else None, inference=inference, stage=stage, device=device, shape_hw=shape,
        batch_size=batch_size, max_iter=max_iter, num_warmup=num_warmup, log_interval=log_interval, num_workers=num_workers,
        one_pass=bool(row), trust_checkpoint=run.trust_checkpoint, log=print if is_main_process() else (lambda line: None),
    )  # fmt: skip
    if is_main_process():
        print(result)
        if json:
            append_line(json, result.to_json())
