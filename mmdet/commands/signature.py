"""A command line from a function: its parameters are the arguments, its docstring is the help.

Parameters before ``*`` are positional, those after it are options. The annotation says how words become values:

====================================  =========================================================================
``str``, ``int``, ``float``, ``Path``  one word; with ``| None`` the same
``Literal['a', 'b']``                  one of these words
``bool``                               a flag; with a default of True also ``--no-NAME``
``bool | str``, ``bool | Literal``     an option whose value may be left out, or be ``auto``, which is True then
``list[T]``                            one or more words; positional and with a default: any number
``tuple[T, T]``                        so many words
``dict``                               ``KEY=VALUE ...``, as ``--cfg-options``
a dataclass                            its fields, each an option; several commands share them
a subclass of :class:`Arguments`       what its ``add_to`` adds to the parser
====================================  =========================================================================

``Annotated[T, Option(...)]`` adds other names, a metavar or a parser of the word. ``work_dir`` is ``--work-dir``, and ``--work_dir`` is understood
as well.
"""

import argparse
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from mmdet_runtime.arguments import ArgumentParser

Function = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Option:
    """What an annotation cannot say of an argument.

    Args:
        names: other names of an option, such as ``'--resume-from'``.
        metavar: what stands for the value in the help; one word for each value of a tuple.
        parse: makes the value from one word; a ValueError of it is a usage error.
        hidden: leave it out of the help.
    """

    names: tuple[str, ...] = ()
    metavar: str | tuple[str, ...] | None = None
    parse: Callable[[str], Any] | None = None
    hidden: bool = False


class Arguments(argparse.Namespace):
    """A parameter whose arguments are added by a function that is there already; it holds all arguments of the command line."""

    @staticmethod
    def add_to(parser: argparse.ArgumentParser) -> None:
        """Add the arguments."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One argument of a command: of the function itself, or a field of the dataclass that ``group`` takes."""

    name: str
    annotation: Any
    default: Any
    positional: bool
    help: str
    group: str | None = None
    option: Option = Option()

    @property
    def dest(self) -> str:
        """Attribute of the parsed arguments."""
        return f'{self.group}.{self.name}' if self.group else self.name


class Parser(ArgumentParser):
    """Also understands options that are written with underscores, as those of the original projects are."""

    def _parse_optional(self, arg_string: str) -> Any:
        name, equals, value = arg_string.partition('=')
        if name.startswith('--') and '_' in name and name not in self._option_string_actions:
            arg_string = name.replace('_', '-') + equals + value
        return super()._parse_optional(arg_string)


class _HelpFormatter(argparse.HelpFormatter):
    """Fills the paragraphs of a docstring to the width of the terminal, its markup left out; indented lines stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = re.split(r'\n\s*\n', text.replace('``', ''))
        return '\n\n'.join(
            paragraph if paragraph.startswith(' ') else super(_HelpFormatter, self)._fill_text(paragraph, width, indent)
            for paragraph in paragraphs
        )


class _Pairs(argparse.Action):
    """``KEY=VALUE ...``; the reader of values is mmengine's, which takes a second to import, and only then is needed."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *rest: Any) -> None:
        from ..config.reading import CfgOptions

        CfgOptions(self.option_strings, self.dest, nargs='+')(parser, namespace, values, *rest)


def parser_of(function: Function, prog: str | None = None) -> Parser:
    """The command line of a function.

    Raises:
        TypeError: an annotation that is not in the table above.
    """
    summary = inspect.cleandoc(function.__doc__ or '')
    parser = Parser(prog=prog, description=_without_sections(summary), formatter_class=_HelpFormatter)
    for parameter in parameters_of(function):
        names, settings = _argument(parameter)
        parser.add_argument(*names, **settings)
    for hint in get_type_hints(function).values():
        if _is_namespace(hint):
            hint.add_to(parser)
    return parser


def _is_namespace(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Arguments)


