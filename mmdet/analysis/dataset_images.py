"""The image files of a data set: which can be read, which are near empty, which occur twice or look alike.

Letters: N files, B bits of a fingerprint.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import DataError, MMDetError
from ..formats.image_headers import count_frames
from ..formats.images import decode_image, image_size, read_image_bytes
from ..utils.progress import progress

_SIDE = 16  # the fingerprint compares 16 x 16 neighbouring pairs of pixels: B = 256 bits
BITS = _SIDE * _SIDE
# The same picture saved anew at quality 50, at half its size, brighter, or cut by four pixels differs in 3 to 24 of the 256 bits (80 photographs
# of COCO, VisDrone and BCCD). Two different ones differ in about half of them, and in 82 or more where they look as much alike as the blood smears
# of BCCD do.
NEAR_BITS = 32
_ROWS = 256  # files that are compared with all others at a time
_FLAT = 4.0  # grey levels, standard deviation of the thumbnail: fingerprints of pictures with less contrast are noise


class ImageFacts(NamedTuple):
    """What one file is.

    Attributes:
        size_wh: width and height in pixels as a dataset sees them, turned by EXIF; (0, 0) where the file cannot be read.
        error: why it cannot be read, else ''.
        digest: hash of the bytes of the file, b'' where it was not read.
        contrast: standard deviation of the grey levels, 0..127; NaN where the pixels were not read.
        bits: fingerprint, 32 bytes; b'' where the pixels were not read, or have no contrast.
        depth: what a reader without a value range says of pixels of more than 8 bits, else ''. They are examined from their darkest to their
            brightest.
        frames: pictures in the file; all but the first are never read.
    """

    size_wh: tuple[int, int]
    error: str = ''
    digest: bytes = b''
    contrast: float = float('nan')
    bits: bytes = b''
    depth: str = ''
    frames: int = 1


def read_facts(path: str, pixels: bool = True) -> ImageFacts:
    """Read one file; errors are facts, too. ``pixels`` False reads its header only."""
    try:
        if not pixels:
            return ImageFacts(image_size(path))
        data, depth = read_image_bytes(path), ''
        try:
            grey = decode_image(data, flag='grayscale', name=path)
        except DataError as error:
            if error.field != 'value_range':
                raise
            depth, grey = str(error), decode_image(data, flag='grayscale', name=path, value_range='minmax')
    except MMDetError as error:
        return ImageFacts((0, 0), str(error))
    height, width = grey.shape
    thumbnail = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    contrast = float(cv2.meanStdDev(grey)[1][0, 0])
    bits = np.packbits(thumbnail[:, 1:] > thumbnail[:, :-1]).tobytes() if thumbnail.std() >= _FLAT else b''
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return ImageFacts((width, height), '', digest, contrast, bits, depth, count_frames(data))


def scan_images(paths: Sequence[str], *, workers: int = 0, pixels: bool = True) -> dict[str, ImageFacts]:
    """Facts of each file. One image a worker is in memory at a time.

    Args:
        paths: N files; one that occurs twice is read once.
        workers: processes; 0 reads in this one.
        pixels: read the pixels, or (False) the headers only.
    """
    unique = list(dict.fromkeys(paths))
    label = 'images' if pixels else 'image headers'
    if not workers or len(unique) < 2 * workers:
        return {path: read_facts(path, pixels) for path in progress(unique, label)}
    with ProcessPoolExecutor(
        workers, mp_context=get_context('spawn'), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        results = _in_order(pool, unique, pixels, 4 * workers)
        return dict(zip(unique, progress(results, label, len(unique))))


def _in_order(pool: ProcessPoolExecutor, paths: Sequence[str], pixels: bool, ahead: int) -> Iterator[ImageFacts]:
    """Facts in the order of the paths, with at most ``ahead`` calls waiting."""
    rest = iter(paths)
    waiting: list[Future] = [pool.submit(read_facts, path, pixels) for path in islice(rest, ahead)]
    while waiting:
        yield waiting.pop(0).result()
        waiting.extend(pool.submit(read_facts, path, pixels) for path in islice(rest, 1))


def equal_files(facts: dict[str, ImageFacts]) -> list[list[str]]:
    """Groups of two and more files with the same bytes, in the order of their first file. Links to one file count as one file."""
    groups: dict[bytes, dict[str, str]] = defaultdict(dict)
    for path, found in facts.items():
        if found.digest:
            groups[found.digest].setdefault(os.path.realpath(path), path)
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def near_files(facts: dict[str, ImageFacts]) -> list[tuple[str, str, int]]:
    """Pairs of files that differ in their bytes and in at most :data:`NEAR_BITS` bits of the fingerprint, with that number, nearest first.

    Each file is paired with its nearest earlier one only, so that n views of one scene give n - 1 pairs. All pairs of files are compared: seconds for
    10,000 files, minutes for 100,000.
    """
    by_digest = {found.digest: path for path, found in reversed(facts.items()) if found.bits}
    paths = [path for path, found in facts.items() if by_digest.get(found.digest) == path]
    if len(paths) < 2:
        return []
    bits = np.unpackbits(np.frombuffer(b''.join(facts[path].bits for path in paths), np.uint8)).reshape(len(paths), -1)
    signs = bits.astype(np.float32) * 2 - 1  # (N, B); a scalar product is B less twice the number of different bits
    pairs = []
    for start in progress(range(0, len(paths), _ROWS), 'comparing images'):
        rows = signs[start : start + _ROWS]
        products = rows @ signs[: start + len(rows)].T  # (rows, files up to the last of them)
        later = np.arange(products.shape[1]) >= np.arange(start, start + len(rows))[:, None]
        products[later] = -BITS
        best = products.argmax(axis=1)
        distances = (BITS - products[np.arange(len(rows)), best]) / 2
        pairs += [(paths[best[k]], paths[start + k], int(distances[k])) for k in np.flatnonzero(distances <= NEAR_BITS)]
    return sorted(pairs, key=lambda pair: pair[2])
