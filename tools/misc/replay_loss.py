"""Compute a loss that was not finite again, and name the first module whose output is not finite.

    python tools/misc/replay_loss.py work_dirs/RUN/nonfinite_ITERATION_rankRANK.pth [--config CONFIG] [--device cpu]

A training that stops at such a loss writes FILE: the weights before the step, the batch as the model got it, the random numbers, the parts of the
loss and the config. On the CPU the parts of a run on the CPU come out bit for bit. The status is 1 where they differ.
"""

import argparse
import sys

from mmdet.apis.building import choose_device
from mmdet.engine.replay import replay_loss
from mmdet.utils import load_config, register_all_modules, reports_user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', help='nonfinite_ITERATION_rankRANK.pth')
    parser.add_argument(
        '--config', help='config to take the model from, needed for types of custom_imports; default: the one in FILE'
    )
    parser.add_argument('--device', default='cpu', help="like 'cpu' (default) or 'cuda:0'")
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    device = choose_device(args.device)
    config = load_config(args.config) if args.config else None
    register_all_modules()
    replay = replay_loss(args.file, config=config, device=str(device))
    print('\n'.join(replay.lines()))
    sys.exit(0 if replay.same else 1)


if __name__ == '__main__':
    main()
