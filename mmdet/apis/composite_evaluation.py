"""Evaluating a composite detector on annotated images: scores by the rules of VisDrone and COCO, and the time of every stage."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from mmengine.dist import get_dist_info, is_main_process

from ..datasets.transforms.formatting import to_chw
from ..errors import ConfigError, DataError
from ..evaluation import VisDroneMetric
from ..formats.coco import ImageId, load_coco_annotations, read_coco
from ..formats.images import decode_image
from ..formats.json_file import read_json
from ..formats.pixels import ValueRange, check_value_range
from ..models.detectors import CompositeDetector, UFPMPDet
from ..models.inference import networks_of
from ..structures import DetDataSample
from ..utils.files import write_text
from ..utils.outputs import OutputNames, refuse_inputs, source_of
from ..utils.progress import progress
from ..utils.timing import part_figures, parts_table, sizes_line, synchronise, time_figures
from ..visualization import draw_boxes, draw_ufp_steps, write_image
from .backends import CompiledNetwork
from .benchmark import device_name

_READ, _TOTAL = 'read', 'end to end'


@dataclass
class EvaluationReport:
    """Scores and times of one run.

    Attributes:
        metrics: metrics of :class:`~mmdet.evaluation.VisDroneMetric`, in 0..1: ``visdrone/AP``, ``coco/bbox_mAP`` ...; only the first
            process has them.
        latency: stage -> ``p50_ms``, ``p95_ms``, ``mean_ms`` per image: the stages of the detector, ``end to end`` (from the image in
            memory to the boxes on the host), and ``read`` (reading and decoding), which ``end to end`` does not include.
        sizes: means over the timed images: ``regions``, ``mosaic_w``, ``mosaic_h`` or ``tiles``.
        setting: a description of the measurement.
    """

    metrics: dict[str, float]
    latency: dict[str, dict[str, float]] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    setting: str = ''

    def __str__(self) -> str:
        lines = []
        for title, prefix, names in (
            ('VisDrone toolkit rules', 'visdrone', ('AP', 'AP50', 'AP75', 'AR1', 'AR10', 'AR100', 'AR500')),
            ('COCO rules, maxDets 500', 'coco', ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'bbox_mAP_s', 'bbox_mAP_m', 'bbox_mAP_l')),
        ):  # fmt: skip
            values = [(name.removeprefix('bbox_'), self.metrics.get(f'{prefix}/{name}')) for name in names]
            shown = ', '.join(f'{name} {100 * value:.2f}' for name, value in values if value is not None and value > -1)
            lines.append(f'{title}: {shown}')
        if self.latency:
            lines += ['', f'Latency, {self.setting}', parts_table(self.latency, 'an image')]
            lines.append(f'"{_TOTAL}" is the time from the decoded image to the boxes, without "{_READ}"')
        if self.sizes:
            lines.append(sizes_line(self.sizes))
        return '\n'.join(lines)


def evaluate_composite(
    model: CompositeDetector,
    ann_file: str,
    image_root: str,
    *,
    batch_size: int = 1,
    num_warmup: int = 3,
    outfile_prefix: str | None = None,
    classwise: bool = False,
    value_range: ValueRange = None,
) -> EvaluationReport:
    """Detect on all images of an annotation file, score the detections by both rules, and time every stage.

    Image ids may be numbers or strings; images need no annotations. Under ``torchrun`` every process takes a share, and the times are those
    of the first process.

    Args:
        model: a detector with ``dataset_meta``, as :func:`mmdet.apis.build_ufpmp` returns it.
        ann_file: COCO file, with ``ignored_regions`` for VisDrone's rules.
        image_root: folder that its file names are relative to.
        batch_size: images of a batch; the latency of an image is that of its batch, divided by this.
        num_warmup: number of first batches that are scored but not timed; at least one batch is timed.
        outfile_prefix: write ``<prefix>.bbox.json`` and, in VisDrone's format, ``<prefix>_txt/``.
        classwise: also score each class.
        value_range: how images of more than 8 bits become 0..255, see :mod:`mmdet.formats.pixels`.

    Raises:
        DataError: broken annotations, missing images.
        ConfigError: a batch size below 1.
    """
    if batch_size < 1:
        raise ConfigError('must be at least 1', field='batch_size', received=batch_size)
    check_value_range(value_range)
    metric = VisDroneMetric(ann_file, outfile_prefix=outfile_prefix, classwise=classwise)
    metric.dataset_meta = model.dataset_meta
    rank, world = get_dist_info()
    images = _read_images(ann_file)
    batches = [images[i : i + batch_size] for i in range(0, len(images), batch_size)][rank::world]
    num_warmup = max(0, min(num_warmup, len(batches) - 1))
    device = next(model.parameters()).device
    model.stage_times.clear()
    model.stage_sizes.clear()
    reading, total = [], []
    previous = model.record_times
    try:
        for number, batch in enumerate(progress(batches, Path(ann_file).stem) if is_main_process() else batches):
            model.record_times = number >= num_warmup
            start = time.perf_counter()
            data = _load(batch, Path(image_root), value_range)
            synchronise(device)
            loaded = time.perf_counter()
            samples = [sample.cpu() for sample in model.test_step(data)]
            total.append((time.perf_counter() - loaded) / len(batch))
            reading.append((loaded - start) / len(batch))
            metric.process(None, [sample.to_dict() for sample in samples])
    finally:
        model.record_times = previous
    parts, sizes = part_figures(model)
    parts = {name: {key: value / batch_size for key, value in figures.items()} for name, figures in parts.items()}
    latency = {_READ: time_figures(reading[num_warmup:]), **parts, _TOTAL: time_figures(total[num_warmup:])}
    setting = f'{len(batches) - num_warmup} batches of {batch_size} after {num_warmup} of warm-up, {describe(model)}'
    return EvaluationReport(metric.evaluate(len(images)) or {}, latency, sizes, setting)


def describe(model: CompositeDetector) -> str:
    """Precision, device, the scales of the stages, and the backends of their networks, in one line."""
    parameter = next(model.parameters())
    stages = []
    for name in ('coarse', 'fine', 'stage'):
        part = getattr(model, name, None)
        if part is not None:
            scales = ', '.join(f'{w}x{h}' for w, h in part.scales)
            stages.append(f'{name}: {scales}{", plain and flipped" if part.flip else ""}')
    if getattr(model, 'tile_wh', None):
        stages.append('tiles of {}x{}, {:.0%} shared'.format(*model.tile_wh, model.overlap))
    stages += sorted({part.description for part in model.modules() if isinstance(part, CompiledNetwork)})
    dtype = next(
        (each for network in networks_of(model) if (each := getattr(network, 'amp_dtype', None))), parameter.dtype
    )
    return '; '.join([f'{str(dtype).removeprefix("torch.")}, {device_name(parameter.device)}', *stages])


def comparison_table(reports: dict[str, EvaluationReport]) -> str:
    """A text table, one line per method: the main scores of both rules in percent, and milliseconds per image."""
    columns = {
        'VisDrone AP': 'visdrone/AP', 'AP50': 'visdrone/AP50', 'COCO AP': 'coco/bbox_mAP', 'AP50 ': 'coco/bbox_mAP_50',
        'AP75': 'coco/bbox_mAP_75', 'AP small': 'coco/bbox_mAP_s',
    }  # fmt: skip
    width = max(6, *(len(name) for name in reports))
    lines = [' '.join([f'{"method":<{width}}', *(f'{name:>11}' for name in columns), f'{"ms an image":>12}'])]
    for name, report in reports.items():
        scores = (report.metrics.get(key, -1) for key in columns.values())
        cells = [f'{100 * score:>11.2f}' if score > -1 else f'{"-":>11}' for score in scores]
        lines.append(' '.join([f'{name:<{width}}', *cells, f'{report.latency[_TOTAL]["mean_ms"]:>12.1f}']))
    return '\n'.join(lines)


def write_reports(path: str | Path, reports: dict[str, EvaluationReport], main: str) -> None:
    """Write the report of the method ``main`` as JSON, with those of the other methods under ``baselines``."""
    content = {name: asdict(report) for name, report in reports.items()}
    result = content.pop(main)
    write_text(path, json.dumps({**result, 'baselines': content} if content else result, indent=1) + '\n')


def read_reports(path: str | Path, main: str) -> dict[str, EvaluationReport]:
    """What :func:`write_reports` wrote; the method ``main`` comes last.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    content = read_json(str(path))
    try:
        reports = {**content.pop('baselines', {}), main: content}
        return {name: EvaluationReport(**fields) for name, fields in reports.items()}
    except TypeError as error:  # other keys, or no objects
        raise DataError(f'is no report of an evaluation ({error})', file=path) from error


