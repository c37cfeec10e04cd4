"""Names, values and text of a COCO evaluation: the metric items, the summary and the table of classes."""

from collections.abc import Sequence

from .coco_eval import CocoResult

# item -> (IoU threshold or None for all, area range)
_AP_ITEMS = {
    'mAP': (None, 'all'),
    'mAP_50': (0.5, 'all'),
    'mAP_75': (0.75, 'all'),
    'mAP_s': (None, 'small'),
    'mAP_m': (None, 'medium'),
    'mAP_l': (None, 'large'),
}
AP_ITEMS = tuple(_AP_ITEMS)
_AREA_SUFFIXES = {'s': 'small', 'm': 'medium', 'l': 'large'}


def ar_items(proposal_nums: Sequence[int]) -> list[str]:
    """Names of the average recalls: each limit over all sizes, then the last limit by size."""
    return [f'AR@{limit}' for limit in proposal_nums] + [
        f'AR_{suffix}@{proposal_nums[-1]}' for suffix in _AREA_SUFFIXES
    ]


def item_value(result: CocoResult, item: str, max_dets: int, label: int | None = None) -> float:
    """Value of ``mAP``, ``mAP_50``, ... at ``max_dets``, or of ``AR@k``, ``AR_s@k`` at their k; -1 without gt."""
    if item in _AP_ITEMS:
        iou_thr, area = _AP_ITEMS[item]
        return result.ap(iou_thr, area, max_dets, label)
    name, limit = item.split('@')
    area = _AREA_SUFFIXES[name[-1]] if '_' in name else 'all'
    return result.ar(None, area, int(limit), label)


def format_value(value: float, digits: int = 3) -> str:
    """A value for people: '-' for the -1 of what has no ground truth."""
    return '-' if value <= -1 else f'{value:.{digits}f}'


def summary(result: CocoResult, max_dets: int, proposal_nums: Sequence[int], *, with_ap: bool = True) -> str:
    """The familiar lines, six APs and six ARs, each naming the limit it was taken at."""
    iou_thrs = result.iou_thrs
    every = f'{iou_thrs[0]:.2f}' if len(iou_thrs) == 1 else f'{min(iou_thrs):.2f}:{max(iou_thrs):.2f}'
    lines = []

    def add(kind: str, iou: str, area: str, limit: int, value: float) -> None:
        lines.append(f' Average {kind} @[ IoU={iou:<9} | area={area:>6} | maxDets={limit:>4} ] = {format_value(value)}')

    if with_ap:
        for iou_thr, area in _AP_ITEMS.values():
            iou = every if iou_thr is None else f'{iou_thr:.2f}'
            add('Precision (AP)', iou, area, max_dets, result.ap(iou_thr, area, max_dets))
    for limit in proposal_nums:
        add('Recall    (AR)', every, 'all', limit, result.ar(None, 'all', limit))
    for area in _AREA_SUFFIXES.values():
        add('Recall    (AR)', every, area, proposal_nums[-1], result.ar(None, area, proposal_nums[-1]))
    return '\n'.join(lines)


def class_table(result: CocoResult, classes: Sequence[str], max_dets: int) -> str:
    """One row a class: the six APs and the AR at ``max_dets``, and the ground-truth boxes (crowds not counted)."""
    items = [*AP_ITEMS, f'AR@{max_dets}']
    rows = [['category', *AP_ITEMS, f'AR@{max_dets}', 'gt']]
    for label, name in enumerate(classes):
        values = [format_value(item_value(result, item, max_dets, label)) for item in items]
        rows.append([name, *values, str(result.gt_count[label])])
    means = [format_value(item_value(result, item, max_dets)) for item in items]
    rows.append(['mean', *means, str(result.gt_count.sum())])
    table = format_table(rows)
    return f'AP by class at maxDets={max_dets}\n{table}'


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as an ASCII table; the first row is the header, the first column is left-aligned.

    >>> print(format_table([['class', 'AP'], ['car', '0.500']]))
    +-------+-------+
    | class |    AP |
    +-------+-------+
    | car   | 0.500 |
    +-------+-------+
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    line = '+' + '+'.join('-' * (width + 2) for width in widths) + '+'
    texts = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        texts.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join([line, texts[0], line, *texts[1:], line])
