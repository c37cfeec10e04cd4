"""Convert annotations between COCO, YOLO, VOC, VisDrone, UAVDT, CSV and LabelMe.

    python tools/dataset_converters/convert.py data/my_yolo data/my_coco --to coco
    python tools/dataset_converters/convert.py data/BCCD data/bccd_yolo --to yolo --image-files link

The format of SRC is recognised. DST is a file (.json, .csv) or a folder, which must not exist or be empty. docs/data_formats.md says which field goes where.
"""

import argparse

from mmengine.config import DictAction

from mmdet.datasets.converters.convert import IMAGE_MODES, RESTS, TARGETS, convert
from mmdet.formats.annotations import KINDS
from mmdet.utils import reports_user_errors


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='SRC', help='file or folder of annotations')
    parser.add_argument('target', metavar='DST', help='file or folder to write; nothing is overwritten')
    parser.add_argument('--to', required=True, choices=TARGETS, help='format to write')
    parser.add_argument('--from', dest='kind', choices=KINDS, help='format of SRC (default: recognised)')
    parser.add_argument('--images', metavar='DIR', help='folder of the images (default: where the format has them)')
    parser.add_argument('--classes', nargs='+', help='classes to keep, in this order (default: all)')
    parser.add_argument(
        '--rename', nargs='+', metavar='OLD=NEW', action=DictAction, help='names to write; several may become one class'
    )
    parser.add_argument(
        '--rest',
        choices=RESTS,
        default='drop',
        help='of boxes of other classes: leave them out, or make them crowds of every class',
    )
    parser.add_argument('--split', help='the split to convert (default: all)')
    parser.add_argument(
        '--image-files', choices=IMAGE_MODES, default='leave', help='also link or copy the images into DST'
    )
    parser.add_argument('--zero-based', action='store_true', help='corners of VOC files count from 0, not from 1')
    return parser.parse_args(argv)


@reports_user_errors
def main(argv=None) -> None:
    args = parse_args(argv)
    report = convert(
        args.source,
        args.target,
        args.to,
        kind=args.kind,
        image_root=args.images,
        classes=args.classes,
        split=args.split,
        images=args.image_files,
        zero_based=args.zero_based,
        rename=args.rename,
        rest=args.rest,
    )
    print(report)


if __name__ == '__main__':
    main()
