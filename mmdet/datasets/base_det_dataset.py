"""The part that all detection datasets share: reproducible samples, broken images, sizes, error messages."""

import contextlib
import copy
import itertools
import logging
import math
import os
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from mmengine.dataset import force_full_init
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from ..errors import ConfigError, DataError
from ..formats.coco import match_classes, read_data_list
from ..formats.images import BrokenImageError, decode_image, image_size, images_by_stem
from ..formats.json_file import no_garbage_collection, read_json  # noqa: F401  (an older place of read_json)
from ..registry import DATASETS, TRANSFORMS
from ..utils.class_names import all_names
from .account import (
    CUT,
    FILTERED,
    FILTERED_IMAGE,
    IGNORED,
    OUTSIDE,
    REASONS,
    UNREADABLE,
    UNREADABLE_IMAGE,
    UNSELECTED,
    UNSELECTED_IMAGE,
    USED,
    BoxAccount,
    check_share,
    count_cut,
    fates_of_boxes,
    say_account,
    say_filters,
    suspect_rows,
    used_boxes,
)
from .annotation_files import AnnotationFiles
from .class_lists import ClassLists, make_palette  # noqa: F401  (an older place of make_palette)
from .image_sizes import DEFAULT_SAMPLE, SizeCheck, check_choice_of_sizes, compare_sizes
from .samplers import mix_seed, seeded_rng
from .transforms.loading import LoadImageFromFile, flat_pipeline, settle_pipeline

# This many broken images in a row mean a wrong folder: where half of a dataset is broken, it happens once in 2**100 samples.
_BROKEN_IN_A_ROW = 100


