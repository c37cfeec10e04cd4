"""The files that an inferencer writes: pictures, predictions as JSON and GeoJSON, annotated videos."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..errors import DataError
from ..formats.geojson import boxes_to_geojson, is_georeferenced, read_georeference
from ..formats.tiff import has_rasterio
from ..formats.videos import VideoFile
from ..structures import DetDataSample
from ..utils.files import write_json, write_text
from ..visualization import write_image
from .sources import Source


def to_dict(sample: DetDataSample) -> dict[str, list]:
    """Predictions of a sample as plain lists: ``labels`` (n), ``scores`` (n), ``bboxes`` (n, 4) xyxy; of tensors, arrays or boxes."""
    fields = {name: sample.pred_instances[name] for name in ('labels', 'scores', 'bboxes')}
    return {name: getattr(value, 'tensor', value).tolist() for name, value in fields.items()}


@dataclass
class _Clip:
    """The outputs of a video that is being processed; closing ``files`` completes the annotated video and gives it its name."""

    stem: str
    lines: list[str] = field(default_factory=list)
    frames: VideoFile | None = None
    files: ExitStack = field(default_factory=ExitStack)


class Writers:
    """The output files of one call. Each gets its name only when it is complete; leaving the ``with`` block completes the last ones.

    Args:
        out_dir: folder of the outputs; nothing is written where it is empty.
        vis, preds: whether to write pictures and predictions.
        classes: class names, for GeoJSON.
    """

    def __init__(self, out_dir: str, *, vis: bool, preds: bool, classes: Sequence[str] = ()):
        self.vis = bool(out_dir) and vis
        self.preds = bool(out_dir) and preds
        self._folder = Path(out_dir)
        self._classes = classes
        self._told = False  # that rasterio is missing
        self._clip: _Clip | None = None

    def write_picture(self, source: Source, picture: np.ndarray) -> None:
        """Write the picture of an image, or add that of a frame to its video."""
        if not self.vis:
            return
        if source.video is None:
            write_image(self._folder / 'vis' / f'{source.stem}{source.suffix}', picture)
            return
        clip = self._clip_of(source)
        if clip.frames is None:
            path = self._folder / 'vis' / f'{clip.stem}.mp4'
            height, width = picture.shape[:2]
            clip.frames = clip.files.enter_context(VideoFile(path, source.fps, (width, height)))
        clip.frames.write(picture)

    def write_prediction(self, source: Source, prediction: dict) -> None:
        """Write the prediction for an image, or add that for a frame to the lines of its video."""
        if not self.preds:
            return
        if source.video is None:
            write_json(self._folder / 'preds' / f'{source.stem}.json', prediction)
            if isinstance(source.image, str) and is_georeferenced(source.image):
                self._write_geojson(source, source.image, prediction)
        else:
            frame = int(source.stem.rpartition('/')[2])
            self._clip_of(source).lines.append(json.dumps({'frame': frame, **prediction}) + '\n')

    def _write_geojson(self, source: Source, image: str, prediction: dict) -> None:
        """``preds/<stem>.geojson`` of an image that states where it lies; a line in the log where that is not possible."""
        if not has_rasterio():
            if not self._told:
                message = (
                    "its boxes are also written as GeoJSON if rasterio is installed: pip install 'mmdet-dense[geo]'"
                )
                print_log(f'{image} is georeferenced; {message}', logger='current', level=30)
            self._told = True
            return
        try:
            georeference = read_georeference(image)
            if georeference is None:
                raise DataError('neither the file nor the world file beside it says where its pixels lie')
            document = boxes_to_geojson(prediction, self._classes, georeference, Path(image).name)
        except DataError as error:
            print_log(f'{image}: no GeoJSON is written: {error}', logger='current', level=30)
            return
        write_json(self._folder / 'preds' / f'{source.stem}.geojson', document)

    def __enter__(self) -> 'Writers':
        return self

    def __exit__(self, *failure: Any) -> None:
        """Complete the files of the last video, or remove them after a failure."""
        clip, self._clip = self._clip, None
        if clip is None:
            return
        clip.files.__exit__(*failure)
        if failure[0] is None and clip.lines:
            write_text(self._folder / 'preds' / f'{clip.stem}.jsonl', ''.join(clip.lines))

    def _clip_of(self, source: Source) -> _Clip:
        """The clip of a frame. The frames of a video are consecutive, so the previous clip is complete when another begins."""
        stem = source.stem.rpartition('/')[0]
        if self._clip is None or self._clip.stem != stem:
            self.__exit__(None, None, None)
            self._clip = _Clip(stem)
        return self._clip
