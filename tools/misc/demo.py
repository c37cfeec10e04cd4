"""UFPMP-Det on synthetic drone scenes, end to end: ``mmdet demo``, in the folder of the sources where they are a clone.

python tools/misc/demo.py [--work-dir work_dirs/ufpmp_demo] [--seed 0] [--verbose] [--cfg-options KEY=VALUE ...]
"""

import functools
import os
import sys
from pathlib import Path

from mmdet.commands import run

ROOT = Path(__file__).resolve().parents[2]
main = functools.partial(run, 'demo')

if __name__ == '__main__':
    if (ROOT / 'setup.py').is_file():
        os.chdir(ROOT)
    sys.exit(main())
