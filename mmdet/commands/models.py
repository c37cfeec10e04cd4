"""``mmdet models``."""

from collections.abc import Sequence


def models(pattern: str = '', *, weights: bool = False, json: bool = False) -> int:
    """List the models that have a name: AP, parameters, licence and file of the published weights.

        mmdet models
        mmdet models nanodet --weights

    Args:
        pattern: part of the names, of any case.
        weights: only those with published weights.
        json: print JSON, with the addresses of the files and the paths of the configs.
    """
    import json as json_format

    from ..apis.known_models import known_models

    found = {model.name: model for model in known_models().values() if pattern.lower() in model.name.lower()}
    chosen = [model for _, model in sorted(found.items()) if model.weights or not weights]
    if json:
        print(json_format.dumps([{**model._asdict(), 'config': str(model.config)} for model in chosen], indent=2))
    elif chosen:
        rows = [
            (
                model.name,
                _number(model.box_ap),
                _number(model.parameters),
                model.license or '',
                (model.weights or '').rpartition('/')[2],
            )
            for model in chosen
        ]
        print(_table([('name', 'AP', 'M parameters', 'licence', 'file'), *rows]))
    else:
        print(f'no name contains {pattern!r}')
    return int(not chosen)


def _number(value: float | None) -> str:
    return '' if value is None else f'{value:g}'


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows with their columns aligned: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        '  '.join(cell.rjust(width) if place in (1, 2) else cell.ljust(width) for place, (cell, width) in enumerate(zip(row, widths)))
        for row in rows
    ]  # fmt: skip
    return '\n'.join(line.rstrip() for line in lines)
