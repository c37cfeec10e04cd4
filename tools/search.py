"""Search the structure of a backbone.

    python tools/search.py CONFIG [--work-dir DIR] [--resume] [--time-limit 30m] [--seed N] [--cfg-options KEY=VALUE ...]

The config holds ``structure`` (the initial one), ``score`` and ``space``, usually ``budgets``, and may hold ``search``, ``image_size``, ``frames`` and
``latency`` (docs/tinynas_search.md). ``tools/dist_search.sh`` starts several processes. The work dir gets ``best_structure.json``, which
``backbone=dict(type='TinyNASBackbone', structure=...)`` takes, ``pareto_front.json``, ``search_log.json``, ``search.svg`` and ``search_state.json``.
"""

import argparse
from pathlib import Path

from mmdet.config.launcher import launcher_in_use
from mmdet.nas.search import OUTPUT_FILES, SearchRunner, join, parse_duration, read_settings
from mmdet.utils import CfgOptions, load_config, reports_user_errors, resolve_work_dir
from mmdet.utils.lock import LOCK_NAME, locked
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Search a backbone')
    parser.add_argument('config', help='search config')
    parser.add_argument('--work-dir', '--work_dir', help='folder of the results; default work_dirs/<config name>')
    parser.add_argument('--resume', action='store_true', help="continue from the work dir's search_state.json")
    parser.add_argument('--time-limit', metavar='30m', help='stop after this wall time, as 90s, 30m, 1h30m')
    parser.add_argument('--seed', type=int, default=1, help='seed of the search (1)')
    parser.add_argument('--cfg-options', '--cfg_options', nargs='+', action=CfgOptions, metavar='KEY=VALUE',
                        help='override config values: dotted keys, as search.num_random_nets=10000')  # fmt: skip
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch'],
        help='pytorch: started by torchrun, one island a process; noticed by itself',
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    work_dir = resolve_work_dir(cfg, args.config, args.work_dir)
    structure = cfg.get('structure')
    outputs = [Path(work_dir, name) for name in OUTPUT_FILES]
    refuse_inputs(outputs, [args.config, structure if isinstance(structure, str) else None], field='--work-dir')
    time_limit = parse_duration(args.time_limit)
    settings = read_settings(cfg)
    group = join(launcher_in_use(args.launcher))
    try:
        with locked(
            outputs[0].parent / LOCK_NAME, first=group.rank == 0, share=lambda facts: group.gather(facts)[0]
        ) as note:
            if note and group.rank == 0:
                print(note)
            runner = SearchRunner(settings, work_dir, group=group, seed=args.seed, time_limit=time_limit)
            if args.resume:
                runner.resume()
            runner.run()
        if group.rank == 0:
            print(f'written to {runner.work_dir}')
    finally:
        group.close()


if __name__ == '__main__':
    main()
