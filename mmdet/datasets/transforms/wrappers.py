"""Transforms that apply other transforms: in sequence, at random, or as several views.

mmcv's transforms of the same names build nested transforms through mmengine's root registry, in which a nested
``dict(type='Resize')`` can silently be mmcv's. These always build through the registry of this package.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import ConfigError
from mmdet.registry import TRANSFORMS

from .arguments import check_probability, is_sequence

Transform = Callable[[dict], dict | None]


def build_transform(item: object) -> Transform:
    """Build a transform of a config dict, or of a list that is applied in sequence; a callable is returned as it is."""
    if isinstance(item, dict):
        return TRANSFORMS.build(item)
    if is_sequence(item):
        return Compose(item)
    if callable(item):
        return item
    raise ConfigError('must be a dict(type=...), a list of these or a callable', field='transforms', received=item)


@TRANSFORMS.register_module()
class Compose(BaseTransform):
    """Apply config dicts, lists of these, or callables in sequence; if one of them returns None, so does this."""

    def __init__(self, transforms: Sequence | dict):
        if isinstance(transforms, dict):
            transforms = [transforms]
        if not is_sequence(transforms):
            raise ConfigError('must be a list of transforms', field='transforms', received=transforms)
        self.transforms = [build_transform(item) for item in transforms]

    def __iter__(self) -> Iterator[Transform]:
        return iter(self.transforms)

    def transform(self, results: dict) -> dict | None:
        for transform in self.transforms:
            transformed = transform(results)
            if transformed is None:
                return None
            results = transformed
        return results

    def __repr__(self) -> str:
        lines = ''.join(f'\n    {transform!r},' for transform in self.transforms)
        return f'{type(self).__name__}([{lines}\n])'


@TRANSFORMS.register_module()
class RandomApply(Compose):
    """Apply all ``transforms`` with probability ``prob``, else return the sample as it is."""

    def __init__(self, transforms: Sequence | dict, prob: float = 0.5):
        super().__init__(transforms)
        self.prob = check_probability('prob', prob)

    def transform(self, results: dict) -> dict | None:
        return super().transform(results) if np.random.rand() < self.prob else results


@TRANSFORMS.register_module()
class RandomChoice(BaseTransform):
    """Apply one of several pipelines, chosen at random.

    Args:
        transforms: the pipelines, each a transform or a list of transforms.
        prob: one probability for each pipeline, with sum 1; None makes them equally likely.
    """

    def __init__(self, transforms: Sequence, prob: Sequence[float] | None = None):
        if not is_sequence(transforms) or len(transforms) == 0:
            raise ConfigError('must be a list of at least one pipeline', field='transforms', received=transforms)
        self.transforms = [build_transform(item) for item in transforms]
        if prob is not None:
            valid = is_sequence(prob) and len(prob) == len(transforms)
            if not valid or abs(sum(check_probability('prob', value) for value in prob) - 1) > 1e-6:
                message = f'must be one probability for each of the {len(transforms)} pipelines, with sum 1'
                raise ConfigError(message, field='prob', received=prob)
        self.prob = prob

    def transform(self, results: dict) -> dict | None:
        return self.transforms[np.random.choice(len(self.transforms), p=self.prob)](results)


@TRANSFORMS.register_module()
class TestTimeAug(BaseTransform):
    """Make several views of a sample: one for each combination of one entry from every step.

    ``transforms=[[Resize(a), Resize(b)], [RandomFlip(prob=1.), RandomFlip(prob=0.)], [PackDetInputs()]]`` gives four
    views, in the order a-flipped, a-plain, b-flipped, b-plain. The result is ``dict(key=[value of view 1, value of
    view 2, ...])``, as mmengine's ``BaseTTAModel`` expects. A call raises a ConfigError if a transform returns None.

    Args:
        transforms: list of steps, each a list of alternatives (transforms, or lists of transforms applied in sequence).
    """

    __test__ = False  # pytest would collect the class for its name

    def __init__(self, transforms: Sequence[Sequence]):
        if not is_sequence(transforms) or len(transforms) == 0:
            raise ConfigError('must be a list of lists of transforms', field='transforms', received=transforms)
        for step in transforms:
            if isinstance(step, dict) or not is_sequence(step) or len(step) == 0:
                raise ConfigError('every step must be a list of alternatives', field='transforms', received=step)
        self.steps = [[build_transform(item) for item in step] for step in transforms]
        self.subroutines = [Compose(list(path)) for path in product(*self.steps)]

    def transform(self, results: dict) -> dict[str, list[Any]]:
        views = []
        for subroutine in self.subroutines:
            view = subroutine(copy.deepcopy(results))
            if view is None:
                message = 'a transform returned None (no sample), which test-time augmentation does not allow'
                raise ConfigError(message, field='transforms', received=subroutine)
            views.append(view)
        return {key: [view[key] for view in views] for key in views[0]}

    def __repr__(self) -> str:
        return f'{type(self).__name__}({len(self.subroutines)} views, steps={self.steps})'
