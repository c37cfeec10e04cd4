"""Options with an optional value: what follows them is theirs only if it is a value of theirs."""

import argparse
import ast
import importlib.util
import sys

import pytest

from mmdet.commands import command
from mmdet.commands.signature import parser_of
from mmdet.config.reading import add_inference_arguments
from mmdet_runtime.arguments import ArgumentParser


def checkpoint(word: str) -> str | bool:
    if word.endswith('.py'):
        raise ValueError
    return True if word == 'auto' else word


@pytest.mark.parametrize(
    'words, expected',
    [
        ([], (None, None, None, False, None)),
        (['c'], (None, None, None, False, 'c')),
        (['--amp'], (True, None, None, False, None)),
        (['--amp', 'c'], (True, None, None, False, 'c')),
        (['--am', 'c'], (True, None, None, False, 'c')),  # argparse takes unambiguous beginnings
        (['--amp', 'bf16', 'c'], ('bf16', None, None, False, 'c')),
        (['--amp=bf16', 'c'], ('bf16', None, None, False, 'c')),
        (['--amp', 'auto', 'c'], (True, None, None, False, 'c')),
        (['--depth', 'c'], (None, 1, None, False, 'c')),
        (['--depth', '3', 'c'], (None, 3, None, False, 'c')),
        (['--times', 'c'], (None, None, 50, False, 'c')),
        (['--resume', 'c.py'], (None, None, None, True, 'c.py')),
        (['--resume', 'a.pth', 'c.py'], (None, None, None, 'a.pth', 'c.py')),
        (['--cfg-options', 'a=1', '--amp', 'c'], (True, None, None, False, 'c')),
        (['--amp', '--depth', 'c'], (True, 1, None, False, 'c')),
        (['--', 'c'], (None, None, None, False, 'c')),
        (['--depth', '--', 'c'], (None, 1, None, False, 'c')),
    ],
)
def test_a_word_that_is_no_value_stays_a_positional(words, expected):
    parser = ArgumentParser()
    parser.add_argument('config', nargs='?')
    add_inference_arguments(parser, with_options=True)
    parser.add_argument('--depth', nargs='?', type=int, const=1)
    parser.add_argument('--times', nargs='?', type=int, const=50)
    parser.add_argument('--resume', nargs='?', type=checkpoint, const='auto', default=False)
    args = parser.parse_args(words)
    amp = (args.cfg_options or {}).get('inference.amp')
    assert (amp, args.depth, args.times, args.resume, args.config) == expected


@pytest.mark.parametrize('words', [['--amp=int8'], ['--depth=x'], ['--resume=c.py']])
def test_a_wrong_value_behind_an_equals_sign_is_an_error(words, capsys):
    parser = ArgumentParser()
    add_inference_arguments(parser)
    parser.add_argument('--depth', nargs='?', type=int, const=1)
    parser.add_argument('--resume', nargs='?', type=checkpoint)
    with pytest.raises(SystemExit):
        parser.parse_args(words)
    assert words[0].partition('=')[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ('c 0', 'unrecognized arguments: 0; see'),
        ('c d --amp', 'unrecognized arguments: d; see'),
        (
            'c --amp int8',
            "unrecognized arguments: int8; 'int8' is no value of --amp: choose from auto, bf16, fp16; see",
        ),
        ('--amp int8 c', "unrecognized arguments: c; 'int8' is no value of --amp: choose from auto, bf16, fp16; see"),
        ('c --size 0', "unrecognized arguments: 0; '0' is no value of --size: must be greater than 0; see"),
        ('c --size 0 --amp 1', "'0' is no value of --size: must be greater than 0; '1' is no value of --amp: choose"),
    ],
)
def test_a_refused_value_is_told_where_no_argument_takes_it(words, said, capsys):
    def size(word: str) -> int:
        if word != 'auto' and int(word) <= 0:
            raise argparse.ArgumentTypeError('must be greater than 0')
        return word

    parser = ArgumentParser()
    parser.add_argument('config')
    add_inference_arguments(parser)
    parser.add_argument('--size', nargs='?', type=size, const='auto')
    with pytest.raises(SystemExit):
        parser.parse_args(words.split())
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    'tool, words, expected',
    [
        ('tools/analysis_tools/get_flops.py', ['--per-part', 'c.py'], dict(config='c.py', per_part=1)),
    ],
)
def test_the_tools(tool, words, expected, repository, monkeypatch):
    spec = importlib.util.spec_from_file_location('tool', repository / tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, 'argv', [tool, *words])
    args = module.parse_args()
    assert {name: getattr(args, name) for name in expected} == expected


@pytest.mark.parametrize(
    'name, words, expected',
    [
        ('test', ['--amp', 'c.py', 'w.pth'], dict(config='c.py', checkpoint='w.pth')),
        ('benchmark', ['--amp', 'c.py', 'w.pth'], dict(config='c.py', checkpoint='w.pth')),
        ('train', ['--resume', 'c.py'], dict(config='c.py', resume=True)),
    ],
)
def test_the_commands(name, words, expected):
    args = parser_of(command(name)).parse_args(words)
    assert {name: getattr(args, name) for name in expected} == expected


def test_every_parser_with_such_an_option_is_of_the_kind(repository):
    """A file that adds an option with an optional value, or calls the function that adds one, makes no parser of argparse's own."""
    checked = []
    for folder in ('tools', 'mmdet', 'mmdet_runtime', 'UFPMP-Det-Tools', 'benchmarks'):
        for path in (repository / folder).rglob('*.py'):
            text = path.read_text(encoding='utf-8')
            if 'add_inference_arguments' not in text and "'?'" not in text:
                continue
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
            names = [getattr(call.func, 'id', getattr(call.func, 'attr', '')) for call in calls]
            optional = [
                call for call in calls
                if any(key.arg == 'nargs' and getattr(key.value, 'value', None) == '?' for key in call.keywords)
                and any(str(getattr(word, 'value', '')).startswith('-') for word in call.args)
            ]  # fmt: skip
            if optional or 'add_inference_arguments' in names:
                checked.append(path.name)
                # The runtime's second command has no options; the benchmark of networks also runs where this package is not.
                plain = text.count('argparse.ArgumentParser(') - (
                    path.name in ('cli.py', 'arguments.py', 'networks.py')
                )
                assert plain <= 0, f'{path} needs the ArgumentParser of mmdet_runtime.arguments'
    assert {'cli.py', 'get_flops.py', 'build_mosaics.py'} <= set(checked)
