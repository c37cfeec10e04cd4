"""A plug-in written for mmdetection 3.x trains here as there: its own file, unchanged."""

import numpy as np

from .gfl_plugin import train

# loss_cls, loss_bbox and loss_dfl of each iteration: what ``python gfl_plugin.py`` prints under mmdetection 3.3.0.
LOSSES = [
    (0.03382396, 1.898755, 0.847097),
    (0.05640599, 1.905123, 0.8383951),
    (0.08883618, 1.896468, 0.7725252),
    (0.1480394, 1.891917, 0.8116921),
]


def test_losses_of_a_training(tmp_path):
    tape = train(str(tmp_path))
    found = [[row[name] for name in ('loss_cls', 'loss_bbox', 'loss_dfl')] for row in tape]
    assert np.allclose(found, LOSSES, rtol=1e-4, atol=0)
    assert np.allclose([sum(row) for row in found], [row['loss'] for row in tape])
