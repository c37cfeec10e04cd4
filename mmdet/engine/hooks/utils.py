"""What test scripts of plug-in repositories set in configs."""

from argparse import Namespace

from mmengine.config import Config


def trigger_visualization_hook(cfg: Config, args: Namespace) -> Config:
    """Let the hook ``default_hooks.visualization`` draw, as the arguments of a test script say.

    Args:
        cfg: a config, changed in place and returned.
        args: with ``show`` and ``wait_time`` (windows, and for how long), and ``show_dir`` (a folder of pictures).

    Raises:
        RuntimeError: the config has no such hook.
    """
    hook = cfg.default_hooks.get('visualization')
    if hook is None:
        raise RuntimeError("default_hooks must have a hook visualization=dict(type='DetVisualizationHook')")
    hook['draw'] = True
    if args.show:
        hook['show'], hook['wait_time'] = True, args.wait_time
    if args.show_dir:
        hook['test_out_dir'] = args.show_dir
    return cfg
