"""A folder in VisDrone's layout with COCO files beside it, as the drone configs want it: of real images, or of drawn ones.

    python benchmarks/sample_data.py OUT [--visdrone DIR] [--limit 8]
    python benchmarks/sample_data.py OUT --mosaics

DIR holds VisDrone2019-DET-{train,val}/{images,annotations}; without it, noise with bright rectangles is drawn. Everything is copied or
written below OUT, which becomes the ``data_root`` of a config. --mosaics adds the mosaics of MP-Det to such a folder, with the annotated
boxes in place of a coarse detector's.
"""

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData

from mmdet.datasets.converters import MosaicBuilder, convert_visdrone

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


def make_mosaics(data: Path) -> None:
    """Mosaics of both splits, of the annotated boxes."""
    for split in SPLITS:
        name = f'VisDrone2019-DET-{split}'
        annotations = data / 'annotations' / f'{name}.json'
        builder = MosaicBuilder(
            annotations, data / name / 'images', data / f'{name}-ufp', annotations.with_name(f'{name}-ufp.json')
        )
        builder.start(restart=True)
        builder.run(TruthStage(annotations, builder))
        print(builder.join())


class TruthStage:
    """Answers the images of a mosaic builder, in its order, with their annotated boxes."""

    def __init__(self, annotations: Path, builder: MosaicBuilder):
        document = json.loads(annotations.read_text(encoding='utf-8'))
        boxes = {image['id']: [] for image in document['images']}
        for row in document['annotations']:
            x, y, w, h = row['bbox']
            boxes[row['image_id']].append((row['category_id'], x, y, x + w, y + h))
        self.answers = iter([sorted(boxes[image.id]) for group in builder.pending() for image in group])

    def __call__(self, images: list) -> list[InstanceData]:
        truths = [torch.tensor(next(self.answers), dtype=torch.float32).reshape(-1, 5) for _ in images]
        return [InstanceData(bboxes=t[:, 1:], labels=t[:, 0].long(), scores=torch.ones(len(t))) for t in truths]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path)
    parser.add_argument('--visdrone', type=Path, help='folder of the real splits; default: drawn images')
    parser.add_argument('--limit', type=int, help='images of a split at most; of drawn images, the number (default: 8)')
    parser.add_argument('--mosaics', action='store_true', help='only pack what is there')
    args = parser.parse_args()
    if args.mosaics:
        make_mosaics(args.out)
        return
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
