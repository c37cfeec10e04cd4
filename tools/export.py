"""Export a detector with its weights, or a searched network.

    python tools/export.py CONFIG CKPT --to onnx|openvino|torch-export [--out DIR] [--precision fp32|fp16|bf16|int8] ...
    python tools/export.py STRUCTURE OUT_DIR [--index 0] [--checkpoint CKPT] [--task classification|detection] [--onnx]

With --to, the first argument is a config of a detector, or its known name; composite detectors become one folder. The folder gets the networks,
manifest.json and README.md, and runs without torch (docs/deployment.md). The export is compared with the original on real images at the end; if boxes
differ, the folder is named OUT_rejected and the exit status is 1.

Without --to it is a file of structures: best_structure.json of a search, configs/tinynas/*/models/*.json, or a text file of LightNAS. OUT_DIR gets
structure.json, the model's code, demo.py, README.md, weights.pth with --checkpoint, and model.onnx with --onnx (docs/tinynas_export.md).
"""

import argparse
import sys
from pathlib import Path

from mmdet.apis.export_arguments import add_detector_arguments, export_from_arguments
from mmdet.apis.known_models import config_by_name
from mmdet.engine.checkpoint.loading import load_checkpoint_file
from mmdet.export import EXPORTED_FILES, ExportOptions, export_network
from mmdet.utils import reports_user_errors
from mmdet.utils.outputs import refuse_inputs


def parse_structure_args() -> argparse.Namespace:
    parser = _parser()
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


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)


def export_config() -> None:
    parser = _parser()
    add_detector_arguments(parser)
    done = export_from_arguments(parser.parse_args())
    print(done)
    if not done.parity.passed:
        sys.exit(1)


def export_structure() -> None:
    args = parse_structure_args()
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


def is_for_detector(words: list[str]) -> bool:
    """Whether a command line is that of a detector: it has --to, or a config, which no file of structures is."""
    return any(
        word.partition('=')[0] == '--to' or (word[:1] != '-' and Path(config_by_name(word)).suffix == '.py')
        for word in words
    )


@reports_user_errors
def main() -> None:
    export_config() if is_for_detector(sys.argv[1:]) else export_structure()


if __name__ == '__main__':
    main()
