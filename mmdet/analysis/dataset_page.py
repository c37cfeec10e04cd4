"""The HTML page of an examined data set: verdicts with pictures of the worst cases, then tables and charts."""

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from ..errors import MMDetError
from ..formats.images import decode_image
from ..visualization.charts import bar_chart, escaped
from ..visualization.drawing import draw_boxes, draw_outline, side_by_side
from ..visualization.report_page import PICTURE_BYTES, figure, section, table, write_page
from .dataset_checks import by_image, class_counts
from .dataset_doctor import Examination
from .dataset_findings import Example, Verdict

_PICTURES = 3  # of a verdict
_ALL_PICTURES = 48
_NAMES = 40  # cases that a list shows
_SIDE = 440  # pixels: the longer side of a picture of a case
_CONTEXT = 2.0  # a crop is this many times as long as what it shows
_LEAST_CROP = 128  # pixels of the image
_EDGE = 16  # pixels
_PAPER = 236  # grey of the canvas where there is no image
_BESIDE = 96  # grey beside the image
_OTHERS = (150, 150, 150)  # boxes that are not the case
_TURNED = (255, 255, 255)  # a rotated box as it was drawn
_MAX_CLASSES = 60  # rows of the table of classes
_MAX_SERIES = 6
_NO_PICTURE = ('missing_files', 'unreadable', 'unlisted_files')
_PAIRS = ('equal_across', 'near_across', 'equal_within', 'near_within')
# Sides of objects are counted between these limits, in pixels.
_SIDES = (0, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, float('inf'))


def write_dataset_page(found: Examination, path: str | Path, *, title: str) -> Path:
    """Write the page."""
    boxes = sum(len(part.image) for part in found.parts)
    images = sum(len(part.file_names) for part in found.parts)
    counts = {severity: len(list(group)) for severity, group in groupby(found.verdicts, key=lambda v: v.severity)}
    tiles = {'images': f'{images:,}', 'boxes': f'{boxes:,}', 'classes': len(_class_names(found))}
    tiles.update({f'{name}s': counts.get(name, 0) for name in ('error', 'warning', 'note')})
    shown = ''.join(
        f'<div class="tile"><span>{escaped(name)}</span><b>{escaped(value)}</b></div>' for name, value in tiles.items()
    )
    body = [
        f'<div class="tiles">{shown}</div>',
        _verdicts(found),
        section('Files', [_scroll(_parts_table(found))], 'full'),
        section('What a training and a test use', _accounts(found), 'two'),
        section('Classes', [_scroll(_class_table(found)), _class_chart(found)], 'two'),
        section('Sizes', [_scroll(_size_table(found)), _side_chart(found), _image_sizes(found)], 'two'),
        section('Priors and bins of the head', _coverage_tables(found), 'two'),
        section('Tiles', [_scroll(_tile_table(found))], 'full'),
    ]
    return write_page(path, title, {}, body)


def _scroll(content: str) -> str:
    return f'<div class="scroll">{content}</div>' if content else ''


def _class_names(found: Examination) -> list[str]:
    return list(dict.fromkeys(name for part in found.parts for name in part.classes or part.class_names))


# ------------------------------------------------------------------------------------------------------- verdicts


