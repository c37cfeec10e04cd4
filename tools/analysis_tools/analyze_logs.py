"""Curves and times from the training logs of one run or several.

    python tools/analysis_tools/analyze_logs.py plot_curve LOGS... --keys loss bbox_mAP [--out curves.svg] [--legend ...]
    python tools/analysis_tools/analyze_logs.py cal_train_time LOGS... [--include-outliers]

A log is ``vis_data/scalars.json``, ``<timestamp>.log.json`` of mmdetection 2.x, or a work dir, of which the newest run counts.
"""

import argparse

from mmdet.analysis import collect_curves, read_log, train_time, write_curves
from mmdet.utils import reports_user_errors
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest='task', required=True)
    plot = tasks.add_parser('plot_curve', help='draw logged values')
    plot.add_argument('logs', nargs='+', help='log files or work dirs')
    plot.add_argument('--keys', nargs='+', default=['bbox_mAP'], help='names of the values to draw; default: bbox_mAP')
    plot.add_argument('--start-epoch', type=int, default=1, help='leave out earlier epochs')
    plot.add_argument('--eval-interval', type=int, help='ignored, for old command lines: the logs have the epochs')
    plot.add_argument('--title', default='', help='title of the picture')
    plot.add_argument('--legend', nargs='+', help='names of the curves: all of the first log, then of the second, ...')
    plot.add_argument('--style', default='dark', help="matplotlib's style for .png, .pdf and .jpg")
    plot.add_argument(
        '--out', default='curves.svg', help='.svg, or .png, .pdf, .jpg with matplotlib; default: curves.svg'
    )
    times = tasks.add_parser('cal_train_time', help='print the seconds of an iteration by epoch')
    times.add_argument('logs', nargs='+', help='log files or work dirs')
    times.add_argument('--include-outliers', action='store_true', help='count the first record of each epoch too')
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    logs = [read_log(path) for path in args.logs]
    if args.task == 'cal_train_time':
        for log in logs:
            print(train_time(log, args.include_outliers).text())
        return
    refuse_inputs([args.out], [*args.logs], field='--out')
    x_label, curves = collect_curves(logs, args.keys, args.legend, args.start_epoch)
    for name, xs, ys in curves:
        print(
            f'{name}: {len(ys)} values, last {ys[-1]:.4g} at {x_label} {xs[-1]:g}, smallest {min(ys):.4g}, largest {max(ys):.4g}'
        )
    print(write_curves(args.out, curves, x_label=x_label, title=args.title, style=args.style))


if __name__ == '__main__':
    main()
