"""The images that a detector handles best and worst, drawn beside the ground truth.

    python tools/analysis_tools/analyze_results.py CONFIG RESULTS SHOW_DIR [--topk 20] [--show-score-thr 0.3]

RESULTS is what ``tools/test.py --out`` wrote (.pkl or .json). The tool writes ``good/``, ``bad/`` and ``ranking.json``, which
has the AP of every image, to SHOW_DIR. The config must have ``test_dataloader.dataset``.
"""

import argparse
from pathlib import Path

from mmdet.analysis import load_prediction_set, write_ranking
from mmdet.analysis.ranking import ranking_text
from mmdet.utils import CfgOptions, load_config, register_all_modules, reports_user_errors
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('results', help='predictions: .pkl or .json')
    parser.add_argument('show_dir', help='folder to write to')
    parser.add_argument('--topk', type=int, default=20, help='pictures of each kind; default 20')
    parser.add_argument('--show-score-thr', type=float, default=0.0, help='least score of a drawn box; the AP uses all')
    parser.add_argument(
        '--max-dets', type=int, default=100, help='limit of detections per image and class in the AP; default: 100'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    register_all_modules()
    refuse_inputs([Path(args.show_dir, 'ranking.json')], [args.results, args.config], field='show_dir')
    predictions = load_prediction_set(cfg, args.results)
    if predictions.missing:
        print(
            f'{predictions.missing} of {len(predictions.images)} images are not in {args.results} and count as without detections'
        )
    ranking = write_ranking(
        predictions, args.show_dir, topk=args.topk, show_score_thr=args.show_score_thr, max_dets=args.max_dets
    )
    print(ranking_text(ranking))
    print(args.show_dir)


if __name__ == '__main__':
    main()
