"""An object that runs a detector on files, folders, arrays and videos."""

import json
import pprint
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.utils import ProgressBar

from ..config.config_files import require_data
from ..errors import CheckpointError, ConfigError, DataError
from ..formats.videos import VideoFile
from ..structures import DetDataSample
from ..utils.files import write_json, write_text
from ..visualization import DetLocalVisualizer, write_image
from .building import find_config_beside, init_detector
from .inference import ImagePipeline, predict_batch, test_pipeline_config
from .sources import InputNames, Source, collect_inputs, count_sources, iterate_sources, prefetch_batches


class InferenceResult(TypedDict):
    """What a call of :class:`DetInferencer` returns.

    Attributes:
        predictions: one per image that could be read, in order: ``dict(labels, scores, bboxes)`` with boxes xyxy in pixels, or data samples.
        visualization: one (H, W, 3) RGB picture per prediction; empty without ``return_vis``.
        inputs: name of the image of each prediction; frame 7 of a video is ``<stem>/000007``.
        skipped: name of each image that could not be read, and the reason.
    """

    predictions: list[Any]
    visualization: list[np.ndarray]
    inputs: list[str]
    skipped: list[tuple[str, str]]


def config_by_name(name: str) -> str:
    """Path of the config with a bare name like ``gfl_r50_fpn_1x_coco``; anything else comes back as it is."""
    if Path(name).suffix or Path(name).exists():
        return name
    found = sorted((Path(__file__).resolve().parents[2] / 'configs').rglob(f'{name}.py'))
    return str(found[0]) if found else name


