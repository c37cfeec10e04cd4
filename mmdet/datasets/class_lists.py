"""The class names and colours that a data set is given."""

import colorsys
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mmengine.dataset import BaseDataset

from ..errors import ConfigError
from ..formats.text_file import read_lines


class ClassLists(BaseDataset):
    """mmengine's data set, which finds the usual mistakes in ``metainfo``, and colours every class."""

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict:
        """Class defaults overridden by ``metainfo``, in which the usual mistakes are ConfigErrors."""
        if metainfo is not None and 'CLASSES' in metainfo:
            raise ConfigError("the key is 'classes' (lower case)", field='metainfo', received=sorted(metainfo))
        classes = None if metainfo is None else metainfo.get('classes')
        if isinstance(classes, str):
            if not Path(classes).is_file():
                message = "must be a tuple of names, or a file with one name a line; a one-class tuple needs its comma: ('name',)"
                raise ConfigError(message, field='metainfo.classes', received=classes)
            classes = [line.strip() for line in read_lines(classes) if line.strip()]
        if isinstance(metainfo, Mapping):
            # As mmengine's: a text may name a file of lines. Its own code would open pipes, folders and addresses, too.
            metainfo = {
                key: read_lines(text) if isinstance(text, str) and os.path.isfile(text) else text
                for key, text in metainfo.items()
            }
        if metainfo is None or classes is None:
            return cls._with_defaults(metainfo)
        classes = tuple(classes)
        wrong = [name for name in classes if not isinstance(name, str)]
        wrong = wrong or [name for name, count in Counter(classes).items() if count > 1]
        if not classes or wrong:
            message = 'must be different strings, at least one'
            raise ConfigError(message, field='metainfo.classes', received=wrong or classes)
        loaded = cls._with_defaults({**metainfo, 'classes': classes})
        if 'palette' not in metainfo:
            # The class's own palette would colour by position; keep the colour of each known name instead.
            known = dict(zip(cls.METAINFO.get('classes') or (), cls.METAINFO.get('palette', ()), strict=False))
            loaded['palette'] = [known.get(name, colour) for name, colour in zip(classes, make_palette(len(classes)))]
        return loaded

    @classmethod
    def _with_defaults(cls, metainfo: dict | None) -> dict:
        texts = {key: value for key, value in (metainfo or {}).items() if isinstance(value, str)}
        others = metainfo and {key: value for key, value in metainfo.items() if key not in texts}
        return {**super()._load_metainfo(others), **texts}


def make_palette(count: int) -> list[tuple[int, int, int]]:
    """``count`` well separated RGB colours, always the same: hues by the golden angle, brightness in three steps.

    >>> make_palette(2)
    [(230, 46, 46), (43, 179, 82)]
    """
    colours: list[tuple[int, int, int]] = []
    for index in range(count):
        rgb = colorsys.hsv_to_rgb(index * 0.381966 % 1, (0.8, 0.76, 0.6)[index % 3], (0.9, 0.7, 1.0)[index % 3])
        red, green, blue = (int(channel * 255 + 0.5) for channel in rgb)
        colours.append((red, green, blue))
    return colours
