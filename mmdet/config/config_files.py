"""What mmengine's reading of config files lacks: errors that name file and line, and YAML as data.

mmengine reads YAML by a loader that runs what the tags name. Importing this module replaces it: tags of plain YAML are read, and ``!!python/tuple``,
which mmengine itself writes; any other ends in a ``ConfigError`` that names tag, line and file, also in a file that another one names as its ``_base_``.
"""

import ast
import contextlib
import contextvars
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import yaml
from mmengine.config import Config
from mmengine.fileio import BaseFileHandler, register_handler

from ..errors import ConfigError, MMDetError, one_line

# An alias repeats what its anchor marks: nine lines of nine aliases each stand for 400 million values.
_MOST_VALUES = 1_000_000


@contextlib.contextmanager
def config_errors(path: str | Path) -> Iterator[None]:
    """Turn whatever reading a config file, and the file's own code, raise into a ConfigError in one line."""
    try:
        yield
    except MMDetError:
        raise
    except SyntaxError as error:
        raise ConfigError(
            f'syntax error: {error.msg}', file=error.filename or path, record=f'line {error.lineno}'
        ) from error
    except Exception as error:  # whatever the config's own code raises
        raise ConfigError(f'cannot be read: {type(error).__name__}: {one_line(error)}', file=path) from error


def refuse_class_config(path: Path) -> None:
    """Refuse a config that is a class, as those of DAMO-YOLO and YOLOX are: its values exist only where its project is installed.

    Raises:
        ConfigError: naming class and line.
    """
    if path.suffix != '.py':
        return
    for node in ast.parse(path.read_text(encoding='utf-8'), str(path)).body:
        if isinstance(node, ast.ClassDef) and node.bases and node.name in ('Config', 'Exp'):
            message = (
                'the config is a class, as in DAMO-YOLO and YOLOX, whose values only that project can tell. '
                'Searched backbones of DAMO-YOLO can be used: type DAMOYOLOBackbone, see the page "MAE-DET" of the documentation'
            )
            raise ConfigError(message, file=path, record=f'line {node.lineno}', received=f'class {node.name}')


# What a config consists of as a training writes it.
_DATA = (
    ast.Module, ast.Expr, ast.Assign, ast.Constant, ast.Dict, ast.List, ast.Tuple, ast.Set, ast.keyword, ast.UnaryOp, ast.USub, ast.UAdd, ast.Load,
    ast.Store,
)  # fmt: skip
_CALLS = frozenset({'dict', 'list', 'tuple', 'set', 'float'})


def require_data(path: str | Path, *, _above: tuple[Path, ...] = ()) -> None:
    """Refuse a Python config that does more than assign values, itself or through its bases: reading it would run a program.

    Raises:
        ConfigError: naming file and line.
    """
    path = Path(path)

    def refuse(node: ast.AST, what: str) -> ConfigError:
        message = f'{what}: the file is a program, not a config of values. Name it as the model if you trust it'
        return ConfigError(message, file=path, record=f'line {getattr(node, "lineno", 1)}')

    with config_errors(path):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding='utf-8'), str(path))))
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bases: list[tuple[ast.AST, object]] = []
    for node in nodes:
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in _CALLS - assigned:
                raise refuse(node, 'calls a function')
        elif isinstance(node, ast.Name):
            if id(node) not in called and node.id not in assigned | {'_base_'}:
                raise refuse(node, f'uses {node.id}')
        elif isinstance(node, ast.Attribute):  # {{_base_.model}}
            if not isinstance(node.value, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
                raise refuse(node, 'uses an attribute')
        elif not isinstance(node, _DATA):
            raise refuse(node, f'has a {type(node).__name__}')
        if isinstance(node, ast.Assign) and any(getattr(target, 'id', None) == '_base_' for target in node.targets):
            items = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
            bases += [(node, getattr(item, 'value', None)) for item in items]
    for node, base in bases:
        if not isinstance(base, str) or '::' in base or not base.endswith('.py'):
            raise refuse(node, 'has a base that is not known to hold values only')
        if (found := path.parent / base).is_file() and found.resolve() not in _above:
            require_data(found, _above=(*_above, path.resolve()))


class _SafeLoader(yaml.SafeLoader):
    """Plain YAML and tuples."""


_SafeLoader.add_constructor(
    'tag:yaml.org,2002:python/tuple', lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
)


@register_handler(['yaml', 'yml'])
class _YamlHandler(BaseFileHandler):
    """Reading by :class:`_SafeLoader`; writing as mmengine's own handler does."""

    def load_from_fileobj(self, file: TextIO, **_: Any) -> dict:
        try:
            document = yaml.load(file, Loader=_SafeLoader)  # noqa: S506  (a subclass of SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = None if mark is None else f'line {mark.line + 1}'
            raise ConfigError(f'YAML is read as data: {error.problem or error.context}', record=where) from error
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigError(f'is no YAML: {one_line(error)}') from error
        if not isinstance(document, dict):
            raise ConfigError('the top level must be a mapping', received=type(document).__name__)
        _count(document, {})
        return document

    def dump_to_fileobj(self, obj: Any, file: TextIO, **kwargs: Any) -> None:
        file.write(self.dump_to_str(obj, **kwargs))

    def dump_to_str(self, obj: Any, **kwargs: Any) -> str:
        return yaml.dump(obj, **kwargs)


def _count(value: object, known: dict[int, int]) -> int:
    """Number of values in a document, those of aliases counted each time.

    Raises:
        ConfigError: too many, or a value that contains itself.
    """
    if not isinstance(value, dict | list | tuple):
        return 1
    if id(value) not in known:
        known[id(value)] = _MOST_VALUES  # while its parts are counted: it may be one of them
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = sum(_count(part, known) for part in parts)
    if known[id(value)] >= _MOST_VALUES:
        raise ConfigError(f'its aliases stand for {_MOST_VALUES} values or more, or for a value inside itself')
    return known[id(value)]


_file2dict = Config._file2dict
_being_read: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar('_being_read', default=())


def _file2dict_naming_the_file(filename: str, *args: Any, **kwargs: Any) -> tuple:
    above, path = _being_read.get(), os.path.realpath(filename)
    if path in above:
        circle = ' -> '.join(Path(name).name for name in [*above[above.index(path) :], path])
        raise ConfigError(
            f'names the file itself, directly or through other files: {circle}', file=above[-1], field='_base_'
        )
    token = _being_read.set((*above, path))
    try:
        return _file2dict(filename, *args, **kwargs)
    except ConfigError as error:
        if error.file is not None:
            raise
        raise ConfigError(str(error), file=filename) from error
    finally:
        _being_read.reset(token)


Config._file2dict = staticmethod(_file2dict_naming_the_file)
