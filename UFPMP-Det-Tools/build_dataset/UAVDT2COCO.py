"""UAVDT (UAV-benchmark-M) annotations -> COCO JSON.

    python UFPMP-Det-Tools/build_dataset/UAVDT2COCO.py data/UAVDT data/UAVDT/annotations/UAVDT-train.json
    python UFPMP-Det-Tools/build_dataset/UAVDT2COCO.py data/UAVDT data/UAVDT/annotations/UAVDT-test.json --split test
    python UFPMP-Det-Tools/build_dataset/UAVDT2COCO.py data/UAVDT data/UAVDT/annotations

The last form, with a folder, writes UAVDT-train.json and UAVDT-test.json. Both public layouts are found:
<seq>/gt/gt_whole.txt with <seq>/img1/, and [GT/]<seq>_gt_whole.txt with UAV-benchmark-M/<seq>/.
"""

import argparse

from mmdet.config.reading import reports_user_errors
from mmdet.datasets.converters import convert_uavdt
from mmdet.datasets.converters.uavdt import IGNORED_MODES, SPLITS, files_of_splits, parse_size


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('uavdt_root', help='folder of the dataset')
    parser.add_argument('output_anno', help='JSON file of one split, or a folder (no .json at its end)')
    parser.add_argument('--split', choices=SPLITS, help='default: train for a file, all that exist for a folder')
    parser.add_argument('--images', metavar='DIR', help='folder of the frame folders, where it is elsewhere')
    parser.add_argument('--size', metavar='WxH', help='size of frames that are not there (default: 1024x540, warned)')
    parser.add_argument(
        '--ignored', choices=IGNORED_MODES, default='crowd',
        help='boxes of ignored areas: crowds, which any evaluation ignores (default); a plain ignore flag, which makes them '
             'cars to be found for pycocotools, as the reference does; or none',
    )  # fmt: skip
    return parser.parse_args(argv)


@reports_user_errors
def main(argv=None) -> None:
    args = parse_args(argv)
    out_files = files_of_splits(args.uavdt_root, args.output_anno, args.split, image_dir=args.images)
    size_wh = parse_size(args.size) if args.size else None
    for report in convert_uavdt(
        args.uavdt_root, out_files, image_dir=args.images, size_wh=size_wh, ignored=args.ignored
    ):
        print(report)


if __name__ == '__main__':
    main()
