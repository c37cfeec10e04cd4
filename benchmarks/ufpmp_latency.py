"""Latency of UFPMP-Det by stage: of an exported folder, or of a config where there is no trained checkpoint.

    python benchmarks/ufpmp_latency.py FOLDER ANN IMAGES [--images-number 80] [--threads 2] [--mosaics exact rounded direct] [--precision bf16]
    python benchmarks/ufpmp_latency.py CONFIG ANN IMAGES [--images-number 4] [--batches 1 8] [--threads 1] [--channels-last] [--amp]

FOLDER is what tools/export.py wrote of a UFPMPDet; mmdet_runtime runs it, once for each of --mosaics. From files to boxes in their pixels, median
and mean milliseconds an image: "latency" one after the other, "pipelined" with decoding, packing and drawing in other threads meanwhile. AP of these
boxes (all sizes, limit 500). The overhead is what UFPMP-Det costs beyond its two forward passes, in per cent of these. A forward pass is
the resizing, normalisation, network and NMS of a stage on a picture that is there. "Overhead by steps" is (packing + mosaic + merge) / passes, one
after the other; "added wall time" compares the whole pipeline with one that only runs both passes, the fine one on mosaics made before: the two
take turns, five times, and their medians count.

With CONFIG ground truth stands in for what the two networks find:

Both networks run with random weights, for what they cost; the boxes that go on to the packing, and from the fine stage to the merge,
are those of the annotations. So regions and mosaics are as many and as large as perfect detections make them (a trained coarse
detector makes somewhat more); of the networks' own post-processing only what random scores cost is in the figures. CONFIG is one of
UFPMPDet, such as configs/UFPMP-Det/ufpmp_det_res50.py; ANN a COCO file. "decode" is the reading of a batch's JPEG files, one after another,
and their way to the device; it is not part of "end to end". --amp runs the networks under bf16 autocast; without it they
run in float32 with TF32 off. Times are divided by the batch size: milliseconds an image.
"""

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from measuring import Rows, add_row_arguments, allow_tf32, synchronise, timed
from mmengine.config import DictAction
from mmengine.device import get_device
from mmengine.structures import InstanceData

from mmdet.apis.benchmark import build_model
from mmdet.core.ufp import boxes_to_mosaic
from mmdet.datasets.transforms.formatting import to_chw
from mmdet.evaluation import evaluate_results
from mmdet.formats.images import decode_image
from mmdet.utils import load_config, register_all_modules
from mmdet.utils.timing import part_figures, parts_table, sizes_line, time_figures
from mmdet_runtime import load
from mmdet_runtime.composite import MOSAICS
from mmdet_runtime.images import read_image
from mmdet_runtime.pipeline import process

WALL_ROUNDS = 5


class Answered(torch.nn.Module):
    """A stage that runs, and then answers with given boxes."""

    def __init__(self, stage: torch.nn.Module, amp: bool):
        super().__init__()
        self.stage, self.amp, self.end_to_end = stage, amp, stage.end_to_end
        self.answers: list[InstanceData] = []

    def forward(self, images: list) -> list[InstanceData]:
        kind = images[0].device.type if images else 'cpu'
        with torch.autocast(kind, torch.bfloat16) if self.amp else contextlib.nullcontext():
            self.stage(images)
        return self.answers


def instances(boxes: torch.Tensor, labels: torch.Tensor) -> InstanceData:
    return InstanceData(bboxes=boxes, scores=torch.linspace(0.9, 0.1, len(boxes), device=boxes.device), labels=labels)


