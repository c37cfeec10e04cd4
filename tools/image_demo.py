"""Detect objects in images or videos and write annotated pictures and JSON.

    python tools/image_demo.py INPUT MODEL [--weights CHECKPOINT] [--out-dir outputs]

INPUT is a file, folder, glob pattern, address or video. MODEL is a config file, the name of a model, or a checkpoint whose config lies in its folder.
"""

import argparse

from mmdet.apis import DetInferencer
from mmdet.apis.backends import add_backend_arguments
from mmdet.apis.building import PALETTES
from mmdet.apis.prediction import config_and_weights
from mmdet.config.reading import ArgumentParser, add_inference_arguments, add_random_weights, add_value_range
from mmdet.utils import reports_user_errors


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', help='image, folder, glob pattern, address or video')
    parser.add_argument('model', help='config file, name, or checkpoint with its config beside it')
    parser.add_argument('--weights', help='checkpoint: path, URL or known name; default: those that MODEL names')
    add_random_weights(parser)
    parser.add_argument('--out-dir', default='outputs', help='folder for vis/ and preds/; default: outputs')
    parser.add_argument('--device', help="like 'cpu' or 'cuda:0'; default: the first GPU, or the CPU")
    add_backend_arguments(parser)
    parser.add_argument(
        '--pred-score-thr', type=float, default=0.3, help='boxes with a score above this are drawn; default: 0.3'
    )
    parser.add_argument('--batch-size', type=int, default=1, help='images loaded together; default: 1')
    parser.add_argument('--recursive', action='store_true', help='search folders below the input folder')
    parser.add_argument('--skip-broken', action='store_true', help='leave out images that cannot be read')
    add_value_range(parser)
    add_inference_arguments(parser, with_options=True)
    parser.add_argument(
        '--tile', type=int, nargs='+', metavar='SIZE', help='cut every image into tiles of one or two sizes (w h)'
    )
    parser.add_argument(
        '--overlap', type=float, default=0.2, help='share of a tile that the next repeats; default: 0.2'
    )
    parser.add_argument('--show', action='store_true', help='open a window for each picture')
    parser.add_argument('--no-save-vis', action='store_true', help='write no pictures')
    parser.add_argument('--no-save-pred', action='store_true', help='write no JSON')
    parser.add_argument('--print-result', action='store_true', help='print the predictions')
    parser.add_argument(
        '--palette', default='none', choices=PALETTES, help="colours of the classes; default: the dataset's"
    )
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='allow unpickling of arbitrary objects; only for your own files'
    )
    args = parser.parse_args()
    if args.tile and len(args.tile) > 2:
        parser.error('--tile takes one or two sizes')
    return args


@reports_user_errors
def main() -> None:
    args = parse_args()
    config, weights = config_and_weights(
        args.model, args.weights, args.cfg_options, trust_checkpoint=args.trust_checkpoint
    )
    inferencer = DetInferencer(
        config, weights, args.device, palette=args.palette, trust_checkpoint=args.trust_checkpoint, value_range=args.value_range,
        backend=args.backend, precision=args.backend_precision, random_weights=args.random_weights,
    )  # fmt: skip
    result = inferencer(
        args.inputs, batch_size=args.batch_size, show=args.show, no_save_vis=args.no_save_vis,
        pred_score_thr=args.pred_score_thr, print_result=args.print_result, no_save_pred=args.no_save_pred,
        out_dir=args.out_dir, recursive=args.recursive, skip_broken=args.skip_broken,
        tiles=None if args.tile is None else dict(tile_wh=(args.tile[0], args.tile[-1]), overlap=args.overlap),
    )  # fmt: skip
    written = '' if args.no_save_vis and args.no_save_pred else f'; results are in {args.out_dir}'
    print(f'{len(result["predictions"])} images done{written}')


if __name__ == '__main__':
    main()
