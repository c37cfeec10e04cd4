"""Convert annotations between formats: the command ``mmdet convert``, from a clone.

python tools/dataset_converters/convert.py SRC DST --to coco|yolo|voc|visdrone|csv|labelme
"""

import functools
import sys

from mmdet.commands import run

main = functools.partial(run, 'convert')

if __name__ == '__main__':
    sys.exit(main())
