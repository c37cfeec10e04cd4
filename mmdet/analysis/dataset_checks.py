"""The checks of a data set: records, classes, boxes, image files. Each adds to the findings.

Letters: n boxes, I images of a part; m boxes of an image.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..formats.image_files import images_below
from ..utils.progress import progress
from .dataset_findings import Example, Findings
from .dataset_images import ImageFacts, equal_files, near_files
from .dataset_reading import DatasetPart

# Boxes end at 'last pixel + 1' or at 'last pixel', and tools round: one pixel over the border is no fault.
BORDER_TOLERANCE = 1.0  # pixels
# Different objects of one class do not coincide: of the 38,759 objects of VisDrone's crowded validation images, two pairs do.
REPEATED_IOU = 0.95
# The thinnest of the 45,000 boxes of VisDrone's validation set, BCCD and a sample of COCO is 9 times as long as wide.
THIN_RATIO = 20.0
# With the usual sampling, a class with a hundredth of the boxes of the largest has less than 1 % of the positives.
IMBALANCE = 100
# In VisDrone's validation set 3.5 % of the rows are ignored, in a sample of COCO 1.4 %: an exception. A fifth is none.
IGNORED_SHARE = 0.2
# Grey levels. A black frame holds sensor noise of 1 to 2; the flattest of 80 images of VisDrone has 4.4.
BLANK_CONTRAST = 2.0
# A file of boxes that are all within the unit square has shares, not pixels; a few such boxes are slips.
NORMALISED_LIMIT = 1.5
# Corners taken for sizes reach over the border for most boxes, and none does as corners; a few boxes can do that by chance.
CORNERS_SHARE = 0.5
CORNERS_BOXES = 5
_EXAMPLES = 50  # of a kind and part


def check_records(parts: Sequence[DatasetPart], facts: Mapping[str, ImageFacts], findings: Findings) -> None:
    """Records that a dataset would refuse or leave out, images without boxes, shares of ignored boxes.

    Args:
        parts: the data set.
        facts: of the image files: one that cannot be read may have lost its boxes by that.
        findings: are added to.
    """
    for number, part in enumerate(parts):
        for code, names in part.faults.items():
            findings.add(code, part.name, len(names), names=[f'{part.name}: {name}' for name in names])
        if not part.annotated:
            findings.add('no_annotations', part.name, len(part.file_names))
            continue
        boxes = np.bincount(part.image, minlength=len(part.file_names))
        readable = [image for image in range(len(part.file_names)) if not _is_broken(part.path_of(image), facts)]
        empty = [image for image in readable if boxes[image] == 0]
        findings.add('empty_images', part.name, len(empty), examples=(Example(number, image) for image in empty))
        for reason, count in part.left_out.items():
            text = f'{part.name}: {count:,} {reason.removesuffix(" (left out)")}.'
            findings.add('left_out', part.name, count, detail=text, names=[text])
        ignored = int(part.ignored.sum())
        if ignored > IGNORED_SHARE * len(part.image):
            share = f'{part.name}: {ignored / len(part.image):.0%} of its boxes.'
            findings.add('ignored_share', part.name, ignored, detail=share)
        entries = Counter(name for name in part.file_names if name)
        twice = [name for name, count in entries.items() if count > 1]
        findings.add('repeated_files', part.name, len(twice), names=[f'{part.name}: {name}' for name in twice])


def _is_broken(path: str | None, facts: Mapping[str, ImageFacts]) -> bool:
    found = facts.get(path or '')
    return found is not None and found.error != ''


def check_refusals(parts: Sequence[DatasetPart], findings: Findings) -> None:
    """What the config's datasets refuse, unless an error that was found explains it."""
    explained = any(verdict.severity == 'error' for verdict in findings.verdicts())
    for part in parts:
        if part.refusal and not explained:
            findings.add('refused', part.name, 1, names=[part.refusal], detail=f'"{part.refusal[:300]}"')


# -------------------------------------------------------------------------------------------------------- classes


def _folded(name: str) -> str:
    """What names have in common that differ in case, blanks, hyphens and underscores only."""
    return ''.join(name.split()).replace('-', '').replace('_', '').casefold()


def class_counts(part: DatasetPart) -> dict[str, int]:
    """Boxes of each class of the file, without ignored ones."""
    counts = np.bincount(part.label[part.counted], minlength=len(part.class_names))
    found: dict[str, int] = {}
    for name, count in zip(part.class_names, counts.tolist()):
        found[name] = found.get(name, 0) + count
    return found


