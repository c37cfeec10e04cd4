"""Every kind of detector of configs/ exported with random weights, and its boxes beside those of eager torch.

    python benchmarks/exports.py [--match faster_rcnn gfl/] [--ways onnxruntime openvino torch-export] [--table exports.md] [--list]

One config is taken of each kind of structure: types of backbone, neck and heads, deformable convolutions, class-agnostic boxes and the like. Backbones of 101
layers are built with 50. All weights are drawn anew by a seed, so that features do not fade and scores spread, and statistics of batch norms are those of
the images. The score threshold is put into a gap between two scores, so that some tens of boxes remain.

Each network is written once in batches of any size, with an example of 192 x 256, and run on two batches of drawn scenes, of other sizes, the second image smaller
than the input: ``boxes`` and ``candidates`` (suppressed by the runtime's NMS). Of detectors of transformers coordinates may differ by a hundredth of a pixel. A row has the share of the boxes that have a partner within a thousandth of a pixel, or a ten-thousandth
of their longer side where that is more, and a thousandth of the score, and the largest differences of partners. ``backend`` is the raw network inside the toolbox, ``use_backend``.

Needs the extras onnx and openvino. About ten seconds a structure and way on one core.
"""

import argparse
import collections
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mmdet.apis.backends import use_backend
from mmdet.apis.building import build_model
from mmdet.datasets.drone_scenes.layout import draw_scene
from mmdet.errors import ConfigError
from mmdet.export.graphs import ExportGraph, build_graph, check_target, to_onnx, to_torch_export
from mmdet.export.parity import LIMITS, QUERY_BOX_PX, Found, Limits, Parity, compare
from mmdet.models.detectors import CompositeDetector, TransformersDetector
from mmdet.models.inference import restore_networks
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import load_config
from mmdet_runtime.backends import open_network
from mmdet_runtime.suppression import Detections

_ROOT = Path(__file__).parents[1]
_WAYS = ('onnxruntime', 'openvino', 'torch-export')
_KINDS = ('boxes', 'candidates', 'backend')
_EXAMPLE_HW = (192, 256)
_SIZES_HW = ((160, 288), (256, 128))
# Of sides that are exponentials, untrained and unclipped, float32 gives no more than this share.
_LIMITS = LIMITS['fp32']._replace(box_share=1e-4)
# What makes a structure of its own beside the types of its parts.
_MARKS = ('dcn', 'plugins', 'dcn_on_last_conv', 'reg_class_agnostic', 'score_voting', 'nms')


def structure(model: Any, name: str = '') -> tuple[str, ...]:
    """Types and marks of a model's config, in order, without what only the training has."""
    if isinstance(model, list | tuple):
        return tuple(dict.fromkeys(part for each in model for part in structure(each)))
    if not isinstance(model, dict):
        return ()
    own = [str(model['type'])] if 'type' in model else []
    own += [mark for mark in _MARKS if model.get(mark)]
    parts = {
        key: value
        for key, value in sorted(model.items())
        if key not in ('train_cfg', 'init_cfg', 'data_preprocessor') and 'loss' not in key and 'teacher' not in key
    }
    return (*own, *(part for key, value in parts.items() for part in structure(value, key)))


def representatives(root: Path, match: list[str]) -> dict[Path, int]:
    """The first config of each structure, and how many share it."""
    groups: dict[tuple[str, ...], list[Path]] = collections.defaultdict(list)
    for path in sorted(root.rglob('*.py')):
        name = path.relative_to(root).as_posix()
        if '_base_' in path.parts or (match and not any(part in name for part in match)):
            continue
        model = load_config(path).get('model')
        if model is not None:
            groups[structure(model)].append(path)
    return {paths[0]: len(paths) for paths in groups.values()}


def built(path: Path) -> Any:
    """The detector of a config with weights by a seed; None for a composite detector, whose stages have configs of their own."""
    cfg = load_config(path)
    kind = MODELS.get(cfg.model.type)
    if isinstance(kind, type) and issubclass(kind, CompositeDetector):
        return None
    _shrink(cfg.model)
    torch.manual_seed(0)
    detector = build_model(cfg)
    generator = torch.Generator().manual_seed(0)
    for name, module in detector.named_modules():
        if isinstance(getattr(module, 'weight', None), nn.Parameter) and module.weight.dim() > 1:
            # Offsets of deformable convolutions below a pixel: on random features larger ones would make every rounding error grow.
            gain = 0.1 if name.endswith('conv_offset') else 1.0
            module.weight.data.normal_(std=gain / module.weight[0].numel() ** 0.5, generator=generator)
            if getattr(module, 'bias', None) is not None:
                module.bias.data.normal_(std=0.1, generator=generator)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
            module.reset_running_stats()
    if isinstance(detector, TransformersDetector):
        return _settled(detector)
    detector.train()
    with torch.no_grad():  # two images at once: the statistics of one-cell maps need them
        for size in (_EXAMPLE_HW, *_SIZES_HW):
            features = detector.extract_feat(_images(size)[0])
            head = getattr(detector, 'bbox_head', None)
            if head is not None:
                head(features)
        _calm(detector.eval())
    return detector


