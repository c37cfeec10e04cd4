"""Convert a PASCAL VOC folder to COCO JSON.

    python tools/dataset_converters/pascal_voc.py data/BCCD data/BCCD/annotations

reads ``Annotations``, ``ImageSets/Main`` and ``JPEGImages`` of the folder and writes one JSON file for each split.
"""

import argparse

from mmdet.datasets.converters import convert_voc
from mmdet.utils import reports_user_errors


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='PASCAL VOC -> COCO JSON')
    parser.add_argument('root', help='folder with Annotations, ImageSets/Main and JPEGImages')
    parser.add_argument('out_dir', help='folder for {split}.json')
    parser.add_argument(
        '--splits', nargs='+', help='lists of ImageSets/Main (default: those of train, val, test that exist)'
    )
    parser.add_argument('--classes', nargs='+', help='classes to keep, in this order (default: all)')
    parser.add_argument('--zero-based', action='store_true', help='corners count from 0 (VOC counts pixels from 1)')
    return parser.parse_args(argv)


@reports_user_errors
def main(argv=None) -> None:
    args = parse_args(argv)
    for report in convert_voc(
        args.root, args.out_dir, splits=args.splits, classes=args.classes, zero_based=args.zero_based
    ):
        print(report)


if __name__ == '__main__':
    main()
