"""An object that runs a detector on files, folders, arrays and videos."""

import functools
import pprint
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

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

from ..config.reading import type_name
from ..engine.checkpoint.reading import load_checkpoint_file
from ..errors import ConfigError, DataError
from ..formats.pixels import ValueRange, check_value_range, to_uint8
from ..models.detectors import BaseDetector
from ..registry import SCOPE, VISUALIZERS
from ..structures import DetDataSample
from ..utils.setup_env import register_all_modules
from .building import build_model, choose_device, config_of_checkpoint, load_weights, read_config, ready_for_inference
from .calls import Call, InferenceResult, next_sources, recorded
from .inference import (
    compose_for_inputs,
    is_composite,
    load_original,
    loader_range,
    predict_batch,
    run_pipeline,
    test_pipeline_config,
)  # fmt: skip
from .known_models import config_by_name, known_models
from .outputs import Writers, to_dict
from .sources import (
    InputNames,
    Source,
    check_array,
    collect_inputs,
    iterate_sources,
    output_suffix,
    prefetch_batches,
)  # fmt: skip
from .tiling import Tiling, TilingSteps, is_large, reads_by_tiles

# Names of mmdetection, for annotations.
InputType = str | np.ndarray
InputsType = InputType | Sequence[InputType]
PredType = list[InstanceData]
ImgType = np.ndarray | Sequence[np.ndarray]


# Arguments of a call in mmdetection that choose what open-vocabulary models look for.
_TEXT_OPTIONS = ('texts', 'stuff_texts', 'custom_entities', 'tokens_positive')


