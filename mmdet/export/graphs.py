"""Detectors as networks of tensors, for exporters: raw outputs, candidates, or boxes after the NMS.

The decode is that of the heads (:mod:`mmdet.models.dense_heads.batch_decode`): whole batches, no size that depends on values, any input size.

Naming: B images of H x W pixels, N candidates of an image, R rows of scores in the NMS, M boxes of all images.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.models.dense_heads.batch_decode import BatchCandidates, candidate_rule
from mmdet.models.dense_heads.batch_nms import boxes_and_labels, exportable_nms, ranked
from mmdet.models.detectors import BaseDetector
from mmdet.models.inference import restore_networks
from mmdet.utils.files import replacing
from mmdet.version import release

from .winograd import fewer_multiplications

OUTPUTS = ('raw', 'candidates', 'boxes')
RAW_KINDS = ('maps', 'regions', 'queries')  # see BaseDetector
# Of candidates and boxes; the latter have the number of the image beside.
_FIELDS = ('boxes', 'scores', 'labels')
_DEFAULT_OPSET = 17


class _Decode(nn.Module):
    """Raw outputs to candidates or boxes, in float32 whatever the network is computed in.

    A module of its own so that the names of its operations in a graph begin with ``/decode``: what may not be computed in a lower precision.
    """

    def __init__(self, head: Any, outputs: str, settings: ConfigDict):
        super().__init__()
        # In a tuple: the head stays a part of the detector only.
        self._head, self._outputs, self._settings = (head,), outputs, settings

    def forward(self, raw: tuple[Any, ...], sizes_hw: Tensor, input_hw: tuple[int, int]) -> tuple[Tensor, ...]:
        head, settings, with_nms = self._head[0], self._settings, self._outputs == 'boxes'
        with torch.autocast(sizes_hw.device.type, enabled=False):
            found = head.batch_candidates(raw, sizes_hw, input_hw, cfg=settings, with_nms=with_nms)
            # Beside its use this keeps the input in the graphs of heads that do not clip their boxes.
            absent = (sizes_hw.amin(1) <= 0).view(-1, *[1] * (found.scores.dim() - 1))
            found = dataclasses.replace(found, scores=found.scores.masked_fill(absent, 0))
            if not with_nms:
                pairs = found.pairs()
                assert pairs.labels is not None
                return pairs.boxes, pairs.scores, pairs.labels
            return _suppressed(head, found, settings)


def _suppressed(head: Any, found: BatchCandidates, settings: ConfigDict) -> tuple[Tensor, ...]:
    """What the NMS of the settings leaves: boxes (M, 4), scores (M,), labels (M,), images (M,), by image and descending score."""
    found, top, places = ranked(found, settings)
    image, rank = (top > 0).nonzero().unbind(1)
    boxes, labels = boxes_and_labels(found, image, places[image, rank])
    return head.batch_detections(boxes, labels, image, found), top[image, rank], labels, image


class ExportGraph(nn.Module):
    """A detector whose inputs and outputs are tensors; made by :func:`build_graph`.

    Attributes:
        detector: the network, in evaluation mode.
        outputs: ``'raw'``, ``'candidates'`` or ``'boxes'``.
        raw_kind: that of the detector.
        settings: how the raw outputs are decoded, and what is left to do with candidates: ``score_thr``, ``nms``, ``max_per_img``,
            ``min_bbox_size``. ``nms`` is None for a detector without one.
        input_names: ``image`` (B, 3, H, W) float32, normalised and padded, and unless raw
            ``shape`` (B, 2) int64, heights and widths before padding; 0, 0 for what only fills up the batch, in which nothing is found.
            A detector of two stages needs it for raw outputs, too.
        output_names: of raw outputs ``cls_0``, ``cls_1``, ..., ``reg_0``, ..., of two stages the ``output_names`` of its ``roi_head``, of a detector
            with queries ``logits`` and ``boxes``; otherwise
            ``boxes``, ``scores``, ``labels``; with the NMS ``image_index``.
        dynamic_axes: by input and output, which axes may vary, for ``torch.onnx.export``.
        has_factors: whether scores are multiplied by a factor (centerness) after the threshold.
        legacy: whether corners are inclusive pixels in the NMS.
    """

    def __init__(self, detector: BaseDetector, outputs: str, settings: ConfigDict, raw_lengths: Sequence[int] | None):
        super().__init__()
        head: Any = detector.detection_head
        self.detector, self.outputs, self.settings = detector, outputs, settings
        self._raw_lengths, self.raw_kind = raw_lengths, detector.raw_kind
        self.needs_sizes = self.raw_kind == 'regions' or outputs != 'raw'
        self.has_factors, self.legacy = raw_lengths is not None and len(head.output_names) > 2, head.legacy
        self.decode = None if outputs == 'raw' else _Decode(head, outputs, settings)
        self.input_names = ['image', 'shape'] if self.needs_sizes else ['image']
        dense = {0: 'batch', 2: 'height', 3: 'width'}
        self.dynamic_axes: dict[str, dict[int, str]] = {'image': dense}
        if 'shape' in self.input_names:
            self.dynamic_axes['shape'] = {0: 'batch'}
        if outputs == 'raw' and raw_lengths is not None:
            self.output_names = [
                f'{name}_{level}' for name, count in zip(head.output_names, raw_lengths) for level in range(count)
            ]
            for name in self.output_names:
                level = name.rsplit('_', 1)[1]
                self.dynamic_axes[name] = {0: 'batch', 2: f'height_{level}', 3: f'width_{level}'}
            return
        of_kind = dict(raw=head.output_names, candidates=_FIELDS, boxes=(*_FIELDS, 'image_index'))
        self.output_names = [*of_kind[outputs]]
        axes = {0: 'detections'} if outputs == 'boxes' else {0: 'batch'}
        self.dynamic_axes.update({name: dict(axes) for name in self.output_names})

    def forward(self, image: Tensor, shape: Tensor | None = None) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) and their sizes (B, 2) before padding, not needed for raw outputs, to what ``output_names`` says."""
        image = image.to(next(self.detector.parameters()).dtype)
        raw = self._raw(image, shape)
        if self.decode is None:
            return raw if self._raw_lengths is None else tuple(level for maps in raw for level in maps)
        assert shape is not None, 'the sizes of the images are needed'
        return self.decode(raw, shape, (image.shape[2], image.shape[3]))

    def _raw(self, image: Tensor, shape: Tensor | None) -> tuple[Any, ...]:
        """What the decode gets: tensors, or of a dense head lists of maps."""
        raw, lengths = self.detector.traced_outputs(image, shape), self._raw_lengths
        if lengths is not None and [len(maps) for maps in raw] != [*lengths]:
            head = type(self.detector.detection_head).__name__
            message = f'{head} must return lists of {[*lengths]} maps, as its output_names and levels say'
            raise ConfigError(message, field='bbox_head', received=[len(maps) for maps in raw])
        return raw

    def raw_lists(self, flat: Sequence[Tensor]) -> tuple[Any, ...]:
        """The raw outputs, flat as :meth:`forward` gives them, as ``predict_by_feat`` takes them: of a dense head lists, of others themselves."""
        if self._raw_lengths is None:
            return tuple(flat)
        parts = iter(flat)
        return tuple([next(parts) for _ in range(count)] for count in self._raw_lengths)


