"""Write configs whose dicts have Python keywords as keys, such as the blocks of a searched structure (``class``, ``in``).

mmengine's ``Config.pretty_text``, which every training writes to its log and its work dir, writes them as
``dict(class=...)``, which is no Python, and raises SyntaxError. Importing this module replaces it by one that quotes such
keys, as mmengine itself does for keys with dots. It also remembers the last texts: a training asks for the same one three times, and
formatting a config takes most of a second.
"""

import keyword
import re
from typing import Any

from mmengine.config import Config

_MARK = '@'  # a key that begins with it is no identifier, and so mmengine quotes it
_MARKED_KEY = re.compile(rf"'{_MARK}({'|'.join(keyword.kwlist)})':")
_pretty_text = Config.pretty_text.fget
_REMEMBERED = 4
_texts: dict[str, str] = {}  # by what the text is made of


def _marked(value: Any) -> Any:
    """A copy in which every key that is a keyword is marked."""
    if isinstance(value, dict):
        marks = (_MARK if isinstance(key, str) and keyword.iskeyword(key) else '' for key in value)
        return {mark + key if mark else key: _marked(item) for mark, (key, item) in zip(marks, value.items())}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_marked, value))
    return value


def pretty_text(cfg: Config) -> str:
    """The config as Python code that reads back as the same config."""
    plain = cfg.to_dict()
    key = repr(plain)
    if key not in _texts:
        marked = _marked(plain)
        text = _pretty_text(cfg) if marked == plain else _MARKED_KEY.sub(r"'\1':", _pretty_text(Config(marked)))
        while len(_texts) >= _REMEMBERED:
            del _texts[next(iter(_texts))]
        _texts[key] = text
    return _texts[key]


Config.pretty_text = property(pretty_text)