@DATASETS.register_module()
class BaseDetDataset(AnnotationFiles, ClassLists):
    """Base of the detection datasets.

    A record is ``dict(img_path, img_id, height, width, instances=[dict(bbox=[x1, y1, x2, y2], bbox_label, ignore_flag)], sample_idx)``,
    boxes in pixels of the image file.

    *Reproducible samples.* If the index is a ``SeededIndex``, as the samplers of this package give it, the random generators are seeded
    from it for the pipeline and restored afterwards. A plain integer leaves them alone.

    *Broken images.* In training, a missing, truncated or undecodable image file is named in one warning and replaced by another sample,
    which is a function of the seed; in evaluation it is a ``DataError``. ``skip_broken`` changes this. ``broken_images`` of the main
    process includes those that loader workers met.

    *Account.* What became of every image and box is logged once, when the annotations are read, and given by :meth:`account`.

    *Sizes.* Boxes are coordinates in the pixels as ``LoadImageFromFile`` gives them, and judged by the size of the pixels where a stated
    size would leave them out (:meth:`settle_sizes`). A size that is found to differ when an image is loaded is reported and counted.

    Args:
        ann_file: annotation file, relative to ``data_root`` or absolute. A list of them makes one data set of all their images, with ids by
            :func:`~mmdet.formats.joined_files.distinct_ids`. An empty text, in evaluation: all images of ``data_prefix['img']``, without objects.
        metainfo: ``dict(classes=(...), palette=[...])``, overriding the class's ``METAINFO``.
        data_root: root of ``ann_file`` and ``data_prefix``.
        data_prefix: ``dict(img='folder/')``. With a list of annotation files, a list of as many folders may stand for each.
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
        warn_left_out: warn if more than this share of the boxes is left out, 0..1.
        check_sizes: how many images, spread over the data set, have the size in their header compared with the stated one at the start; ``'all'``,
            or 0 for none. None means 1000 for local files and 0 with ``backend_args``, by which a header costs a whole file.

    Raises:
        ConfigError: wrong arguments.
        DataError: unusable annotations, or nothing left after filtering (with the reasons).
    """

    METAINFO: dict = {}
    WARN_LEFT_OUT = 0.05  # warn_left_out where the config has none

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
        warn_left_out: float | None = None,
        check_sizes: int | str | None = None,
    ):
        if proposal_file is not None:
            raise ConfigError('proposals from a file are not supported', field='proposal_file', received=proposal_file)
        self.backend_args = backend_args or file_client_args
        self.seg_map_suffix, self.proposal_file, self.caption_prompt = seg_map_suffix, proposal_file, caption_prompt
        self.return_classes = return_classes
        self.skip_broken = (not test_mode) if skip_broken is None else skip_broken
        self.warn_left_out = check_share(self.WARN_LEFT_OUT if warn_left_out is None else warn_left_out)
        self._size_checks: list[SizeCheck] = []
        self._account = BoxAccount()
        self._used: np.ndarray  # (N,) int32, boxes of each record that are not ignored
        self._size_met: (
            torch.Tensor
        )  # (N,) int32 in shared memory, of images loaded with another size: 1 + boxes outside
        self._filtered: Counter = Counter()  # reason -> records, for the error about an empty dataset
        self._dropped_images: list[str] = []  # broken images found before any record was fetched
        self._broken: torch.Tensor  # (N,) uint8 in shared memory, 1 = broken
        self._sizes_wh: np.ndarray  # (N, 2) int64
        self._fully_initialized: bool
        self.ann_file: Any  # a text, or a list of at least two
        self.data_prefix: dict[str, Any]
        steps = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        settle_pipeline(steps)
        flat = list(flat_pipeline(steps))
        self.loads_masks = any(getattr(step, 'with_mask', False) for step in flat)
        loaders = [step for step in flat if isinstance(step, LoadImageFromFile)]
        self._image_backend = next((step.backend_args for step in loaders if step.backend_args), self.backend_args)
        default_sample = 0 if self._image_backend else DEFAULT_SAMPLE
        self._size_sample = check_choice_of_sizes(default_sample if check_sizes is None else check_sizes)
        self._bitmap_masks = all(getattr(step, 'poly2mask', True) for step in flat)
        self._color_type = next(
            (step.color_type for step in loaders), 'color'
        )  # it decides whether photos are turned by EXIF
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

    def full_init(self) -> None:
        """Read, filter and store the annotations, unless that is done already."""
        if self._fully_initialized:
            return
        with no_garbage_collection():
            self._account = BoxAccount(f'{type(self).__name__} {self._ann_name or self.image_prefix}')
            self.data_list = self._load_files()
            loaded = len(self.data_list)
            by_class = f'left out by {type(self).__name__}'
            self._settle_account(by_class, by_class)
            if loaded:
                before = Counter(self._filtered)
                self.data_list = self.filter_data()
                for reason, count in (self._filtered - before).items():
                    self._account.leave_out_images(reason, count)
                self._settle_account(FILTERED, FILTERED_IMAGE)
            if self._indices is not None and self.data_list:
                self.data_list = [self.data_list[i] for i in self._positions(len(self.data_list), self._indices)]
                self._settle_account(UNSELECTED, UNSELECTED_IMAGE)
            if self.test_mode and self.skip_broken:
                self._drop_undecodable()
                self._settle_account(UNREADABLE, UNREADABLE_IMAGE)
            if not self.data_list:
                raise DataError(self._why_empty(), file=self._ann_name or None)
            self._sizes_wh = np.array([(r.get('width') or 0, r.get('height') or 0) for r in self.data_list], np.int64)
            self._broken = torch.zeros(len(self.data_list), dtype=torch.uint8).share_memory_()
            self._size_met = torch.zeros(len(self.data_list), dtype=torch.int32).share_memory_()
            if self.serialize_data:
                self.data_bytes, self.data_address = self._serialize_data()
        self._fully_initialized = True
        if is_main_process():
            warnings = [text for check in self._size_checks for text in check.warnings]
            if not self._account.boxes_used and not self.test_mode:
                warnings.append('there is no box to train on')
            say_account(self._account, [*warnings, self._account.warning(self.warn_left_out)])
            say_filters(self.pipeline.transforms)

    def _load_files(self) -> list[dict]:
        """Records of the annotation file, of all files of a list, or of the images alone."""
        own = type(self).load_data_list.__module__.startswith('mmdet.')
        if own and not self.ann_file and self.test_mode and os.path.isdir(self.image_prefix):
            return self._unannotated_images(self.image_prefix)
        if not isinstance(self.ann_file, list):
            return self.load_data_list()
        if own and self._joins_files():
            records = self.load_data_list()
        else:
            records = self._load_one_by_one(len(self.ann_file))
        repeated = len(records) - len({record.get('img_path') for record in records})
        self._account.note('images that an earlier annotation file names, too (each counts by itself)', repeated)
        return records

    def _unannotated_images(self, folder: str | os.PathLike) -> list[dict]:
        """Records without objects of all images of a folder, numbered by name, for results without ground truth."""
        records = []
        for image_id, path in enumerate(images_by_stem(folder).values()):
            width, height = self.size_of_image(path)
            record = dict(img_path=str(path), img_id=image_id, height=height, width=width, instances=[])
            records.append(record)
        self._account.images += len(records)
        return records

    def _settle_account(self, image_reason: str, box_reason: str) -> None:
        """Compare the account with the records; what is missing since the last step was left out for these reasons."""
        used = used_boxes(self.data_list)
        account, images, boxes = self._account, len(self.data_list), sum(used)
        if not account.images:  # load_data_list of other code, which does not count
            account.images = images
            account.boxes = sum(len(record.get('instances') or ()) for record in self.data_list)
            account.leave_out(REASONS[IGNORED], account.boxes - boxes)
        # More than before: records that are listed twice.
        account.images += max(0, images - account.images_used)
        account.boxes += max(0, boxes - account.boxes_used)
        account.leave_out_images(image_reason, account.images_used - images)
        account.leave_out(box_reason, account.boxes_used - boxes)
        self._used = np.array(used, dtype=np.int32)

    @force_full_init
    def account(self) -> BoxAccount:
        """How many images and boxes are used and left out, by reason, with what the loading of images has shown so far, in all loader workers."""
        account = self._account.copy()
        broken, met = self._broken.numpy() > 0, self._size_met.numpy()
        account.leave_out_images(UNREADABLE, int(np.count_nonzero(broken)))
        account.leave_out(UNREADABLE_IMAGE, self._used[broken].sum())
        account.leave_out(REASONS[OUTSIDE], np.maximum(met[~broken] - 1, 0).sum())
        account.note('images of another size than stated, found when they were loaded', int(np.count_nonzero(met)))
        return account

    def size_of_image(self, path: str | os.PathLike) -> tuple[int, int]:
        """(width, height) of an image file as the pipeline loads it, turned by EXIF or not; from its header."""
        return image_size(path, self._image_backend, flag=self._color_type)

    def settle_sizes(
        self, paths: Sequence[str], stated_wh: np.ndarray, judge: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """(N, 2) int64 sizes by which boxes are judged: those of the pixels where the headers were read, else the stated ones.

        Headers are read of a sample (``check_sizes``), and of every image where the stated size alone would leave out a box: for no other is
        the size needed before the image is loaded.

        Args:
            paths: N image files.
            stated_wh: (N, 2) int64 widths and heights as annotated.
            judge: gives the rows of the images in which a box is left out if the sizes are those given.
        """
        if not self._image_backend and any('://' in path for path in paths[:1]):
            return stated_wh  # addresses that nothing here may read
        check = compare_sizes(paths, stated_wh, judge(stated_wh), self._size_sample, self.size_of_image)
        self._size_checks.append(check)
        self._account.note('images whose size was compared with the annotations', check.read)
        self._account.note('images of another size than stated (that of the pixels is taken)', len(check.differing))
        return check.sizes_wh

    def _serialize_data(self) -> tuple[np.ndarray, np.ndarray]:
        """As mmengine's, without its full garbage collection: one array of all pickled records, and the end of each of them."""
        chunks = [pickle.dumps(record, protocol=4) for record in self.data_list]
        self.data_list = []
        return np.frombuffer(b''.join(chunks), np.uint8), np.cumsum([len(chunk) for chunk in chunks], dtype=np.int64)

    def load_data_list(self) -> list[dict]:
        """Records of a JSON file in mmengine's own format (``metainfo`` and ``data_list``).

        Labels are found by the names of the classes in the file. If it has none, or the data set none of them, they are taken as they are.
        Without classes in the config, those of all files of a list are the classes.
        """
        metainfo, raw_records = read_data_list(self.ann_file, self.backend_args)
        from_files = self.__dict__.setdefault('_classes_of_files', 'classes' not in self._metainfo)
        for key, value in metainfo.items():
            self._metainfo.setdefault(key, value)
        names = metainfo.get('classes') or []
        if from_files and set(names) - set(self._metainfo.get('classes', ())):
            self._metainfo['classes'] = all_names([self._metainfo.get('classes', ()), names])
        own = self._metainfo.get('classes') or ()
        if set(names) & set(own):
            label_of = match_classes(own, names, self._ann_name, allow_missing=True).tolist()
            for raw in raw_records:
                for instance in raw.get('instances') or []:
                    label = instance['bbox_label']
                    if label >= len(names):
                        place = dict(file=self._ann_name, record=f'img_path {raw["img_path"]}', field='bbox_label')
                        raise DataError(f'must be below {len(names)}, the number of classes', **place, received=label)
                    instance['bbox_label'] = label_of[label]
        records = [self.parse_data_info(raw) for raw in raw_records]
        self._leave_out_unusable(records)
        return records

    def _leave_out_unusable(self, records: list[dict]) -> None:
        """Judge the boxes of records as those of every data set, leave out those without use, and count."""
        counts = [len(record['instances']) for record in records]
        rows = np.repeat(np.arange(len(records)), counts)  # (n,)
        instances = [instance for record in records for instance in record['instances']]
        boxes = np.array([instance['bbox'] for instance in instances], dtype=np.float64).reshape(-1, 4)
        boxes[:, 2:] -= boxes[:, :2]  # xywh
        stated_wh = np.array([(r['width'], r['height']) for r in records], dtype=np.int64).reshape(-1, 2)
        paths = [record['img_path'] for record in records]
        ignored = np.array([bool(instance.get('ignore_flag', 0)) for instance in instances], dtype=bool)
        unknown = np.array([instance.get('bbox_label', 0) < 0 for instance in instances], dtype=bool)
        sizes_wh = self.settle_sizes(paths, stated_wh, lambda sizes: suspect_rows(boxes, rows, sizes))
        shape = fates_of_boxes(boxes, sizes_wh[rows], unknown=unknown)
        fates = np.where(ignored & ~unknown, IGNORED, shape)
        self._account.images += len(records)
        self._account.add_fates(fates)
        self._account.note(CUT, count_cut(boxes[fates == USED], sizes_wh[rows[fates == USED]]))
        ends = np.cumsum(counts).tolist()
        for record, (width, height), start, end in zip(records, sizes_wh.tolist(), [0, *ends], ends):
            record.update(width=width, height=height)
            own = zip(instances[start:end], shape[start:end].tolist())
            record['instances'] = [instance for instance, fate in own if fate == USED]

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """One record out of one entry of ``data_list``: paths joined with ``data_prefix``."""
        record = dict(raw_data_info)
        for key in ('img_path', 'height', 'width'):
            if key not in record:
                number = f'img_id {record.get("img_id")}'
                raise DataError('the key is missing', file=self._ann_name, record=number, field=key)
        record['img_path'] = self._image_path(record['img_path'])
        record['instances'] = record.get('instances') or []
        return record

    def _why_empty(self) -> str:
        if not self._account.images:
            return 'the annotations hold no image'
        reasons = [f'{count} {reason}' for reason, count in self._filtered.items() if count]
        if self._dropped_images:
            reasons.append(f'{len(self._dropped_images)} broken or missing image files')
        return f'none of the {self._account.images} images is left: {"; ".join(reasons) or f"indices={self._indices!r} selects none"}'

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

    def prepare_data(self, idx: int) -> Any:
        """Record ``idx`` after the pipeline; counts a size that is found to differ from the stated one."""
        record = self.get_data_info(idx)
        stated = record.get('height'), record.get('width')
        data = self.pipeline(record)
        # LoadImageFromFile writes the size of the pixels into the record that it is given.
        if record.get('stated_shape') is not None:
            self._note_size(idx, record, stated)
        return data

    def _note_size(self, index: int, record: dict, stated_hw: tuple) -> None:
        first = not self._size_met.any()
        self._size_met[index] = 1 + record.get('num_outside', 0)
        if first:
            height, width = record['ori_shape'][:2]
            size = f'is {width} x {height}, stated {stated_hw[1]} x {stated_hw[0]}'
            text = f'{record["img_path"]} {size}: its boxes are taken as coordinates in the pixels. Further images are counted, see account()'
            print_log(f'{self._account.source}: {text}', logger='current', level=logging.WARNING)

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

    @force_full_init
    def get_object_counts(self) -> np.ndarray:
        """(N,) int64 objects to be found in each image, without ignored ones; no record is unpacked."""
        return self._used.astype(np.int64)

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
                    raise DataError(message, file=self._ann_name or None) from error
                continue
            if data is not None:
                return data
            if self.test_mode:
                message = 'the pipeline gave None in evaluation'
                raise DataError(message, record=f'sample {index}', file=self._ann_name or None)
        message = f'no usable sample in {self.max_refetch + 1} attempts; check the images and the pipeline'
        raise DataError(message, file=self._ann_name or None)

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
        self._size_met = self._size_met[positions].share_memory_()
        images, boxes = len(self._used) - len(positions), int(self._used.sum() - self._used[positions].sum())
        self._account = self._account.copy()  # the other one belongs to the data set that this is a subset of
        self._account.images += max(0, -images)
        self._account.boxes += max(0, -boxes)
        self._account.leave_out_images(UNSELECTED, max(0, images))
        self._account.leave_out(UNSELECTED_IMAGE, max(0, boxes))
        self._used = self._used[positions]

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
