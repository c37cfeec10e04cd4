"""Examine a data set before it is trained on: what is in it, what is wrong with it, and what to do.

    python tools/dataset_doctor.py CONFIG [IMAGES] [--out-dir DIR]
    python tools/dataset_doctor.py ANNOTATIONS [ANNOTATIONS ...] [IMAGES] [--out-dir DIR]

CONFIG is a config file (.py), whose data sets of all three loaders are read; ANNOTATIONS are files and folders of COCO, YOLO, VOC, VisDrone,
UAVDT, CSV or LabelMe. The last argument may be the folder of the images. The tool prints verdict lines by severity and writes
``dataset_doctor.html`` (one page with pictures of the worst cases) and ``dataset_doctor.json``.
"""

import argparse
import sys
from pathlib import Path

from mmdet.analysis.dataset_configs import read_config_parts
from mmdet.analysis.dataset_doctor import examine
from mmdet.analysis.dataset_inputs import fixed_size
from mmdet.analysis.dataset_output import write_examination
from mmdet.analysis.dataset_reading import read_parts, split_arguments, title_of
from mmdet.formats.visdrone import read_image_sizes
from mmdet.utils import CfgOptions, ConfigError, load_config, register_all_modules, reports_user_errors
from mmdet.utils.outputs import refuse_closed_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dataset', nargs='+', help='a config, or annotation files and folders; then the image folder')
    parser.add_argument(
        '--out-dir', help='folder to write to; default: work_dirs/dataset_doctor/<name of the first argument>'
    )
    parser.add_argument('--images', help='folder of the images, as the last argument')
    parser.add_argument(
        '--sizes', metavar='FILE', help='lines "name width height", for annotations without sizes and images'
    )
    parser.add_argument('--input-size', type=int, nargs=2, metavar=('WIDTH', 'HEIGHT'),
                        help='limits of the long and the short edge at the input; default: those of the config, else 1333 800')  # fmt: skip
    parser.add_argument('--headers-only', action='store_true', help='read the headers of the images, not their pixels')
    parser.add_argument('--workers', type=int, default=0, help='processes that read the images; default: 0, this one')
    parser.add_argument('--strict', action='store_true', help='end with status 1 if there is a verdict of level error')
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    if args.workers < 0:
        raise ConfigError('must be >= 0', field='--workers', received=args.workers)
    if args.input_size and min(args.input_size) < 1:
        raise ConfigError('must be two numbers of pixels > 0', field='--input-size', received=args.input_size)
    paths, images = split_arguments(args.dataset, args.images)
    out_dir = Path(args.out_dir or Path('work_dirs/dataset_doctor', title_of(paths[:1])))
    refuse_closed_folder(out_dir / 'dataset_doctor.html', field='--out-dir')
    config = None
    if Path(paths[0]).suffix == '.py':
        config = load_config(paths[0], args.cfg_options)
        register_all_modules()
        parts = read_config_parts(config, images)
    else:
        parts = read_parts(paths, images, read_image_sizes(args.sizes) if args.sizes else None)
    size = fixed_size(*args.input_size) if args.input_size else None
    found = examine(parts, config=config, input_size=size, workers=args.workers, pixels=not args.headers_only)
    page, table = write_examination(found, out_dir, title=f'Data set {title_of(paths)}', inputs=[*paths, args.sizes])
    print(found.summary())
    print(f'{page}\n{table}')
    if args.strict and found.has_errors:
        sys.exit(1)


if __name__ == '__main__':
    main()
