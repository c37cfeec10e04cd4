"""Write a searched network as a folder that needs torch only.

    python tools/export.py STRUCTURE OUT_DIR [--index 0] [--checkpoint CKPT] [--task classification|detection] [--onnx]

STRUCTURE is a file of structures: best_structure.json of a search, configs/tinynas/*/models/*.json, or a text file of LightNAS. OUT_DIR gets
structure.json, the model's code, demo.py, README.md, weights.pth with --checkpoint, and model.onnx with --onnx (docs/tinynas_export.md).
"""

import argparse
from pathlib import Path

from mmdet.engine.checkpoint.loading import load_checkpoint_file
from mmdet.export import EXPORTED_FILES, ExportOptions, export_network
from mmdet.utils import reports_user_errors
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('structure', help='file of structures')
    parser.add_argument('out_dir', help='folder to write')
    parser.add_argument('--index', type=int, default=0, help='which structure of the file (0)')
    parser.add_argument(
        '--checkpoint', metavar='CKPT', help='weights of the backbone, of a classifier, or of a detector with it'
    )
    parser.add_argument('--task', choices=['classification', 'detection'],
                        help='output: scores of classes or maps of stages; default: that of the checkpoint or the structure')  # fmt: skip
    parser.add_argument(
        '--image-size', type=int, nargs='+', metavar='N', help='side, or height and width, of the example input'
    )
    parser.add_argument('--frames', type=int, help='length of the example clip')
    parser.add_argument(
        '--out-indices', type=int, nargs='+', metavar='STAGE', help='stages whose maps a detection backbone gives'
    )
    parser.add_argument('--num-classes', type=int, help='classes of a classifier without a checkpoint (1000)')
    parser.add_argument('--hidden-channels', type=int, help="width of a classifier's hidden layer")
    parser.add_argument('--act', help='activation of blocks that do not name one')
    parser.add_argument('--onnx', action='store_true', help='write model.onnx too; needs the extra "onnx"')
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='allow unpickling arbitrary objects: only for files you trust'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    refuse_inputs(
        [Path(args.out_dir, name) for name in EXPORTED_FILES], [args.structure, args.checkpoint], field='out_dir'
    )
    weights = None
    if args.checkpoint:
        weights = load_checkpoint_file(args.checkpoint, trust=args.trust_checkpoint)['state_dict']
    names = ('task', 'image_size', 'frames', 'out_indices', 'num_classes', 'hidden_channels', 'act')
    options = ExportOptions(**{name: getattr(args, name) for name in names})
    done = export_network(
        args.structure, args.out_dir, index=args.index, state_dict=weights, options=options, onnx=args.onnx
    )
    print(f'{done.folder}: {", ".join(done.files)}')
    if weights is None:
        print('without --checkpoint the weights are random')
    print(f'try: python {done.folder / "demo.py"}')


if __name__ == '__main__':
    main()
