"""Translate a config of mmdetection 1.x or 2.x.

    python tools/model_converters/upgrade_config.py OLD.py NEW.py [--force]

OLD is a config of the GFL family (GFL, GFLV2, UFPMP-Det, ViT-Adapter), or one dumped into an old work dir. NEW stands alone: it has
no ``_base_``. What was translated, left out, or not understood is printed; docs/old_configs.md has the rules.
"""

import argparse
from pathlib import Path

from mmdet.config.legacy import UpgradeReport, read_legacy_config
from mmdet.utils import ConfigError, reports_user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Translate an old-style config')
    parser.add_argument('old', type=Path, help='config to read')
    parser.add_argument('new', type=Path, help='config to write, .py')
    parser.add_argument('--force', action='store_true', help='overwrite NEW')
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    if not args.old.is_file():
        raise ConfigError('no such config file', file=args.old)
    if args.new.suffix != '.py':
        raise ConfigError('must end in .py', field='NEW', received=str(args.new))
    if args.new.exists() and not args.force:
        raise ConfigError('exists already; --force overwrites it', file=args.new)
    report = UpgradeReport()
    try:
        result = read_legacy_config(args.old, report=report)
    except SyntaxError as error:
        raise ConfigError(f'syntax error: {error.msg}', file=args.old, record=f'line {error.lineno}') from error
    if result is None:
        raise ConfigError('is not an old-style config', file=args.old)
    args.new.parent.mkdir(parents=True, exist_ok=True)
    result[0].dump(args.new)
    print('\n'.join([*report.lines(), f'written: {args.new}']))


if __name__ == '__main__':
    main()
