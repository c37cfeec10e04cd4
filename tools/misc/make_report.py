"""Write a one-page HTML report about a training run.

    python tools/misc/make_report.py WORK_DIR [--out report.html] [--metrics metrics.json] [--pictures FOLDER]

Curves come from WORK_DIR/<timestamp>/vis_data/scalars.json; metrics default to the last validation.
"""

import argparse
from pathlib import Path

from mmdet.utils import DataError, reports_user_errors
from mmdet.utils.outputs import refuse_inputs
from mmdet.visualization.report import pictures_in, read_figures, write_report


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', help='folder of the run')
    parser.add_argument('--out', help='HTML file to write; default: WORK_DIR/report.html')
    parser.add_argument('--title', help='title of the page; default: the name of the folder')
    parser.add_argument('--metrics', help='JSON object of results, e.g. {"coco/bbox_mAP": 0.41}')
    parser.add_argument('--benchmark', help='JSON object of speed figures')
    parser.add_argument('--comparisons', help='folder of pictures that show ground truth beside predictions')
    parser.add_argument('--pictures', help='folder of further pictures')
    parser.add_argument(
        '--max-pictures', type=int, default=8, help='largest number of pictures of each folder; default: 8'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    work_dir = Path(args.work_dir)
    if not work_dir.is_dir():
        raise DataError('no such folder', file=work_dir)
    refuse_inputs([args.out], [args.metrics, args.benchmark], field='--out')
    path = write_report(
        work_dir,
        args.out or work_dir / 'report.html',
        title=args.title or work_dir.resolve().name,
        metrics=read_figures(args.metrics),
        benchmark=read_figures(args.benchmark),
        comparisons=pictures_in(args.comparisons, args.max_pictures),
        pictures=pictures_in(args.pictures, args.max_pictures),
    )
    print(path)


if __name__ == '__main__':
    main()