def root_categories(part: DatasetPart) -> list[str]:
    """Names of categories without a box whose name is the super-category of all others, as Roboflow writes them."""
    counts = class_counts(part)
    return [
        name
        for position, name in enumerate(part.class_names)
        if not counts[name]
        and len(part.class_names) > 1
        and all(above == name for k, above in enumerate(part.supercategories) if k != position)
        and part.supercategories[position] != name
    ]


def check_classes(parts: Sequence[DatasetPart], findings: Findings) -> None:
    """Names that do not match, classes without boxes, balance."""
    spelled = _check_spelling(parts, findings)
    roots: set[str] = set()
    for part in parts:
        repeated = [name for name, count in Counter(part.class_names).items() if count > 1]
        findings.add('repeated_names', part.name, len(repeated), names=[f'{part.name}: {name!r}' for name in repeated])
        wanted = part.classes
        own = [name for name in root_categories(part) if wanted is None or name in wanted]
        roots.update(own)
        _add_names(findings, 'root_category', part.name, own, [f'{part.name}: {name!r}' for name in own])
        if wanted is None:
            continue
        missing = [name for name in wanted if name not in part.class_names and _folded(name) not in spelled]
        _add_names(findings, 'missing_classes', part.name, missing)
        counts = class_counts(part)
        extra = {name: count for name, count in counts.items() if name not in wanted and _folded(name) not in spelled}
        left_out = _listed([name for name in extra if extra[name]])
        findings.add('left_out_classes', part.name, sum(extra.values()), detail=left_out)
    _check_balance(parts, findings, roots)
    _check_ids(parts, findings)


def _check_spelling(parts: Sequence[DatasetPart], findings: Findings) -> set[str]:
    """The folded names that are spelled in several ways."""
    places: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for part in parts:
        for name in part.class_names:
            places[_folded(name)][name].add(part.name)
        for name in part.classes or ():
            places[_folded(name)][name].add('config')
    spelled = {folded: spellings for folded, spellings in places.items() if len(spellings) > 1 and folded}
    for spellings in spelled.values():
        first, *others = spellings
        text = ' and '.join(f'{name!r} ({", ".join(sorted(where))})' for name, where in spellings.items())
        where = sorted(set().union(*(spellings[name] for name in others)))
        findings.add('class_spelling', ', '.join(where), 1, detail=f'{text}.', names=[text])
    return set(spelled)


def _check_balance(parts: Sequence[DatasetPart], findings: Findings, roots: set[str]) -> None:
    totals: dict[str, Counter] = {}  # by split
    for part in parts:
        if part.annotated:
            wanted = {name: 0 for name in part.classes or part.class_names if name not in roots}
            totals.setdefault(part.split, Counter(wanted)).update(
                {name: count for name, count in class_counts(part).items() if name in wanted}
            )
    if not totals:
        return
    train = next((split for split in totals if 'train' in split), None)
    known = Counter[str]()
    for counts in totals.values():
        known.update(counts)
    unused = [name for name, count in known.items() if not count]
    _add_names(findings, 'unused_classes', 'all parts' if len(parts) > 1 else parts[0].name, unused)
    for split, counts in totals.items():
        if train is not None and split != train:
            spelled = Counter(map(_folded, totals[train]))
            unseen = [name for name, count in counts.items() if count and not totals[train].get(name)]
            # A name that the training split has in another spelling is another finding.
            unseen = [name for name in unseen if spelled[_folded(name)] == (name in totals[train])]
            _add_names(findings, 'split_classes', split, unseen)
    split = train or next(iter(totals))
    largest = max(totals[split].values(), default=0)
    rare = [name for name, count in totals[split].items() if 0 < count * IMBALANCE < largest]
    _add_names(findings, 'imbalance', split, rare, [f'{name}: {totals[split][name]}' for name in rare])


def _check_ids(parts: Sequence[DatasetPart], findings: Findings) -> None:
    ids: dict[str, dict] = defaultdict(dict)
    for part in parts:
        for name, category_id in zip(part.class_names, part.category_ids):
            if category_id is not None:
                ids[name].setdefault(category_id, part.name)
    several = [name for name, found in ids.items() if len(found) > 1]
    places = {name: ', '.join(f'{place} {number}' for number, place in ids[name].items()) for name in several}
    names = [f'{name!r}: {text}' for name, text in places.items()]
    if not {'repeated_names', 'class_spelling'} & {verdict.code for verdict in findings.verdicts()}:
        _add_names(findings, 'other_ids', 'all parts', several, names)


