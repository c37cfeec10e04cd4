"""A folder in VisDrone's layout with COCO files beside it, as the drone configs want it: of real images, or of drawn ones.

    python benchmarks/sample_data.py OUT [--visdrone DIR] [--limit 8]

DIR holds VisDrone2019-DET-{train,val}/{images,annotations}; without it, noise with bright rectangles is drawn. Everything is linked or
written below OUT, which becomes the ``data_root`` of a config.
"""

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np

from mmdet.datasets.converters import convert_visdrone

SPLITS = ('train', 'val')
DRAWN_WH = (320, 180)


def draw(folder: Path, count: int, seed: int) -> None:
    """Images of rectangles, and VisDrone's rows for them."""
    random = np.random.RandomState(seed)
    width, height = DRAWN_WH
    for name in ('images', 'annotations'):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        image = random.randint(60, 120, (height, width, 3)).astype(np.uint8)
        lines = []
        for _ in range(12):
            w, h = random.randint(8, 40, 2)
            x, y = random.randint(0, width - w), random.randint(0, height - h)
            category = random.randint(1, 11)
            cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), (25 * int(category), 255, 0), -1)
            lines.append(f'{x},{y},{w},{h},1,{category},0,0\n')
        cv2.imwrite(str(folder / 'images' / f'{index:04d}.jpg'), image)
        (folder / 'annotations' / f'{index:04d}.txt').write_text(''.join(lines), encoding='utf-8')


def copy(source: Path, folder: Path, limit: int | None) -> None:
    """The first images of a real split with their annotations."""
    for name in ('images', 'annotations'):
        (folder / name).mkdir(parents=True)
    annotations = sorted((source / 'annotations').glob('*.txt'))[:limit]
    if not annotations:
        raise SystemExit(
            f'{source / "annotations"}: no .txt file; --visdrone names the folder of VisDrone2019-DET-train'
        )
    for path in annotations:
        shutil.copy(path, folder / 'annotations')
        shutil.copy(source / 'images' / f'{path.stem}.jpg', folder / 'images')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path)
    parser.add_argument('--visdrone', type=Path, help='folder of the real splits; default: drawn images')
    parser.add_argument('--limit', type=int, help='images of a split at most; of drawn images, the number (default: 8)')
    args = parser.parse_args()
    for split in SPLITS:
        name = f'VisDrone2019-DET-{split}'
        folder = args.out / name
        if args.visdrone:
            copy(args.visdrone / name, folder, args.limit)
        else:
            draw(folder, args.limit or 8, SPLITS.index(split))
        out_file = args.out / 'annotations' / f'{name}.json'
        print(convert_visdrone(folder / 'images', folder / 'annotations', out_file))


if __name__ == '__main__':
    main()
