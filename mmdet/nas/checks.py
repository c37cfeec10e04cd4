"""Checks of arguments that several scores, budgets, predictors and spaces take."""

from collections.abc import Sequence

from mmdet.utils.checks import is_int

from ..errors import ConfigError


def check_integers(prefix: str = '', least: int = 1, **values: object) -> None:
    """Raise a ConfigError, whose field is the prefix and the name, unless every value is an integer and at least ``least``."""
    for key, value in values.items():
        if not is_int(value, least):
            raise ConfigError(f'must be an integer >= {least}', field=prefix + key, received=value)


def image_sides(image_size: int | Sequence[int], field: str = 'image_size') -> tuple[int, int]:
    """Height and width of an ``image_size``, which is a side in pixels or (height, width); a ConfigError for anything else."""
    sides = (image_size, image_size) if is_int(image_size) else image_size
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(is_int(side, 1) for side in sides):
        raise ConfigError('must be an integer >= 1 or (height, width)', field=field, received=image_size)
    return sides[0], sides[1]