def prepare(model, images: list[torch.Tensor], truths: list[torch.Tensor]) -> None:
    """Set the answers of both stages for the images of one batch; truths have rows of label and box, sorted by label."""
    found = [instances(truth[:, 1:], truth[:, 0].long()) for truth in truths]
    model.coarse.answers = found
    packed = model.pack(found, [(image.shape[2], image.shape[1]) for image in images])
    model.fine.answers = []
    for answer, (regions, _, _) in zip(found, packed):
        on_mosaic, source, _ = boxes_to_mosaic(answer.bboxes, regions)
        model.fine.answers.append(instances(on_mosaic, answer.labels[source]))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG_OR_FOLDER')
    parser.add_argument('annotations')
    parser.add_argument('images')
    parser.add_argument(
        '--images-number', type=int, help='the first so many, after a batch of warm-up; default: 4, of a folder all'
    )
    parser.add_argument('--batches', type=int, nargs='+', default=[1], help='images of a batch')
    parser.add_argument('--threads', type=int)
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--amp', action='store_true')
    parser.add_argument('--mosaics', nargs='+', choices=MOSAICS, default=MOSAICS, help='of a folder')
    parser.add_argument('--precision', help='of a folder: that of the computation, if not its own')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config')
    add_row_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if Path(args.config).is_dir():
        measure_folder(args)
        return
    args.images_number = args.images_number or 4
    if args.threads:
        torch.set_num_threads(args.threads)
    register_all_modules()
    allow_tf32(False)
    device = str(get_device())
    rows = Rows(args.rows, args.deadline)
    model = build_model(load_config(args.config, args.cfg_options), device=device, channels_last=args.channels_last)
    for stage in (model.coarse, model.fine):
        stage.detector.data_preprocessor.memory_format = (
            torch.channels_last if args.channels_last else torch.contiguous_format
        )
    model.coarse, model.fine = Answered(model.coarse, args.amp), Answered(model.fine, args.amp)
    model.record_times = True

    document = json.loads(Path(args.annotations).read_text(encoding='utf-8'))
    boxes = defaultdict(list)
    for row in document['annotations']:
        if not row.get('iscrowd') and not row.get('ignore'):
            x, y, w, h = row['bbox']
            boxes[row['image_id']].append((row['category_id'], x, y, x + w, y + h))
    records = document['images'][: args.images_number]
    precision = 'bf16' if args.amp else 'fp32'
    for size in args.batches:
        name = f'batch {size}, {precision}{" channels_last" if args.channels_last else ""}'
        with rows.attempt(Path(args.config).stem, name):
            measure(model, records, boxes, args, size, device, rows, name)


def measure(model, records: list[dict], boxes: dict, args, size: int, device: str, rows: Rows, name: str) -> None:
    """All batches of one size, the first of them twice; whole batches only."""
    model.stage_times.clear()
    model.stage_sizes.clear()
    batches = [records[i : i + size] for i in range(0, len(records) - size + 1, size)]
    if not batches:
        raise ValueError(f'{len(records)} images make no batch of {size}')
    totals, busy, decoding = [], [], []
    with torch.no_grad():
        for batch in [batches[0], *batches]:
            model.record_times = bool(totals)
            images: list[torch.Tensor] = []

            def decode(batch=batch, images=images):
                images += [to_chw(decode_image(Path(args.images) / record['file_name'])).to(device) for record in batch]

            decoding.append(timed(decode, device))
            truths = [torch.tensor(sorted(boxes[record['id']]), dtype=torch.float32, device=device).reshape(-1, 5) for record in batch]  # fmt: skip
            prepare(model, images, truths)
            synchronise(device)
            start, cpu = time.perf_counter(), time.process_time()
            model.detect(images)
            synchronise(device)
            totals.append(time.perf_counter() - start)
            busy.append(time.process_time() - cpu)
    parts, sizes = part_figures(model)
    parts = {'decode': time_figures(decoding[1:]), **parts, 'end to end': time_figures(totals[1:])}
    parts = {part: {key: value / size for key, value in figures.items()} for part, figures in parts.items()}
    count = size * len(batches)
    print(f'{Path(args.config).stem}, {count} images, {name}, {device}, {torch.get_num_threads()} threads')
    print(parts_table(parts, 'an image'))
    print(f'CPU time {1000 * sum(busy[1:]) / count:.1f} ms an image: what one thread takes where nothing else runs')
    print(sizes_line(sizes))
    figures = {f'{part.replace(" ", "_")}_ms': values['p50_ms'] for part, values in parts.items()}
    rows.add(Path(args.config).stem, name, **{'images/s': 1000 / parts['end to end']['mean_ms']}, **figures, **sizes)


