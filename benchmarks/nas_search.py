"""Candidate evaluations per second and core of the architecture search, and the best scores found.

    python benchmarks/nas_search.py [CONFIG ...] [--evaluations 100000] [--seeds 1 2 3]

Prints one line for each config and seed: the best scores of the default strategy and of LightNAS's loop on our evaluator (its last stage
frozen) after the same number of evaluations, and the evaluations per CPU second of one process, mutation and bookkeeping included. `plain`
computes the budgets and the score of the same candidates from scratch, block by block, without caching blocks (on a hundredth of the
evaluations). CONFIG is by default classification R50, the number of evaluations that of the config. Configs with a latency budget need
MMDET_OP_LIBRARY.
"""

import argparse
import time
from pathlib import Path

from mmengine.config import Config

from mmdet.nas.search import SearchRunner, read_settings
from mmdet.utils import load_config, reports_user_errors

ROOT = Path(__file__).resolve().parents[1]


def search(cfg: Config, seed: int, strategy: str, evaluations: int | None = None) -> tuple[SearchRunner, float]:
    """The runner after the evaluations, and the CPU seconds that they took."""
    cfg = dict(cfg.to_dict(), search={**cfg.search, 'type': strategy})
    if strategy == 'reference_evolution':
        cfg['search'] = {key: value for key, value in cfg['search'].items() if key not in ('pressure', 'shape_share')}
    if evaluations:
        cfg['search']['num_random_nets'] = evaluations
    runner = SearchRunner(read_settings(cfg), '.', seed=seed)
    runner.strategy.begin(runner.start)
    began = time.process_time()
    runner.strategy.step(runner.settings.run['num_random_nets'])
    return runner, time.process_time() - began


def plain(runner: SearchRunner, count: int) -> float:
    """Evaluations per CPU second without the cache of blocks."""
    strategy, evaluator = runner.strategy, runner.settings.evaluator
    rng = strategy.random.random
    candidates = [strategy.propose(rng, False) for _ in range(count)]
    measures = [*evaluator.budgets, evaluator.score]
    began = time.process_time()
    for structure in candidates:
        for measure in measures:
            if hasattr(measure, 'block_value'):
                measure.combine([measure.block_value(block) for block in structure])
            else:
                measure(structure)
    return count / (time.process_time() - began)


@reports_user_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', default=[str(ROOT / 'configs/tinynas/classification/R50_FLOPs.py')])
    parser.add_argument('--evaluations', type=int, help="instead of the configs' own number")
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    args = parser.parse_args()
    print('| config | seed | evaluations | best | CPU s | per s | plain per s | LightNAS loop best | CPU s | per s |')
    print('|---|---|---|---|---|---|---|---|---|---|')
    for path in args.configs:
        cfg = load_config(path)
        for seed in args.seeds:
            cells = [f'{Path(path).parent.name}/{Path(path).stem}', seed]
            for strategy in ('evolution', 'reference_evolution'):
                runner, seconds = search(cfg, seed, strategy, args.evaluations)
                count = runner.settings.run['num_random_nets']
                if strategy == 'evolution':
                    cells.append(f'{count:,}')
                cells += [f'{runner.strategy.population.best.score:.6g}', f'{seconds:.1f}', f'{count / seconds:,.0f}']
                if strategy == 'evolution':
                    cells.append(f'{plain(runner, max(count // 100, 1)):,.0f}')
            print('| ' + ' | '.join(map(str, cells)) + ' |', flush=True)


if __name__ == '__main__':
    main()
