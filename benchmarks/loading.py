"""Images per second of a config's training loader for several numbers of worker processes, compared with the training step.

    python benchmarks/loading.py CONFIG [--workers 0 1 2 4] [--batch-size 8] [--images 200] [--needed 40] [--cfg-options ...]

--needed is the rate of the training step in images per second, as networks.py measures it; every row then gives the rate of the loader as a share
of it. Starting the workers is not timed.
"""

import argparse
import itertools
import os
import time

import cv2
import torch
from measuring import Rows, add_row_arguments
from mmengine.config import DictAction
from mmengine.runner import Runner

from mmdet.utils import load_config, register_all_modules


def images_per_second(loader_cfg: dict, batch_size: int, workers: int, images: int) -> float:
    """Rate of one loader, measured over at least ``images`` images and four batches of every worker."""
    cfg = dict(loader_cfg, batch_size=batch_size, num_workers=workers, persistent_workers=False)
    batches = iter(itertools.chain.from_iterable(itertools.repeat(Runner.build_dataloader(cfg, seed=0))))
    for _ in range(2 * workers + 1):  # what the workers had prefetched while the first batch was awaited
        next(batches)
    start, seen = time.perf_counter(), 0
    while seen < max(images, 4 * workers * batch_size):
        seen += len(next(batches)['inputs'])
    return seen / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 1, 2, 4])
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--needed', type=float, help='images a second of the training step')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config')
    add_row_arguments(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # as in training
    register_all_modules()
    rows = Rows(args.rows, args.deadline)
    cfg = load_config(args.config, args.cfg_options)
    for workers in args.workers:
        if rows.late:
            rows.add('loading', f'{workers} workers', error='not reached in the time given')
            continue
        with rows.attempt('loading', f'{workers} workers'):
            rate = images_per_second(cfg.train_dataloader, args.batch_size, workers, args.images)
            share = {'needed_images/s': args.needed, 'share_of_needed': rate / args.needed} if args.needed else {}
            rows.add('loading', f'{workers} workers', **{'images/s': rate}, cores=os.cpu_count(), **share)


if __name__ == '__main__':
    main()
