"""Write detections in the format of another program: COCO results, YOLO text, the VisDrone server's text, or labels for FiftyOne.

    python tools/analysis_tools/export_results.py ANN RESULTS OUT --to fiftyone

ANN names the images, in any format (page "Data formats" of the documentation). RESULTS is what tools/test.py --out wrote, COCO results,
or the folder preds of an inference. OUT must not exist.
"""

import argparse

from mmdet.evaluation.convert_results import RESULT_FORMATS, export_results
from mmdet.formats.annotations import KINDS
from mmdet.utils import reports_user_errors


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('ann', metavar='ANN', help='annotations of the images; they may be without boxes')
    parser.add_argument(
        'results', metavar='RESULTS', help='.pkl or .json of a test, or folder of .json of an inference'
    )
    parser.add_argument('output', metavar='OUT', help='file (coco, fiftyone) or folder to write')
    parser.add_argument('--to', required=True, choices=RESULT_FORMATS, help='format to write')
    parser.add_argument('--from', dest='kind', choices=KINDS, help='format of ANN (default: recognised)')
    parser.add_argument('--images', metavar='DIR', help='folder of the images (default: where the format has them)')
    parser.add_argument('--split', help='split of ANN')
    parser.add_argument('--classes', nargs='+', help='names of the labels in their order (default: as in ANN)')
    parser.add_argument('--min-score', type=float, default=0.0, help='leave out lower scores')
    return parser.parse_args(argv)


@reports_user_errors
def main(argv=None) -> None:
    args = parse_args(argv)
    report = export_results(
        args.ann,
        args.results,
        args.output,
        args.to,
        kind=args.kind,
        image_root=args.images,
        split=args.split,
        classes=args.classes,
        min_score=args.min_score,
    )
    print(report)


if __name__ == '__main__':
    main()
