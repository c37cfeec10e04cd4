"""One object that runs a detector on whatever a user has: files, folders, arrays, videos."""

import json
import os
import pprint
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.utils import ProgressBar

from ..errors import CheckpointError, ConfigError, DataError
from ..structures import DetDataSample
from ..utils.files import write_text
from ..visualization import DetLocalVisualizer, write_image
from .building import find_config_beside, init_detector
from .inference import ImagePipeline, predict_batch, test_pipeline_config
from .sources import OutputNames, Source, collect_inputs, count_sources, iterate_sources, prefetch_batches

_CHECKPOINT_SUFFIXES = ('.pth', '.pt', '.safetensors')


@dataclass
class _Prepared:
    """A source after loading: its packed sample and picture, or why it could not be read."""

    source: Source
    packed: dict | None = None
    image: np.ndarray | None = None
    error: DataError | None = None


def config_by_name(name: str) -> str:
    """Path of the config that a bare name like ``gfl_r50_fpn_1x_coco`` stands for; anything else comes back as it is."""
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
        palette: see :func:`mmdet.apis.init_detector`.
        show_progress: print a progress bar to stderr.
        trust_checkpoint: allow unpickling of arbitrary objects; only for files of your own.
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
            if weights is None:
                raise ConfigError('give a config, a checkpoint with a config beside it, or both', field='model')
            model, weights = weights, None
        if isinstance(model, (str, Path)) and str(model).lower().endswith(_CHECKPOINT_SUFFIXES):
            if weights is not None:
                raise CheckpointError(
                    'model is a checkpoint already; give model=<config file> beside weights', received=str(model)
                )
            weights, model = str(model), find_config_beside(model)
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
        self._names = OutputNames()

    def __call__(
        self,
        inputs,
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
    ) -> dict:
        """Detect.

        Args:
            inputs: a path, address, folder, glob pattern, BGR uint8 array, video file, or a list of these.
            batch_size: images per network call; predictions do not depend on it.
            return_vis: return the pictures.
            show: open a window for each picture, for ``wait_time`` seconds (0 waits for a key).
            no_save_vis: do not write ``<out_dir>/vis/<name>`` (a video becomes one annotated ``.mp4``).
            draw_pred: draw the predictions with a score above ``pred_score_thr``. The threshold concerns pictures only.
            return_datasamples: return ``DetDataSample`` objects instead of dictionaries.
            print_result: print each prediction.
            no_save_pred: do not write ``<out_dir>/preds/<stem>.json`` (a video: ``.jsonl``, one frame a line).
            out_dir: nothing is written when it is empty.
            recursive: look into folders below a folder.
            skip_broken: go on past images that cannot be read; they are listed under ``skipped``.
            num_workers: threads that load images.

        Returns:
            ``predictions``: one per image that could be read, in order, ``dict(labels, scores, bboxes)``, boxes xyxy in pixels;
            ``visualization``: (H, W, 3) RGB arrays with ``return_vis``, else empty; ``inputs``: the name of each prediction's image (a
            frame is ``<stem>/<number>``); ``skipped``: ``(name, reason)`` of each image left out.

        Raises:
            DataError: nothing to read, or an image that cannot be read (without ``skip_broken``).
        """
        for field, value in (('batch_size', batch_size), ('num_workers', num_workers)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError('must be an integer of at least 1', field=field, received=value)
        entries = collect_inputs(inputs, recursive=recursive)
        self._names.start_call()
        sources = iterate_sources(entries, self._names)
        bar = ProgressBar(count_sources(entries), file=sys.stderr) if self.show_progress else None
        writers = _Writers(out_dir, vis=not no_save_vis, preds=not no_save_pred)
        draw = return_vis or show or writers.vis

        result: dict = {'predictions': [], 'visualization': [], 'inputs': [], 'skipped': []}
        try:
            for batch in prefetch_batches(sources, self._prepare, batch_size, num_workers):
                size = len(batch)
                for failed in (item for item in batch if item.error is not None):
                    if not skip_broken:
                        raise failed.error
                    result['skipped'].append((str(failed.source), str(failed.error)))
                batch = [item for item in batch if item.error is None]
                for item, sample in zip(batch, predict_batch(self.model, [item.packed for item in batch])):
                    prediction = to_dict(sample)
                    if draw:
                        picture = self._draw(item, sample, draw_pred, pred_score_thr, show, wait_time)
                        writers.write_picture(item.source, picture)
                        if return_vis:
                            result['visualization'].append(picture)
                    writers.write_prediction(item.source, prediction)
                    if print_result:
                        pprint.pprint({str(item.source): prediction}, sort_dicts=False)
                    result['predictions'].append(sample if return_datasamples else prediction)
                    result['inputs'].append(str(item.source))
                if bar is not None:
                    bar.update(size)
            writers.close(complete=True)
        finally:
            writers.close(complete=False)
            if bar is not None:
                print(file=sys.stderr)
        if result['skipped']:
            names = ', '.join(name for name, _ in result['skipped'][:5])
            print_log(f'{len(result["skipped"])} unreadable images were skipped: {names}', logger='current', level=30)
        return result

    def _prepare(self, source: Source) -> _Prepared:
        """Load and transform a source; runs in a thread."""
        try:
            packed, image = self.pipeline(source.image)
        except DataError as error:
            return _Prepared(source, error=error)
        return _Prepared(source, packed, image)

    def _draw(self, item: _Prepared, sample: DetDataSample, draw_pred, score_thr, show, wait_time) -> np.ndarray:
        image = item.image if item.image.ndim == 3 else cv2.cvtColor(item.image, cv2.COLOR_GRAY2BGR)
        # Frames of a video must agree in size: one legend row on each, also on those without objects.
        self.visualizer.legend = 1 if item.source.video is not None and self._legend else self._legend
        self.visualizer.add_datasample(
            str(item.source), image[..., ::-1], sample,
            draw_gt=False, draw_pred=draw_pred, show=show, wait_time=wait_time, pred_score_thr=score_thr,
        )  # fmt: skip
        return self.visualizer.get_image()


def to_dict(sample: DetDataSample) -> dict[str, list]:
    """Predictions of a sample as plain lists: ``labels`` (n), ``scores`` (n), ``bboxes`` (n, 4) xyxy."""
    instances = sample.pred_instances
    return {
        'labels': instances.labels.tolist(),
        'scores': instances.scores.tolist(),
        'bboxes': instances.bboxes.tolist(),
    }


class _Writers:
    """Files of one call. Each appears under its name only when it is complete."""

    def __init__(self, out_dir: str, *, vis: bool, preds: bool):
        self.vis = bool(out_dir) and vis
        self.preds = bool(out_dir) and preds
        self._folder = Path(out_dir) if out_dir else None
        # final path -> (path being written, open stream or cv2.VideoWriter)
        self._open: dict[Path, tuple[Path, object]] = {}

    def write_picture(self, source: Source, picture: np.ndarray) -> None:
        if not self.vis:
            return
        if source.video is None:
            write_image(self._folder / 'vis' / f'{source.stem}{source.suffix}', picture)
            return
        path = self._folder / 'vis' / f'{_video_stem(source)}.mp4'
        height, width = picture.shape[:2]
        if path not in self._open:
            self._finish_others(path)
            with _writing(path):
                temporary = _temporary(path)
            writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter_fourcc(*'mp4v'), source.fps, (width, height))
            if not writer.isOpened():
                raise DataError('OpenCV cannot write an mp4 video here; use no_save_vis', file=path)
            self._open[path] = (temporary, writer)
        self._open[path][1].write(np.ascontiguousarray(picture[..., ::-1]))

    def write_prediction(self, source: Source, prediction: dict) -> None:
        if not self.preds:
            return
        if source.video is None:
            path = self._folder / 'preds' / f'{source.stem}.json'
            write_text(path, json.dumps(prediction))
            return
        path = self._folder / 'preds' / f'{_video_stem(source)}.jsonl'
        with _writing(path):
            if path not in self._open:
                self._finish_others(path)
                temporary = _temporary(path)
                self._open[path] = (temporary, open(temporary, 'w'))  # noqa: SIM115 (closed by close)
            frame = int(source.stem.rpartition('/')[2])
            self._open[path][1].write(json.dumps({'frame': frame, **prediction}) + '\n')

    def close(self, *, complete: bool) -> None:
        """Give finished files their names; of an interrupted call the part that was being written is removed."""
        for path in list(self._open):
            self._finish(path, complete)

    def _finish_others(self, path: Path) -> None:
        """A new video has begun: the files of the one before are complete."""
        for other in [p for p in self._open if p.stem != path.stem]:
            self._finish(other, complete=True)

    def _finish(self, path: Path, complete: bool) -> None:
        temporary, writer = self._open.pop(path)
        if isinstance(writer, cv2.VideoWriter):
            writer.release()
        else:
            writer.close()
        if complete:
            temporary.replace(path)
        else:
            temporary.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f'could not be written ({error.strerror or error})', file=path) from error


def _video_stem(source: Source) -> str:
    return source.stem.rpartition('/')[0]


def _temporary(path: Path) -> Path:
    """Name to write to first, with the same extension (OpenCV chooses the container by it); makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f'.{path.stem}.{os.getpid()}.tmp{path.suffix}')
