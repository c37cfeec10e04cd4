"""The ``mmdet`` command: a function for each command, whose signature and docstring are its command line.

The scripts in ``tools/`` run the same functions. Modules of commands import what they need inside the functions, so that help, completion and usage
errors take no second.
"""

import argparse
import ast
import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ..version import __version__, release
from .signature import Function, Parser, call, parser_of

# Name of a command: its module here, which holds a function of that name.
COMMANDS = (
    'train',
    'test',
    'predict',
    'benchmark',
    'export',
    'search',
    'doctor',
    'convert',
    'models',
    'demo',
    'web',
    'report',
)


def command(name: str, words: Sequence[str] = ()) -> Function:
    """The function of a command; of one with several forms, the function that these words of a command line mean.

    >>> command('train').__name__
    'train'
    """
    module = importlib.import_module(f'{__name__}.{name}')
    return module.form_of(words) if hasattr(module, 'form_of') else getattr(module, name)


def forms(name: str) -> tuple[Function, ...]:
    """All functions of a command: one, or as many as it has forms."""
    return getattr(importlib.import_module(f'{__name__}.{name}'), 'FORMS', None) or (command(name),)


def summary(name: str) -> str:
    """First line of the docstring of a command, read without importing its module."""
    tree = ast.parse(Path(__file__).with_name(f'{name}.py').read_text(encoding='utf-8'))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return (ast.get_docstring(function) or '').partition('\n')[0].rstrip('.')


def run(name: str, words: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run a command with the words of a command line, by default those of this process; returns its exit status.

    An error that a user can cause ends the process with status 2 and one line, see :func:`mmdet.config.reading.reports_user_errors`.
    """
    words = sys.argv[1:] if words is None else words
    function = command(name, words)
    arguments = parser_of(function, prog).parse_args(words)
    from ..config.reading import reports_user_errors

    return reports_user_errors(call)(function, arguments) or 0


def main(words: Sequence[str] | None = None) -> int:
    """The ``mmdet`` command."""
    words = sys.argv[1:] if words is None else list(words)
    parser = _main_parser()
    if not words:
        parser.print_help()
        return 0
    chosen, *rest = words
    if chosen not in COMMANDS:
        if not chosen.startswith('-'):
            near = difflib.get_close_matches(chosen, COMMANDS, n=1)
            parser.error(
                f'no such command: {chosen!r}'
                + (f'; did you mean {near[0]}?' if near else f'; there are {", ".join(COMMANDS)}')
            )
        arguments = parser.parse_args(words)  # --help, --version, --completion, or a usage error
        print(completion(arguments.completion))
        return 0
    return run(chosen, rest, f'mmdet {chosen}')


def _main_parser(subcommands: bool = False) -> Parser:
    lines = [f'  {name:<11}{summary(name)}' for name in COMMANDS]
    parser = Parser(
        prog='mmdet',
        description='Train, search, test and use object detectors.',
        epilog='commands:\n'
        + '\n'.join(lines)
        + '\n\nmmdet COMMAND --help explains one. The documentation is the folder docs/ of the sources; make docs there builds its site.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--version',
        action='version',
        version=f'mmdet-dense {release}, with the interfaces of mmdetection {__version__}',
    )
    parser.add_argument('--completion', choices=SHELLS, help='print what makes a shell complete commands and options')
    if subcommands:
        added = parser.add_subparsers()
        for name in COMMANDS:
            added.add_parser(name, parents=[parser_of(command(name))], add_help=False, help=summary(name))
    else:
        parser.add_argument('command', nargs='?', metavar='COMMAND', choices=COMMANDS, help='one of those below')
    return parser


SHELLS = ('bash', 'zsh', 'fish', 'tcsh')


def completion(shell: str) -> str:
    """A script that makes a shell complete the command, by ``shtab``.

    Raises:
        ConfigError: shtab is not installed.
    """
    from ..errors import ConfigError

    try:
        import shtab
    except ImportError:
        raise ConfigError('needs the package shtab: pip install shtab', field='--completion', received=shell) from None
    parser = _main_parser(subcommands=True)
    (subcommands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    # Most words that are not numbers are files, and a shell completes none unasked.
    for each in subcommands.choices.values():
        for action in each._actions:
            if action.nargs != 0 and action.choices is None and action.type not in (int, float):
                action.complete = shtab.FILE
    return shtab.complete(parser, shell)
