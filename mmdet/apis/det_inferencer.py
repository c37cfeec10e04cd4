"""An object that runs a detector on files, folders, arrays and videos."""

import functools
import json
import pprint
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.infer.infer import BaseInferencer, ModelType
from mmengine.logging import print_log
from mmengine.registry import FUNCTIONS
from mmengine.structures import InstanceData
from mmengine.utils import ProgressBar
from mmengine.visualization import Visualizer

from ..config.config_files import require_data
from ..config.reading import type_name
from ..engine.checkpoint.loading import load_checkpoint_file
from ..errors import CheckpointError, ConfigError, DataError
from ..formats.videos import VideoFile
from ..models.detectors import BaseDetector
from ..registry import SCOPE, VISUALIZERS
from ..structures import DetDataSample
from ..utils.files import write_json, write_text
from ..utils.setup_env import register_all_modules
from ..visualization import write_image
from .building import build_model, choose_device, find_config_beside, load_weights, read_config
from .inference import compose_for_inputs, load_original, predict_batch, run_pipeline, test_pipeline_config
from .sources import (
    InputNames,
    Source,
    check_array,
    collect_inputs,
    count_sources,
    iterate_sources,
    output_suffix,
    prefetch_batches,
)  # fmt: skip

# Names of mmdetection, for annotations.
InputType = str | np.ndarray
InputsType = InputType | Sequence[InputType]
PredType = list[InstanceData]
ImgType = np.ndarray | Sequence[np.ndarray]


# Arguments of a call in mmdetection that choose what open-vocabulary models look for.
_TEXT_OPTIONS = ('texts', 'stuff_texts', 'custom_entities', 'tokens_positive')


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


class _KnownModel(NamedTuple):
    """A model that has a name; ``weights`` is the address of its published checkpoint, or None."""

    name: str
    config: Path
    weights: str | None = None


def config_by_name(name: str) -> str:
    """Path of the config with a bare name like ``gfl_r50_fpn_1x_coco``, or an alias; anything else comes back as it is."""
    if Path(name).suffix in ('.py', '.json', '.yml', '.yaml') or Path(name).exists():
        return name
    known = _known_models().get(name.lower())
    return name if known is None else str(known.config)


@functools.cache
def _known_models() -> dict[str, _KnownModel]:
    """The models of the package by lower-case name: those of the model index, with their aliases, and every config by its file name."""
    root = Path(__file__).resolve().parents[1] / '.mim'
    found = {}
    for model in BaseInferencer._get_models_from_metafile(str(root)):
        aliases = model.get('Alias') or []
        for name in [model['Name'], *([aliases] if isinstance(aliases, str) else aliases)]:
            found[name.lower()] = _KnownModel(name, (root / model['Config']).resolve(), model.get('Weights'))
    for path in sorted((root / 'configs').resolve().rglob('*.py')):
        if '_base_' not in path.parts:
            found.setdefault(path.stem.lower(), _KnownModel(path.stem, path))
    return found


@dataclass
class _Call:
    """What the steps of one call share; the steps may also be called alone, then they use the defaults.

    Attributes:
        options: arguments of :func:`collect_inputs`.
        num_workers: threads that load images.
        skipped: where to list unreadable images; None makes them errors.
        pictures: the loaded images of the current batch, by path.
        sources: the sources of the current batch, by the id of their data samples.
        writers: the output files.
    """

    options: dict[str, Any] = field(default_factory=dict)
    num_workers: int = 1
    skipped: list[tuple[str, str]] | None = None
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    sources: dict[int, Source] = field(default_factory=dict)
    writers: '_Writers | None' = None


