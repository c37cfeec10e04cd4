"""VisDrone-DET annotations -> COCO JSON.

    python UFPMP-Det-Tools/build_dataset/VisDrone2COCO.py \\
        data/VisDrone2019-DET/VisDrone2019-DET-val/images data/VisDrone2019-DET/VisDrone2019-DET-val/annotations \\
        data/VisDrone2019-DET/annotations/VisDrone2019-DET-val.json

Both folders may also be given as the folder that holds them. The JSON has the ten classes as category ids 0..9; ignored
regions and "others" are lists of their own in it.
"""

import argparse

from mmdet.config.reading import reports_user_errors
from mmdet.datasets.converters import convert_visdrone
from mmdet.evaluation import read_image_sizes
from mmdet.utils.outputs import refuse_inputs


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('visdrone_root', help='folder of the images')
    parser.add_argument('visdrone_anno', help='folder of the .txt annotations')
    parser.add_argument('output_anno', help='JSON file to write')
    parser.add_argument(
        '--sizes', metavar='FILE', help='lines "name width height": these images need not be there (default: headers)'
    )
    return parser.parse_args(argv)


@reports_user_errors
def main(argv=None) -> None:
    args = parse_args(argv)
    refuse_inputs([args.output_anno], [args.sizes], field='output_anno')
    sizes = read_image_sizes(args.sizes) if args.sizes else None
    print(convert_visdrone(args.visdrone_root, args.visdrone_anno, args.output_anno, sizes=sizes))


if __name__ == '__main__':
    main()
