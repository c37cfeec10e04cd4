"""``python -m mmdet_runtime``: see :mod:`mmdet_runtime.cli`."""

import sys

from .cli import main

sys.exit(main())
