"""``load``: an exported folder as one callable, from images to boxes in their pixels."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, overload

import numpy as np

from .backends import Network, check_outputs
from .composite import SlicedDet, UFPMPDet, default_mosaic
from .errors import CheckpointError, ConfigError, ModelInputError
from .folder import MANIFEST, Folder, read_folder
from .images import ReducedImage, read_image
from .stage import Mosaic, Stage
from .suppression import Detections
from .timing import Clock

# What a stage takes from the manifest as it is.
_SETTINGS = ('scales', 'flip', 'keep_ratio', 'max_zoom', 'mean', 'std', 'bgr_to_rgb', 'pad_value', 'clips_boxes')
Image = str | os.PathLike | np.ndarray | ReducedImage


class Runtime:
    """A detector that was exported; :func:`load` makes it.

    Attributes:
        folder: what was read, see :class:`~mmdet_runtime.folder.Folder`.
        classes: names by label.
        clock: times of the steps of each call.
        detector: the stage, or the composite detector, that does the work.
    """

    def __init__(
        self,
        folder: Folder,
        networks: Mapping[str, Network],
        score_thr: float | None = None,
        labels: Sequence[int] | None = None,
        mosaic: str | None = None,
    ) -> None:
        self.folder, self.classes, self.networks = folder, folder.classes, dict(networks)
        self.clock = Clock()
        self._score_thr = score_thr
        self._labels = None if labels is None else np.asarray(labels, np.int64)
        shared = next(iter(self.networks.values())).lock
        for network in self.networks.values():
            network.lock = shared  # two of them at once would only fight for the cores
        self.detector = self._build(mosaic)
        self.clock.clear()  # of what the stages have tried

    def _build(self, mosaic: str | None) -> Any:
        folder, stages = self.folder, {}
        for name, entry in folder.stages.items():
            network = entry['network']
            prefix = f'{name} ' if self.is_composite else ''
            # The rounding of the toolbox matters where the rest is equal; a mosaic is no picture of 8 bits, or is drawn faster.
            exact = self.is_composite and name != 'fine' and self._precision(network) == 'fp32'
            try:
                stages[name] = _TimedStage(
                    self.networks[network], folder.networks[network], entry, self.clock, prefix, exact_resize=exact
                )
            except (ConfigError, TypeError) as error:
                raise CheckpointError(str(error), file=folder.path / MANIFEST, field=f'stages.{name}') from error
        if mosaic is not None and folder.kind != 'UFPMPDet':
            raise ConfigError(
                f'is for UFPMPDet, and this folder holds a {folder.kind}', field='mosaic', received=mosaic
            )
        if folder.kind == 'detector':
            return stages['detector']
        kind: Callable = {'UFPMPDet': _TimedUFPMPDet, 'SlicedDet': _TimedSlicedDet}[folder.kind]
        settings = dict(folder.composite)
        if folder.kind == 'UFPMPDet':
            precision = self._precision(folder.stages['fine']['network'])
            settings['mosaic'] = mosaic or settings.get('mosaic') or default_mosaic(stages['fine'], precision)
        try:
            return kind(self.clock, stages, settings)
        except (ConfigError, TypeError) as error:
            raise CheckpointError(str(error), file=folder.path / MANIFEST, field='composite') from error

    def _precision(self, network: str) -> str:
        """What a network computes in: what was asked for, except that nothing undoes a quantisation."""
        return 'int8' if self.folder.networks[network]['precision'] == 'int8' else self.networks[network].precision

    @property
    def is_composite(self) -> bool:
        """Whether there is more to a detection than one pass through one network."""
        return self.folder.kind != 'detector'

    @contextlib.contextmanager
    def own_thread(self, threads: int | None) -> Iterator[None]:
        """For several threads that call a composite detector at once: one more computes the networks, for the block, where these leave a core free.

        A network that several threads compute in turn moves between the cores, which cost a tenth of its time; where it has all of them, one more thread
        only takes their time.

        Args:
            threads: of the networks, as given to :func:`load`.
        """
        if not self.is_composite or threads is None or threads >= (os.cpu_count() or 1):
            yield
            return
        with ThreadPoolExecutor(1, 'network') as thread:
            for network in self.networks.values():
                network.thread = thread
            try:
                yield
            finally:
                for network in self.networks.values():
                    network.thread = None

    @overload
    def __call__(self, images: Image) -> Detections: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, images: Sequence[Image]) -> list[Detections]: ...

    def __call__(self, images: Image | Sequence[Image]) -> Detections | list[Detections]:
        """Detect in one image, or in a list of images.

        Args:
            images: arrays (H, W, 3) uint8 BGR, or paths of image files; of a detector also reduced images.

        Returns:
            Detections of each, by falling score, boxes xyxy in pixels of the image.

        Raises:
            ModelInputError: an array that is no image, or is too large for a network of a fixed size.
            DataError: a file that cannot be read; see :func:`~mmdet_runtime.images.read_image`.
        """
        if isinstance(images, str | os.PathLike | np.ndarray | ReducedImage):
            return self([images])[0]
        checked = [_as_image(image.pixels if isinstance(image, ReducedImage) else image) for image in images]
        results = [self._wanted(found) for found in self.detector.detect(checked)] if checked else []
        for image, found in zip(images, results):
            if isinstance(image, ReducedImage):
                limits = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
                np.clip(found.bboxes * image.factor, 0, limits, out=found.bboxes)
        return results

    def needed_wh(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        """Size (w, h) below which a reduced image of this size would lose detail that the network sees.

        Raises:
            ConfigError: a composite detector, which cuts its second look from the whole image.
        """
        if self.is_composite:
            message = 'is for detectors of one network: this folder cuts parts from the whole image'
            raise ConfigError(message, field='reduce', received=self.folder.kind)
        return self.detector.shown_wh(image_wh)

    def _wanted(self, found: Detections) -> Detections:
        if self._score_thr is not None:
            found = found[found.scores >= self._score_thr]
        return found if self._labels is None else found[np.isin(found.labels, self._labels)]

    def describe(self) -> list[str]:
        """A line on the folder, and one on each network."""
        return [
            f'{self.folder.path}: {self.folder.kind}, {len(self.classes)} classes',
            *(f'{name}: {network.description}' for name, network in self.networks.items()),
        ]


def load(
    folder: str | os.PathLike,
    *,
    score_thr: float | None = None,
    classes: Sequence[str] | None = None,
    verify: bool = True,
    mosaic: str | None = None,
    **options: Any,
) -> Runtime:
    """Load an exported folder.

    Args:
        folder: what ``tools/export.py`` wrote.
        score_thr: leave out boxes with a score below this; None keeps those of the folder's own threshold.
        classes: report these classes only.
        verify: compare the check sums of the files.
        mosaic: how UFPMP-Det makes its mosaics: ``'exact'``, ``'rounded'`` or ``'direct'``, see :class:`~mmdet_runtime.composite.UFPMPDet`; None
            takes what the folder says, or else :func:`~mmdet_runtime.composite.default_mosaic`.
        **options: of :func:`~mmdet_runtime.backends.open_network`: ``backend``, ``device``, ``threads``, ``precision``, ``cache_dir``, ...

    Raises:
        CheckpointError: see :func:`~mmdet_runtime.folder.read_folder`; or a file that the backend cannot read.
        ConfigError: an option that is not possible, a class that the detector does not know, or a backend that is not installed.

    >>> detector = load('work_dirs/exported')  # doctest: +SKIP
    >>> detector('image.jpg').bboxes.shape  # doctest: +SKIP
    (100, 4)
    """
    read = read_folder(folder, verify=verify)
    labels = None
    if classes is not None:
        unknown = [name for name in classes if name not in read.classes]
        if unknown:
            raise ConfigError(f'must be some of {list(read.classes)}', field='classes', received=unknown)
        labels = [read.classes.index(name) for name in classes]
    used = dict.fromkeys(entry['network'] for entry in read.stages.values())
    networks = {name: read.open_network(name, **options) for name in used}
    for name, network in networks.items():
        kind = read.networks[name]['outputs']
        check_outputs(network, ('boxes', 'scores', 'labels', *(['image_index'] if kind == 'boxes' else [])))
        if kind == 'candidates' and 'image_index' in network.outputs:
            message = f'gives boxes after the NMS, and the manifest says {kind}'
            raise CheckpointError(
                message, file=network.name, field=f'networks.{name}.outputs', received=list(network.outputs)
            )
    return Runtime(read, networks, score_thr, labels, mosaic)


def _as_image(image: str | os.PathLike | np.ndarray) -> np.ndarray:
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    good = (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and image.size
    )
    if not good:
        received = (image.shape, str(image.dtype)) if isinstance(image, np.ndarray) else type(image).__name__
        raise ModelInputError('an image must be an array (H, W, 3) uint8 BGR', received=received)
    return image


class _Candidates:
    """The candidates of an opened network, timed. No method of the stage: that would keep itself, and the network, until a garbage collection."""

    def __init__(self, network: Network, boxes: bool, clock: Clock, name: str) -> None:
        """``boxes``: whether the network gives boxes after the NMS; ``name``: put before that of the step."""
        self._opened, self._boxes, self._clock, self._name = network, boxes, clock, name
        self._batch_size = network.inputs['image'][0]

    def __call__(self, images: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The candidates (B, N, 4), (B, N), (B, N) of the network."""
        missing = (self._batch_size or len(images)) - len(images)
        if missing > 0:  # a network of a fixed batch size
            images, shapes = (
                np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) for part in (images, shapes)
            )
        with self._clock.timed(f'{self._name}network'):
            found = self._opened(images, shapes)
        boxes, scores, labels = (
            found['boxes'].astype(np.float32, copy=False),
            found['scores'].astype(np.float32, copy=False),
            found['labels'],
        )
        if not self._boxes:
            return boxes, scores, labels
        owners = found['image_index']
        places = np.arange(len(owners)) - np.searchsorted(owners, owners)  # they are sorted by image
        size = (len(images), int(places.max(initial=-1)) + 1)
        all_boxes, all_scores, all_labels = (
            np.zeros((*size, 4), np.float32),
            np.zeros(size, np.float32),
            np.zeros(size, np.int64),
        )
        all_boxes[owners, places], all_scores[owners, places], all_labels[owners, places] = boxes, scores, labels
        return all_boxes, all_scores, all_labels


