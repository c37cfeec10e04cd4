"""Translate a config of mmdetection 1.x or 2.x.

    python tools/model_converters/upgrade_config.py OLD.py NEW.py [--force]

OLD is a config of the GFL family (GFL, GFLV2, UFPMP-Det, ViT-Adapter), or one dumped into an old work dir. NEW stands alone: it has
no ``_base_``. What was translated, left out, or not understood is printed; The rules: page "Configs of mmdetection 1.x and 2.x" of the documentation.
"""

import argparse
from pathlib import Path

from mmdet.config.legacy import upgrade_file
from mmdet.utils import ConfigError, reports_user_errors
from mmdet.utils.files import write_text
from mmdet.utils.outputs import refuse_inputs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Translate an old-style config')
    parser.add_argument('old', type=Path, help='config to read')
    parser.add_argument('new', type=Path, help='config to write, .py')
    parser.add_argument('--force', action='store_true', help='overwrite NEW')
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    if args.new.suffix != '.py':
        raise ConfigError('must end in .py', field='NEW', received=str(args.new))
    refuse_inputs([args.new], [args.old], field='NEW')
    if args.new.exists() and not args.force:
        raise ConfigError('exists already; --force overwrites it', file=args.new)
    text, report = upgrade_file(args.old)
    write_text(args.new, text)
    print('\n'.join([*report.lines(), f'written: {args.new}']))


if __name__ == '__main__':
    main()
