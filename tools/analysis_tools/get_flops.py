"""Multiply-adds, FLOPs and parameters of a config's model, in total and by part.

    python tools/analysis_tools/get_flops.py CONFIG [--shape 800 1280] [--per-part [DEPTH]] [--json OUT] [--num-images N]

mmdetection and most papers print multiply-adds (MACs) and call them FLOPs; both numbers are printed here. How the operators
count is in mmdet/analysis/flops.py. The config must have ``model``; neither weights nor a GPU are needed.
"""

import argparse

from mmdet.analysis import count_dataset_flops, count_flops, dataset_config
from mmdet.config.stages import forbid_network
from mmdet.registry import DATASETS, MODELS
from mmdet.utils import ArgumentParser, CfgOptions, ConfigError, load_config, register_all_modules, reports_user_errors
from mmdet.utils.files import write_json
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--shape', type=int, nargs='+', default=[800, 1280], metavar='PIXELS',
                        help='height and width of the input, or one number for a square; default 800 1280')  # fmt: skip
    parser.add_argument('--per-part', type=int, nargs='?', const=1, metavar='DEPTH',
                        help='print a table of backbone, neck and head; DEPTH 2 adds their parts, and so on')  # fmt: skip
    parser.add_argument('--json', metavar='OUT', help='JSON file for all figures')
    parser.add_argument('--num-images', type=int, metavar='N',
                        help='also count the mean over the first N images of the validation set, after its pipeline')  # fmt: skip
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    refuse_inputs([args.json], [args.config], field='--json')
    if not cfg.get('model'):
        raise ConfigError('the config has no model', file=args.config, field='model')
    register_all_modules()
    forbid_network(cfg.model)
    model = MODELS.build(cfg.model)
    report = count_flops(model, args.shape)
    result = dict(config=args.config, **report.as_dict(args.per_part or 1))
    print(report)
    if args.per_part:
        print(report.table(args.per_part))
    if args.num_images is not None:
        mean, sizes = count_dataset_flops(model, DATASETS.build(dataset_config(cfg, 'val')), args.num_images)
        print(f'mean over {sum(sizes.values())} validation images: {mean / 1e9:.3f} G multiply-adds')
        for (height, width), count in sizes.most_common(5):
            print(f'  {height} x {width}: {count} images')
        result['validation_images'] = dict(number=sum(sizes.values()), mean_macs=mean)
    if args.json:
        write_json(args.json, result)


if __name__ == '__main__':
    main()
