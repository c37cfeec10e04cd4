"""Convert an old checkpoint of the GFL family.

    python tools/model_converters/upgrade_checkpoint.py IN OUT.pth|OUT.safetensors [--config CONFIG]

IN is any checkpoint that the package reads (GFL's own repository, GFLV2, mmdetection 2.x and 3.x, UFPMP-Det, ViT-Adapter). OUT holds
the weights under this package's names and plain information. The renames are printed. With --config the model is built and the
weights are loaded into it strictly, so that a missing tensor or a wrong class count shows now.
"""

import argparse

from mmdet.engine.checkpoint.converting import convert_checkpoint, write_checkpoint
from mmdet.registry import MODELS
from mmdet.utils import load_config, register_all_modules, reports_user_errors
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert an old checkpoint')
    parser.add_argument('source', metavar='IN', help='checkpoint file, URL or known name')
    parser.add_argument('target', metavar='OUT', help='.pth or .safetensors')
    parser.add_argument('--config', help='config of the model, to check the weights against')
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='allow unpickling arbitrary objects: only for files you trust'
    )
    return parser.parse_args()


def build_model(path: str):
    """The config's detector, without its pretrained weights."""
    register_all_modules()
    return MODELS.build(load_config(path).model)


@reports_user_errors
def main() -> None:
    args = parse_args()
    refuse_inputs([args.target], [args.source, args.config], field='OUT')
    model = build_model(args.config) if args.config else None
    checkpoint, report = convert_checkpoint(args.source, trust=args.trust_checkpoint, model=model)
    write_checkpoint(checkpoint, args.target)
    print('\n'.join([*report.lines(), f'written: {args.target}']))


if __name__ == '__main__':
    main()
