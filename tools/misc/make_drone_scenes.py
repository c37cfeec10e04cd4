"""Generate the built-in synthetic drone scenes, and print what is in them.

    python tools/misc/make_drone_scenes.py data/drone_scenes --num-train 400 --num-val 80
    python tools/misc/make_drone_scenes.py data/drone_videos --videos 2 --frames 100

The datasets of the demo configs draw their scenes on first use. --videos draws videos with tracks, in VisDrone-MOT's format.
"""

import argparse
from pathlib import Path

from mmdet.datasets.drone_scenes.dataset import (
    generate_drone_scenes,
    summarise_drone_scenes,
    summary_text,
    write_preview,
)
from mmdet.datasets.drone_scenes.sequence import generate_sequences
from mmdet.utils import reports_user_errors


def parse_args(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out_dir', type=Path, help='root of the dataset')
    parser.add_argument('--num-train', type=int, default=400, help='training scenes; default: 400')
    parser.add_argument('--num-val', type=int, default=80, help='validation scenes; default: 80')
    parser.add_argument('--size', type=int, nargs=2, default=(960, 540), metavar=('WIDTH', 'HEIGHT'),
                        help='pixels of a scene; default: 960 540')  # fmt: skip
    parser.add_argument('--seed', type=int, default=0, help='the same seed draws the same scenes; default: 0')
    parser.add_argument('--workers', type=int, help='processes; default: one per usable core')
    parser.add_argument('--overwrite', action='store_true', help='replace a set that was made with other arguments')
    parser.add_argument('--preview', type=Path, help='also write a picture of the first four scenes with their boxes')
    parser.add_argument('--videos', type=int, metavar='N', help='draw so many videos instead of scenes')
    parser.add_argument('--frames', type=int, default=100, help='frames of a video; default: 100')
    return parser.parse_args(arguments)


@reports_user_errors
def main(arguments=None) -> None:
    args = parse_args(arguments)
    size_wh = tuple(args.size)
    if args.videos is not None:
        print(
            generate_sequences(
                args.out_dir, num_sequences=args.videos, num_frames=args.frames, size_wh=size_wh, seed=args.seed
            )
        )
        return
    root = generate_drone_scenes(
        args.out_dir,
        num_train=args.num_train,
        num_val=args.num_val,
        size_wh=size_wh,
        seed=args.seed,
        workers=args.workers,
        overwrite=args.overwrite,
    )
    print(summary_text(summarise_drone_scenes(root)))
    if args.preview:
        write_preview(args.preview, size_wh, seed=args.seed)


if __name__ == '__main__':
    main()
