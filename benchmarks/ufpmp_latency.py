"""Latency of UFPMP-Det by stage where there is no trained checkpoint: ground truth stands in for what the two networks find.

    python benchmarks/ufpmp_latency.py CONFIG ANN IMAGES [--images-number 4] [--batches 1 8] [--threads 1] [--channels-last] [--amp]

Both networks run with random weights, for what they cost; the boxes that go on to the packing, and from the fine stage to the merge,
are those of the annotations. So regions and mosaics are as many and as large as perfect detections make them (a trained coarse
detector makes somewhat more); of the networks' own post-processing only what random scores cost is in the figures. CONFIG is one of
UFPMPDet, such as configs/UFPMP-Det/ufpmp_det_res50.py; ANN a COCO file. "decode" is the reading of a batch's JPEG files, one after another,
and their way to the device; it is not part of "end to end". --amp runs the networks under bf16 autocast; without it they
run in float32 with TF32 off. Times are divided by the batch size: milliseconds an image.
"""

import argparse
import contextlib
import json
import time
from collections import defaultdict
from pathlib import Path

import torch
from measuring import Rows, add_row_arguments, allow_tf32, synchronise, timed
from mmengine.config import DictAction
from mmengine.device import get_device
from mmengine.structures import InstanceData

from mmdet.apis.benchmark import build_model
from mmdet.core.ufp import boxes_to_mosaic
from mmdet.datasets.transforms.formatting import to_chw
from mmdet.formats.images import decode_image
from mmdet.utils import load_config, register_all_modules
from mmdet.utils.timing import part_figures, parts_table, sizes_line, time_figures


class Answered(torch.nn.Module):
    """A stage that runs, and then answers with given boxes."""

    def __init__(self, stage: torch.nn.Module, amp: bool):
        super().__init__()
        self.stage, self.amp = stage, amp
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
    parser.add_argument('config')
    parser.add_argument('annotations')
    parser.add_argument('images')
    parser.add_argument('--images-number', type=int, default=4, help='the first so many, after a batch of warm-up')
    parser.add_argument('--batches', type=int, nargs='+', default=[1], help='images of a batch')
    parser.add_argument('--threads', type=int)
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--amp', action='store_true')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config')
    add_row_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
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


if __name__ == '__main__':
    main()
