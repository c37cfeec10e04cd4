"""Candidate evaluations per second and core of the architecture search, and what they find.

    python benchmarks/nas_search.py [--evaluations 100000] [--seeds 1 2 3] [--config configs/tinynas/classification/R50_FLOPs.py]

`search`: the default strategy, mutation and bookkeeping included, one process, CPU time. `plain`: the same candidates' budgets and score
computed from scratch, block by block, without memory of blocks seen (a hundredth of the evaluations). `reference`: LightNAS's loop on our
evaluator, its last stage frozen.
"""

import argparse
import time

from mmdet.nas.search import SearchRunner, read_settings
from mmdet.utils import load_config, reports_user_errors


def search(cfg, evaluations: int, seed: int, strategy: str):
    """Best score, evaluations per CPU second, and the strategy afterwards."""
    cfg = dict(cfg.to_dict(), search={**cfg.search, 'type': strategy, 'num_random_nets': evaluations})
    runner = SearchRunner(read_settings(cfg), '.', seed=seed)
    runner.strategy.begin(runner.start)
    began = time.process_time()
    runner.strategy.step(evaluations)
    return runner.strategy.population.best.score, evaluations / (time.process_time() - began), runner


def plain(runner, count: int) -> float:
    """Evaluations per CPU second without the memo of blocks."""
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
    parser.add_argument('--config', default='configs/tinynas/classification/R50_FLOPs.py')
    parser.add_argument('--evaluations', type=int, default=100_000)
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    args = parser.parse_args()
    cfg = load_config(args.config)
    for seed in args.seeds:
        for strategy in ('evolution', 'reference_evolution'):
            score, rate, runner = search(cfg, args.evaluations, seed, strategy)
            line = f'seed {seed}  {strategy:20} best {score:.6g}  {rate:,.0f} evaluations/s'
            print(
                line + (f'  plain {plain(runner, args.evaluations // 100):,.0f}/s' if strategy == 'evolution' else '')
            )


if __name__ == '__main__':
    main()
