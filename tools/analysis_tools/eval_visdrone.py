"""Score VisDrone-DET result files by the official toolkit's rules and by COCO's, maxDets 500; both are printed.

    python tools/analysis_tools/eval_visdrone.py VisDrone2019-DET-val/annotations results/ --json scores.json

ANNOTATION_DIR holds one .txt an image (left,top,width,height,score,category,truncation,occlusion), PREDICTION_DIR one of
the same name with the detections by descending score; commas or blanks separate. A missing or empty result file means no
detections. The size of an image, which the rule of ignored regions needs, comes from --sizes, from the images of --images,
or from the folder "images" beside ANNOTATION_DIR.
"""

import argparse
import sys
from pathlib import Path

from mmdet.config.reading import reports_user_errors
from mmdet.evaluation.visdrone_report import evaluate_both, input_warnings, report_document, report_text
from mmdet.formats.visdrone import VISDRONE_CLASSES, read_folders, read_image_sizes
from mmdet.utils.files import write_json
from mmdet.utils.outputs import refuse_inputs


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotation_dir', metavar='ANNOTATION_DIR', help='folder of annotation .txt files')
    parser.add_argument('prediction_dir', metavar='PREDICTION_DIR', help='folder of result .txt files')
    source = parser.add_mutually_exclusive_group()
    source.add_argument('--sizes', metavar='FILE', help='lines "name width height"; only the images it names count')
    source.add_argument('--images', metavar='DIR', help='folder of the images; their headers give the sizes')
    parser.add_argument('--json', metavar='OUT', help='write all figures, in percent, to this file')
    return parser.parse_args(argv)


@reports_user_errors
def main(argv=None) -> None:
    args = parse_args(argv)
    refuse_inputs(
        [args.json],
        [args.sizes, *Path(args.annotation_dir).glob('*.txt'), *Path(args.prediction_dir).glob('*.txt')],
        field='--json',
    )
    sizes = read_image_sizes(args.sizes) if args.sizes else None
    data = read_folders(args.annotation_dir, args.prediction_dir, sizes=sizes, image_dir=args.images)
    for warning in input_warnings(data):
        print(f'warning: {warning}', file=sys.stderr)
    toolkit, coco = evaluate_both(data, VISDRONE_CLASSES)
    document = report_document(data, toolkit, coco, VISDRONE_CLASSES)
    print(report_text(data, toolkit, coco, VISDRONE_CLASSES))
    if args.json:
        write_json(args.json, document)


if __name__ == '__main__':
    main()