def _settled(detector: TransformersDetector) -> TransformersDetector:
    """The detector in evaluation mode, the statistics of its norms those of the images: in training it would have other queries."""
    detector.eval()
    norms = [part for part in detector.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for size in (_EXAMPLE_HW, *_SIZES_HW):
            detector._forward(_images(size)[0])
    return detector.eval()


def _calm(detector: Any) -> None:
    """Scale the predictors of a dense head so that no raw output spreads by more than one, in place.

    Sides that are exponentials of larger numbers have no pixels left to compare, and scores of sigmoids that saturate no order.
    """
    head = getattr(detector, 'bbox_head', None)
    if head is None:
        return
    images = _images(_SIZES_HW[0])[0]
    channels = {level.shape[1] for maps in detector._forward(images) for level in maps}

    def scale(layer: Any, _: Any, output: Tensor) -> Tensor:
        factor = min(1.0, 1.0 / max(float(output.std()), 1e-6))
        layer.weight.data *= factor
        if layer.bias is not None:
            layer.bias.data *= factor
        return output * factor

    layers = [one for one in head.modules() if isinstance(one, nn.Conv2d) and one.out_channels in channels]
    hooks = [layer.register_forward_hook(scale) for layer in layers]
    detector._forward(images)
    for hook in hooks:
        hook.remove()


def _shrink(model: Any) -> None:
    """Without files of weights, and with fewer layers, in place."""
    if isinstance(model, dict):
        for key, value in list(model.items()):
            if key in ('init_cfg', 'pretrained', 'teacher_ckpt'):
                model[key] = None
            elif key == 'depth' and value == 101:
                model[key] = 50
            else:
                _shrink(value)
    elif isinstance(model, list | tuple):
        for value in model:
            _shrink(value)


def _images(size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Two drawn scenes (2, 3, H, W), normalised, and their sizes before padding."""
    height, width = size_hw
    shapes = [(height, width), (height - 13, width - 22)]
    batch = torch.zeros(2, 3, height, width)
    for number, (h, w) in enumerate(shapes):
        scene = draw_scene(np.random.default_rng(number + height)).image
        pixels = cv2.resize(scene, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
        batch[number, :, :h, :w] = torch.from_numpy((pixels - 110) / 60).permute(2, 0, 1)
    return batch, torch.tensor(shapes)


def _predicted(detector: Any, image: Tensor, shape: Tensor) -> list[Found]:
    metas = [dict(img_shape=tuple(size), ori_shape=tuple(size), batch_input_shape=tuple(image.shape[-2:]), scale_factor=(1.0, 1.0)) for size in shape.tolist()]  # fmt: skip
    with torch.no_grad():
        samples = detector.predict(image, [DetDataSample(metainfo=meta) for meta in metas], rescale=False)
    return [
        Found(
            _bounded(one.pred_instances.bboxes.numpy()),
            one.pred_instances.scores.numpy(),
            one.pred_instances.labels.numpy(),
        )
        for one in samples
    ]


def _bounded(boxes: np.ndarray) -> np.ndarray:
    """Boxes of heads that do not clip them, a few sizes of the image around it, and with their corners in order: untrained sides are negative, too."""
    boxes = boxes.clip(-1024, 2048)
    return np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)


def set_threshold(detector: Any) -> None:
    """Put the score threshold into the widest gap of the scores of rank 40 to 80 of one image."""
    settings = detector.detection_cfg
    settings.score_thr = 0.0
    if settings.get('max_per_img', -1) < 0:
        settings.max_per_img = 100
    image, shape = _images(_SIZES_HW[0])
    scores = np.sort(_predicted(detector, image, shape)[0].scores)[::-1]
    if len(scores) > 80:
        first = 40 + int((scores[40:79] - scores[41:80]).argmax())
        if len(getattr(detector.detection_head, 'output_names', ())) <= 2:
            settings.score_thr = float((scores[first] + scores[first + 1]) / 2)


def _rows(found: Any, graph: ExportGraph, count: int) -> list[Found]:
    """The outputs of a graph by image, after the NMS."""
    values = [np.asarray(value) for value in found]
    if graph.outputs == 'boxes':
        values[0] = _bounded(values[0])
        return [Found(*(value[values[3] == number] for value in values[:3])) for number in range(count)]
    results, settings = [], graph.settings
    for boxes, scores, labels in zip(*values):
        kept = scores > 0
        nms = settings.get('nms')
        merged = Detections(boxes[kept], scores[kept], labels[kept]).suppress(
            None if nms is None else dict(nms), settings.get('max_per_img', -1)
        )
        results.append(Found(_bounded(merged.bboxes), merged.scores, merged.labels))
    return results


def compared(detector: Any, graph: ExportGraph, run: Any) -> Parity:
    """The figures of a network, ``run``, which gets (image, shape), at both sizes."""
    pairs = []
    for size in _SIZES_HW:
        image, shape = _images(size)
        found = run(detector.padded(image), shape)
        pairs += zip(_predicted(detector, image, shape), _rows(found, graph, len(shape)), strict=True)
    return compare(pairs, 'fp32', limits=_limits(detector))


def _limits(detector: Any) -> Limits:
    return _LIMITS._replace(box_px=QUERY_BOX_PX) if detector.raw_kind == 'queries' else _LIMITS


def sweep(path: Path, ways: list[str], work: Path, kinds: list[str]) -> dict[str, str]:
    """Cells of the table by column: a config in all ways."""
    detector = built(path)
    if detector is None:
        return {}
    set_threshold(detector)
    cells: dict[str, str] = {}
    for outputs in kinds:
        if outputs == 'backend':
            continue
        try:
            graph = build_graph(detector, outputs)
        except ConfigError as error:
            cells[f'{outputs}'] = f'refused: {error.message if hasattr(error, "message") else error}'
            continue
        file = work / 'network.onnx'
        for way in ways:
            name, begun = f'{way} {outputs}', time.process_time()
            try:
                check_target(graph, way)
                if outputs == 'candidates' and way == 'openvino':
                    continue  # the same file with an NMS behind it is tried
                if way == 'torch-export':
                    if outputs == 'boxes':
                        continue
                    to_torch_export(graph, work / 'network.pt2', _EXAMPLE_HW, batch=3)
                    run: Any = torch.export.load(work / 'network.pt2').module()
                else:
                    if way == ways[0] or not file.is_file():
                        to_onnx(graph, file, detector.padded(_images(_EXAMPLE_HW)[0]).shape[-2:])
                    network = open_network(file, backend=way, precision='fp32', threads=1)

                    def run(image: Tensor, shape: Tensor, network: Any = network, graph: Any = graph) -> list:
                        found = network(image.numpy(), shape.numpy())
                        return [found[key] for key in graph.output_names]

                with torch.no_grad():
                    parity = compared(detector, graph, run)
                figures = f'{parity.matched}/{parity.expected}/{parity.found} {parity.box_px:.1e} px {parity.score:.0e}'
                cells[name] = ('' if parity.passed else 'FAILED ') + figures
            except Exception as error:  # whatever it is, it is the result of this cell
                cells[name] = f'FAILED {type(error).__name__}: {str(error).strip()[:300]}'
            print(f'  {name}: {cells[name]} ({time.process_time() - begun:.0f} s)', flush=True)
        file.unlink(missing_ok=True)
    for way in ways[-1:] if 'backend' in kinds else ():
        if way != 'torch-export':
            cells[f'backend {way}'] = _by_backend(detector, way)
            print(f'  backend {way}: {cells[f"backend {way}"]}', flush=True)
    return cells


def _by_backend(detector: Any, way: str) -> str:
    pairs = []
    try:
        expected = [_predicted(detector, *_images(size)) for size in _SIZES_HW]
        use_backend(detector, way, threads=1)
        for size, wanted in zip(_SIZES_HW, expected):
            pairs += zip(wanted, _predicted(detector, *_images(size)), strict=True)
    except Exception as error:
        return f'FAILED {type(error).__name__}: {str(error).strip()[:300]}'
    finally:
        if hasattr(detector, 'backend_network'):
            detector.backend_network = None
        restore_networks(detector)
    parity = compare(pairs, 'fp32', limits=_limits(detector))
    return ('' if parity.passed else 'FAILED ') + f'{parity.matched}/{parity.expected} {parity.box_px:.1e} px'


def main() -> None:
    """Sweep and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--match', nargs='*', default=[], help='parts of the paths of configs')
    parser.add_argument('--ways', nargs='*', choices=_WAYS, default=['onnxruntime', 'openvino'])
    parser.add_argument('--kinds', nargs='*', choices=_KINDS, default=[*_KINDS], help='what of it to try')
    parser.add_argument('--table', type=Path, help='file to write the table to, in Markdown')
    parser.add_argument('--list', action='store_true', help='only list the configs')
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    table = []
    for path, count in representatives(_ROOT / 'configs', args.match).items():
        name = path.relative_to(_ROOT / 'configs').as_posix()
        print(f'{name} ({count})', flush=True)
        if args.list:
            continue
        with tempfile.TemporaryDirectory() as work:
            try:
                cells = sweep(path, args.ways, Path(work), args.kinds)
            except Exception as error:
                cells = {'built': f'FAILED {type(error).__name__}: {error}'}
                print(f'  {cells["built"]}', flush=True)
        for key, cell in cells.items():
            table.append(f'| {name} | {count} | {key} | {cell} |')
        if args.table:
            args.table.write_text('\n'.join(['| config | such | way | result |', '|---|---|---|---|', *table, '']))


if __name__ == '__main__':
    main()
