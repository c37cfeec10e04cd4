"""ATSS assignment on one thread, beside mmdetection 3.3.0's in the same run.

    python benchmarks/atss.py [--objects 500 2000] [--peer FOLDER] [--rounds 5]

One image of 800 x 1333 with objects of 8 to 64 pixels, at random and on whole pixels, where distances tie. FOLDER is the one that holds mmdetection's
package ``mmdet`` (see peer_mmdet.py). Each side is a process of its own; they take turns, so that whatever else the machine does slows down
both. Figures are medians of the CPU time, and of the ratios of the rounds. ``equal``: both assign every prior to the same object.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time

import torch
from measuring import Rows, add_row_arguments


class Side:
    """A process that assigns when it is told to."""

    def __init__(self, folder: str | None):
        paths = [path for path in (folder, os.environ.get('PYTHONPATH')) if path]
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'OMP_NUM_THREADS': '1'}
        command = [sys.executable, __file__, '--worker', 'peer' if folder else 'own']
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def assign(self, objects: int, whole_pixels: bool) -> dict:
        """CPU time in ms, number of priors and positives, and a hash of the assignment."""
        print(json.dumps((objects, whole_pixels)), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f'a side ended with code {self.process.wait()}')
        return json.loads(line)


def work(peer: bool) -> None:
    """Read cases from stdin, write a result for each."""
    answers, sys.stdout = sys.stdout, sys.stderr
    torch.set_num_threads(1)
    if peer:
        import peer_mmdet

        peer_mmdet.prepare()
    else:
        from mmdet.utils import register_all_modules

        register_all_modules()
    from operators import atss_case

    for line in sys.stdin:
        assigner, arguments = atss_case('cpu', *json.loads(line))
        start = time.process_time()
        result = assigner.assign(*arguments)
        ms = 1000 * (time.process_time() - start)
        digest = hashlib.sha256(result.gt_inds.numpy().tobytes()).hexdigest()
        figures = dict(ms=ms, priors=len(result.gt_inds), positives=int((result.gt_inds > 0).sum()), digest=digest)
        print(json.dumps(figures), file=answers, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--objects', type=int, nargs='+', default=[500, 2000])
    parser.add_argument('--peer', metavar='FOLDER', help="folder with mmdetection's package")
    parser.add_argument('--rounds', type=int, default=5, help='turns of each side, after one that is not counted')
    parser.add_argument('--worker', choices=('own', 'peer'), help=argparse.SUPPRESS)
    add_row_arguments(parser)
    args = parser.parse_args()
    if args.worker:
        work(args.worker == 'peer')
        return
    rows = Rows(args.rows, args.deadline)
    sides = [Side(folder) for folder in ([None, args.peer] if args.peer else [None])]
    for objects in args.objects:
        for whole_pixels in (False, True):
            turns = [[side.assign(objects, whole_pixels) for side in sides] for _ in range(args.rounds + 1)][1:]
            figures = dict(priors=turns[0][0]['priors'], positives=turns[0][0]['positives'])
            figures['ms'] = statistics.median(own['ms'] for own, *_ in turns)
            if args.peer:
                figures['peer_ms'] = statistics.median(peer['ms'] for _, peer in turns)
                figures['times_faster'] = statistics.median(peer['ms'] / own['ms'] for own, peer in turns)
                figures['equal'] = all(own['digest'] == peer['digest'] for own, peer in turns)
            rows.add(
                'ATSS beside mmdetection',
                f'{objects} objects, {"whole pixels" if whole_pixels else "random"}',
                **figures,
            )
    for side in sides:
        side.process.stdin.close()
        side.process.wait()


if __name__ == '__main__':
    main()
