"""Evaluate a detector: the command ``mmdet test``, from a clone.

python tools/test.py CONFIG CKPT [--eval bbox] [--out results.pkl|.json] [--show-dir DIR] [--tta] [--cfg-options KEY=VALUE ...]
"""

import functools
import sys

from mmdet.commands import run

main = functools.partial(run, 'test')

if __name__ == '__main__':
    sys.exit(main())
