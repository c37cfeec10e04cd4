"""Latency of UFPMP-Det by stage where there is no trained checkpoint: ground truth stands in for what the two networks find.

    python benchmarks/ufpmp_latency.py CONFIG ANN IMAGES [--images-number 4] [--threads 1] [--channels-last]

Both networks run with random weights, for what they cost; the boxes that go on to the packing, and from the fine stage to the merge,
are those of the annotations. So regions and mosaics are as many and as large as perfect detections make them (a trained coarse
detector makes somewhat more); of the networks' own post-processing only what random scores cost is in the figures. CONFIG is one of
UFPMPDet, such as configs/UFPMP-Det/ufpmp_det_res50.py; ANN a COCO file.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import torch
from mmengine.device import get_device
from mmengine.structures import InstanceData

from mmdet.apis.benchmark import build_model
from mmdet.core.ufp import boxes_to_mosaic
from mmdet.datasets.transforms.formatting import to_chw
from mmdet.formats.images import decode_image
from mmdet.utils import load_config, register_all_modules
from mmdet.utils.timing import part_figures, parts_table, time_figures


class Answered(torch.nn.Module):
    """A stage that runs, and then answers with given boxes."""

    def __init__(self, stage: torch.nn.Module):
        super().__init__()
        self.stage = stage
        self.answers: list[InstanceData] = []

    def forward(self, images: list) -> list[InstanceData]:
        self.stage(images)
        return self.answers


def instances(boxes: torch.Tensor, labels: torch.Tensor) -> InstanceData:
    return InstanceData(bboxes=boxes, scores=torch.linspace(0.9, 0.1, len(boxes), device=boxes.device), labels=labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('annotations')
    parser.add_argument('images')
    parser.add_argument('--images-number', type=int, default=4, help='the first so many, after one of warm-up')
    parser.add_argument('--threads', type=int)
    parser.add_argument('--channels-last', action='store_true')
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    register_all_modules()
    device = str(get_device())
    model = build_model(load_config(args.config), device=device, channels_last=args.channels_last)
    for stage in (model.coarse, model.fine):
        stage.detector.data_preprocessor.memory_format = (
            torch.channels_last if args.channels_last else torch.contiguous_format
        )
    model.coarse, model.fine = Answered(model.coarse), Answered(model.fine)
    model.record_times = True

    document = json.loads(Path(args.annotations).read_text(encoding='utf-8'))
    rows = defaultdict(list)
    for row in document['annotations']:
        if not row.get('iscrowd') and not row.get('ignore'):
            x, y, w, h = row['bbox']
            rows[row['image_id']].append((row['category_id'], x, y, x + w, y + h))
    records = document['images'][: args.images_number]
    totals, busy = [], []
    with torch.no_grad():
        for record in [records[0], *records]:
            image = to_chw(decode_image(Path(args.images) / record['file_name'])).to(device)
            truth = torch.tensor(sorted(rows[record['id']]), dtype=torch.float32, device=device).reshape(-1, 5)
            boxes, labels = truth[:, 1:], truth[:, 0].long()
            model.coarse.answers = [instances(boxes, labels)]
            regions = model.pack(model.coarse.answers, [(image.shape[2], image.shape[1])])[0][0]
            on_mosaic, source, _ = boxes_to_mosaic(boxes, regions)
            model.fine.answers = [instances(on_mosaic, labels[source])]
            start, cpu = time.perf_counter(), time.process_time()
            model.detect([image])
            if device.startswith('cuda'):
                torch.cuda.synchronize()
            totals.append(time.perf_counter() - start)
            busy.append(time.process_time() - cpu)
    parts, _ = part_figures(model, num_warmup=1)
    parts['end to end'] = time_figures(totals[1:])
    print(f'{Path(args.config).stem}, {len(records)} images, float32, {device}, {torch.get_num_threads()} threads')
    print(parts_table(parts, 'an image'))
    print(
        f'CPU time {1000 * sum(busy[1:]) / len(records):.1f} ms an image: what one thread takes where nothing else runs'
    )
    sizes = {name: sum(values[1:]) / len(records) for name, values in model.stage_sizes.items()}
    print('on average an image has ' + ', '.join(f'{name} {size:.1f}' for name, size in sizes.items()))


if __name__ == '__main__':
    main()