class _TimedStage(Stage):
    """A stage of a manifest, with its network, whose steps are timed."""

    def __init__(
        self,
        network: Network,
        entry: Mapping,
        settings: Mapping,
        clock: Clock,
        name: str = '',
        *,
        exact_resize: bool = False,
    ) -> None:
        """``entry``, ``settings``: of the network and the stage in the manifest; ``name``: put before those of the steps."""
        self._clock, self._name = clock, name
        boxes = entry['outputs'] == 'boxes'
        batch, _, height, width = network.inputs['image']
        if (height is None) != (width is None):
            message = 'height and width must both be free, or both be fixed'
            raise CheckpointError(message, file=network.name, received=network.inputs['image'])
        test_cfg = dict(settings['test_cfg'])
        if boxes:  # nothing is left to be done
            test_cfg.update(nms=None, min_bbox_size=-1)
        super().__init__(
            _Candidates(network, boxes, clock, name), test_cfg=test_cfg, min_score=test_cfg.get('score_thr', 0.0),
            batch_size=batch or settings['batch_size'],
            pad_divisor=max(entry['divisor'], settings['pad_divisor']), input_hw=None if height is None or width is None else (height, width),
            **{key: settings[key] for key in _SETTINGS}, canvas=settings.get('canvas'), exact_resize=exact_resize,
            end_to_end=settings.get('end_to_end', False), input_rule=settings.get('input_rule'),
        )  # fmt: skip

    def _batch(self, *args: Any) -> np.ndarray:
        with self._clock.timed(f'{self._name}preprocess'):
            return super()._batch(*args)

    def _small(self, mosaic: Mosaic, size_hw: tuple[int, int]) -> np.ndarray:
        with self._clock.timed('mosaic'):
            return super()._small(mosaic, size_hw)

    def merge(self, views: list[Detections]) -> Detections:
        """See :meth:`Stage.merge`."""
        with self._clock.timed(f'{self._name}nms'):
            return super().merge(views)


