"""``mmdet demo``."""

from typing import Annotated

from .signature import Option


def demo(
    *,
    work_dir: str = 'work_dirs/ufpmp_demo',
    seed: int = 0,
    verbose: bool = False,
    cfg_options: Annotated[list[str] | None, Option(metavar='KEY=VALUE')] = None,
) -> None:
    """Run UFPMP-Det on synthetic drone scenes, from drawing them to a report.

    A coarse detector is trained at half resolution, the regions that it finds are packed into mosaics, and MP-Det is trained on these. Then the
    coarse detector alone, the coarse detector on overlapping tiles, and both stages together are evaluated by the rules of VisDrone and COCO, and
    timed. Every step is a command of the toolbox and is printed before it runs: nine minutes on two cores. A second start skips a finished training
    and continues an interrupted one. The scenes are drawn into data/drone_scenes in the current folder.

    Args:
        work_dir: where everything but the scenes is written.
        seed: seed of both trainings.
        verbose: show what is otherwise in the log files only.
        cfg_options: handed to both trainings.
    """
    from ..apis.demo import run_demo

    run_demo(work_dir, seed=seed, cfg_options=cfg_options or (), verbose=verbose)
