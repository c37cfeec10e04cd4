"""A command line whose options with an optional value do not take the arguments behind them."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn


class ArgumentParser(argparse.ArgumentParser):
    """argparse's, but an option with ``nargs='?'`` takes the next word only if it is a value of it: ``--amp CONFIG`` leaves the config alone.

    Its choices and its type say what a value is; any other word stays where it is, and the option means its ``const``. That must be one of
    its values, as text or not.
    """

    _refused: dict[str, str]

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """See argparse; the error also says why a word is no value of the option before it."""
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            self.error('; '.join([f'unrecognized arguments: {" ".join(rest)}', *self._refused.values()]))
        return parsed

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """See argparse; also what ``parse_args`` calls."""
        self._refused = {}
        words = list(sys.argv[1:] if args is None else args)
        end = words.index('--') if '--' in words else len(words)
        for i, (word, following) in enumerate(zip(words[:end], words[1:])):
            action = self._optional_value(word)
            # Words that begin with a dash are not taken by argparse either.
            if action is None or following.startswith('-'):
                continue
            if reason := _refusal(action, following):
                words[i] = f'{word}={action.const}'
                self._refused[following] = f'{following!r} is no value of {word}: {reason}'
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """One line, which says where the arguments are explained, instead of the whole usage; exit status 2."""
        self.exit(2, f'{self.prog}: error: {message}; see {self.prog} --help\n')

    def _optional_value(self, word: str) -> argparse.Action | None:
        """The option with an optional value that a word names, in full or by its unambiguous beginning."""
        if not word.startswith('--'):
            return None
        found = {name: action for action in self._actions for name in action.option_strings if name.startswith(word)}
        actions = [found[word]] if word in found else list(dict.fromkeys(found.values()))
        return actions[0] if len(actions) == 1 and actions[0].nargs == '?' else None


def _refusal(action: argparse.Action, word: str) -> str | None:
    """Why a word is no value of an option; None where it is one."""
    try:
        value = action.type(word) if callable(action.type) else word
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
        return str(error) or 'it means nothing there'
    if action.choices is None or value in action.choices:
        return None
    # True stands for the word that means the option without a value.
    return f'choose from {", ".join(str(action.const) if choice is True else str(choice) for choice in action.choices)}'
