"""References inside configs."""

import re
from typing import Any

from mmengine.config import Config

from ..errors import ArgumentError, ConfigError

_REFERENCE = re.compile(r'\$\{([^}]+)\}')


def replace_cfg_vals(ori_cfg: Config) -> Config:
    """Replace every ``${a.b}`` in a config by the value of its key ``a.b``.

    A text that consists of one reference becomes the value, whatever its type; inside a longer text the value must be none of dict, list and
    tuple. References in the values are replaced too. A key ``model_wrapper`` takes the place of ``model``, which it may refer to.

    Args:
        ori_cfg: a config, which stays as it is.

    Raises:
        ArgumentError: a dict, list or tuple inside a text.
        ConfigError: a reference to nothing, or in a circle.

    >>> replace_cfg_vals(Config(dict(a=3, b='${a}', c='x${a}y'))).c
    'x3y'
    """
    tree = ori_cfg.to_dict()

    def resolve(value: Any, trail: tuple[str, ...] = ()) -> Any:
        if isinstance(value, dict):
            return {key: resolve(item, trail) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(resolve(item, trail) for item in value)
        if not isinstance(value, str):
            return value
        whole = _REFERENCE.fullmatch(value)
        return look_up(whole[1], trail) if whole else _REFERENCE.sub(lambda found: text(found[1], trail), value)

    def look_up(path: str, trail: tuple[str, ...]) -> Any:
        if path in trail:
            raise ConfigError('references in a circle', field=path, received=' -> '.join([*trail, path]))
        value: Any = tree
        for key in path.split('.'):
            if not isinstance(value, dict) or key not in value:
                raise ConfigError('the config has no such key', field=f'${{{path}}}')
            value = value[key]
        return resolve(value, (*trail, path))

    def text(path: str, trail: tuple[str, ...]) -> str:
        value = look_up(path, trail)
        if isinstance(value, (dict, list, tuple)):
            raise ArgumentError(
                'a dict, list or tuple cannot be a part of a text', field=f'${{{path}}}', received=value
            )
        return str(value)

    resolved = resolve(tree)
    if 'model_wrapper' in resolved:
        resolved['model'] = resolved.pop('model_wrapper')
    return Config(resolved, filename=ori_cfg.filename)
