"""Draw the samples that the pipeline hands to the model, with their boxes.

    python tools/analysis_tools/browse_dataset.py CONFIG --output-dir DIR [--num 20] [--split train] [--not-show]

The config must have ``<split>_dataloader.dataset``. Without ``--not-show`` a window opens where there is a display.
"""

import argparse
from pathlib import Path

from mmdet.analysis import browse, dataset_config, has_display
from mmdet.registry import DATASETS
from mmdet.utils import CfgOptions, ConfigError, load_config, register_all_modules, reports_user_errors
from mmdet.visualization import DetLocalVisualizer, write_image


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--output-dir', help='folder for the pictures')
    parser.add_argument('--num', type=int, help='number of samples; default: all')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train', help='default: train')
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the augmentation; the same seed draws the same pictures'
    )
    parser.add_argument('--not-show', action='store_true', help='open no window')
    parser.add_argument('--show-interval', type=float, default=2, help='seconds that a window stays')
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    show = not args.not_show and has_display()
    if not show and not args.output_dir:
        raise ConfigError('is needed: no window can be opened, or --not-show was given', field='--output-dir')
    cfg = load_config(args.config, args.cfg_options)
    register_all_modules()
    dataset = DATASETS.build(dataset_config(cfg, args.split))
    visualizer = DetLocalVisualizer()
    count = 0
    for name, picture in browse(dataset, args.num, seed=args.seed, out_dir=args.output_dir):
        count += 1
        if args.output_dir:
            write_image(Path(args.output_dir) / name, picture)
        if show:
            visualizer.show(picture, win_name=name, wait_time=args.show_interval)
    print(f'{count} of {len(dataset)} samples' + (f' drawn in {args.output_dir}' if args.output_dir else ' shown'))


if __name__ == '__main__':
    main()
