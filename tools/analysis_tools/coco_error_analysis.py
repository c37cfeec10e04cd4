"""Where AP is lost: localisation, similar classes, other classes, background, misses.

    python tools/analysis_tools/coco_error_analysis.py RESULTS.bbox.json OUT_DIR --ann FILE [--classes car bus] [--areas 1024 9216 1e10]

RESULTS is a file of ``CocoMetric(outfile_prefix=...)`` or ``tools/test.py --out x.json``. The tool writes ``error_analysis.{json,txt}`` and
a picture of each class and of their mean to OUT_DIR. The curves are explained in mmdet/analysis/error_analysis.py.
"""

import argparse
from pathlib import Path

from mmdet.analysis import analyze_error_files, write_error_analysis
from mmdet.analysis.error_analysis import DEFAULT_AREAS
from mmdet.utils import reports_user_errors
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('results', help='COCO results, .json')
    parser.add_argument('out_dir', help='folder to write to')
    parser.add_argument('--ann', required=True, help='COCO annotation file')
    parser.add_argument('--types', nargs='+', choices=['bbox'], default=['bbox'], help='only boxes are supported')
    parser.add_argument('--classes', nargs='+', help='classes to analyse; default: all')
    parser.add_argument('--areas', type=float, nargs=3, default=DEFAULT_AREAS, metavar=('SMALL', 'MEDIUM', 'ALL'),
                        help='upper bounds in square pixels; default 1024 9216 1e10')  # fmt: skip
    parser.add_argument(
        '--max-dets', type=int, default=100, help='limit of detections per image and class; default 100'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    refuse_inputs(
        [Path(args.out_dir, f'error_analysis.{suffix}') for suffix in ('json', 'txt')],
        [args.results, args.ann],
        field='out_dir',
    )
    analysis = analyze_error_files(
        args.results, args.ann, classes=args.classes, areas=args.areas, max_dets=args.max_dets
    )
    paths = write_error_analysis(analysis, args.out_dir)
    print(analysis.table())
    print(f'{len(paths)} files in {args.out_dir}')


if __name__ == '__main__':
    main()