def _add_names(
    findings: Findings, code: str, where: str, names: Sequence[str], cases: Sequence[str] | None = None
) -> None:
    """Add a case for each name of a class; ``cases`` are the texts of the list where they say more than the name."""
    findings.add(code, where, len(names), detail=_listed(names), names=names if cases is None else cases)


def _listed(names: Sequence[str], limit: int = 8) -> str:
    """The first names as a sentence."""
    if not names:
        return ''
    text = ', '.join(map(repr, names[:limit]))
    return f'{text}.' if len(names) <= limit else f'{text} and {len(names) - limit} more.'


# ---------------------------------------------------------------------------------------------------------- boxes


def check_boxes(parts: Sequence[DatasetPart], sizes: Sequence[np.ndarray], findings: Findings) -> None:
    """Boxes that cannot be right.

    Args:
        parts: the data set.
        sizes: for each part (I, 2) widths and heights of the images as they are, 0 where unknown.
    """
    for number, (part, sizes_wh) in enumerate(zip(parts, sizes)):
        rows = np.flatnonzero(part.counted)
        x, y, w, h = part.bbox[rows].T
        areal = (w > 0) & (h > 0)
        _add_boxes(findings, 'no_area', number, part, rows[~areal])
        angle = np.abs(part.rotation[rows]) % 180
        _add_boxes(findings, 'rotated', number, part, rows[(np.minimum(angle, 180 - angle) > 0.5)])
        if areal.any() and max((x + w)[areal].max(), (y + h)[areal].max()) <= NORMALISED_LIMIT:
            largest = f'The largest coordinate of {len(rows):,} boxes is {max((x + w).max(), (y + h).max()):.3g}.'
            findings.add('normalised', part.name, 1, detail=largest)
            continue
        small = areal & ((w < 1) | (h < 1))
        _add_boxes(findings, 'below_pixel', number, part, rows[small])
        # Of an image whose size is another one than the file states, that is the finding; its boxes tell no more.
        stated = ((part.sizes_wh == 0) | (part.sizes_wh == sizes_wh)).all(axis=1) & (sizes_wh > 0).all(axis=1)
        _check_borders(findings, number, part, rows[areal & stated[part.image[rows]]], sizes_wh)
        sides = np.sort(part.bbox[rows, 2:], axis=1)
        thin = areal & ~small & (sides[:, 1] > THIN_RATIO * np.maximum(sides[:, 0], 1))
        order = np.argsort(-sides[:, 1] / np.maximum(sides[:, 0], 1), kind='stable')
        _add_boxes(findings, 'thin', number, part, rows[order[thin[order]]])
        _check_repeats(findings, number, part, rows[areal & ~small])


def _add_boxes(
    findings: Findings, code: str, number: int, part: DatasetPart, rows: np.ndarray, detail: str = ''
) -> None:
    findings.add(code, part.name, len(rows), detail=detail, examples=_examples(number, part, rows[:_EXAMPLES]))


def _examples(number: int, part: DatasetPart, rows: np.ndarray) -> list[Example]:
    return [Example(number, int(part.image[row]), (row,), part.box_name(row)) for row in rows.tolist()]


def _check_borders(findings: Findings, number: int, part: DatasetPart, rows: np.ndarray, sizes_wh: np.ndarray) -> None:
    x, y, w, h = part.bbox[rows].T
    width, height = sizes_wh[part.image[rows]].T
    over = np.max([-x, -y, x + w - width, y + h - height], axis=0)
    outside = (x >= width) | (y >= height) | (x + w <= 0) | (y + h <= 0)
    beyond = over > BORDER_TOLERANCE
    as_corners = (w > x) & (h > y) & (w <= width + BORDER_TOLERANCE) & (h <= height + BORDER_TOLERANCE)
    if beyond.sum() >= CORNERS_BOXES and as_corners.all() and beyond.mean() >= CORNERS_SHARE:
        findings.add(
            'corner_boxes', part.name, 1,
            detail=f'{beyond.mean():.0%} of the boxes reach over the border; read as corners, none does.',
            examples=_examples(number, part, rows[beyond][:4]),
        )  # fmt: skip
        return
    _add_boxes(findings, 'outside', number, part, rows[outside])
    partly = beyond & ~outside
    order = np.argsort(-over, kind='stable')
    worst = f'{part.name}: by up to {over[partly].max():.0f} pixels.' if partly.any() else ''
    _add_boxes(findings, 'over_border', number, part, rows[order[partly[order]]], worst)