def _verdicts(found: Examination) -> str:
    if not found.verdicts:
        checked = 'records, classes and boxes' + (', image files' if found.facts else '; no image files were at hand')
        return f'<h2>Verdicts</h2><div class="card verdict ok"><h3><span>ok</span>Nothing was found.</h3><p class="advice">Checked: {checked}.</p></div>'
    pictured = [verdict for verdict in found.verdicts if verdict.code not in _NO_PICTURE and verdict.examples]
    each = max(1, min(_PICTURES, _ALL_PICTURES // max(len(pictured), 1)))
    pictures = {verdict.code: _pictures(found, verdict, each) for verdict in pictured}
    share = PICTURE_BYTES / max(sum(map(len, pictures.values())), 1)
    cards = []
    for verdict in found.verdicts:
        figures = ''.join(figure(picture, share, 2 * _SIDE) for picture in pictures.get(verdict.code, ()))
        cards.append(
            f'<div class="card verdict {verdict.severity}"><h3><span>{verdict.severity}</span>{escaped(verdict.text)}</h3>'
            f'<p class="advice">{escaped(verdict.advice)}</p>{_cases(found, verdict)}'
            + (f'<div class="pictures">{figures}</div>' if figures else '')
            + '</div>'
        )
    return f'<h2>Verdicts</h2>{"".join(cards)}'


def _cases(found: Examination, verdict: Verdict) -> str:
    """The cases of a verdict as a list that opens on a click."""
    several = len(found.parts) > 1
    names = list(verdict.names)
    for example in verdict.examples if not names else ():
        part = found.parts[example.part]
        text = example.text or part.image_name(example.image)
        if example.rows:
            text += ': ' + ', '.join(
                '[' + ', '.join(f'{value:.4g}' for value in part.bbox[row]) + ']' for row in example.rows
            )
        names.append(f'{part.name}: {text}' if several else text)
    if not names:
        return ''
    items = ''.join(f'<li>{escaped(name)}</li>' for name in names[:_NAMES])
    more = f'<li>and {verdict.total - _NAMES:,} more; the first 200 are in the JSON file</li>'
    rest = more if verdict.total > _NAMES else ''
    return f'<details><summary>cases</summary><ul>{items}{rest}</ul></details>'


def _pictures(found: Examination, verdict: Verdict, limit: int) -> list[tuple[np.ndarray, str]]:
    """Pictures of the first cases, each of another image where there are enough, with captions."""
    if verdict.code in _PAIRS:
        pairs = [list(group)[:2] for _, group in groupby(verdict.examples, key=lambda example: example.text)]
        return [_pair_picture(found, pair) for pair in pairs[:limit]]
    groups = list(by_image(verdict.examples).values())
    # One case of each image first, then the second ones.
    ordered = [group[k] for k in range(max(map(len, groups))) for group in groups if k < len(group)]
    return [_case_picture(found, example) for example in ordered[:limit]]


def _case_picture(found: Examination, example: Example) -> tuple[np.ndarray, str]:
    part = found.parts[example.part]
    image, known = _load(found, example)
    caption = f'{part.name}: {example.text or part.image_name(example.image)}'
    if not known:
        caption += ' (no image at hand)'
    height, width = image.shape[:2]
    own = np.flatnonzero(part.image == example.image)
    corners = np.concatenate([part.bbox[:, :2], part.bbox[:, :2] + part.bbox[:, 2:]], axis=1)
    rows = list(example.rows)
    marked = corners[rows] if rows else np.zeros((0, 4))
    x1, y1, x2, y2 = _window(marked, width, height)
    view = _cut(image, x1, y1, x2, y2)
    zoom = _SIDE / max(view.shape[:2])
    size = max(1, round(view.shape[1] * zoom)), max(1, round(view.shape[0] * zoom))
    view = cv2.resize(view, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)

    def moved(boxes: np.ndarray) -> np.ndarray:
        return (boxes - [x1, y1, x1, y1]) * zoom

    if not rows:
        labels = np.maximum(part.label[own], 0)
        return draw_boxes(view, moved(corners[own]), labels, line_width=2, show_labels=False, legend=False), caption
    others = [row for row in own.tolist() if row not in example.rows]
    for box in moved(corners[others]):
        if box[2] > 0 and box[3] > 0 and box[0] < size[0] and box[1] < size[1]:
            draw_outline(view, box, _OTHERS, [0])
    labels = np.maximum(part.label[rows], 0)
    view = draw_boxes(view, moved(marked), labels, line_width=2, show_labels=False, legend=False)
    for row, box in zip(rows, moved(marked)):
        if part.rotation[row]:
            sides = (box[2] - box[0], box[3] - box[1])
            turned = cv2.boxPoints(((box[0] + sides[0] / 2, box[1] + sides[1] / 2), sides, part.rotation[row]))
            cv2.polylines(view, [turned.round().astype(np.int32)], True, _TURNED, 2, cv2.LINE_AA)
    return view, caption


def _pair_picture(found: Examination, pair: Sequence[Example]) -> tuple[np.ndarray, str]:
    views, names = [], []
    for example in pair:
        image, _ = _load(found, example)
        zoom = _SIDE / image.shape[1]
        views.append(cv2.resize(image, (_SIDE, max(1, round(image.shape[0] * zoom))), interpolation=cv2.INTER_AREA))
        names.append(f'{found.parts[example.part].name}: {found.parts[example.part].image_name(example.image)}')
    if len(views) < 2:  # one file that two splits name, of which the other entry was not kept
        return views[0], names[0]
    return side_by_side(views[0], views[1], None), ' | '.join(names)


def _load(found: Examination, example: Example) -> tuple[np.ndarray, bool]:
    """The image of a case, RGB, and whether it is at hand; a blank one of its size otherwise."""
    part = found.parts[example.part]
    path = part.path_of(example.image)
    if path is not None and os.path.isfile(path):
        with contextlib.suppress(MMDetError):  # it is listed among the unreadable files
            return np.ascontiguousarray(decode_image(path, value_range='minmax')[..., ::-1]), True
    width, height = found.sizes[example.part][example.image].tolist()
    if not width or not height:  # as large as its boxes
        own = part.bbox[part.image == example.image]
        width, height = (
            np.clip(np.ceil((own[:, :2] + own[:, 2:]).max(axis=0, initial=64)), 64, 1e5).astype(int).tolist()
        )
    # A picture of nothing needs no more pixels than are shown, but the boxes are in pixels of the image.
    return np.broadcast_to(np.uint8(_PAPER), (height, width, 3)), False


def _window(marked: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of an image (or beyond it) that shows boxes (m, 4) xyxy with some context; all of the image without boxes."""
    if not len(marked):
        return 0, 0, width, height
    left, top = np.minimum(marked[:, :2], marked[:, 2:]).min(axis=0)
    right, bottom = np.maximum(marked[:, :2], marked[:, 2:]).max(axis=0)
    # Of a box outside the image, some of the image is shown, too.
    left, top = min(left, width - _EDGE), min(top, height - _EDGE)
    right, bottom = max(right, _EDGE), max(bottom, _EDGE)
    side = max(right - left, bottom - top) * _CONTEXT
    side = float(np.clip(side, min(_LEAST_CROP, max(width, height)), 4 * max(width, height)))
    x, y = (left + right) / 2 - side / 2, (top + bottom) / 2 - side / 2
    # Moved into the image as far as the boxes stay in view.
    x = min(max(x, 0.0), max(width - side, 0.0)) if left >= 0 and right <= width else x
    y = min(max(y, 0.0), max(height - side, 0.0)) if top >= 0 and bottom <= height else y
    x2, y2 = x + side, y + side
    if left >= 0 and right <= width:
        x2 = min(x2, max(float(width), right))
    if top >= 0 and bottom <= height:
        y2 = min(y2, max(float(height), bottom))
    return int(np.floor(x)), int(np.floor(y)), max(int(np.ceil(x2)), int(x) + 1), max(int(np.ceil(y2)), int(y) + 1)


def _cut(image: np.ndarray, x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    """A window of an image, at most 2,000 pixels long, grey where it lies beside the image."""
    step = max(1, max(x2 - x1, y2 - y1) // 2000)
    height, width = image.shape[:2]
    xs, ys = np.arange(x1, x2, step), np.arange(y1, y2, step)
    view = np.full((len(ys), len(xs), 3), _BESIDE, np.uint8)
    in_x, in_y = (xs >= 0) & (xs < width), (ys >= 0) & (ys < height)
    if in_x.any() and in_y.any():
        view[np.ix_(in_y, in_x)] = image[np.ix_(ys[in_y], xs[in_x])]
    return view


# --------------------------------------------------------------------------------------------------------- tables


def _parts_table(found: Examination) -> str:
    rows, places = [], []
    for part in found.parts:
        boxes = np.bincount(part.image, minlength=len(part.file_names))
        most = int(boxes.max(initial=0))
        counted = int(part.counted.sum())
        row = (len(part.file_names), int((boxes == 0).sum()), counted, len(part.image) - counted)
        mean = f'{boxes.mean():.1f}' if len(boxes) else '–'
        rows.append((part.name, *(f'{value:,}' for value in row), mean, f'{most:,}'))
        root = 'not at hand' if part.image_root is None else part.image_root or 'named by the records'
        places.append(f'<b>{escaped(part.name)}</b> {escaped(part.source)}, images {escaped(root)}')
    head = ('part', 'images', 'without boxes', 'objects', 'ignored or crowd', 'boxes an image', 'at most')
    return f'{table(head, rows)}<p class="facts">{"<br>".join(places)}</p>'


def _accounts(found: Examination) -> list[str]:
    cards = []
    for part in found.parts:
        lines = part.account or ([f'refused: {part.refusal}'] if part.refusal else [])
        if lines:
            cards.append(f'<b>{escaped(part.name)}</b><pre>{escaped(chr(10).join(lines))}</pre>')
    return cards


def _class_table(found: Examination) -> str:
    counts = [class_counts(part) for part in found.parts]
    every = (name for part in found.parts for name in (*(part.classes or ()), *part.class_names))
    names = sorted(dict.fromkeys(every), key=lambda name: -sum(count.get(name, 0) for count in counts))
    ids = [dict(zip(reversed(part.class_names), reversed(part.category_ids))) for part in found.parts]
    rows = []
    for name in names[:_MAX_CLASSES]:
        own_ids = list(dict.fromkeys(str(group[name]) for group in ids if group.get(name) is not None))
        wanted = [part.classes for part in found.parts if part.classes is not None]
        note = '' if not wanted or any(name in classes for classes in wanted) else ' (not in the config)'
        shown = (f'{count[name]:,}' if name in count else '–' for count in counts)
        rows.append((f'{name}{note}', ', '.join(own_ids) or '–', *shown))
    if len(names) > _MAX_CLASSES:
        rows.append((f'and {len(names) - _MAX_CLASSES} more', '', *('' for _ in counts)))
    return table(('class', 'id', *(part.name for part in found.parts)), rows)


def _class_chart(found: Examination) -> str:
    """Shares of the largest classes, by part."""
    counts = {part.name: class_counts(part) for part in found.parts[:_MAX_SERIES]}
    total: Counter[str] = Counter()
    for part_counts in counts.values():
        total.update(part_counts)
    names = [name for name, count in total.most_common(8) if count]
    series = []
    for name, part_counts in counts.items():
        whole = max(sum(part_counts.values()), 1)
        series.append((name, [100 * part_counts.get(label, 0) / whole for label in names]))
    labels = [name if len(name) <= 10 else f'{name[:9]}…' for name in names]
    return bar_chart(labels, series, title='Objects by class, % of a part', x_label='')


def _size_table(found: Examination) -> str:
    rows = []
    for row in found.shares:
        shares = (f'{100 * share:.1f}' for share in row.shares)
        rows.append((f'{row.part}, {row.where}', *shares, f'{row.median:.1f}', f'{row.boxes:,}'))
    head = ('objects of', 'small %', 'medium %', 'large %', 'median side', 'objects')
    return table(head, rows) + '<p class="facts">Small: below 32 x 32 pixels, large: above 96 x 96.</p>' if rows else ''


def _side_chart(found: Examination) -> str:
    series = []
    for part in found.parts[:_MAX_SERIES]:
        side = np.sqrt(np.maximum(part.bbox[part.counted, 2:], 0).prod(axis=1))
        count = np.histogram(side, _SIDES)[0]
        series.append((part.name, (100 * count / max(count.sum(), 1)).tolist()))
    labels = [f'<{high:g}' if high < np.inf else f'{low:g}+' for low, high in zip(_SIDES, _SIDES[1:])]
    title, x_label = 'Side of the objects, % of a part', 'square root of the area, pixels of the file'
    return bar_chart(labels, series, title=title, x_label=x_label)


def _image_sizes(found: Examination) -> str:
    rows: list[tuple] = []
    for part, sizes_wh in zip(found.parts, found.sizes):
        known = sizes_wh[(sizes_wh > 0).all(axis=1)]
        frequent = Counter(map(tuple, known.tolist())).most_common(4)
        for (width, height), count in frequent:
            rows.append((f'{part.name}: {width} x {height}', f'{count:,}'))
        rest = len(known) - sum(count for _, count in frequent)
        if rest:
            rows.append((f'{part.name}: other sizes', f'{rest:,}'))
        if len(known) < len(sizes_wh):
            rows.append((f'{part.name}: not known', f'{len(sizes_wh) - len(known):,}'))
    return table(('width x height', 'images'), rows)


def _coverage_tables(found: Examination) -> list[str]:
    cards = []
    for row in found.coverages:
        has_bins = row.head.reg_max is not None
        bins = f', reg_max={row.head.reg_max}' if has_bins else ''
        level_rows = []
        for stride, boxes, beyond in zip(row.strides, row.on_level.tolist(), row.beyond.tolist()):
            shown = (f'{beyond:,}', f'{100 * beyond / boxes:.1f}' if boxes else '–') if has_bins else ('–', '–')
            level_rows.append((f'stride {stride}', f'{boxes:,}', *shown))
        text = f'{row.boxes:,} boxes: {100 * row.unmatched_share:.1f} % without a positive prior'
        if has_bins:
            text += f', {100 * row.beyond_share:.1f} % beyond the last bin; reg_max={row.needed} holds 99 % of them'
        note = f' ({row.head.note})' if row.head.note else ''
        tried = ''
        if row.tried:
            tried_rows = [(setting, *(f'{100 * share:.1f}' for share in shares)) for setting, *shares in row.tried]
            tried = table(('tried', 'beyond %', 'unmatched %'), tried_rows)
        cards.append(
            f'<b>{escaped(row.head.name)}{escaped(bins)}</b> at {escaped(row.size)}{escaped(note)}'
            + table(('level', 'boxes with a positive prior', 'beyond the last bin', '%'), level_rows)
            + f'<p class="facts">{escaped(text)}.</p>{tried}'
        )
    return cards


def _tile_table(found: Examination) -> str:
    rows = []
    for name, (size, advice) in found.tiles.items():
        tile = f'{advice.tile} x {advice.tile}' if advice.tile else 'no'
        foreground = '–' if advice.foreground is None else f'{100 * advice.foreground:.0f}'
        zoom, overlap = (f'{advice.zoom:.1f}', f'{advice.overlap:g}') if advice.tile else ('–', '–')
        rows.append((f'{name}, {size.label}', f'{100 * advice.small_share:.0f}', tile, overlap, zoom, foreground))
    head = ('objects of', 'small %', 'tiles', 'overlap', 'zoom', 'regions, % of the image')
    return table(head, rows) if rows else ''
