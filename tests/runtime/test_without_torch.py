"""The runtime is imported, and works, where torch and mmengine cannot be; so does the toolbox's packing."""

import sys

import pytest

import mmdet.errors
import mmdet_runtime
from mmdet_runtime import errors
from tests.processes import run_fresh

CODE = """
import sys
for name in ('torch', 'mmengine', 'mmcv', 'scipy', 'onnxruntime', 'openvino'):
    sys.modules[name] = None
import numpy as np
import mmdet.core.ufp, mmdet_runtime
assert 'numpy' in sys.modules and 'mmdet.core.boxes' not in sys.modules
import mmdet_runtime.resizing, mmdet_runtime.suppression, mmdet_runtime.ufp
from mmdet_runtime.ufp import UnifiedForegroundPacking, boxes_to_image, boxes_to_mosaic, render_mosaic
assert mmdet.core.ufp.render_mosaic is render_mosaic
regions, width, height = UnifiedForegroundPacking([[100, 100, 140, 130]], input_shape=(320, 240), min_score=0.1, scores=[0.5])
mapped, box, region = boxes_to_mosaic([[100, 100, 140, 130], [0, 0, 9, 9]], regions)
assert mapped.tolist() == [[20, 16, 100, 76]] and box.tolist() == region.tolist() == [0], (mapped, box)
assert boxes_to_image(mapped.astype(np.float32), regions)[0].dtype == np.float32
assert render_mosaic(np.zeros((240, 320, 3), np.float32), regions, width, height).shape == (90, 120, 3)
import mmdet.core.ufp.packing
assert mmdet.core.ufp.packing is sys.modules['mmdet_runtime.ufp.packing']
print('done')
"""


def test_packing_needs_neither_torch_nor_mmengine(repository):
    done = run_fresh(['-c', CODE], cwd=repository)
    assert done.stdout == 'done\n', done.stderr


def test_the_errors_are_those_of_the_toolbox():
    assert all(getattr(mmdet.errors, name) is getattr(errors, name) for name in mmdet.errors.__all__)


def test_opencv_comes_with_the_backends(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv2', None)
    with pytest.raises(errors.ConfigError, match='OpenCV is not installed.*pip install opencv-python-headless'):
        mmdet_runtime.load  # noqa: B018