def measure_folder(args: argparse.Namespace) -> None:
    """An exported folder, see above."""
    annotations = json.loads(Path(args.annotations).read_text(encoding='utf-8'))
    records = annotations['images'][: args.images_number]
    files = [Path(args.images) / record['file_name'] for record in records]
    categories = {category['name']: category['id'] for category in annotations['categories']}
    rows = Rows(args.rows, args.deadline)
    cv2.setNumThreads(1)  # the network has the cores
    for mosaic in args.mosaics:
        detector = load(args.config, threads=args.threads, precision=args.precision, mosaic=mosaic, verify=False)
        for file in files[:3]:
            detector(str(file))
        detector.clock.clear()
        images: list[np.ndarray] = []
        detections, decoding, totals = [], [], []
        for file in files:
            start = time.perf_counter()
            images.append(read_image(file))
            decoding.append(time.perf_counter() - start)
            detections.append(detector(images[-1]))
            totals.append(time.perf_counter() - start)
        # After the times: tens of thousands of small objects make Python collect garbage, which would be counted with some step.
        results: list[dict] = []
        for record, found in zip(records, detections):
            boxes = np.concatenate([found.bboxes[:, :2], found.bboxes[:, 2:] - found.bboxes[:, :2]], axis=1)
            for box, score, label in zip(boxes.tolist(), found.scores.tolist(), found.labels.tolist()):
                results.append(
                    dict(image_id=record['id'], category_id=categories[detector.classes[label]], bbox=box, score=score)
                )
        parts = {'decode': time_figures(decoding)} | {
            name: time_figures(times) for name, times in detector.clock.times.items()
        }
        by_step = overhead(parts, mosaic == 'direct')
        parts['latency'] = time_figures(totals)
        with detector.own_thread(args.threads):
            pipelined = _seconds(files, read_image, detector)
            added = added_wall(detector, images, mosaic)
        ap, ap50 = average_precision(results, records, annotations)
        print(f'{args.config}, mosaic {mosaic}, {len(files)} images, {args.threads or "all"} threads')
        print(parts_table(parts, 'an image'))
        print(sizes_line({name: float(np.mean(values)) for name, values in detector.clock.sizes.items()}))
        figures = {
            'latency_ms': parts['latency']['p50_ms'],
            'pipelined_ms': pipelined,
            'overhead_by_steps_%': by_step,
            'added_wall_%': added,
        }
        rows.add(Path(args.config).name, mosaic, **figures, AP=ap, AP50=ap50)


def overhead(parts: dict[str, dict[str, float]], drawn_while_normalised: bool) -> float:
    """Of packing, mosaic and merge over the two forward passes, in per cent, by medians; drawn directly, a mosaic is in the fine preprocessing."""
    times = {name: figures['p50_ms'] for name, figures in parts.items()}
    extra = times['packing'] + times['mosaic'] + times['merge']
    passes = sum(time for name, time in times.items() if name.startswith(('coarse', 'fine')))
    return 100 * extra / (passes - times['mosaic'] * drawn_while_normalised)


def added_wall(detector: Any, images: list[np.ndarray], mosaic: str) -> float:
    """Per cent by which the pipeline takes longer than one of both passes alone, the fine one on mosaics that are there; by ``'direct'`` resized as well."""
    model = detector.detector
    pictures = []
    for image in images:
        (drawn,) = model.look(model.coarse.detect([image]), [image])[1]
        if drawn is not None and mosaic == 'direct':
            pictures.append(drawn.small(model.fine.input_size_hw(drawn.shape[:2], model.fine.scales[0])))
        else:
            pictures.append(None if drawn is None else model.draw(drawn))

    def passes(numbers: list[int]) -> list[None]:
        for number in numbers:
            model.coarse.detect([images[number]])
            if pictures[number] is not None:
                model.fine.detect([pictures[number]])
        return [None] * len(numbers)

    rounds = [
        (_seconds(images, lambda image: image, detector), _seconds(range(len(images)), lambda number: number, passes))
        for _ in range(WALL_ROUNDS)
    ]
    whole, alone = np.median(rounds, axis=0)
    return 100 * (float(whole) / float(alone) - 1)


def _seconds(sources: Any, decode: Any, detect: Any) -> float:
    """Milliseconds an image of the pipeline, as the command line runs it."""
    report = process(sources, decode, detect, lambda *result: None, detectors=2)
    if report.failed:
        raise ValueError(f'{len(report.failed)} images failed: {report.failed[0][1]}')
    return 1000 * report.seconds / report.done


def average_precision(results: list[dict], records: list[dict], annotations: dict) -> tuple[float, float]:
    """AP and AP50 in per cent of COCO results on the images of these records."""
    ids = {record['id'] for record in records}
    truths = [truth for truth in annotations['annotations'] if truth['image_id'] in ids]
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / 'truth.json', Path(folder) / 'results.json'
        for file, content in zip(files, (dict(annotations, images=records, annotations=truths), results)):
            file.write_text(json.dumps(content), encoding='utf-8')
        with contextlib.redirect_stdout(io.StringIO()):
            values = evaluate_results(str(files[1]), str(files[0]), max_dets=500)
    return 100 * values['coco/bbox_mAP'], 100 * values['coco/bbox_mAP_50']


if __name__ == '__main__':
    main()