def write_pictures(
    model: UFPMPDet,
    ann_file: str,
    image_root: str,
    folder: str,
    limit: int = 8,
    score_thr: float = 0.3,
    value_range: ValueRange = None,
) -> list[Path]:
    """Write pictures of the stages and the ground truth; returns the files written.

    They are ``<image>_1_regions.jpg``, ``_2_mosaic.jpg``, ``_3_merged.jpg`` and ``_4_truth.jpg``. Folders in file names are kept:
    ``M0101/img000001.jpg`` becomes ``M0101/img000001_1_regions.jpg``.

    Args:
        model: a ``UFPMPDet`` with ``dataset_meta``.
        ann_file, image_root, value_range: see :func:`evaluate_composite`.
        folder: created if it is missing.
        limit: number of images, the first ones of the file.
        score_thr: boxes with a score above this are drawn.

    Raises:
        DataError: broken annotations or images, or a file name that leads out of ``image_root``.
    """
    device = next(model.parameters()).device
    classes = model.dataset_meta['classes']
    truth = load_coco_annotations(ann_file, classes)
    corners = truth.gt.bbox + np.pad(truth.gt.bbox[:, :2], ((0, 0), (2, 0)))  # xywh to xyxy
    images, root = _read_images(ann_file, inner=True), Path(image_root)
    refuse_inputs([folder], dict.fromkeys([root, *((root / name).parent for _, name in images)]), field='folder')
    files = ['{}_1_regions.jpg', '{}_2_mosaic.jpg', '{}_3_merged.jpg', '{}_4_truth.jpg']
    claims = [(source_of(root / name), str(Path(name).with_suffix('')), files) for _, name in images[:limit]]
    written = []
    for (image_id, file_name), stem in zip(images, OutputNames(folder).claim(claims)):
        image = decode_image(Path(image_root) / file_name, value_range=value_range)
        steps = model.predict_with_mosaic(to_chw(image).to(device))
        rgb = image[..., ::-1]
        pictures = draw_ufp_steps(rgb, steps, classes, score_thr=score_thr)
        own = truth.gt.image == truth.index_of(image_id)
        real, ignored = own & ~truth.gt.crowd, corners[own & truth.gt.crowd]
        pictures['truth'] = draw_boxes(rgb, corners[real], truth.gt.label[real], classes=classes, ignored=ignored)
        for number, (name, picture) in enumerate(pictures.items(), 1):
            written.append(Path(folder) / f'{stem}_{number}_{name}.jpg')
            write_image(written[-1], picture)
    return written


def _read_images(ann_file: str, inner: bool = False) -> list[tuple[ImageId, str]]:
    """Id and file name of each image."""
    table = read_coco(ann_file)
    return list(zip(table.image_ids, table.require_file_names(inner=inner)))


def _load(batch: list[tuple[ImageId, str]], root: Path, value_range: ValueRange) -> dict:
    inputs, samples = [], []
    for image_id, file_name in batch:
        inputs.append(to_chw(decode_image(root / file_name, value_range=value_range)))
        size_hw = tuple(inputs[-1].shape[1:])
        meta = dict(img_id=image_id, img_path=str(root / file_name), ori_shape=size_hw, img_shape=size_hw)
        samples.append(DetDataSample(metainfo=meta))
    return dict(inputs=inputs, data_samples=samples)