class DetInferencer:
    """Detect objects in images and videos, and write pictures and JSON.

    While the network works on one batch, threads load and resize the next.

    Args:
        model: path of a config, a Config, or the path of a checkpoint whose config lies beside it (as a training run leaves it).
        weights: checkpoint path, URL or known name; None with a config means random weights.
        device: None takes the first GPU, or the CPU where there is none.
        scope: must be 'mmdet'; kept for callers of mmdetection.
        palette: as for :func:`mmdet.apis.init_detector`.
        show_progress: print a progress bar to stderr.
        trust_checkpoint: allow unpickling of arbitrary objects, and a config beside the checkpoint that is a program; only for files of your own.
        cfg_options: overrides of the config.

    Example::

        inferencer = DetInferencer('configs/demo/gfl_demo.py', 'work_dirs/gfl_demo/epoch_9.pth')
        result = inferencer('images/', batch_size=4, out_dir='outputs', no_save_pred=False)
        boxes = result['predictions'][0]['bboxes']
    """

    def __init__(
        self,
        model: str | Path | Config | None = None,
        weights: str | None = None,
        device: str | None = None,
        scope: str = 'mmdet',
        palette: str | Sequence = 'none',
        show_progress: bool = True,
        *,
        trust_checkpoint: bool = False,
        cfg_options: dict | None = None,
    ):
        if scope not in ('mmdet', None):
            raise ConfigError("scope must be 'mmdet'", field='scope', received=scope)
        if model is None:
            model, weights = weights, None
        if model is None:
            raise ConfigError('give a config, a checkpoint with a config beside it, or both', field='model')
        if isinstance(model, (str, Path)) and str(model).lower().endswith(('.pth', '.pt', '.safetensors')):
            if weights is not None:
                message = 'model is a checkpoint already; give model=<config file> beside weights'
                raise CheckpointError(message, received=str(model))
            weights, model = str(model), find_config_beside(model)
            if not trust_checkpoint:  # the user named the checkpoint, not this file
                require_data(model)
            print_log(f'{weights}: using the config beside it, {model}', logger='current')
        elif isinstance(model, str):
            model = config_by_name(model)
        self.model = init_detector(model, weights, palette, device, cfg_options, trust_checkpoint)
        self.cfg = self.model.cfg
        self.pipeline = ImagePipeline(test_pipeline_config(self.cfg))
        options = {
            key: value for key, value in (self.cfg.get('visualizer') or {}).items()
            if key in ('bbox_color', 'text_color', 'line_width', 'alpha', 'legend')
        }  # fmt: skip
        self.visualizer = DetLocalVisualizer(name=f'inferencer-{id(self)}', **options)
        self.visualizer.dataset_meta = self.model.dataset_meta
        self._legend = self.visualizer.legend
        self.show_progress = show_progress
        self._names = InputNames()

    def __call__(
        self,
        inputs: Any,
        batch_size: int = 1,
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        no_save_vis: bool = False,
        draw_pred: bool = True,
        pred_score_thr: float = 0.3,
        return_datasamples: bool = False,
        print_result: bool = False,
        no_save_pred: bool = True,
        out_dir: str = '',
        *,
        recursive: bool = False,
        skip_broken: bool = False,
        num_workers: int = 2,
    ) -> InferenceResult:
        """Detect objects in images and videos.

        Args:
            inputs: a path, address, folder, glob pattern, BGR uint8 array, video file, or a list of these.
            batch_size: images that are loaded together; the predictions do not depend on it.
            return_vis: return the pictures.
            show: open a window for each picture.
            wait_time: seconds that a window stays; 0 waits for a key.
            no_save_vis: do not write ``<out_dir>/vis/<name>`` (for a video one annotated ``.mp4``).
            draw_pred: draw the predictions.
            pred_score_thr: predictions with a score above this are drawn; those returned and written are not cut.
            return_datasamples: return ``DetDataSample`` objects instead of dictionaries.
            print_result: print each prediction.
            no_save_pred: do not write ``<out_dir>/preds/<stem>.json`` (for a video ``.jsonl``, one frame per line).
            out_dir: folder to write to; nothing is written when it is empty. Outputs get the names of their inputs, or these with a number
                where a name belongs to another input: see :class:`mmdet.utils.outputs.OutputNames`. ``<out_dir>/sources/names.jsonl`` lists the names.
            recursive: look into folders below a folder.
            skip_broken: leave out images that cannot be read and list them under ``skipped``.
            num_workers: threads that load images.

        Raises:
            DataError: there is nothing to read, an image cannot be read (without ``skip_broken``), or a file cannot be written.
            ConfigError: ``batch_size`` or ``num_workers`` is not a positive integer, or the pictures would be written into the folder of an input.
        """
        for name, value in (('batch_size', batch_size), ('num_workers', num_workers)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError('must be an integer of at least 1', field=name, received=value)
        entries = collect_inputs(inputs, recursive=recursive, out_dir=out_dir)
        stems = self._names.of_call(
            entries, Path(out_dir) if out_dir else None, vis=not no_save_vis, preds=not no_save_pred
        )
        sources = iterate_sources(entries, stems)
        bar = ProgressBar(count_sources(entries), file=sys.stderr) if self.show_progress else None
        result = InferenceResult(predictions=[], visualization=[], inputs=[], skipped=[])
        try:
            with _Writers(out_dir, vis=not no_save_vis, preds=not no_save_pred) as writers:
                for batch in prefetch_batches(sources, self._prepare, batch_size, num_workers):
                    loaded = []
                    for source, content in batch:
                        if not isinstance(content, DataError):
                            loaded.append((source, *content))
                        elif not skip_broken:
                            raise content
                        else:
                            result['skipped'].append((str(source), str(content)))
                    samples = predict_batch(self.model, [packed for _, packed, _ in loaded])
                    for (source, _, image), sample in zip(loaded, samples):
                        prediction = to_dict(sample)
                        if return_vis or show or writers.vis:
                            picture = self._draw(source, image, sample, draw_pred, pred_score_thr, show, wait_time)
                            writers.write_picture(source, picture)
                            if return_vis:
                                result['visualization'].append(picture)
                        writers.write_prediction(source, prediction)
                        if print_result:
                            pprint.pprint({str(source): prediction}, sort_dicts=False)
                        result['predictions'].append(sample if return_datasamples else prediction)
                        result['inputs'].append(str(source))
                    if bar is not None:
                        bar.update(len(batch))
        finally:
            if bar is not None:
                print(file=sys.stderr)
        if result['skipped']:
            names = ', '.join(name for name, _ in result['skipped'][:5])
            print_log(f'{len(result["skipped"])} unreadable images were skipped: {names}', logger='current', level=30)
        return result

    def _prepare(self, source: Source) -> tuple[Source, tuple[dict, np.ndarray] | DataError]:
        """The packed sample of a source and its image (H, W, 3) BGR or (H, W) grey, or why it cannot be read; runs in a thread."""
        try:
            return source, self.pipeline(source.image)
        except DataError as error:
            return source, error

    def _draw(
        self, source: Source, image: np.ndarray, sample: DetDataSample, draw_pred: bool, score_thr: float, show: bool, wait_time: float
    ) -> np.ndarray:  # fmt: skip
        image = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        # The frames of a video must agree in size: each has one row of legend, also a frame without objects.
        self.visualizer.legend = 1 if source.video is not None and self._legend else self._legend
        self.visualizer.add_datasample(
            str(source), image[..., ::-1], sample,
            draw_gt=False, draw_pred=draw_pred, show=show, wait_time=wait_time, pred_score_thr=score_thr,
        )  # fmt: skip
        return self.visualizer.get_image()


def to_dict(sample: DetDataSample) -> dict[str, list]:
    """Predictions of a sample as plain lists: ``labels`` (n), ``scores`` (n), ``bboxes`` (n, 4) xyxy."""
    instances = sample.pred_instances
    return {name: instances[name].tolist() for name in ('labels', 'scores', 'bboxes')}


@dataclass
class _Clip:
    """The outputs of a video that is being processed; closing ``files`` completes the annotated video and gives it its name."""

    stem: str
    lines: list[str] = field(default_factory=list)
    frames: VideoFile | None = None
    files: ExitStack = field(default_factory=ExitStack)


class _Writers:
    """The output files of one call. Each gets its name only when it is complete; leaving the ``with`` block completes the last ones."""

    def __init__(self, out_dir: str, *, vis: bool, preds: bool):
        self.vis = bool(out_dir) and vis
        self.preds = bool(out_dir) and preds
        self._folder = Path(out_dir)
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
        else:
            frame = int(source.stem.rpartition('/')[2])
            self._clip_of(source).lines.append(json.dumps({'frame': frame, **prediction}) + '\n')

    def __enter__(self) -> '_Writers':
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