def call(function: Function, arguments: argparse.Namespace) -> Any:
    """Call a function with the arguments that its parser read."""
    given = vars(arguments)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    hints = get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        value: Any
        if _is_namespace(hints[name]):
            value = hints[name](**given)
        elif dataclasses.is_dataclass(hints[name]):
            prefix = f'{name}.'
            value = hints[name](
                **{key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
            )
        else:
            value = given[name]
            value = tuple(value) if isinstance(value, list) and _kind(hints[name])[0] is tuple else value
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            named[name] = value
        else:
            positional.append(value)
    return function(*positional, **named)


def parameters_of(function: Function) -> Iterator[Parameter]:
    """The arguments of a command, in the order of its signature."""
    help_of, hints = argument_help(function.__doc__ or ''), get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            yield from _fields_of(typing.cast(type, hint), name)
        elif not _is_namespace(hint):
            positional = parameter.kind is not inspect.Parameter.KEYWORD_ONLY
            yield _parameter(name, hint, parameter.default, positional, help_of, None)


def argument_help(docstring: str) -> dict[str, str]:
    """Text of each entry of the sections Args and Attributes of a docstring, in one line.

    >>> argument_help('Do it.\\n\\nArgs:\\n    a: one\\n        thing.\\n    b: two.')
    {'a': 'one thing.', 'b': 'two.'}
    """
    found: dict[str, str] = {}
    for section in re.findall(
        r'^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)+)', inspect.cleandoc(docstring) + '\n', re.MULTILINE
    ):
        for entry in re.split(r'\n(?=\S)', textwrap.dedent(section).strip()):
            name, _, text = entry.partition(':')
            found[name.strip()] = ' '.join(text.split())
    return found


def _fields_of(group: type, name: str) -> Iterator[Parameter]:
    help_of: dict[str, str] = {}
    for owner in reversed(group.__mro__):  # a field is explained by the class that has it
        help_of.update(argument_help(owner.__doc__ or ''))
    hints = get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        default = inspect.Parameter.empty if default is dataclasses.MISSING else default
        yield _parameter(field.name, hints[field.name], default, False, help_of, name)


def _parameter(
    name: str, hint: Any, default: Any, positional: bool, help_of: dict[str, str], group: str | None
) -> Parameter:
    option = Option()
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        option = next((extra for extra in extras if isinstance(extra, Option)), option)
    return Parameter(name, hint, default, positional, help_of.get(name, ''), group, option)


def _argument(parameter: Parameter) -> tuple[list[str], dict[str, Any]]:
    """Names and settings of ``add_argument``."""
    option, required = parameter.option, parameter.default is inspect.Parameter.empty
    settings: dict[str, Any] = dict(help=argparse.SUPPRESS if option.hidden else _help(parameter).replace('%', '%%'))
    if option.metavar:
        settings['metavar'] = option.metavar
    if not required:
        settings['default'] = parameter.default
    kind, inner, choices, may_be_flag = _kind(parameter.annotation)
    parse = option.parse or inner
    if kind is bool:
        settings['action'] = argparse.BooleanOptionalAction if parameter.default is True else 'store_true'
        settings.pop('metavar', None)
    elif kind is dict:
        settings.update(action=_Pairs, nargs='+', metavar=option.metavar or 'KEY=VALUE')
    else:
        settings['type'] = _explained(parse)
        if choices:
            settings['choices'] = choices
        if kind is list:
            settings['nargs'] = '*' if parameter.positional and not required else '+'
        elif kind is tuple:
            settings['nargs'] = len(get_args(_without_none(parameter.annotation)[0]))
        elif may_be_flag:
            settings.update(nargs='?', const='auto', type=_or_true(settings['type']))
            if choices:
                settings.update(choices=(True, *choices), metavar=option.metavar or f'{{auto,{",".join(choices)}}}')
        elif parameter.positional and not required:
            settings['nargs'] = '?'
    if parameter.positional:
        settings.setdefault('metavar', parameter.name.upper())
        return [parameter.dest], settings
    settings.update(dest=parameter.dest)
    if required:
        settings['required'] = True
    if settings.get('action') is None and not choices:
        settings.setdefault('metavar', parameter.name.split('_')[-1].upper())
    written = parameter.name.strip('_').replace('_', '-')  # `from_` stands for a word that Python keeps for itself
    return [f'--{written}', *option.names], settings


def _kind(annotation: Any) -> tuple[type, Any, Sequence[Any] | None, bool]:
    """What a parameter takes: the kind (bool, dict, list, tuple or str for one word), type of a word, its choices, whether the value may be left out."""
    members = _without_none(annotation)
    may_be_flag = bool in members and len(members) > 1
    members = [member for member in members if member is not bool or len(members) == 1]
    if len(members) == 1:
        member = members[0]
        origin, inner = get_origin(member), get_args(member)
        if member in (bool, dict) or origin is dict:
            return (bool if member is bool else dict), str, None, False
        if origin is Literal:
            return str, type(inner[0]), inner, may_be_flag
        if origin in (list, tuple):
            _, word, choices, _ = _kind(inner[0])
            return origin, word, choices, False
        if isinstance(member, type):
            return str, member, None, may_be_flag
    raise TypeError(f'no command line for {annotation!r}')


def _without_none(annotation: Any) -> list[Any]:
    union = get_origin(annotation) in (types.UnionType, typing.Union)
    return [member for member in (get_args(annotation) if union else [annotation]) if member is not type(None)]


def _explained(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser whose ValueError is the text of the usage error; argparse would name the function instead."""
    if isinstance(parse, type):
        return parse

    def explained(word: str) -> Any:
        try:
            return parse(word)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return explained


def _or_true(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser that takes the word ``auto`` as well, for True."""
    return lambda word: True if word == 'auto' else parse(word)


def _help(parameter: Parameter) -> str:
    """The docstring's text, with the default unless that says nothing or is told already."""
    default, text = parameter.default, parameter.help.rstrip('.')
    if default is True:
        return f'{text} (default: yes)'
    nothing = default is None or default is False or default is inspect.Parameter.empty or default in ('', [], ())
    return text if nothing or 'default' in text else f'{text} (default: {default})'


def _without_sections(docstring: str) -> str:
    """A docstring up to its sections for readers of code."""
    return re.split(r'\n\s*\n(?=(?:Args|Returns|Raises|Attributes):)', docstring)[0]
