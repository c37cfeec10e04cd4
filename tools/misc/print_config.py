"""Print a config as the other tools see it, with bases merged and overrides applied.

python tools/misc/print_config.py CONFIG [--save-path merged.py|.json|.yml] [--cfg-options KEY=VALUE ...]
"""

import argparse
from pathlib import Path

from mmdet.utils import CfgOptions, ConfigError, load_config, reports_user_errors
from mmdet.utils.files import write_config
from mmdet.utils.outputs import refuse_inputs

_SUFFIXES = ('.py', '.json', '.yml', '.yaml')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--save-path', help=f'also write the config to this file: {", ".join(_SUFFIXES)}')
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    print(cfg.pretty_text)
    if args.save_path is None:
        return
    path = Path(args.save_path)
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f'must end in {", ".join(_SUFFIXES)}', field='--save-path', received=args.save_path)
    refuse_inputs([path], [args.config], field='--save-path')
    write_config(path, cfg)


if __name__ == '__main__':
    main()
