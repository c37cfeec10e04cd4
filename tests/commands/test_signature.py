"""A command line from a signature and a docstring."""

import dataclasses
from typing import Annotated, Literal

import pytest

from mmdet.commands.signature import Option, Parameter, _help, argument_help, call, parser_of


@dataclasses.dataclass
class Shared:
    """Of several commands.

    Attributes:
        cfg_options: override.
        amp: mixed precision.
    """

    cfg_options: dict | None = None
    amp: bool | Literal['bf16', 'fp16'] = False


def even(word: str) -> int:
    if int(word) % 2:
        raise ValueError(f'must be even. Received: {word}')
    return int(word)


def example(
    config: str,
    inputs: list[str] = (),
    *,
    work_dir: str | None = None,
    number: Annotated[int, Option(('-n',), parse=even)] = 4,
    resume: Annotated[bool | str, Option(metavar='CKPT')] = False,
    size: Annotated[tuple[int, int] | None, Option(metavar=('W', 'H'))] = None,
    names: list[str] | None = None,
    validate: bool = True,
    from_: Literal['a', 'b'] | None = None,
    shared: Shared,
):
    """Do a thing.

    It takes 5 % of the time.

    Args:
        config: the file.
        number: an even
            number.

    Returns:
        Nothing for a user.
    """
    return config, list(inputs), work_dir, number, resume, size, names, validate, from_, shared


DEFAULTS = dict(inputs=[], work_dir=None, number=4, resume=False, size=None, names=None, validate=True, from_=None)


@pytest.mark.parametrize(
    ('words', 'changed', 'shared'),
    [
        ('c', {}, Shared()),
        ('c a b', dict(inputs=['a', 'b']), Shared()),
        ('c --work_dir=x', dict(work_dir='x'), Shared()),
        ('--work-dir x_y c', dict(work_dir='x_y'), Shared()),
        ('c -n 6 --no-validate', dict(number=6, validate=False), Shared()),
        ('c --resume', dict(resume=True), Shared()),
        ('c --resume file', dict(resume='file'), Shared()),
        ('c --size 3 4 --names p q', dict(size=(3, 4), names=['p', 'q']), Shared()),
        ('c --from b', dict(from_='b'), Shared()),
        ('c --cfg-options a.b=1 c=[2,3] --cfg_options d=x', {}, Shared({'a.b': 1, 'c': [2, 3], 'd': 'x'})),
        ('c --amp', {}, Shared(amp=True)),
        ('c --amp fp16', {}, Shared(amp='fp16')),
        ('--amp c', {}, Shared(amp=True)),
        ('--amp=auto c', {}, Shared(amp=True)),
    ],
)
def test_words_become_values(words, changed, shared):
    expected = ('c', *{**DEFAULTS, **changed}.values(), shared)
    assert call(example, parser_of(example).parse_args(words.split())) == expected


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('', 'required: CONFIG'),
        ('c -n 3', 'argument --number/-n: must be even. Received: 3'),
        ('c -n x', "invalid literal for int() with base 10: 'x'"),
        ('c --from c', "invalid choice: 'c'"),
        ('c --size 3', 'expected 2 arguments'),
        ('c --cfg-options a', "expects key=value pairs. Received: 'a'"),
        ('c --unknown_thing', 'unrecognized arguments'),
    ],
)
def test_usage_errors(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        parser_of(example, 'mmdet example').parse_args(words.split())
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_help():
    text = ' '.join(parser_of(example, 'mmdet example').format_help().split())
    assert 'Do a thing. It takes 5 % of the time.' in text and 'Nothing for a user' not in text
    assert (
        '-n NUMBER an even number (default: 4)' in text and '--size W H' in text and '--cfg-options KEY=VALUE' in text
    )


def test_annotation_without_a_command_line():
    def wrong(*, value: int | str = 1):
        """Wrong."""

    with pytest.raises(TypeError, match='no command line for'):
        parser_of(wrong)


def test_help_of_arguments():
    assert argument_help('One line.') == {}
    assert argument_help('Do.\n\n    Args:\n        a: one.\n        b_c: two:\n            three.\n\n    Raises:\n        E: x.') == {
        'a': 'one.', 'b_c': 'two: three.'
    }  # fmt: skip


@pytest.mark.parametrize(('default', 'text', 'shown'), [
    (None, 'a value.', 'a value'),
    (False, 'a flag.', 'a flag'),
    ('', 'a word.', 'a word'),
    ([], 'words.', 'words'),
    (True, 'a flag.', 'a flag (default: yes)'),
    (0, 'a seed.', 'a seed (default: 0)'),
    (1, 'a size.', 'a size (default: 1)'),
    (1, 'a size; default: that of the config.', 'a size; default: that of the config'),
])  # fmt: skip
def test_help_tells_every_default(default, text, shown):
    assert _help(Parameter('x', int, default, False, text)) == shown


def test_help_fills_the_width_of_the_terminal(monkeypatch):
    def command(*, x: int = 0) -> None:
        """Do it.

            mmdet do   --this

        The ``x`` is a number, about which more is
        said here than one line of a terminal can hold.
        """

    monkeypatch.setenv('COLUMNS', '42')
    text = parser_of(command, 'mmdet do').format_help()
    assert (
        '\n    mmdet do   --this\n\nThe x is a number, about which more is\nsaid here than one line of a terminal\ncan hold.\n'
        in text
    )
