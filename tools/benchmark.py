"""Measure the speed of a detector: the command ``mmdet benchmark``, from a clone.

python tools/benchmark.py CONFIG [CKPT] [--stage step|data|total] [--max-iter 2000] [--shape 800 1333]
python tools/benchmark.py CONFIG CKPT --backend all
"""

import functools
import sys

from mmdet.commands import run

main = functools.partial(run, 'benchmark')

if __name__ == '__main__':
    sys.exit(main())
