"""Which classes a detector confuses, and what it misses or invents.

    python tools/analysis_tools/confusion_matrix.py CONFIG RESULTS SAVE_DIR [--score-thr 0.3] [--tp-iou-thr 0.5] [--normalize]

RESULTS is a file of ``tools/test.py --out`` (.pkl or .json). The tool writes ``confusion_matrix.{png,csv,json}`` to SAVE_DIR: rows are the
classes of the objects, columns those of the detections, the last of each is background. The config must have ``test_dataloader.dataset``.
"""

import argparse
from pathlib import Path

from mmdet.analysis import confusion_matrix, load_prediction_set, write_confusion_matrix
from mmdet.analysis.confusion import counts_text
from mmdet.utils import CfgOptions, load_config, register_all_modules, reports_user_errors
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('results', help='predictions: .pkl or .json')
    parser.add_argument('save_dir', help='folder to write to')
    parser.add_argument('--score-thr', type=float, default=0.3, help='least score of a detection; default 0.3')
    parser.add_argument('--tp-iou-thr', type=float, default=0.5, help='least IoU of a pair; default 0.5')
    parser.add_argument(
        '--nms-iou-thr', type=float, help='first apply NMS within each class at this IoU; default: none'
    )
    parser.add_argument(
        '--normalize', action='store_true', help='the picture shows percentages of the rows, not counts'
    )
    parser.add_argument('--color-theme', default='plasma', help='colour map of matplotlib; default plasma')
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    register_all_modules()
    refuse_inputs(
        [Path(args.save_dir, f'confusion_matrix.{suffix}') for suffix in ('png', 'csv', 'json')],
        [args.results, args.config],
        field='save_dir',
    )
    predictions = load_prediction_set(cfg, args.results)
    settings = dict(score_thr=args.score_thr, tp_iou_thr=args.tp_iou_thr, nms_iou_thr=args.nms_iou_thr)
    matrix = confusion_matrix(predictions, **settings)
    paths = write_confusion_matrix(
        matrix, predictions.classes, args.save_dir, normalize=args.normalize, color_theme=args.color_theme,
        title=f'score >= {args.score_thr:g}, IoU >= {args.tp_iou_thr:g}',
        settings=dict(settings, config=args.config, results=args.results, images=len(predictions.images)),
    )  # fmt: skip
    print(counts_text(matrix))
    print('\n'.join(map(str, paths)))


if __name__ == '__main__':
    main()
