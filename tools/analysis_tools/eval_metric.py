"""Evaluate saved predictions again, without the model.

The first argument is a config file, whose ``test_evaluator`` must hold a CocoMetric with an ``ann_file`` (its arguments
and the dataset's class names are taken over), or a COCO annotation file. The second is what ``tools/test.py --out``
wrote: .pkl or .json.
"""

import argparse

from mmdet.evaluation import evaluate_results, metric_args_of_config
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
    if source.endswith('.json'):
        metric_args = dict(ann_file=source)
    else:
        metric_args = metric_args_of_config(load_config(source, cfg_options))
    metric_args.update({name: value for name, value in args.items() if value is not None})
    for name, value in evaluate_results(results, **metric_args).items():
        print(f'{name}: {value:.4f}')


if __name__ == '__main__':
    main()