class DetInferencer(BaseInferencer):
    """Detect objects in images and videos, and write pictures and JSON.

    While the network works on one batch, threads load and resize the next.

    It is an inferencer of mmengine: a call runs :meth:`preprocess`, :meth:`forward`, :meth:`visualize` and :meth:`postprocess`
    batch by batch, and a subclass may override any of them, or ``_init_model``, ``_load_weights_to_model``, ``_init_pipeline``,
    ``_init_collate`` and ``_init_visualizer``, which the constructor calls in this order.

    Args:
        model: path or name of a config, a Config or dict, or the path of a checkpoint whose config lies beside it (as a training run leaves it).
        weights: checkpoint path, URL or known name; None with a config means random weights.
        device: None takes the first GPU, or the CPU where there is none.
        scope: must be 'mmdet'; kept for callers of mmdetection.
        palette: as for :func:`mmdet.apis.init_detector`.
        show_progress: print a progress bar to stderr.
        trust_checkpoint: allow unpickling of arbitrary objects, and a config beside the checkpoint that is a program; only for files of your own.
        cfg_options: overrides of the config.

    Attributes:
        cfg, model, pipeline, collate_fn, visualizer, device: what the constructor built.
        num_visualized_imgs, num_predicted_imgs: images drawn and predicted so far.

    Example::

        inferencer = DetInferencer('configs/demo/gfl_demo.py', 'work_dirs/gfl_demo/epoch_9.pth')
        result = inferencer('images/', batch_size=4, out_dir='outputs', no_save_pred=False)
        boxes = result['predictions'][0]['bboxes']
    """

    preprocess_kwargs: set = set()
    forward_kwargs: set = set()
    visualize_kwargs: set = {
        'return_vis',
        'show',
        'wait_time',
        'draw_pred',
        'pred_score_thr',
        'img_out_dir',
        'no_save_vis',
    }
    postprocess_kwargs: set = {'print_result', 'pred_out_dir', 'return_datasamples', 'no_save_pred'}

    def __init__(
        self,
        model: ModelType | str | Path | None = None,
        weights: str | None = None,
        device: str | None = None,
        scope: str | None = 'mmdet',
        palette: str | Sequence = 'none',
        show_progress: bool = True,
        *,
        trust_checkpoint: bool = False,
        cfg_options: dict | None = None,
    ):
        # mmengine's constructor is not called: it reads checkpoints without checks, and runs the config stored in them.
        if scope not in (SCOPE, None):
            raise ConfigError(f'scope must be {SCOPE!r}', field='scope', received=scope)
        self.scope = SCOPE
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
            known = _known_models().get(model.lower())
            if known is not None and known.weights and weights is None:
                print_log(f'{model}: published weights are at {known.weights}, give them as weights=', logger='current')
            model = config_by_name(model)
        elif isinstance(model, dict):
            model = Config(model)
        self.palette = palette
        self.show_progress = show_progress
        self.num_visualized_imgs = self.num_predicted_imgs = 0
        self._trust_checkpoint = trust_checkpoint
        self._names = InputNames()
        self._call = _Call()
        register_all_modules()
        self.cfg = read_config(model, cfg_options)
        self.model: BaseDetector
        self.device = choose_device(device)
        self.model = self._init_model(self.cfg, weights, self.device)
        self.pipeline = self._init_pipeline(self.cfg)
        self.collate_fn = self._init_collate(self.cfg)
        self.visualizer = self._init_visualizer(self.cfg)
        self._legend = getattr(self.visualizer, 'legend', None)

    def _init_model(self, cfg: Config, weights: str | None, device: Any = 'cpu') -> BaseDetector:
        """The detector of a config in evaluation mode, with weights and class names."""
        model = build_model(cfg)
        content = None if weights is None else load_checkpoint_file(weights, trust=self._trust_checkpoint)
        self._load_weights_to_model(model, content, cfg)
        return model.to(device).eval()

    def _load_weights_to_model(self, model: BaseDetector, checkpoint: dict | None, cfg: Config | None) -> None:
        """Put the weights of a loaded checkpoint into the model and set its ``dataset_meta``."""
        load_weights(model, checkpoint, cfg or self.cfg, self.palette, trust_checkpoint=self._trust_checkpoint)

    def _init_pipeline(self, cfg: Config) -> Compose:
        """The test pipeline, with ``InferencerLoader`` in the place of its loader.

        Raises:
            ConfigError: the pipeline does not start by loading an image.
        """
        return compose_for_inputs(test_pipeline_config(cfg))

    def _init_collate(self, cfg: Config) -> Callable:
        """``test_dataloader.collate_fn`` of the config, a name or a dict with arguments; ``pseudo_collate`` where there is none."""
        spec = (cfg.get('test_dataloader') or {}).get('collate_fn') or 'pseudo_collate'
        options = dict(spec) if isinstance(spec, dict) else dict(type=spec)
        kind = options.pop('type')
        return functools.partial(kind if callable(kind) else FUNCTIONS.get(kind), **options)

    def _get_transform_idx(self, pipeline_cfg: Sequence[dict], name: str | type | tuple) -> int:
        """Position of the first transform of a type, or of one of several; -1 where there is none."""
        names = name if isinstance(name, tuple) else (name,)
        return next((index for index, step in enumerate(pipeline_cfg) if step['type'] in names), -1)

    def _init_visualizer(self, cfg: Config) -> Visualizer:
        """The visualizer of the config, without its backends; ``DetLocalVisualizer`` where the config has none."""
        options = dict(cfg.get('visualizer') or {})
        if type_name(options or dict(type='DetLocalVisualizer')) == 'DetLocalVisualizer':
            kept = ('type', 'bbox_color', 'text_color', 'line_width', 'alpha', 'legend')
            options = {key: value for key, value in options.items() if key in kept}
        options = {'type': 'DetLocalVisualizer', **options, 'name': f'inferencer-{id(self)}'}
        options.pop('vis_backends', None)
        visualizer = VISUALIZERS.build(options)
        visualizer.dataset_meta = self.model.dataset_meta
        return visualizer

    def __call__(
        self,
        inputs: InputsType,
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
        **kwargs: Any,
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
            **kwargs: arguments of the steps of a subclass, which it names in ``preprocess_kwargs``, ``forward_kwargs``,
                ``visualize_kwargs`` or ``postprocess_kwargs``; and ``texts``, ``stuff_texts``, ``custom_entities`` and
                ``tokens_positive`` of mmdetection without a value, as wrappers of its inferencer hand on.

        Raises:
            DataError: there is nothing to read, an image cannot be read (without ``skip_broken``), or a file cannot be written.
            ConfigError: ``batch_size`` or ``num_workers`` is not a positive integer, an argument is unknown, or the pictures would be written into the folder of an input.
        """
        for name, value in (('batch_size', batch_size), ('num_workers', num_workers)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError('must be an integer of at least 1', field=name, received=value)
        of_steps = self._dispatch_kwargs(**kwargs)
        result = InferenceResult(predictions=[], visualization=[], inputs=[], skipped=[])
        call = self._call = _Call(dict(recursive=recursive, out_dir=out_dir), num_workers)
        call.skipped = result['skipped'] if skip_broken else None
        bar = None
        try:
            entries = self._inputs_to_list(inputs)
            stems = self._names.of_call(
                entries, Path(out_dir) if out_dir else None, vis=not no_save_vis, preds=not no_save_pred
            )
            queue: deque[Source] = deque()  # given to preprocess, and not yet predicted
            bar = ProgressBar(count_sources(entries), file=sys.stderr) if self.show_progress else None
            with _Writers(out_dir, vis=not no_save_vis, preds=not no_save_pred) as call.writers:
                images = (source.image for source in _recorded(iterate_sources(entries, stems), queue))
                for originals, data in self.preprocess(images, batch_size=batch_size, **of_steps[0]):
                    predictions = self.forward(data, **of_steps[1])
                    sources, taken = _next_sources(queue, originals)
                    call.sources = {id(sample): source for sample, source in zip(predictions, sources)}
                    pictures = self.visualize(
                        originals, predictions, return_vis=return_vis, show=show, wait_time=wait_time, draw_pred=draw_pred,
                        pred_score_thr=pred_score_thr, no_save_vis=no_save_vis, img_out_dir=out_dir, **of_steps[2],
                    )  # fmt: skip
                    part = self.postprocess(
                        predictions, pictures, return_datasamples=return_datasamples, print_result=print_result,
                        no_save_pred=no_save_pred, pred_out_dir=out_dir, **of_steps[3],
                    )  # fmt: skip
                    result['predictions'] += part['predictions']
                    result['visualization'] += (part['visualization'] or []) if return_vis else []
                    result['inputs'] += map(str, sources)
                    if bar is not None:
                        bar.update(taken)
                if bar is not None and queue:
                    bar.update(len(queue))
        finally:
            self._call = _Call()
            if bar is not None:
                print(file=sys.stderr)
        if result['skipped']:
            names = ', '.join(name for name, _ in result['skipped'][:5])
            print_log(f'{len(result["skipped"])} unreadable images were skipped: {names}', logger='current', level=30)
        return result

    def _dispatch_kwargs(self, **kwargs: Any) -> tuple[dict, dict, dict, dict]:
        """The arguments of preprocess, forward, visualize and postprocess among those of a call.

        Raises:
            ConfigError: none of them takes an argument of that name.
        """
        kwargs = {key: value for key, value in kwargs.items() if key not in _TEXT_OPTIONS or value not in (None, False)}
        steps = (self.preprocess_kwargs, self.forward_kwargs, self.visualize_kwargs, self.postprocess_kwargs)
        known = set().union(*steps)
        for name, value in kwargs.items():
            if name not in known:
                message = f'is no argument of {type(self).__name__}; its steps take {sorted(known)}'
                raise ConfigError(message, field=name, received=value)
        first, second, third, fourth = ({key: kwargs[key] for key in kwargs if key in names} for names in steps)
        return first, second, third, fourth

    def _inputs_to_list(self, inputs: InputsType) -> list:
        """The images and videos that the inputs stand for; folders are listed, patterns resolved."""
        return collect_inputs(inputs, **self._call.options)

    def preprocess(
        self, inputs: Iterable[str | np.ndarray | dict], batch_size: int = 1, **kwargs: Any
    ) -> Iterator[tuple[list, dict]]:
        """Batches of inputs: for each the inputs as they were given, and the collated results of the pipeline.

        Args:
            inputs: paths, addresses, BGR uint8 arrays, or sample dicts with ``img_path`` or ``img``.
            batch_size: images of a batch.
        """
        for chunk in self._get_chunk_data(inputs, batch_size):
            originals, packed = zip(*chunk)
            yield list(originals), self.collate_fn(list(packed))

    def _get_chunk_data(self, inputs: Iterable, chunk_size: int) -> Iterator[list[tuple[Any, dict]]]:
        """Lists of up to ``chunk_size`` pairs of an input and its result of the pipeline, which threads prepare in advance."""
        call = self._call
        # No variable holds the batches: an error that is raised here would keep them, and their threads, until the garbage collection.
        for batch in self._batches(inputs, chunk_size):
            call.pictures = {}
            chunk = []
            for given, packed, image in batch:
                if not isinstance(packed, DataError):
                    chunk.append((given, packed))
                    if isinstance(given, str) and image is not None:
                        call.pictures[given] = image
                elif call.skipped is None:
                    raise packed
                else:
                    call.skipped.append((str(given), str(packed)))
            if chunk:
                yield chunk

    def _batches(self, inputs: Iterable, size: int) -> Iterable[list[tuple]]:
        """Batches of what :meth:`_prepare` returns."""
        if isinstance(inputs, Sequence) and len(inputs) == 1:  # nothing to prepare in advance
            return [[self._prepare(inputs[0])]]
        return prefetch_batches(iter(inputs), self._prepare, size, self._call.num_workers)

    def _prepare(self, given: str | np.ndarray | dict) -> tuple[Any, dict | DataError, np.ndarray | None]:
        """An input, its packed sample or why it cannot be read, and its image as it was loaded; runs in a thread."""
        try:
            return given, *run_pipeline(self.pipeline, check_array(given) if isinstance(given, np.ndarray) else given)
        except DataError as error:
            return given, error, None

    @torch.no_grad()
    def forward(self, inputs: dict, **kwargs: Any) -> list[DetDataSample]:
        """Predictions for collated data; images of different padded sizes run in separate calls of the network."""
        images, samples = inputs.get('inputs'), inputs.get('data_samples')
        if isinstance(images, list) and all(isinstance(image, torch.Tensor) for image in images) and samples:
            return predict_batch(self.model, [dict(inputs=i, data_samples=s) for i, s in zip(images, samples)])
        return self.model.test_step(inputs)

    def visualize(
        self,
        inputs: Sequence[str | np.ndarray | dict],
        preds: Sequence[DetDataSample],
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        draw_pred: bool = True,
        pred_score_thr: float = 0.3,
        no_save_vis: bool = False,
        img_out_dir: str = '',
        **kwargs: Any,
    ) -> list[np.ndarray] | None:
        """Draw predictions, and show or write the pictures (``<img_out_dir>/vis/<name>``).

        Returns:
            (H, W, 3) RGB pictures; None where nothing is to be returned, shown or written.
        """
        saved = bool(img_out_dir) and not no_save_vis
        if not (return_vis or show or saved):
            return None
        pictures = []
        for given, sample in zip(inputs, preds):
            source = self._call.sources.get(id(sample)) or self._source_alone(
                given, img_out_dir if saved else '', 'vis'
            )
            image = self._call.pictures.get(given) if isinstance(given, str) else None
            picture = self._draw(
                source,
                load_original(given) if image is None else image,
                sample,
                draw_pred,
                pred_score_thr,
                show,
                wait_time,
            )
            if saved:
                with self._writers(img_out_dir, 'vis') as writers:
                    writers.write_picture(source, picture)
            pictures.append(picture)
            self.num_visualized_imgs += 1
        return pictures

    def postprocess(
        self,
        preds: Sequence[DetDataSample],
        visualization: list[np.ndarray] | None = None,
        return_datasamples: bool = False,
        print_result: bool = False,
        no_save_pred: bool = False,
        pred_out_dir: str = '',
        **kwargs: Any,
    ) -> dict[str, Any]:
        """``dict(predictions, visualization)`` of predicted samples: dictionaries of :meth:`pred2dict`, which also writes them, or the samples."""
        folder = '' if no_save_pred or not pred_out_dir else pred_out_dir
        predictions: list[Any] = list(preds)
        if not return_datasamples or print_result or folder:
            plain = [self.pred2dict(sample, folder) for sample in preds]
            if not return_datasamples:
                predictions = plain
            if print_result:
                for sample, prediction in zip(preds, plain):
                    source = self._call.sources.get(id(sample)) or sample.get('img_path')
                    pprint.pprint({str(source): prediction}, sort_dicts=False)
        return dict(predictions=predictions, visualization=visualization)

    def pred2dict(self, data_sample: DetDataSample, pred_out_dir: str = '') -> dict[str, Any]:
        """Predictions of a sample as plain lists: ``labels`` (n), ``scores`` (n), ``bboxes`` (n, 4) xyxy; with
        ``pred_out_dir`` also written as ``<pred_out_dir>/preds/<stem>.json``."""
        prediction = to_dict(data_sample)
        if pred_out_dir:
            source = self._call.sources.get(id(data_sample))
            source = source or self._source_alone(data_sample.get('img_path'), pred_out_dir, 'preds')
            with self._writers(pred_out_dir, 'preds') as writers:
                writers.write_prediction(source, prediction)
        self.num_predicted_imgs += 1
        return prediction

    @staticmethod
    def list_models(scope: str | None = None, patterns: str = r'.*') -> list[str]:
        """Names and aliases of the models that :class:`DetInferencer` builds by name, those that match a regular expression."""
        if scope not in (SCOPE, None):
            raise ConfigError(f'scope must be {SCOPE!r}', field='scope', received=scope)
        return sorted(model.name for model in _known_models().values() if re.match(patterns, model.name))

    def _source_alone(self, given: Any, out_dir: str, kind: str) -> Source:
        """The source of an image whose step was called alone, with a name of its own in ``out_dir``."""
        if isinstance(given, dict):
            given = given.get('img_path') or given.get('img')
        entry = given if isinstance(given, str) else np.zeros((1, 1, 3), np.uint8) if given is None else given
        stems = self._names.of_call(
            [entry], Path(out_dir) if out_dir else None, vis=kind == 'vis', preds=kind == 'preds'
        )
        return Source(entry, stems[0], output_suffix(entry))

    @contextmanager
    def _writers(self, out_dir: str, kind: str) -> 'Iterator[_Writers]':
        """The writers of the current call; those of a step that was called alone complete their files at once."""
        if self._call.writers is not None:
            yield self._call.writers
        else:
            with _Writers(out_dir, vis=kind == 'vis', preds=kind == 'preds') as writers:
                yield writers

    def _draw(
        self, source: Source, image: np.ndarray, sample: DetDataSample, draw_pred: bool, score_thr: float, show: bool, wait_time: float
    ) -> np.ndarray:  # fmt: skip
        image = image if image.ndim == 3 and image.shape[2] > 1 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        # The frames of a video must agree in size: each has one row of legend, also a frame without objects.
        self.visualizer.legend = 1 if source.video is not None and self._legend else self._legend
        self.visualizer.add_datasample(
            str(source), image[..., 2::-1], sample,
            draw_gt=False, draw_pred=draw_pred, show=show, wait_time=wait_time, pred_score_thr=score_thr,
        )  # fmt: skip
        return self.visualizer.get_image()


def _recorded(sources: Iterable[Source], queue: deque[Source]) -> Iterator[Source]:
    """The sources, each put into ``queue`` when it is taken."""
    for source in sources:
        queue.append(source)
        yield source


def _next_sources(queue: deque[Source], originals: Sequence) -> tuple[list[Source], int]:
    """The sources of a batch, in order, and how many were taken from the queue; those between them are of images that were skipped."""
    found, taken = [], 0
    for original in originals:
        taken += 1
        while (source := queue.popleft()).image is not original:
            taken += 1
        found.append(source)
    return found, taken


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
