"""Generate the built-in synthetic drone scenes, and print what is in them.

    python tools/misc/make_drone_scenes.py data/drone_scenes --num-train 400 --num-val 80

The datasets of the demo configs do this by themselves on first use.
"""

import argparse
import sys
from pathlib import Path

import cv2

from mmdet.datasets.drone_scenes.dataset import draw_preview, generate_drone_scenes, summarise_drone_scenes
from mmdet.errors import MMDetError


def parse_args(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out_dir', type=Path, help='root of the dataset')
    parser.add_argument('--num-train', type=int, default=400)
    parser.add_argument('--num-val', type=int, default=80)
    parser.add_argument('--size', type=int, nargs=2, default=(960, 540), metavar=('WIDTH', 'HEIGHT'))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, help='processes (default: one for each usable core)')
    parser.add_argument('--overwrite', action='store_true', help='replace a set that was made with other arguments')
    parser.add_argument('--preview', type=Path, help='also write a picture of the first four scenes with their boxes')
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    args = parse_args(arguments)
    try:
        root = generate_drone_scenes(
            args.out_dir,
            num_train=args.num_train,
            num_val=args.num_val,
            size_wh=tuple(args.size),
            seed=args.seed,
            workers=args.workers,
            overwrite=args.overwrite,
        )
    except MMDetError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    for split, facts in summarise_drone_scenes(root).items():
        print(f'{split}: {facts["images"]} images ({facts["empty"]} empty), {facts["objects"]} objects')
        print(f'  objects an image, min / median / max: {facts["per_image"]}')
        print(f'  {", ".join(f"{name} {count}" for name, count in facts["classes"].items())}')
        print(f'  side in pixels at input width 480, quantiles 10/25/50/75/90 %: {facts["side"]}')
    if args.preview:
        picture = cv2.resize(
            draw_preview(tuple(args.size), seed=args.seed), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA
        )
        args.preview.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(args.preview), picture, (cv2.IMWRITE_JPEG_QUALITY, 60)):
            print(f'error: {args.preview}: cannot be written', file=sys.stderr)
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
