"""Write a COCO JSON file for images without annotations, for a test or a server that keeps them.

    python tools/dataset_converters/images.py data/VisDrone2019-DET-test-challenge/images out/test-challenge.json --classes visdrone
    python tools/dataset_converters/images.py photos out/photos.json --classes car bus

Images of all folders below IMAGES are taken, sorted by path; names in the file are relative to IMAGES. Such a file serves tools/test.py; a
training refuses it.
"""

import argparse
from pathlib import Path

from mmdet.datasets.converters.images import convert_images, named_classes
from mmdet.utils import reports_user_errors


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', metavar='IMAGES', help='folder of the images')
    parser.add_argument('output', metavar='OUT', help='JSON file to write')
    parser.add_argument(
        '--classes', nargs='+', default=[], help='class names, or coco, voc or visdrone, or a file with one name a line'
    )
    parser.add_argument('--exclude', nargs='+', default=[], metavar='SUFFIX', help='leave out images such as .png')
    return parser.parse_args(argv)


@reports_user_errors
def main(argv=None) -> None:
    args = parse_args(argv)
    print(convert_images(args.images, Path(args.output), named_classes(args.classes), exclude=args.exclude))


if __name__ == '__main__':
    main()
