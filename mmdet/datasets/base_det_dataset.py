"""The part that all detection datasets share: reproducible samples, broken images, sizes, error messages."""

import colorsys
import contextlib
import copy
import itertools
import logging
import math
import os
import pickle
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset, force_full_init
from mmengine.logging import print_log

from ..errors import ConfigError, DataError
from ..formats.coco import read_data_list
from ..formats.images import BrokenImageError, decode_image
from ..formats.json_file import no_garbage_collection, read_json  # noqa: F401  (an older place of read_json)
from ..formats.text_file import read_lines
from ..registry import DATASETS, TRANSFORMS
from .samplers import mix_seed, seeded_rng
from .transforms.loading import flat_pipeline, settle_box_type

# This many broken images in a row mean a wrong folder: where half of a dataset is broken, it happens once in 2**100 samples.
_BROKEN_IN_A_ROW = 100


@DATASETS.register_module()
class BaseDetDataset(BaseDataset):
    """Base of the detection datasets.

    A record is ``dict(img_path, img_id, height, width, instances=[dict(bbox=[x1, y1, x2, y2], bbox_label, ignore_flag)], sample_idx)``,
    boxes in pixels of the image file.

    *Reproducible samples.* If the index is a ``SeededIndex``, as the samplers of this package give it, the random generators are seeded
    from it for the pipeline and restored afterwards. A plain integer leaves them alone.

    *Broken images.* In training, a missing, truncated or undecodable image file is named in one warning and replaced by another sample,
    which is a function of the seed; in evaluation it is a ``DataError``. ``skip_broken`` changes this. ``broken_images`` of the main
    process includes those that loader workers met.

    Args:
        ann_file: annotation file, relative to ``data_root`` or absolute.
        metainfo: ``dict(classes=(...), palette=[...])``, overriding the class's ``METAINFO``.
        data_root: root of ``ann_file`` and ``data_prefix``.
        data_prefix: ``dict(img='folder/')``.
        filter_cfg: which records to drop in training; see the subclass.
        indices: keep the first (int) or these (sequence) records only.
        serialize_data: hold the records as one byte array that loader workers share.
        pipeline: transforms (config dicts or callables), applied to a record in turn.
        test_mode: evaluation: no image is filtered out, no sample replaced.
        lazy_init: do not read the annotations yet; only ``metainfo`` is available.
        max_refetch: how often a training sample may be replaced when the pipeline gives ``None`` or the image is broken.
        backend_args: arguments of an mmengine file backend, for the annotation file.
        return_classes: put the class names into each record (``text``).
        skip_broken: leave out broken images. ``None``: in training only. In evaluation ``True`` decodes every image once at start-up.
        proposal_file: not supported; accepted for configs that set it to ``None``.
        seg_map_suffix, caption_prompt: accepted for subclasses of mmdetection; there are no semantic maps and captions here.
        file_client_args: older name of ``backend_args``.

    Raises:
        ConfigError: wrong arguments.
        DataError: unusable annotations, or nothing left after filtering (with the reasons).
    """

    METAINFO: dict = {}

    def __init__(
        self,
        ann_file: str = '',
        metainfo: dict | None = None,
        data_root: str = '',
        data_prefix: dict | None = None,
        filter_cfg: dict | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
        backend_args: dict | None = None,
        return_classes: bool = False,
        skip_broken: bool | None = None,
        proposal_file: str | None = None,
        seg_map_suffix: str = '.png',
        caption_prompt: dict | None = None,
        file_client_args: dict | None = None,
    ):
        if proposal_file is not None:
            raise ConfigError('proposals from a file are not supported', field='proposal_file', received=proposal_file)
        self.backend_args = backend_args or file_client_args
        self.seg_map_suffix, self.proposal_file, self.caption_prompt = seg_map_suffix, proposal_file, caption_prompt
        self.return_classes = return_classes
        self.skip_broken = (not test_mode) if skip_broken is None else skip_broken
        self._filtered: Counter = Counter()  # reason -> records, for the error about an empty dataset
        self._dropped_images: list[str] = []  # broken images found before any record was fetched
        self._broken: torch.Tensor  # (N,) uint8 in shared memory, 1 = broken
        self._sizes_wh: np.ndarray  # (N, 2) int64
        self._fully_initialized: bool
        self.ann_file: str
        steps = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        settle_box_type(steps)
        self.loads_masks = any(getattr(step, 'with_mask', False) for step in flat_pipeline(steps))
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=data_root,
            data_prefix={'img': ''} if data_prefix is None else data_prefix,
            filter_cfg=filter_cfg,
            indices=indices,
            serialize_data=serialize_data,
            pipeline=steps,
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
        )

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict:
        """Class defaults overridden by ``metainfo``, in which the usual mistakes are ConfigErrors."""
        if metainfo is not None and 'CLASSES' in metainfo:
            raise ConfigError("the key is 'classes' (lower case)", field='metainfo', received=sorted(metainfo))
        classes = None if metainfo is None else metainfo.get('classes')
        if isinstance(classes, str):
            if not Path(classes).is_file():
                message = "must be a tuple of names, or a file with one name a line; a one-class tuple needs its comma: ('name',)"
                raise ConfigError(message, field='metainfo.classes', received=classes)
            classes = [line.strip() for line in read_lines(classes) if line.strip()]
        if isinstance(metainfo, Mapping):
            # As mmengine's: a text may name a file of lines. Its own code would open pipes, folders and addresses, too.
            metainfo = {
                key: read_lines(text) if isinstance(text, str) and os.path.isfile(text) else text
                for key, text in metainfo.items()
            }
        if metainfo is None or classes is None:
            return cls._with_defaults(metainfo)
        classes = tuple(classes)
        wrong = [name for name in classes if not isinstance(name, str)]
        wrong = wrong or [name for name, count in Counter(classes).items() if count > 1]
        if not classes or wrong:
            message = 'must be different strings, at least one'
            raise ConfigError(message, field='metainfo.classes', received=wrong or classes)
        loaded = cls._with_defaults({**metainfo, 'classes': classes})
        if 'palette' not in metainfo:
            # The class's own palette would colour by position; keep the colour of each known name instead.
            known = dict(zip(cls.METAINFO.get('classes') or (), cls.METAINFO.get('palette', ()), strict=False))
            loaded['palette'] = [known.get(name, colour) for name, colour in zip(classes, make_palette(len(classes)))]
        return loaded

    @classmethod
    def _with_defaults(cls, metainfo: dict | None) -> dict:
        texts = {key: value for key, value in (metainfo or {}).items() if isinstance(value, str)}
        others = metainfo and {key: value for key, value in metainfo.items() if key not in texts}
        return {**super()._load_metainfo(others), **texts}

    def _join_prefix(self) -> None:
        """Put ``data_root`` before relative paths; unlike mmengine's, without asking a backend, which may not be allowed or installed."""
        self.ann_file = self._under_root(self.ann_file) if self.ann_file else self.ann_file
        for key, prefix in self.data_prefix.items():
            if not isinstance(prefix, str):
                raise ConfigError('must be a text', field=f'data_prefix.{key}', received=prefix)
            self.data_prefix[key] = self._under_root(prefix)

    def _under_root(self, path: str) -> str:
        if not self.data_root or '://' in path:
            return path
        return f'{self.data_root.rstrip("/")}/{path}' if '://' in self.data_root else os.path.join(self.data_root, path)

    def full_init(self) -> None:
        """Read, filter and store the annotations, unless that is done already."""
        if self._fully_initialized:
            return
        with no_garbage_collection():
            self.data_list = self.load_data_list()
            loaded = len(self.data_list)
            if loaded:
                self.data_list = self.filter_data()
            if self._indices is not None and self.data_list:
                self.data_list = [self.data_list[i] for i in self._positions(len(self.data_list), self._indices)]
            if self.test_mode and self.skip_broken:
                self._drop_undecodable()
            if not self.data_list:
                raise DataError(self._why_empty(loaded), file=self.ann_file or None)
            self._sizes_wh = np.array([(r.get('width') or 0, r.get('height') or 0) for r in self.data_list], np.int64)
            self._broken = torch.zeros(len(self.data_list), dtype=torch.uint8).share_memory_()
            if self.serialize_data:
                self.data_bytes, self.data_address = self._serialize_data()
        self._fully_initialized = True

    def _serialize_data(self) -> tuple[np.ndarray, np.ndarray]:
        """As mmengine's, without its full garbage collection: one array of all pickled records, and the end of each of them."""
        chunks = [pickle.dumps(record, protocol=4) for record in self.data_list]
        self.data_list = []
        return np.frombuffer(b''.join(chunks), np.uint8), np.cumsum([len(chunk) for chunk in chunks], dtype=np.int64)

    def load_data_list(self) -> list[dict]:
        """Records of a JSON file in mmengine's own format (``metainfo`` and ``data_list``)."""
        metainfo, records = read_data_list(self.ann_file, self.backend_args)
        for key, value in metainfo.items():
            self._metainfo.setdefault(key, value)
        return [self.parse_data_info(raw) for raw in records]

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """One record out of one entry of ``data_list``: paths joined with ``data_prefix``."""
        record = dict(raw_data_info)
        for key in ('img_path', 'height', 'width'):
            if key not in record:
                number = f'img_id {record.get("img_id")}'
                raise DataError('the key is missing', file=self.ann_file, record=number, field=key)
        record['img_path'] = self._image_path(record['img_path'])
        record['instances'] = record.get('instances') or []
        return record

    @property
    def image_prefix(self) -> str:
        """Folder of the images: ``data_prefix['img']`` (or mmengine's ``img_path``)."""
        return self.data_prefix.get('img', self.data_prefix.get('img_path', ''))

    def _image_path(self, name: str) -> str:
        prefix = self.image_prefix
        return f'{prefix.rstrip("/")}/{name}' if '://' in prefix else os.path.join(prefix, name)

    def _why_empty(self, loaded: int) -> str:
        if not loaded:
            return 'the annotations hold no image'
        reasons = [f'{count} {reason}' for reason, count in self._filtered.items() if count]
        if self._dropped_images:
            reasons.append(f'{len(self._dropped_images)} broken or missing image files')
        return f'none of the {loaded} images is left: {"; ".join(reasons) or f"indices={self._indices!r} selects none"}'

    def _drop_undecodable(self) -> None:
        """Evaluation with ``skip_broken``: decode every image once (in threads); drop those that fail, and log them."""

        def fault(record: dict) -> BrokenImageError | None:
            try:
                decode_image(record['img_path'], backend_args=self.backend_args, value_range='full')
            except BrokenImageError as error:
                return error
            return None

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            faults = list(pool.map(fault, self.data_list))
        records, self.data_list = self.data_list, []
        for record, error in zip(records, faults):
            if error is None:
                self.data_list.append(record)
            else:
                self._dropped_images.append(record['img_path'])
                print_log(f'Left out of the evaluation: {error}', logger='current', level=logging.WARNING)

    def get_data_info(self, idx: int) -> dict:
        """Record ``idx`` (a copy), with ``sample_idx`` and, if asked for, the class names."""
        record = super().get_data_info(int(idx))
        if self.return_classes:
            record['text'] = self._metainfo['classes']
            record['custom_entities'] = True
        return record

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the instances of record ``idx``, one an instance."""
        return [instance['bbox_label'] for instance in self.get_data_info(idx)['instances']]

    @force_full_init
    def get_sizes_wh(self) -> np.ndarray:
        """(N, 2) int64 widths and heights as annotated, 0 where unknown; no record is unpacked."""
        return self._sizes_wh

    @property
    @force_full_init
    def broken_images(self) -> list[str]:
        """Paths of the broken images met so far, by this process and its loader workers."""
        met = self._broken.nonzero().flatten().tolist()
        return self._dropped_images + [self.get_data_info(i)['img_path'] for i in met]

    def __getitem__(self, idx: int) -> Any:
        """The sample after the pipeline.

        Raises:
            BrokenImageError: its image file is broken and may not be skipped.
            DataError: no usable sample was found.
            IndexError: ``idx`` is out of range.
        """
        size = len(self)
        if not -size <= idx < size:
            raise IndexError(f'index {int(idx)} is out of range for a dataset of {size} samples')
        seed = getattr(idx, 'seed', None)
        step = broken = 0
        for attempt in range(self.max_refetch + 1):
            if attempt == 1:
                # A stride coprime to the size visits every sample once before it repeats.
                step = _coprime_step(size, np.random.randint(2**31) if seed is None else seed)
            index = (int(idx) + attempt * step) % size
            fresh = seed if attempt == 0 or seed is None else mix_seed(seed, attempt)
            try:
                with contextlib.nullcontext() if fresh is None else seeded_rng(fresh):
                    data = self.prepare_data(index)
            except BrokenImageError as error:
                if self.test_mode or not self.skip_broken:
                    raise
                if not self._broken[index]:
                    self._broken[index] = 1
                    print_log(f'Skipped a broken image: {error}', logger='current', level=logging.WARNING)
                broken += 1
                if broken == min(size, _BROKEN_IN_A_ROW):
                    some = f'{broken} images that should replace each other are'
                    what = 'every image of the dataset is' if broken == size else some
                    message = f'{what} missing or broken, the last one: {error}'
                    raise DataError(message, file=self.ann_file or None) from error
                continue
            if data is not None:
                return data
            if self.test_mode:
                message = 'the pipeline gave None in evaluation'
                raise DataError(message, record=f'sample {index}', file=self.ann_file or None)
        message = f'no usable sample in {self.max_refetch + 1} attempts; check the images and the pipeline'
        raise DataError(message, file=self.ann_file or None)

    @staticmethod
    def _positions(size: int, indices: int | Sequence[int]) -> list[int]:
        """Non-negative positions of ``indices``: the first (n >= 0) or last (n < 0) records, or the ones listed."""
        if isinstance(indices, bool | str) or not isinstance(indices, int | Sequence | np.ndarray):
            raise ConfigError('must be an integer or a sequence of integers', field='indices', received=indices)
        if isinstance(indices, int):
            return list(range(size)[:indices] if indices >= 0 else range(size)[indices:])
        outside = [i for i in indices if not -size <= i < size]
        if outside:
            raise ConfigError(f'must lie within the {size} images', field='indices', received=outside[:10])
        return [int(i) % size for i in indices]

    @force_full_init
    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep the first or last n records (int), or those listed, in place."""
        positions = self._positions(len(self), indices)
        if not positions:
            raise ConfigError('selects no image', field='indices', received=indices)
        if self.serialize_data:
            self.data_bytes, self.data_address = self._get_serialized_subset(positions)
        else:
            self.data_list = [self.data_list[i] for i in positions]
        self._sizes_wh = self._sizes_wh[positions]
        self._broken = self._broken[positions].share_memory_()

    @force_full_init
    def get_subset(self, indices: int | Sequence[int]) -> 'BaseDetDataset':
        """A new dataset with the first or last n records (int), or those listed."""
        subset = copy.copy(self)
        subset._metainfo = copy.deepcopy(self._metainfo)
        subset.get_subset_(indices)
        return subset


def _coprime_step(size: int, seed: int) -> int:
    """A number above 0 that has no common factor with ``size``."""
    return next(step for step in itertools.count(1 + mix_seed(seed, size) % size) if math.gcd(step, size) == 1)


def make_palette(count: int) -> list[tuple[int, int, int]]:
    """``count`` well separated RGB colours, always the same: hues by the golden angle, brightness in three steps.

    >>> make_palette(2)
    [(230, 46, 46), (43, 179, 82)]
    """
    colours: list[tuple[int, int, int]] = []
    for index in range(count):
        rgb = colorsys.hsv_to_rgb(index * 0.381966 % 1, (0.8, 0.76, 0.6)[index % 3], (0.9, 0.7, 1.0)[index % 3])
        red, green, blue = (int(channel * 255 + 0.5) for channel in rgb)
        colours.append((red, green, blue))
    return colours
