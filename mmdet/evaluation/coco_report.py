"""A COCO evaluation for people: names and values of the metric items, the summary, and the table of classes."""

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
    by_size = (f'AR_{suffix}@{proposal_nums[-1]}' for suffix in _AREA_SUFFIXES)
    return [*(f'AR@{limit}' for limit in proposal_nums), *by_size]


def item_value(result: CocoResult, item: str, max_dets: int, label: int | None = None) -> float:
    """Value of ``mAP``, ``mAP_50``, ... at ``max_dets``, or of ``AR@k``, ``AR_s@k`` at their k; -1 without ground truth."""
    if item in _AP_ITEMS:
        iou_thr, area = _AP_ITEMS[item]
        return result.ap(iou_thr, area, max_dets, label)
    name, limit = item.split('@')  # name is AR, or AR_ and a suffix
    return result.ar(None, _AREA_SUFFIXES.get(name.removeprefix('AR_'), 'all'), int(limit), label)


def format_value(value: float, digits: int = 3) -> str:
    """The value with so many digits; '-' for -1, which means that there is no ground truth."""
    return '-' if value <= -1 else f'{value:.{digits}f}'


def summary(result: CocoResult, max_dets: int, proposal_nums: Sequence[int], *, with_ap: bool = True) -> str:
    """The lines of pycocotools' summary, six APs and an AR for each limit and size; each names its limit of detections."""
    iou_thrs = result.iou_thrs
    every = f'{iou_thrs[0]:.2f}' if len(iou_thrs) == 1 else f'{min(iou_thrs):.2f}:{max(iou_thrs):.2f}'
    lines = []

    def add(kind: str, iou: str, area: str, limit: int, value: float) -> None:
        lines.append(f' Average {kind} @[ IoU={iou:<9} | area={area:>6} | maxDets={limit:>4} ] = {format_value(value)}')

    if with_ap:
        for iou_thr, area in _AP_ITEMS.values():
            iou = every if iou_thr is None else f'{iou_thr:.2f}'
            add('Precision (AP)', iou, area, max_dets, result.ap(iou_thr, area, max_dets))
    by_size = [(area, proposal_nums[-1]) for area in _AREA_SUFFIXES.values()]
    for area, limit in [*(('all', limit) for limit in proposal_nums), *by_size]:
        add('Recall    (AR)', every, area, limit, result.ar(None, area, limit))
    return '\n'.join(lines)


def class_table(result: CocoResult, classes: Sequence[str], max_dets: int) -> str:
    """One row for each class, and one for their mean: six APs, the AR at ``max_dets``, ground-truth boxes without crowds."""
    items = [*AP_ITEMS, f'AR@{max_dets}']
    rows = [['category', *items, 'gt']]
    counted = [*result.gt_count, result.gt_count.sum()]
    for label, name, count in zip([*range(len(classes)), None], [*classes, 'mean'], counted):
        values = [format_value(item_value(result, item, max_dets, label)) for item in items]
        rows.append([name, *values, str(count)])
    return f'AP by class at maxDets={max_dets}\n{format_table(rows)}'


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
