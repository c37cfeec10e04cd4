"""Evaluate saved predictions again, without the model.

    python tools/analysis_tools/eval_metric.py CONFIG RESULTS [--classwise] [--cfg-options KEY=VALUE ...]
    python tools/analysis_tools/eval_metric.py ANN.json RESULTS [--classes car bus]

CONFIG is a config file, of any style: every metric of its ``test_evaluator`` (CocoMetric, VisDroneMetric, one of your own) gives the numbers that
``tools/test.py`` gave, as far as it needs no more than the predictions and its own files. ANN.json is a COCO annotation file. RESULTS is what
``tools/test.py --out`` wrote: .pkl, or .json for metrics with a COCO annotation file. The options below override the arguments of CocoMetric and
VisDroneMetric.
"""

import argparse

from mmdet.evaluation import evaluate_by_config, evaluate_results
from mmdet.formats.json_file import read_bytes
from mmdet.utils import CfgOptions, load_config, register_all_modules, reports_user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='CONFIG_OR_ANN', help='config file (.py), or COCO annotation file (.json)')
    parser.add_argument('results', metavar='RESULTS', help='predictions: .pkl or COCO results .json')
    parser.add_argument(
        '--metric', '--eval', nargs='+', choices=['bbox', 'proposal', 'proposal_fast'], help='default: bbox'
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        help='class names in the order of the labels; default: the config or the annotation file',
    )
    parser.add_argument('--classwise', action='store_true', default=None, help='print a table of classes')
    parser.add_argument('--max-dets', type=int, help='limit of detections per image and class of all AP values')
    parser.add_argument(
        '--proposal-nums', nargs='+', type=int, help='limits of the average recalls; default: 100 300 1000'
    )
    parser.add_argument('--iou-thrs', nargs='+', type=float, help='IoU thresholds; default: 0.50 0.55 ... 0.95')
    parser.add_argument('--format-only', action='store_true', default=None, help='only write <prefix>.bbox.json')
    parser.add_argument('--outfile-prefix', help='write the predictions as <prefix>.bbox.json')
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = vars(parse_args())
    source, results, cfg_options = args.pop('source'), args.pop('results'), args.pop('cfg_options')
    register_all_modules()
    options = {name: value for name, value in args.items() if value is not None}
    # A config in JSON names its metrics under this key.
    if source.endswith('.json') and b'_evaluator"' not in read_bytes(source):
        values = evaluate_results(results, source, **options)
    else:
        values = evaluate_by_config(results, load_config(source, cfg_options), **options)
    for name, value in values.items():
        print(f'{name}: {value:.4f}')


if __name__ == '__main__':
    main()
