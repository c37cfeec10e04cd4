"""Search the structure of a backbone: the command ``mmdet search``, from a clone.

python tools/search.py CONFIG [--work-dir DIR] [--resume] [--time-limit 30m] [--seed N] [--cfg-options KEY=VALUE ...]
"""

import functools
import sys

from mmdet.commands import run

main = functools.partial(run, 'search')

if __name__ == '__main__':
    sys.exit(main())
