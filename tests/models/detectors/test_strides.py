"""check_strides with parts that are not of this package; with our own, tests/configs builds every config."""

import contextlib
from types import SimpleNamespace

import pytest
from torch import nn

from mmdet.errors import ConfigError
from mmdet.models.detectors.strides import check_strides


class Outsider(nn.Module):
    """A neck from outside: its maps are those of the backbone, in a dict, or it cannot run without numbers."""

    def __init__(self, runs):
        super().__init__()
        self.runs = runs

    def forward(self, maps):
        if not self.runs:
            maps[0].flatten()[0].item()
        return dict(enumerate(maps))


def detector_of_others(generator, runs=True, **backbone):
    parts = dict(out_strides=[8, 16], out_channels=[4, 4], **backbone)
    head = SimpleNamespace() if generator is None else SimpleNamespace(prior_generator=SimpleNamespace(**generator))
    return SimpleNamespace(backbone=SimpleNamespace(**parts), neck=Outsider(runs), bbox_head=head)


@pytest.mark.parametrize(
    ('generator', 'runs', 'message'),
    [
        (None, True, None),
        (dict(), True, None),
        (dict(strides=[8, 16]), True, None),
        (dict(strides=[(8, 8), (16, 16)]), True, None),
        (
            dict(strides=[8, 32]),
            True,
            r'bbox_head, strides: must be the strides of the maps of .*, \[8, 16\].*\[8, 32\]',
        ),
        (dict(strides=[8, 32]), False, None),
    ],
)
def test_strides_of_parts_from_outside(generator, runs, message):
    """Heads without priors, with one number for both sides, necks that cannot run, and backbones that know strides but cannot be told."""
    with contextlib.nullcontext() if message is None else pytest.raises(ConfigError, match=message):
        check_strides(detector_of_others(generator, runs))
        told = []
        check_strides(detector_of_others(generator, runs, ignore_maps=lambda positions: told.extend(positions)))
        assert told == []
