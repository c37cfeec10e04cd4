"""Convert an old checkpoint of the GFL family.

    python tools/model_converters/upgrade_checkpoint.py IN OUT.pth|OUT.safetensors [--config CONFIG [--map-classes]]

IN is any checkpoint that the package reads (GFL's own repository, GFLV2, mmdetection 2.x and 3.x, UFPMP-Det, ViT-Adapter). OUT holds
the weights under this package's names and plain information. The renames are printed. With --config the model is built and the
weights are loaded into it strictly, so that a missing tensor or a wrong class count shows now. With --map-classes OUT gets the classes of
the config's test data: by their names the rows of these classes are taken out of IN, as `map_classes` of the config says.
"""

import argparse

from mmdet.config.stages import forbid_network, inner_test_dataset
from mmdet.engine.checkpoint.converting import convert_checkpoint, write_checkpoint
from mmdet.errors import ConfigError
from mmdet.registry import MODELS
from mmdet.utils import load_config, register_all_modules, reports_user_errors
from mmdet.utils.class_names import class_names
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert an old checkpoint')
    parser.add_argument('source', metavar='IN', help='checkpoint file, URL or known name')
    parser.add_argument('target', metavar='OUT', help='.pth or .safetensors')
    parser.add_argument('--config', help='config of the model, to check the weights against')
    parser.add_argument('--map-classes', action='store_true', help="choose the classes of the config's test data")
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='allow unpickling arbitrary objects: only for files you trust'
    )
    return parser.parse_args()


def model_options(path: str, map_classes: bool) -> dict:
    """The config's detector, without its pretrained weights, and the classes that are asked for."""
    register_all_modules()
    cfg = load_config(path)
    forbid_network(cfg.model)
    options: dict = dict(model=MODELS.build(cfg.model))
    if map_classes:
        meta = inner_test_dataset(cfg).get('metainfo')
        options.update(map_classes=cfg.get('map_classes', True), classes=class_names(meta))
    return options


@reports_user_errors
def main() -> None:
    args = parse_args()
    refuse_inputs([args.target], [args.source, args.config], field='OUT')
    if args.map_classes and not args.config:
        raise ConfigError('needs --config, which names the classes', field='--map-classes', received=args.config)
    options = model_options(args.config, args.map_classes) if args.config else {}
    checkpoint, report = convert_checkpoint(args.source, trust=args.trust_checkpoint, **options)
    write_checkpoint(checkpoint, args.target)
    print('\n'.join([*report.lines(), f'written: {args.target}']))


if __name__ == '__main__':
    main()
