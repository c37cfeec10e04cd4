"""Explanations for the errors of a config that appear only when its objects are built: unknown types and arguments."""

import difflib
import inspect
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from mmengine.registry import Registry

from .errors import ConfigError, MMDetError

_MISSING_KEY = re.compile(r"'Config(?:Dict)?' object has no attribute '(\w+)'")
_UNKNOWN_TYPE = re.compile(r'(.*?) is not in the (\S+?)::(.+?) registry\.')
_NO_TYPE = re.compile(r'`cfg` or `default_args` must contain the key "type", but got (.*)', re.DOTALL)
_BAD_ARGUMENT = re.compile(
    r'(?:(\w+)\.)?__init__\(\) ((?:got an unexpected keyword|missing \d+ required) .*)', re.DOTALL
)
# A TypeError that arises where one of these functions calls a constructor is a fault of the config; any other is a fault of the code.
_CALLERS = ('__init__', 'build_from_cfg', 'get_instance', '__call__')


class UnknownTypeError(ConfigError, KeyError):
    """No registered class has the name, or the config has none. Also a KeyError, as callers of mmengine expect."""

    __str__ = Exception.__str__  # KeyError would show the repr of the message


class ArgumentError(ConfigError, TypeError):
    """A constructor does not take the arguments of its config. Also a TypeError, as callers of mmengine expect."""


class MissingKeyError(ConfigError, AttributeError):
    """A config lacks a key that is read from it. Also an AttributeError, as callers of mmengine expect."""


@contextmanager
def build_errors_explained(registries: Collection[Registry]) -> Iterator[None]:
    """Turn mmengine's KeyError, TypeError and AttributeError about a config into a ``ConfigError`` that names what is allowed.

    Args:
        registries: the names are looked up in these and in their parents.

    Raises:
        UnknownTypeError: the type is missing or unknown; the message lists similar registered names.
        ArgumentError: the constructor does not take the arguments; the message lists those that it takes.
        MissingKeyError: the config lacks a key.
    """
    try:
        yield
    except MMDetError:
        raise
    except AttributeError as error:
        missing = _MISSING_KEY.match(str(error))
        if missing is None:
            raise
        raise MissingKeyError('is missing in the config', field=missing[1]) from error
    except (KeyError, TypeError) as error:
        explain = _explain_type if isinstance(error, KeyError) else _explain_arguments
        explained = explain(error, registries)
        if explained is None:
            raise
        raise explained from error


def _explain_type(error: Exception, registries: Collection[Registry]) -> ConfigError | None:
    text = str(error.args[0]) if error.args else ''
    if match := _UNKNOWN_TYPE.match(text):
        name, _, registry_name = match.groups()
        known = sorted(_names(registry_name, registries))
        lower = {other.lower(): other for other in known}
        near = [lower[other] for other in difflib.get_close_matches(name.lower(), lower, n=4)]
        hint = f'near names: {", ".join(near)}' if near else f'{len(known)} are registered'
        return UnknownTypeError(f'no {registry_name} of this name; {hint}', field='type', received=name)
    if match := _NO_TYPE.match(text):
        received = match[1].rpartition('\n')[0] or match[1]
        return UnknownTypeError("needs the key 'type', the name of a registered class", field='type', received=received)
    return None


def _with_parents(registries: Collection[Registry]) -> set[Registry]:
    return {owner for value in registries for owner in (value, value.parent) if owner is not None}


def _names(registry_name: str, registries: Collection[Registry]) -> set[str]:
    """Names known to the registries called ``registry_name`` and to their parents."""
    same = [owner for owner in _with_parents(registries) if owner.name == registry_name]
    return {name for owner in same for related in (owner, owner.parent) if related for name in related.module_dict}


def _explain_arguments(error: Exception, registries: Collection[Registry]) -> ConfigError | None:
    match = _BAD_ARGUMENT.match(str(error))
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if match is None or trace is None or trace.tb_frame.f_code.co_name not in _CALLERS:
        return None
    name, fault = match.groups()
    cls = _find_class(name, registries)
    if cls is None:
        return ArgumentError(fault, field=name)
    parameters = inspect.signature(cls).parameters.values()
    taken = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    return ArgumentError(f'{fault}. {name} takes {", ".join(taken)}', field=name)


def _find_class(name: str | None, registries: Collection[Registry]) -> type | None:
    found = (owner.module_dict.get(name) for owner in _with_parents(registries))
    return next((cls for cls in found if inspect.isclass(cls)), None)
