"""Train a detector: the command ``mmdet train``, from a clone.

python tools/train.py CONFIG [--work-dir DIR] [--resume [CKPT]] [--amp] [--cfg-options KEY=VALUE ...]
"""

import functools
import sys

from mmdet.commands import run

main = functools.partial(run, 'train')

if __name__ == '__main__':
    sys.exit(main())
