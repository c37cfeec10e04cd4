"""Small data sets for the tests of formats: images, and what annotation tools write about them."""

import cv2
import numpy as np

SIZES_WH = {'a': (64, 48), 'b': (101, 77)}
# Class, and left, top, width, height in pixels, of two images.
BOXES = {'a': [('cat', [3, 5, 17, 25]), ('dog', [10, 4, 23, 13])], 'b': [('dog', [0, 0, 101, 77])]}


def write_images(folder, names=('a', 'b'), suffix='.jpg'):
    """Grey pictures of the sizes of :data:`SIZES_WH` (8 x 6 for other names)."""
    for name in names:
        width, height = SIZES_WH.get(name, (8, 6))
        path = folder / f'{name}{suffix}'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def write_files(root, files):
    """Texts by path below a folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    return root


def rows_of(table):
    """Image stem -> its boxes as (class, [left, top, width, height]), in the order of the table."""
    found = {name.rpartition('/')[2].rpartition('.')[0]: [] for name in table.file_names}
    for image, category, box in zip(table.image, table.category, table.bbox.tolist()):
        stem = table.file_names[image].rpartition('/')[2].rpartition('.')[0]
        found[stem].append((table.category_names[category], box))
    return found
