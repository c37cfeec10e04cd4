"""``mmdet models``."""

from collections.abc import Sequence

_BY_HAND, _ON_HUB = '(by hand)', '(hub)'


def models(pattern: str = '', *, weights: bool = False, json: bool = False) -> int:
    """List the models that have a name: AP, parameters, licence and file of the published weights.

        mmdet models
        mmdet models nanodet --weights

    AP is that of the boxes on COCO val2017 as the authors published it; the licence is that of the repository that publishes the file,
    unknown where that states none. ``mmdet predict NAME`` fetches the file; those marked (by hand) are on pages that only a browser can open, and are
    found under the name given here in the folder of downloaded checkpoints; those marked (hub) are models of the Hugging Face hub, docs/transformers.md.

    Args:
        pattern: part of the names or the family, of any case.
        weights: only those with published weights.
        json: print JSON, with the addresses of the files, other names, multiply-adds, and the paths of the configs.
    """
    import json as json_format

    from ..apis.known_models import known_models
    from ..engine.checkpoint.sources import cache_folder

    found = {
        model.name: model
        for model in known_models().values()
        if any(pattern.lower() in name.lower() for name in (model.name, model.family or '', *model.aliases))
    }
    chosen = [model for _, model in sorted(found.items()) if model.file or model.hub or not weights]
    if json:
        print(
            json_format.dumps(
                [{**model._asdict(), 'config': str(model.config), 'file': model.file} for model in chosen], indent=2
            )
        )
    elif chosen:
        rows = [
            (
                model.name,
                _number(model.box_ap, 1),
                _number(model.parameters, 2),
                model.license or ('unknown' if model.file or model.hub else ''),
                f'{model.hub or model.file or ""} {_ON_HUB if model.hub else _BY_HAND if model.page else ""}',
            )
            for model in chosen
        ]
        print(_table([('name', 'AP', 'M parameters', 'licence', 'file'), *rows]))
        pages = [model for model in chosen if model.page]
        if pages:
            print(
                f'\n{_BY_HAND}: save it under this name in {cache_folder()}; {pages[0].name} from {pages[0].page}, the pages of all: --json'
            )
    else:
        print(f'no name contains {pattern!r}')
    return int(not chosen)


def _number(value: float | None, digits: int) -> str:
    return '' if value is None else f'{value:.{digits}f}'


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows with their columns aligned: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        '  '.join(cell.rjust(width) if place in (1, 2) else cell.ljust(width) for place, (cell, width) in enumerate(zip(row, widths)))
        for row in rows
    ]  # fmt: skip
    return '\n'.join(line.rstrip() for line in lines)
