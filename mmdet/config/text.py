"""Configs whose dicts have Python keywords as keys, such as the blocks of a searched structure (``class``, ``in``).

mmengine's ``Config.pretty_text``, which every training writes to its log and its work dir, puts them down as ``dict(class=...)``, which is no
Python, and then raises SyntaxError. Here such dicts are written with quoted keys, as mmengine itself does for keys with dots.
"""

import keyword
import re

from mmengine.config import Config

_MARK = '@'  # makes a key no identifier
_MARKED_KEY = re.compile(rf"'{_MARK}({'|'.join(keyword.kwlist)})':")
_pretty_text = Config.pretty_text.fget


def _marked(value):
    """The value with every keyword that is a key marked, and how many there were."""
    if isinstance(value, dict):
        pairs = [
            (_MARK + key if isinstance(key, str) and keyword.iskeyword(key) else key, *_marked(item))
            for key, item in value.items()
        ]
        found = sum(count for _, _, count in pairs) + sum(
            isinstance(key, str) and keyword.iskeyword(key) for key in value
        )
        return {key: item for key, item, _ in pairs}, found
    if isinstance(value, (list, tuple)):
        pairs = [_marked(item) for item in value]
        return type(value)(item for item, _ in pairs), sum(count for _, count in pairs)
    return value, 0


def pretty_text(cfg: Config) -> str:
    """The config as Python code that reads back as the same config."""
    marked, found = _marked(cfg.to_dict())
    if not found:
        return _pretty_text(cfg)
    return _MARKED_KEY.sub(r"'\1':", _pretty_text(Config(marked)))


Config.pretty_text = property(pretty_text)
