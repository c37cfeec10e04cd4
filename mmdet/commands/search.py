"""``mmdet search``."""

from pathlib import Path
from typing import Annotated, Literal

from .signature import Option


def search(
    config: str,
    *,
    work_dir: str | None = None,
    resume: bool = False,
    time_limit: Annotated[str | None, Option(metavar='30m')] = None,
    seed: int = 1,
    cfg_options: dict | None = None,
    launcher: Literal['none', 'pytorch'] | None = None,
) -> None:
    """Search the structure of a backbone.

    The config holds ``structure`` (the initial one), ``score`` and ``space``, usually ``budgets``, and may hold ``search``, ``image_size``, ``frames``
    and ``latency`` (page "TinyNAS: Search" of the documentation). ``tools/dist_search.sh`` starts several processes. The work dir gets
    ``best_structure.json``, which ``backbone=dict(type='TinyNASBackbone', structure=...)`` takes, ``pareto_front.json``, ``search_log.json``, ``search.svg`` and
    ``search_state.json``.

    Args:
        config: search config, or the name of one.
        work_dir: folder of the results; default work_dirs/<config name>.
        resume: continue from the work dir's search_state.json.
        time_limit: stop after this wall time, as 90s, 30m, 1h30m.
        seed: seed of the search.
        cfg_options: override config values: dotted keys, as search.num_random_nets=10000.
        launcher: pytorch: started by torchrun, one island a process; noticed by itself.
    """
    from ..apis.known_models import named_config
    from ..config.launcher import launcher_in_use
    from ..nas.search import OUTPUT_FILES, SearchRunner, join, parse_duration, read_settings
    from ..utils import load_config, resolve_work_dir
    from ..utils.lock import LOCK_NAME, locked
    from ..utils.outputs import refuse_inputs

    config = named_config(config)
    cfg = load_config(config, cfg_options)
    work_dir = resolve_work_dir(cfg, config, work_dir)
    structure = cfg.get('structure')
    outputs = [Path(work_dir, name) for name in OUTPUT_FILES]
    refuse_inputs(outputs, [config, structure if isinstance(structure, str) else None], field='--work-dir')
    seconds = parse_duration(time_limit)
    settings = read_settings(cfg)
    group = join(launcher_in_use(launcher))
    try:
        lock = locked(outputs[0].parent / LOCK_NAME, first=group.rank == 0, share=lambda facts: group.gather(facts)[0])
        with lock as note:
            if note and group.rank == 0:
                print(note)
            runner = SearchRunner(settings, work_dir, group=group, seed=seed, time_limit=seconds)
            if resume:
                runner.resume()
            runner.run()
        if group.rank == 0:
            print(f'written to {runner.work_dir}')
    finally:
        group.close()
