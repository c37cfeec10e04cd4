"""Write a one-page HTML report about a training run: the command ``mmdet report``, from a clone.

python tools/misc/make_report.py WORK_DIR [--out report.html] [--metrics metrics.json] [--pictures FOLDER]
"""

import functools
import sys

from mmdet.commands import run

main = functools.partial(run, 'report')

if __name__ == '__main__':
    sys.exit(main())
