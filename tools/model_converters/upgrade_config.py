"""Translate a config of mmdetection 1.x or 2.x.

    python tools/model_converters/upgrade_config.py OLD.py NEW.py [--force]

OLD is a config of the GFL family (GFL, GFLV2, UFPMP-Det, ViT-Adapter), or one dumped into an old work dir. NEW stands alone: it has
no ``_base_``. What was translated, left out, or not understood is printed; docs/old_configs.md has the rules.
"""

import argparse
from pathlib import Path

from mmdet.config.legacy import upgrade_file
from mmdet.utils import reports_user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Translate an old-style config')
    parser.add_argument('old', type=Path, help='config to read')
    parser.add_argument('new', type=Path, help='config to write, .py')
    parser.add_argument('--force', action='store_true', help='overwrite NEW')
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    report = upgrade_file(args.old, args.new, overwrite=args.force)
    print('\n'.join([*report.lines(), f'written: {args.new}']))


if __name__ == '__main__':
    main()
