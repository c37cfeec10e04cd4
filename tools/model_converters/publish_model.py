"""Make a checkpoint ready to publish.

    python tools/model_converters/publish_model.py IN OUT.pth|OUT.safetensors [--save-keys meta state_dict]

The optimiser and whatever else only the training run needs is left out, and the first 8 hex digits of the file's SHA-256 are appended
to its name: OUT-xxxxxxxx.pth.
"""

import argparse

from mmdet.engine.checkpoint.converting import publish_checkpoint
from mmdet.utils import reports_user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Strip a checkpoint and name it by its hash')
    parser.add_argument('source', metavar='IN', help='checkpoint of a training run')
    parser.add_argument('target', metavar='OUT', help='.pth or .safetensors; the hash is appended to its name')
    parser.add_argument('--save-keys', nargs='+', default=['meta', 'state_dict'], help='entries to keep')
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='allow unpickling arbitrary objects: only for files you trust'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> None:
    args = parse_args()
    published = publish_checkpoint(args.source, args.target, keys=tuple(args.save_keys), trust=args.trust_checkpoint)
    print(f'written: {published}')


if __name__ == '__main__':
    main()
