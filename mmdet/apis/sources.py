"""The inputs of an inferencer (files, folders, patterns, arrays, addresses, videos) and the names of its outputs."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from mmengine.logging import print_log

from mmdet_runtime import sources as shared
from mmdet_runtime.images import IMAGE_SUFFIXES  # noqa: F401 - kept for code that imports it from here
from mmdet_runtime.sources import VIDEO_SUFFIXES, Entry, Source, collect_path, file_of, is_video  # noqa: F401

from ..errors import DataError, ModelInputError
from ..formats.geojson import is_georeferenced
from ..formats.pixels import ValueRange
from ..formats.videos import open_video
from ..utils.outputs import OutputNames, refuse_inputs, source_of
from ..visualization.drawing import picture_suffix

Item = TypeVar('Item')
Prepared = TypeVar('Prepared')

NAMES_FILE = Path('sources', 'names.jsonl')  # in the folder of outputs: which input each name belongs to


def collect_inputs(
    inputs: Any, *, recursive: bool = False, out_dir: str = '', value_range: ValueRange = None
) -> list[Entry]:
    """The images and videos that a user's inputs stand for, in order.

    Args:
        inputs: a path, an ``http(s)://`` address, a folder (its images, sorted), a glob pattern, an array, or a sequence of these.
        recursive: search folders below a folder too.
        out_dir: folder of outputs; pictures that an earlier call wrote below a searched folder are passed over.
        value_range: see :func:`check_array`.

    Raises:
        DataError: a path that does not exist, a pattern that matches nothing, or a folder without images.
        ModelInputError: an object of another type.
    """
    if isinstance(inputs, (str, os.PathLike)):
        path = os.fspath(inputs)
        if path.startswith(('http://', 'https://')):
            return [path]
        own = Path(out_dir, 'vis') if out_dir and Path(out_dir, NAMES_FILE).is_file() else None
        return [*collect_path(path, recursive, own)]
    if isinstance(inputs, np.ndarray):
        return [check_array(inputs, value_range)]
    if isinstance(inputs, Sequence):
        if not inputs:
            raise DataError('the list of inputs is empty')
        options: dict[str, Any] = dict(recursive=recursive, out_dir=out_dir, value_range=value_range)
        return [entry for item in inputs for entry in collect_inputs(item, **options)]
    message = 'inputs must be paths, folders, patterns, arrays, or a list of these'
    raise ModelInputError(message, received=type(inputs).__name__)


def check_array(image: np.ndarray, value_range: ValueRange = None) -> np.ndarray:
    """The array itself, if it is an image: uint8, (H, W), (H, W, 1), BGR (H, W, 3) or BGRA (H, W, 4); with a value range also of other numbers.

    Raises:
        ModelInputError: another type or shape.
    """
    if image.dtype != np.uint8 and (value_range is None or image.dtype.kind not in 'iuf'):
        message = (
            'an image array of other integers or floating point needs a value_range of DetInferencer or LoadImageFromFile: '
            "(low, high), 'full' or 'minmax'; without one it must be uint8 (0..255)"
        )
        raise ModelInputError(message, received=str(image.dtype))
    if not image.size or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ModelInputError('an image array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)', received=image.shape)
    return image


class InputNames:
    """Names every input for its outputs by :class:`~mmdet.utils.outputs.OutputNames`; arrays are numbered, on through all calls."""

    def __init__(self) -> None:
        self._names = OutputNames()
        self._arrays = 0

    def of_call(
        self, entries: Sequence[Entry], folder: Path | None, *, vis: bool = True, preds: bool = True
    ) -> list[str]:
        """Stems of the outputs of all entries of a call.

        Args:
            entries: what :func:`collect_inputs` returned.
            folder: folder of the outputs, or None.
            vis, preds: what is written there: ``vis/<stem>.<suffix>``, ``preds/<stem>.json``. The names are recorded in ``sources/names.jsonl``.

        Raises:
            ConfigError: pictures would be written into the folder of an input.
            DataError: the record of names cannot be written.
        """
        folder = None if folder is None or not (vis or preds) else Path(os.path.realpath(folder))
        if folder is not None and vis:
            inputs = dict.fromkeys(Path(entry).parent for entry in entries if isinstance(entry, str))
            refuse_inputs([folder / 'vis'], inputs, field='out_dir')
        if self._names.folder != folder:
            self._names = OutputNames(folder, folder and folder / NAMES_FILE)
        self._names.start_call()
        wanted: list[tuple[str | None, str, list[str]]] = []
        for entry in entries:
            files = [f'vis/{{}}{output_suffix(entry)}'] * vis + [
                'preds/{}.jsonl' if is_video(entry) else 'preds/{}.json'
            ] * preds
            if preds and isinstance(entry, str) and is_georeferenced(entry):
                files.append('preds/{}.geojson')
            if isinstance(entry, np.ndarray):
                while folder is not None and any(
                    (folder / file.format(f'{self._arrays:08}')).exists() for file in files
                ):
                    self._arrays += 1
                wanted.append((None, f'{self._arrays:08}', files))
                self._arrays += 1
            else:
                wanted.append((source_of(entry), Path(file_of(entry)).stem or 'image', files))
        return self._names.claim(wanted)


def output_suffix(entry: Entry) -> str:
    """File name extension of the picture or annotated video of an entry."""
    if isinstance(entry, np.ndarray):
        return '.jpg'
    return '.mp4' if is_video(entry) else picture_suffix(file_of(entry))


def iterate_sources(
    entries: Iterable[Entry], stems: Iterable[str], skipped: list[tuple[str, str]] | None = None
) -> Iterator[Source]:
    """See :func:`mmdet_runtime.sources.iterate_sources`."""
    say = partial(print_log, logger='current', level=30)
    return shared.iterate_sources(entries, stems, skipped, suffix_of=output_suffix, say=say)


def count_sources(entries: Iterable[Entry]) -> int:
    """Expected number of images; for a video its header's number of frames, at least 1."""
    return sum(
        max(int(open_video(entry).get(cv2.CAP_PROP_FRAME_COUNT)), 1) if is_video(entry) else 1 for entry in entries
    )


def prefetch_batches(
    items: Iterator[Item], prepare: Callable[[Item], Prepared], batch_size: int, workers: int = 2, depth: int = 2
) -> Iterator[list[Prepared]]:
    """Batches of ``prepare(item)``, in order. Threads prepare up to ``depth`` of them while the caller works on an earlier one.

    Threads suffice because OpenCV releases Python's lock while it decodes and resizes. Only one of them advances ``items``.
    """
    with ThreadPoolExecutor(workers) as pool, ThreadPoolExecutor(1) as feeder:

        def next_batch() -> list[Prepared]:
            return list(pool.map(prepare, itertools.islice(items, batch_size)))

        pending = deque(feeder.submit(next_batch) for _ in range(depth))
        try:
            while batch := pending.popleft().result():
                pending.append(feeder.submit(next_batch))
                yield batch
        finally:
            for future in pending:
                future.cancel()
