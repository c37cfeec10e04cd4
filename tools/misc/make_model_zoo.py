"""Write the tables of docs/model_zoo.md from the model index; the text between them stays.

    python tools/misc/make_model_zoo.py [--check]

A table stands between ``<!-- models: FAMILY -->`` and ``<!-- end -->``; FAMILY is the name of a collection of the index (configs/*/metafile.yml).
With --check nothing is written, and the exit code is 1 where the page is not what the index gives.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mmdet.apis.known_models import KnownModel, indexed_models
from mmdet.utils import ArgumentParser, ConfigError, reports_user_errors
from mmdet.utils.files import write_text

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'model_zoo.md'
_TABLE = re.compile(r'(<!-- models: ([^\n]+) -->\n).*?(<!-- end -->)', re.DOTALL)


def _ap(model: KnownModel) -> str:
    return ' / '.join(f'{value:.1f}' for value in (model.box_ap, model.test_dev_ap) if value is not None)


def _file(model: KnownModel) -> str:
    if model.hub:
        return f'[{model.hub}](https://huggingface.co/{model.hub})'
    if model.weights:
        return f'[{model.file}]({model.weights})'
    return f'[by hand]({model.page})' if model.page else ''


# Heading, alignment, text of a cell. A column without any text is left out.
_COLUMNS: tuple[tuple[str, str, Callable[[KnownModel], str]], ...] = (
    ('config', '---', lambda model: model.name),
    ('also', '---', lambda model: ', '.join(model.aliases)),
    ('AP', '--:', _ap),
    ('parameters', '--:', lambda model: f'{model.parameters:.2f}' if model.parameters else ''),
    (
        'G MAC',
        '--:',
        lambda model: (
            f'{model.macs:.1f}' if model.macs and model.macs >= 10 else f'{model.macs:.2f}' if model.macs else ''
        ),
    ),
    ('file', '---', _file),
)


def table(models: Sequence[KnownModel]) -> str:
    """A table in Markdown, with a row for each model."""
    columns = [(head, line, [cell(model) for model in models]) for head, line, cell in _COLUMNS]
    shown = [(head, line, cells) for head, line, cells in columns if any(cells)]
    rows = [[head for head, _, _ in shown], [line for _, line, _ in shown], *zip(*(cells for _, _, cells in shown))]
    return ''.join(f'|{"|".join(f" {cell} " if cell else " " for cell in row)}|\n' for row in rows)


def updated(text: str) -> str:
    """The page with the tables that the model index gives.

    Raises:
        ConfigError: a family of the page is not in the index, or the other way round, or stands there twice.
    """
    families: dict[str, list[KnownModel]] = {}
    for model in indexed_models():
        families.setdefault(str(model.family), []).append(model)
    named = [family for _, family, _ in _TABLE.findall(text)]
    if sorted(named) != sorted(families):
        raise ConfigError(f'must have one table for each of {sorted(families)}', file=PAGE, received=sorted(named))
    return _TABLE.sub(lambda found: found[1] + table(families[found[2]]) + found[3], text)


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--check', action='store_true', help='write nothing; exit code 1 where the page is not what the index gives'
    )
    return parser.parse_args()


@reports_user_errors
def main() -> int:
    args = parse_args()
    old = PAGE.read_text(encoding='utf-8')
    new = updated(old)
    if old == new:
        print(f'{PAGE} is what the model index gives')
        return 0
    if args.check:
        print(f'{PAGE} is not what the model index gives; run tools/misc/make_model_zoo.py')
        return 1
    write_text(PAGE, new)
    print(f'wrote {PAGE}')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
