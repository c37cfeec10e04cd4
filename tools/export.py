"""Export a detector with its weights, or a searched network: ``mmdet export``.

python tools/export.py CONFIG CKPT --to onnx|openvino|torch-export [--out DIR] [--precision fp32|fp16|bf16|int8] ...
python tools/export.py STRUCTURE OUT_DIR [--index 0] [--checkpoint CKPT] [--task classification|detection] [--onnx]
"""

import functools
import sys

from mmdet.commands import run

main = functools.partial(run, 'export')

if __name__ == '__main__':
    sys.exit(main())