def _check_repeats(findings: Findings, number: int, part: DatasetPart, rows: np.ndarray) -> None:
    """Pairs of boxes of one image with an IoU above :data:`REPEATED_IOU`, or equal."""
    order = rows[np.argsort(part.image[rows], kind='stable')]
    starts = np.flatnonzero(np.diff(part.image[order], prepend=-1, append=-1))
    same: list[Example] = []
    other: list[Example] = []
    for start, end in progress(list(zip(starts[:-1].tolist(), starts[1:].tolist())), f'{part.name}: repeated boxes'):
        if end - start < 2:
            continue
        own = order[start:end]
        for first, second in _equal_pairs(part.bbox[own]):
            a, b = int(own[first]), int(own[second])
            if part.label[a] == part.label[b]:
                same.append(Example(number, int(part.image[a]), (a, b), part.box_name(b)))
            else:
                text = f'{part.box_name(a)} and {part.class_names[part.label[b]]}'
                other.append(Example(number, int(part.image[a]), (a, b), text))
    for code, found in (('repeated', same), ('two_classes', other)):
        # A box that repeats two others is one box too many, not two.
        count = len({example.rows[1] for example in found})
        findings.add(code, part.name, count, examples=found[:_EXAMPLES])


def _equal_pairs(boxes: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of xywh boxes (m, 4) whose IoU is above :data:`REPEATED_IOU`.

    Boxes with such an IoU have nearly the same left edge, so that each is compared with the few that follow it from left to right.
    """
    order = np.argsort(boxes[:, 0], kind='stable')
    x, y, w, h = boxes[order].T
    pairs: list[tuple[int, int]] = []
    # The common part is no higher than the left one of the two, so that IoU > t needs a common width above t * w.
    reach = x + (1 - REPEATED_IOU) * w
    ends = np.searchsorted(x, reach, side='right')
    for i in np.flatnonzero(ends - np.arange(len(x)) > 1).tolist():
        j = np.arange(i + 1, ends[i])
        overlap_w = np.minimum(x[i] + w[i], x[j] + w[j]) - np.maximum(x[i], x[j])
        overlap_h = np.minimum(y[i] + h[i], y[j] + h[j]) - np.maximum(y[i], y[j])
        common = np.maximum(overlap_w, 0) * np.maximum(overlap_h, 0)
        union = w[i] * h[i] + w[j] * h[j] - common
        pairs += [tuple(sorted((int(order[i]), int(order[k])))) for k in j[common > REPEATED_IOU * union]]  # type: ignore[misc]
    return pairs


# --------------------------------------------------------------------------------------------------------- images


def check_images(
    parts: Sequence[DatasetPart], facts: Mapping[str, ImageFacts], missing: Sequence[Sequence[int]], findings: Findings
) -> list[np.ndarray]:
    """Files that are missing, unreadable, near empty, of another size, or there twice.

    Args:
        parts: the data set.
        facts: of the files that were read, by path.
        missing: for each part the images without a file.
        findings: are added to.

    Returns:
        For each part (I, 2) the sizes of the images as they are: of the pixels where they were read, else as the file states them.
    """
    sizes = []
    for number, part in enumerate(parts):
        absent = missing[number]
        examples = [Example(number, image, (), str(part.path_of(image))) for image in absent]
        findings.add('missing_files', part.name, len(absent), examples=examples)
        sizes.append(_check_part(number, part, facts, findings))
        unknown = int((sizes[-1] == 0).any(axis=1).sum()) if part.annotated else 0
        # The sizes of missing and broken files are not known for a reason that was given.
        if 'missing_files' not in findings and 'unreadable' not in findings:
            findings.add('unknown_sizes', part.name, unknown)
    _check_unlisted(parts, findings)
    _check_twice(parts, facts, findings)
    return sizes


def _check_part(number: int, part: DatasetPart, facts: Mapping[str, ImageFacts], findings: Findings) -> np.ndarray:
    sizes_wh = part.sizes_wh.copy()
    bounds = box_bounds(part)
    codes = ('unreadable', 'deep_pixels', 'animated', 'blank', 'size_swapped', 'size_disagrees')
    cases: dict[str, list[Example]] = {code: [] for code in codes}
    stated_range = any(step.get('value_range') is not None for step in part.pipeline if isinstance(step, dict))
    for image, stated in enumerate(part.sizes_wh.tolist()):
        found = facts.get(part.path_of(image) or '')
        if found is None:
            continue
        name = part.image_name(image)
        if found.error:
            cases['unreadable'].append(Example(number, image, (), found.error))
            continue
        sizes_wh[image] = found.size_wh
        if found.depth and not stated_range:
            cases['deep_pixels'].append(Example(number, image, (), found.depth))
        if found.frames > 1:
            cases['animated'].append(Example(number, image, (), f'{name}: {found.frames} pictures'))
        if found.contrast < BLANK_CONTRAST:
            cases['blank'].append(Example(number, image, (), f'{name}: contrast {found.contrast:.1f} grey levels'))
        if 0 not in stated and tuple(stated) != found.size_wh:
            text = f'{name}: the file says {stated[0]} x {stated[1]}, the pixels are {found.size_wh[0]} x {found.size_wh[1]}'
            fits = bounds[image] <= np.asarray(found.size_wh) + BORDER_TOLERANCE
            text += '; the boxes fit the pixels' if fits.all() else '; boxes reach over the border of the pixels'
            code = 'size_swapped' if tuple(stated[::-1]) == found.size_wh else 'size_disagrees'
            cases[code].append(Example(number, image, (), text))
    for code, found_cases in cases.items():
        findings.add(code, part.name, len(found_cases), examples=found_cases)
    return sizes_wh


def box_bounds(part: DatasetPart) -> np.ndarray:
    """(I, 2) the largest right and bottom edge of the boxes of each image, 0 without boxes."""
    bounds = np.zeros((len(part.file_names), 2))
    np.maximum.at(bounds, part.image, part.bbox[:, :2] + np.maximum(part.bbox[:, 2:], 0))
    return bounds


def _check_unlisted(parts: Sequence[DatasetPart], findings: Findings) -> None:
    roots: dict[str, list[DatasetPart]] = defaultdict(list)
    for part in parts:
        if part.image_root and '://' not in part.image_root:
            roots[part.image_root].append(part)
    for root, members in roots.items():
        names = [name.replace('\\', '/') for part in members for name in part.file_names]
        known = {os.path.normpath(os.path.join(root, name)) for name in names}  # absolute names, too
        paths = [path for path in images_below(root) if os.path.normpath(path) not in known]
        others = [path.relative_to(root).as_posix() for path in paths]
        findings.add('unlisted_files', ', '.join(part.name for part in members), len(others), names=others)


def _check_twice(parts: Sequence[DatasetPart], facts: Mapping[str, ImageFacts], findings: Findings) -> None:
    places: dict[str, list[Example]] = defaultdict(list)
    for number, part in enumerate(parts):
        for image in range(len(part.file_names)):
            path = part.path_of(image)
            if path is not None and path in facts:
                places[path].append(Example(number, image, (), part.image_name(image)))
    listed = {path: facts[path] for path in places}
    for path, found in places.items():  # one file that two splits name
        _add_pairs(parts, [found], 'equal', path, findings)
    for group in equal_files(listed):
        _add_pairs(parts, [places[path] for path in group], 'equal', ' = '.join(group[:3]), findings)
    for first, second, bits in near_files(listed):
        text = f'{first} and {second}: {bits} bits differ'
        _add_pairs(parts, [places[first], places[second]], 'near', text, findings)


def _add_pairs(
    parts: Sequence[DatasetPart], groups: Sequence[list[Example]], kind: str, text: str, findings: Findings
) -> None:
    """Entries of files that are equal or alike: a finding across splits if they are in several, else within one."""
    entries = [example for group in groups for example in group]
    names = list(dict.fromkeys(parts[example.part].split for example in entries))
    one_each = list({parts[example.part].split: example for example in reversed(entries)}.values())[::-1]
    if len(names) > 1:
        shown = [one._replace(text=text) for one in one_each]
        findings.add(f'{kind}_across', ' and '.join(sorted(names)), 1, examples=shown, names=[text])
    elif len(groups) > 1:
        shown = [group[0]._replace(text=text) for group in groups[:2]]
        findings.add(f'{kind}_within', names[0], len(groups) - 1, examples=shown, names=[text])


def by_image(examples: Iterable[Example]) -> dict[tuple[int, int], list[Example]]:
    """Examples by part and image, in their order."""
    found: dict[tuple[int, int], list[Example]] = {}
    for example in examples:
        found.setdefault((example.part, example.image), []).append(example)
    return found