def build_graph(detector: BaseDetector, outputs: str = 'raw', test_cfg: dict | Config | None = None) -> ExportGraph:
    """Wrap a detector for an exporter.

    Args:
        detector: it is put into evaluation mode; the graph shares its weights.
        outputs: ``'raw'``: what ``predict_by_feat`` of the head takes; of a detector of two stages the outputs of the second for all
            proposals, see :meth:`mmdet.models.roi_heads.BaseRoIHead.batch_outputs`. ``'candidates'``: ``boxes`` (B, N, 4) xyxy in pixels of the input,
            ``scores`` (B, N), 0 for what is below the threshold or fills up, ``labels`` (B, N) int64, as the NMS would get them; N is the
            same for all images of a size, and for all sizes where ``nms_pre`` limits the levels. ``'boxes'``: what the NMS leaves,
            ``boxes`` (M, 4), ``scores`` (M,), ``labels`` (M,), ``image_index`` (M,), by image and descending score.
        test_cfg: settings instead of those of the head. A detector that merges the candidates of several views sets
            ``nms_pre_rule='pairs'``, as ``BaseDetector.candidates`` does.

    Raises:
        ConfigError: another kind of outputs, a detector that cannot be exported, or an NMS that ONNX lacks.
    """
    if outputs not in OUTPUTS:
        raise ConfigError(f'must be one of {OUTPUTS}', field='outputs', received=outputs)
    if detector.raw_kind not in RAW_KINDS:
        message = (
            'only a detector with a dense head, bbox_head, or with rpn_head and roi_head, or a TransformersDetector can be exported, or one '
            f'whose raw_kind is one of {RAW_KINDS}; of a composite one each stage'
        )
        raise ConfigError(message, field='model.type', received=type(detector).__name__)
    detector.check_exportable()
    head = detector.detection_head
    settings = ConfigDict(head._settings(test_cfg))
    if detector.end_to_end:
        settings.nms = None
    candidate_rule(settings)
    if outputs == 'boxes':
        settings = exportable_nms(
            settings, head.legacy, instead=": export outputs='candidates' and suppress afterwards"
        )
    # What inference holds ready, such as copies of weights in another type or layout, is no part of a graph.
    restore_networks(detector)
    # The graph too: the exporter puts a model back into the mode that it found it in.
    lengths = [head.prior_generator.num_levels] * len(head.output_names) if detector.raw_kind == 'maps' else None
    return ExportGraph(detector, outputs, settings, lengths).eval()


# ---------------------------------------------------------------------------------------------------- files


def example_inputs(graph: ExportGraph, size_hw: tuple[int, int], batch: int = 1) -> tuple[Tensor, ...]:
    """Random images of a size, and that size as the one before padding."""
    device = next(graph.parameters()).device
    image = torch.randn(batch, 3, *size_hw, generator=torch.Generator().manual_seed(0)).to(device)
    shape = torch.tensor([size_hw] * batch, device=device)
    return (image, shape)[: len(graph.input_names)]


