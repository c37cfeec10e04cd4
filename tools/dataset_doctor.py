"""Examine a data set before it is trained on: the command ``mmdet doctor``, from a clone.

python tools/dataset_doctor.py CONFIG|ANNOTATIONS ... [IMAGES] [--out-dir DIR]
"""

import functools
import sys

from mmdet.commands import run

main = functools.partial(run, 'doctor')

if __name__ == '__main__':
    sys.exit(main())
