"""How often a coarse detector misses objects, displaces boxes and invents some: what ForegroundMosaic imitates during training.

    python tools/test.py CONFIG CKPT --out coarse.pkl
    python tools/analysis_tools/coarse_errors.py CONFIG coarse.pkl [--score-thr 0.05] [--iou-thr 0.3]

CONFIG is that of the coarse detector, whose score threshold and NMS decide what is packed; of a UFPMPDet, test with
``--cfg-options model.look_below=0``, which makes the coarse detections the result. The last line is for the training pipeline.
"""

import argparse

from mmdet.analysis import load_prediction_set
from mmdet.analysis.coarse_errors import coarse_errors
from mmdet.utils import CfgOptions, load_config, register_all_modules, reports_user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, with test_dataloader.dataset')
    parser.add_argument('results', help='its detections: .pkl or .json of tools/test.py --out')
    parser.add_argument('--score-thr', type=float, default=0.0, help='least score of a packed box; default: all of RESULTS')
    parser.add_argument('--iou-thr', type=float, default=0.3, help='least IoU of a box with its object; default 0.3')
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    register_all_modules()
    errors = coarse_errors(load_prediction_set(cfg, args.results), score_thr=args.score_thr, iou_thr=args.iou_thr)
    print(errors)
    arguments = ', '.join(f'{name}={value}' for name, value in errors.config().items())
    print(f"dict(type='ForegroundMosaic', {arguments})")


if __name__ == '__main__':
    main()