def to_onnx(
    graph: ExportGraph,
    file: str | os.PathLike,
    size_hw: tuple[int, int],
    *,
    batch: int = 1,
    dynamic: bool = True,
    opset: int = _DEFAULT_OPSET,
    winograd: bool = False,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a graph as ONNX, by the TorchScript-based exporter, and let ``onnx.checker`` look at the file.

    Args:
        graph: of :func:`build_graph`.
        file: to write.
        size_hw: height and width of the example in pixels; with ``dynamic=False`` the only size.
        batch: images of the example; with ``dynamic=False`` the only number.
        dynamic: let batch, height and width vary.
        opset: version of the operators.
        winograd: compute the convolutions of neck and heads that gain by it with fewer multiplications (:mod:`mmdet.export.winograd`).
        metadata: texts to keep in the file, beside the version of this package and the kind of outputs.

    Raises:
        ConfigError: the package ``onnx`` is missing, ONNX has no operator for a part of the network, or with ``winograd`` no convolution gains by it.
    """
    if importlib.util.find_spec('onnx') is None:
        raise ConfigError("needs onnx: pip install 'mmdet-dense[onnx]'", field='to_onnx', received=None)
    import onnx

    inputs = example_inputs(graph, size_hw, batch)
    convolutions = fewer_multiplications(graph.detector) if winograd else contextlib.nullcontext()
    with replacing(Path(file), keep_suffix=True) as temporary, _quiet(), torch.no_grad():
        try:
            with convolutions:
                torch.onnx.export(
                    graph, inputs, os.fspath(temporary), input_names=graph.input_names, output_names=graph.output_names,
                    dynamic_axes=graph.dynamic_axes if dynamic else None, opset_version=opset, dynamo=False,
                )  # fmt: skip
        except torch.onnx.errors.UnsupportedOperatorError as error:
            message = f'cannot be written as ONNX: {error}'
            raise ConfigError(message, field='model', received=type(graph.detector).__name__) from error
        model = onnx.load(os.fspath(temporary))
        onnx.checker.check_model(model)
        texts = dict(outputs=graph.outputs, mmdet=release, **(metadata or {}))
        onnx.helper.set_model_props(model, {key: str(value) for key, value in texts.items()})
        onnx.save(model, os.fspath(temporary))


def check_target(graph: ExportGraph, to: str) -> None:
    """Raise a ConfigError where a graph cannot be written as ``'torch-export'``, of which torch has no operators for some."""
    if to != 'torch-export':
        return
    if graph.raw_kind == 'regions':
        message = (
            'torch.export has no operators for the NMS and the RoIAlign between two stages, that torch alone could load: '
            'take onnx, which ONNX Runtime and OpenVINO run'
        )
        raise ConfigError(message, field='--to', received=type(graph.detector).__name__)
    if graph.outputs == 'boxes':
        message = "torch.export has no operator for the NMS: export outputs='candidates' and suppress afterwards"
        raise ConfigError(message, field='outputs', received=graph.outputs)


def to_torch_export(
    graph: ExportGraph, file: str | os.PathLike, size_hw: tuple[int, int], *, batch: int = 1, dynamic: bool = True
) -> None:
    """Write a graph by ``torch.export``, for :func:`torch.export.load`, which then needs torch only. Arguments as of :func:`to_onnx`.

    The file takes images of more than one cell of the coarsest map on both sides (more than 128 pixels with GFL's levels); ``torch.export``
    makes a size of one a case of its own.

    Raises:
        ConfigError: outputs behind an NMS, for which torch has no operator, or free sizes of a detector that has none there.
    """
    check_target(graph, 'torch-export')
    if dynamic and graph.raw_kind == 'queries':
        message = 'must be False: torch.export writes a detector with queries for the size of its example alone'
        raise ConfigError(message, field='dynamic', received=dynamic)
    varying = torch.export.Dim.DYNAMIC
    if dynamic:
        # torch.export takes a size of one for a constant, of the batch as of the coarsest map. Nothing is computed with the example.
        least = 4 * max(max(stride) for stride in graph.detector.detection_head.prior_generator.strides)
        batch, size_hw = max(batch, 2), (max(size_hw[0], least), max(size_hw[1], least + least // 4))
    inputs = example_inputs(graph, size_hw, batch)
    shapes = tuple(dict.fromkeys(graph.dynamic_axes[name], varying) for name in graph.input_names)
    with replacing(Path(file), keep_suffix=True) as temporary, torch.no_grad():
        program = torch.export.export(graph, inputs, dynamic_shapes=shapes if dynamic else None, strict=False)
        names = dict(inputs=graph.input_names, outputs=graph.output_names)
        texts = {'names.json': json.dumps(names), 'outputs': graph.outputs, 'mmdet': release}
        torch.export.save(program, os.fspath(temporary), extra_files=texts)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracer's remarks on checks of shapes: they are checked once, for the example."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