class DetInferencer(TilingSteps, BaseInferencer):
    """Detect objects in images and videos, and write pictures and JSON.

    While the network works on one batch, threads load and resize the next.

    It is an inferencer of mmengine: a call runs :meth:`preprocess`, :meth:`forward`, :meth:`visualize` and :meth:`postprocess`
    batch by batch, and a subclass may override any of them, or ``_init_model``, ``_load_weights_to_model``, ``_init_pipeline``,
    ``_init_collate`` and ``_init_visualizer``, which the constructor calls in this order.

    Args:
        model: path or name of a config, a Config or dict, or the path of a checkpoint whose config lies beside it (as a training run leaves it).
        weights: checkpoint path, URL or known name; None with a config means those that it names, else random weights.
        device: None takes the first GPU, or the CPU where there is none.
        scope: must be 'mmdet'; kept for callers of mmdetection.
        palette: as for :func:`mmdet.apis.init_detector`.
        show_progress: print a progress bar to stderr.
        trust_checkpoint: allow unpickling of arbitrary objects, and a config beside the checkpoint that is a program; only for files of your own.
        cfg_options: overrides of the config.
        value_range: how 16-bit and floating-point images and arrays become 0..255: ``(low, high)``, ``'full'`` or ``'minmax'``, see
            :mod:`mmdet.formats.pixels`; None takes the ``value_range`` of ``LoadImageFromFile`` in the config, without which they are errors.
        amp: mixed precision, as for :func:`mmdet.apis.init_detector`.
        compile: ``torch.compile`` the network, for the first four padded sizes or for as many as this number says.
        backend, precision: what computes the network (``'openvino'``, ``'openvino-winograd'``, ``'onnxruntime'``, ``'torch-compile'``), and in which type
            (``'fp32'``, ``'bf16'``), see :func:`~mmdet.apis.backends.use_backend`; None is eager torch.
        random_weights: False makes an error of what is a warning else: weights that stay random.

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
        value_range: ValueRange = None,
        amp: bool | str | None = None,
        compile: bool | int | None = None,
        backend: str | None = None,
        precision: str | None = None,
        random_weights: bool = True,
    ):
        # mmengine's constructor is not called: it reads checkpoints without checks, and runs the config stored in them.
        if scope not in (SCOPE, None):
            raise ConfigError(f'scope must be {SCOPE!r}', field='scope', received=scope)
        self.scope = SCOPE
        if model is None:
            model, weights = weights, None
        if model is None:
            raise ConfigError('give a config, a checkpoint with a config beside it, or both', field='model')
        beside = None
        if isinstance(model, (str, Path)):
            beside = config_of_checkpoint(model, weights, trust_checkpoint=trust_checkpoint)
        if beside is not None:
            weights, model = str(model), beside
            print_log(f'{weights}: using the config beside it, {model}', logger='current')
        elif isinstance(model, str):
            known = known_models().get(model.lower())
            if known is not None and known.weights and weights is None:
                print_log(f'{model}: published weights are at {known.weights}, give them as weights=', logger='current')
            model = config_by_name(model)
        elif isinstance(model, dict):
            model = Config(model)
        self.palette = palette
        self.show_progress = show_progress
        self.num_visualized_imgs = self.num_predicted_imgs = 0
        self._trust_checkpoint, self._random_weights = trust_checkpoint, random_weights
        self._value_range = check_value_range(value_range)
        self._inference: dict[str, Any] = dict(amp=amp, compile=compile, backend=backend, precision=precision)
        self._names = InputNames()
        self._call = Call()
        register_all_modules()
        self.cfg = read_config(model, cfg_options)
        self.model: BaseDetector
        self.device = choose_device(device, backend)
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
        return ready_for_inference(model.to(device), cfg, **self._inference)

    def _load_weights_to_model(self, model: BaseDetector, checkpoint: dict | None, cfg: Config | None) -> None:
        """Put the weights of a loaded checkpoint into the model and set its ``dataset_meta``."""
        load_weights(
            model, checkpoint, cfg or self.cfg, self.palette, trust_checkpoint=self._trust_checkpoint, random_weights=self._random_weights
        )  # fmt: skip

    def _init_pipeline(self, cfg: Config) -> Compose:
        """The test pipeline, with ``InferencerLoader`` in the place of its loader.

        Raises:
            ConfigError: the pipeline does not start by loading an image.
        """
        return compose_for_inputs(test_pipeline_config(cfg), self._value_range)

    @property
    def value_range(self) -> ValueRange:
        """How 16-bit and floating-point images become 0..255."""
        return loader_range(self.pipeline)

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
        tiles: dict | int | tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> InferenceResult:
        """Detect objects in images and videos.

        Args:
            inputs: a path, address, folder, glob pattern, BGR uint8 array, video file, or a list of these. Arrays of other types need a
                ``value_range``.
            batch_size: images (or tiles) that are loaded together; the predictions do not depend on it.
            return_vis: return the pictures.
            show: open a window for each picture.
            wait_time: seconds that a window stays; 0 waits for a key.
            no_save_vis: do not write ``<out_dir>/vis/<name>`` (for a video one annotated ``.mp4``).
            draw_pred: draw the predictions.
            pred_score_thr: predictions with a score above this are drawn; those returned and written are not cut.
            return_datasamples: return ``DetDataSample`` objects instead of dictionaries.
            print_result: print each prediction.
            no_save_pred: do not write ``<out_dir>/preds/<stem>.json`` (for a video ``.jsonl``, one frame per line; for a georeferenced image also
                ``.geojson``).
            out_dir: folder to write to; nothing is written when it is empty. Outputs get the names of their inputs, or these with a number
                where a name belongs to another input: see :class:`mmdet.utils.outputs.OutputNames`. ``<out_dir>/sources/names.jsonl`` lists the names.
            recursive: look into folders below a folder.
            skip_broken: leave out images that cannot be read and list them under ``skipped``.
            num_workers: threads that load images.
            tiles: cut every image into overlapping tiles, detect in each as in an image of its own, and merge by NMS: a tile size, or a dict of
                ``tile_wh`` (default (640, 640)), ``overlap`` (0.2), ``nms`` (IoU 0.6) and ``max_per_img`` (-1: all). Images of more than 2**26 pixels
                are then read tile by tile where their format allows it, as they are without ``tiles`` by a ``SlicedDet``; see
                :mod:`mmdet.formats.windows`. Their picture is a reduced one.
            **kwargs: arguments of the steps of a subclass, which it names in ``preprocess_kwargs``, ``forward_kwargs``,
                ``visualize_kwargs`` or ``postprocess_kwargs``; and ``texts``, ``stuff_texts``, ``custom_entities`` and
                ``tokens_positive`` of mmdetection without a value, as wrappers of its inferencer hand on.

        Raises:
            DataError: there is nothing to read, an image cannot be read (without ``skip_broken``), or a file cannot be written.
            ConfigError: ``batch_size`` or ``num_workers`` is not a positive integer, an argument is unknown, ``tiles`` is wrong or the model is a composite detector, which cuts
                its images itself, or the pictures would be written into the folder of an input.
        """
        for name, value in (('batch_size', batch_size), ('num_workers', num_workers)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError('must be an integer of at least 1', field=name, received=value)
        of_steps = self._dispatch_kwargs(**kwargs)
        tiling = None if tiles is None else Tiling.read(tiles)
        if tiling is not None and is_composite(self.model):
            message = f'{type(self.model).__name__} cuts its images itself, as its config says'
            raise ConfigError(message, field='tiles', received=tiles)
        result = InferenceResult(predictions=[], visualization=[], inputs=[], skipped=[])
        options = dict(recursive=recursive, out_dir=out_dir, value_range=self.value_range)
        call = self._call = Call(
            options, num_workers, pictures_wanted=return_vis or show or bool(out_dir and not no_save_vis)
        )
        call.of_steps = of_steps
        call.skipped = result['skipped'] if skip_broken else None
        bar = None
        try:
            entries = self._inputs_to_list(inputs)
            stems = self._names.of_call(
                entries, Path(out_dir) if out_dir else None, vis=not no_save_vis, preds=not no_save_pred
            )
            if self.show_progress:
                bar = ProgressBar(self._count_steps(entries, tiling), file=sys.stderr)
            call.advance = (lambda steps: None) if bar is None else bar.update
            classes = (self.model.dataset_meta or {}).get('classes') or ()
            with Writers(out_dir, vis=not no_save_vis, preds=not no_save_pred, classes=classes) as call.writers:
                sources = iterate_sources(entries, stems, call.skipped)
                for originals, drawn, predictions, named in self._predict_sources(sources, batch_size, tiling):
                    call.sources = {id(sample): source for sample, source in zip([*predictions, *drawn], named * 2)}
                    pictures = self.visualize(
                        originals, drawn, return_vis=return_vis, show=show, wait_time=wait_time, draw_pred=draw_pred,
                        pred_score_thr=pred_score_thr, no_save_vis=no_save_vis, img_out_dir=out_dir, **of_steps[2],
                    )  # fmt: skip
                    part = self.postprocess(
                        predictions, pictures, return_datasamples=return_datasamples, print_result=print_result,
                        no_save_pred=no_save_pred, pred_out_dir=out_dir, **of_steps[3],
                    )  # fmt: skip
                    result['predictions'] += part['predictions']
                    result['visualization'] += (part['visualization'] or []) if return_vis else []
                    result['inputs'] += map(str, named)
        finally:
            self._call = Call()
            if bar is not None:
                print(file=sys.stderr)
        if result['skipped']:
            reasons = '\n  '.join(reason for _, reason in result['skipped'][:5])
            more = '\n  ...' if len(result['skipped']) > 5 else ''
            message = f'{len(result["skipped"])} unreadable images were skipped:\n  {reasons}{more}'
            print_log(message, logger='current', level=30)
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

    def _predict_sources(
        self, sources: Iterable[Source], batch_size: int, tiling: Tiling | None
    ) -> Iterator[tuple[list, list[DetDataSample], list[DetDataSample], list[Source]]]:
        """Batches of inputs, samples to draw on them, predicted samples in pixels of the image, and sources."""
        cuts = self._reads_by_tiles()
        for by_tiles, group in groupby(sources, lambda source: tiling is not None or (cuts and is_large(source.image))):
            if by_tiles:
                yield from self._predict_by_tiles(group, batch_size, tiling)
                continue
            queue: deque[Source] = deque()  # given to preprocess, and not yet predicted
            images = (source.image for source in recorded(group, queue))
            for originals, data in self.preprocess(images, batch_size=batch_size, **self._call.of_steps[0]):
                predictions = self.forward(data, **self._call.of_steps[1])
                found, taken = next_sources(queue, originals)
                yield originals, predictions, predictions, found
                self._call.advance(taken)
            if queue:
                self._call.advance(len(queue))

    def _reads_by_tiles(self) -> bool:
        """Whether large images go to the model by tiles, past ``preprocess`` and ``forward``, which a subclass may have changed."""
        own = type(self).preprocess is DetInferencer.preprocess and type(self).forward is DetInferencer.forward
        return own and reads_by_tiles(self.model, self.pipeline)

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
            checked = check_array(given, self.value_range) if isinstance(given, np.ndarray) else given
            return given, *run_pipeline(self.pipeline, checked)
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
                load_original(given, self.value_range) if image is None else image,
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
        names = {name for model in known_models().values() for name in (model.name, *model.aliases)}
        return sorted(name for name in names if re.match(patterns, name))

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
    def _writers(self, out_dir: str, kind: str) -> Iterator[Writers]:
        """The writers of the current call; those of a step that was called alone complete their files at once."""
        if self._call.writers is not None:
            yield self._call.writers
        else:
            with Writers(out_dir, vis=kind == 'vis', preds=kind == 'preds') as writers:
                yield writers

    def _draw(
        self, source: Source, image: np.ndarray, sample: DetDataSample, draw_pred: bool, score_thr: float, show: bool, wait_time: float
    ) -> np.ndarray:  # fmt: skip
        if image.dtype.kind in 'iu' and image.dtype != np.uint8:  # color_type='unchanged' of the pipeline
            image = to_uint8(image, 'minmax')
        image = image if image.ndim == 3 and image.shape[2] > 1 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        # The frames of a video must agree in size: each has one row of legend, also a frame without objects.
        self.visualizer.legend = 1 if source.video is not None and self._legend else self._legend
        self.visualizer.add_datasample(
            str(source), image[..., 2::-1], sample,
            draw_gt=False, draw_pred=draw_pred, show=show, wait_time=wait_time, pred_score_thr=score_thr,
        )  # fmt: skip
        return self.visualizer.get_image()
