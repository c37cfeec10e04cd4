"""``load``: an exported folder as one callable, from images to boxes in their pixels."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np

from .backends import Network, check_outputs
from .errors import ConfigError, ModelInputError
from .folder import Folder, read_folder
from .images import read_image
from .resizing import fit_size, resize_image
from .suppression import Detections
from .timing import Clock

Image = str | os.PathLike | np.ndarray


class Runtime:
    """A detector that was exported; :func:`load` makes it.

    Attributes:
        folder: what was read, see :class:`~mmdet_runtime.folder.Folder`.
        classes: names by label.
        clock: times of the steps of each call.
    """

    def __init__(
        self,
        folder: Folder,
        networks: Mapping[str, Network],
        score_thr: float | None = None,
        labels: Sequence[int] | None = None,
    ) -> None:
        self.folder, self.classes, self.networks = folder, folder.classes, dict(networks)
        self.clock = Clock()
        self._score_thr = score_thr
        self._labels = None if labels is None else np.asarray(labels, np.int64)
        shared = next(iter(self.networks.values())).lock
        for network in self.networks.values():
            network.lock = shared  # two of them at once would only fight for the cores
        self._detect = self._build()

    def _build(self) -> Callable[[list[np.ndarray]], list[Detections]]:
        stages = {
            name: Stage(self.networks[entry['network']], self.folder.networks[entry['network']], entry, self.clock)
            for name, entry in self.folder.stages.items()
        }
        return stages['detector']

    @property
    def is_composite(self) -> bool:
        """Whether there is more to a detection than one pass through one network."""
        return self.folder.kind != 'detector'

    @overload
    def __call__(self, images: Image) -> Detections: ...

    @overload
    def __call__(self, images: Sequence[Image]) -> list[Detections]: ...

    def __call__(self, images: Image | Sequence[Image]) -> Detections | list[Detections]:
        """Detect in one image, or in a list of images.

        Args:
            images: arrays (H, W, 3) uint8 BGR, or paths of image files.

        Returns:
            Detections of each, by falling score, boxes xyxy in pixels of the image.

        Raises:
            ModelInputError: an array that is no image, or is too large for a network of a fixed size.
            DataError: a file that cannot be read; see :func:`~mmdet_runtime.images.read_image`.
        """
        if isinstance(images, str | os.PathLike | np.ndarray):
            return self([images])[0]
        checked = [_as_image(image) for image in images]
        return [self._wanted(found) for found in self._detect(checked)] if checked else []

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
    **options: Any,
) -> Runtime:
    """Load an exported folder.

    Args:
        folder: what ``tools/export.py`` wrote.
        score_thr: leave out boxes with a score below this; None keeps those of the folder's own threshold.
        classes: report these classes only.
        verify: compare the check sums of the files.
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
        check_outputs(network, ('boxes', 'scores', 'labels'))
        if read.networks[name]['outputs'] == 'boxes':
            check_outputs(network, ('image_index',))
    return Runtime(read, networks, score_thr, labels)


def _as_image(image: Image) -> np.ndarray:
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


class Stage:
    """Resize, normalise, detect, map back, at one scale.

    Args:
        network: the opened network.
        entry, settings: of the network and the stage in the manifest.
        clock: where times are recorded.
    """

    def __init__(self, network: Network, entry: Mapping, settings: Mapping, clock: Clock) -> None:
        self.network, self.outputs, self.settings, self.clock = network, entry['outputs'], settings, clock
        self._divisor = max(entry['divisor'], settings['pad_divisor'])
        self._fixed = network.inputs['image']

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detections of each image, in its pixels."""
        settings, (scale,) = self.settings, self.settings['scales']
        with self.clock.timed('preprocess'):
            resized = []
            for image in images:
                height, width = image.shape[:2]
                size = (
                    fit_size((width, height), scale, settings['max_zoom'])
                    if settings['keep_ratio']
                    else tuple(map(int, scale))
                )
                resized.append(resize_image(image, (size[1], size[0])))
            groups: dict[tuple[int, int], list[int]] = defaultdict(list)
            for index, image in enumerate(resized):
                groups[self._padded(image.shape[:2])].append(index)
        found: dict[int, Detections] = {}
        limit = self._fixed[0] or settings['batch_size']
        for size_hw, members in groups.items():
            for start in range(0, len(members), limit):
                chunk = members[start : start + limit]
                with self.clock.timed('preprocess'):
                    batch, shapes = self._batch([resized[i] for i in chunk], size_hw)
                with self.clock.timed('network'):
                    outputs = self.network(batch, shapes)
                with self.clock.timed('postprocess'):
                    for place, i in enumerate(chunk):
                        found[i] = self._decode(outputs, place, images[i].shape[:2], resized[i].shape[:2])
        return [found[i] for i in range(len(images))]

    def _padded(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        height, width = (
            fixed or -(-side // self._divisor) * self._divisor for fixed, side in zip(self._fixed[2:], size_hw)
        )
        if height < size_hw[0] or width < size_hw[1]:
            message = f'the network takes {width} x {height} pixels only, and the image is larger after resizing; export it with a free size'
            raise ModelInputError(message, file=self.network.name, received=size_hw[::-1])
        return height, width

    def _batch(self, images: Sequence[np.ndarray], size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        settings = self.settings
        count = self._fixed[0] or len(images)
        batch = np.full((count, 3, *size_hw), settings['pad_value'], np.float32)
        shapes = np.empty((count, 2), np.int64)
        shapes[:] = size_hw
        mean, std = (
            None if settings[k] is None else np.float32(settings[k] * (3 // len(settings[k]))) for k in ('mean', 'std')
        )
        for place, shape, image in zip(batch, shapes, images):
            height, width = shape[:] = image.shape[:2]
            for channel in range(3):
                target = place[channel, :height, :width]
                plane = image[..., 2 - channel if settings['bgr_to_rgb'] else channel]
                if mean is None or std is None:
                    target[:] = plane
                else:
                    np.subtract(plane, mean[channel], out=target)
                    target /= std[channel]
        return batch, shapes

    def _decode(
        self, outputs: Mapping[str, np.ndarray], place: int, size_hw: tuple[int, int], resized_hw: tuple[int, int]
    ) -> Detections:
        if self.outputs == 'boxes':
            own: Any = outputs['image_index'] == place
        else:
            own = place
        boxes, scores, labels = (outputs[name][own] for name in ('boxes', 'scores', 'labels'))
        factors = np.float32([resized_hw[1] / size_hw[1], resized_hw[0] / size_hw[0]])
        found = Detections(
            boxes.astype(np.float32) / np.tile(factors, 2), scores.astype(np.float32), labels.astype(np.int64)
        )
        if self.outputs == 'boxes':
            return found
        test_cfg = self.settings['test_cfg']
        found = found[found.scores > test_cfg.get('score_thr', 0.0)]
        return found.suppress(test_cfg.get('nms'), test_cfg.get('max_per_img', -1))