class _TimedUFPMPDet(UFPMPDet):
    """:class:`UFPMPDet` whose steps are timed; in mode ``'direct'``, the time of the mosaic is a part of that of the fine stage's preprocessing."""

    def __init__(self, clock: Clock, stages: Mapping[str, Stage], settings: Mapping[str, Any]) -> None:
        super().__init__(stages['coarse'], stages['fine'], **settings)
        self._clock = clock

    def look(self, *args: Any) -> tuple[list[bool], list[Mosaic | None]]:
        """See :meth:`UFPMPDet.look`."""
        with self._clock.timed('packing'):
            looks, mosaics = super().look(*args)
        for mosaic in mosaics:
            height, width = (0, 0) if mosaic is None else mosaic.shape[:2]
            regions = 0 if mosaic is None else len(mosaic.regions)
            self._clock.note(regions=regions, mosaic_w=width, mosaic_h=height)
        return looks, mosaics

    def draw(self, mosaic: Any) -> Any:
        """See :meth:`UFPMPDet.draw`."""
        if self.mosaic == 'direct':
            return mosaic
        with self._clock.timed('mosaic'):
            return super().draw(mosaic)

    def merge(self, *args: Any, **options: Any) -> Any:
        """See :meth:`~mmdet_runtime.second_look.SecondLook.merge`."""
        with self._clock.timed('merge'):
            return super().merge(*args, **options)


class _TimedSlicedDet(SlicedDet):
    """:class:`SlicedDet` whose tiles are counted."""

    def __init__(self, clock: Clock, stages: Mapping[str, Stage], settings: Mapping[str, Any]) -> None:
        super().__init__(stages['stage'], stages.get('whole'), **settings)
        self._clock = clock

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """See :meth:`SlicedDet.detect`."""
        self._clock.note(tiles=sum(1 for _ in self._tiles(images)) / max(len(images), 1))
        return super().detect(images)
