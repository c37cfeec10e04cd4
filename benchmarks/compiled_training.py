"""Training steps of a GFL R18 whose backbone ``torch.compile`` compiles for two bucketed sizes, beside the same steps without it.

    python benchmarks/compiled_training.py [--amp] [--rounds 5] [--threads 1]

Batches of two random images of four sizes are padded to two by ``BatchBucketPad``. The two networks have the same weights and take turns. Printed are what the
first call of each size took, the losses of both, the number of graphs, and the CPU milliseconds of the later steps: forward, losses, backward, SGD.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import torch
from networks import random_batch
from torch._dynamo.utils import counters

from mmdet.registry import MODELS
from mmdet.utils import load_config, register_all_modules

BUCKETS = [(256, 320), (320, 320)]
# (height, width) of the images of each batch; the first and the third fit into the first bucket.
SHAPES = [(200, 310), (300, 320), (256, 250), (290, 320)]
OPTIONS = {'model.backbone.depth': 18, 'model.neck.in_channels': [64, 128, 256, 512], 'model.backbone.init_cfg': None}


def training_step(compiled: bool, amp: bool) -> Callable[[dict], float]:
    """A new network's step: batch to loss."""
    cfg = load_config('configs/gfl/gfl_r50_fpn_1x_coco.py', OPTIONS).model
    cfg.data_preprocessor.update(batch_augments=[dict(type='BatchBucketPad', sizes=BUCKETS)], channels_last=amp)
    torch.manual_seed(0)
    model = MODELS.build(cfg).train()
    if amp:
        model = model.to(memory_format=torch.channels_last)
    if compiled:
        model.backbone.compile(dynamic=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def step(data: dict) -> float:
        batch = model.data_preprocessor(data, training=True)
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            losses = model(**batch, mode='loss')
        loss = model.parse_losses(losses)[0]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--amp', action='store_true', help='bfloat16, channels last')
    parser.add_argument('--rounds', type=int, default=5, help='over the four batches; the first is not timed')
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    register_all_modules()
    steps = {name: training_step(name == 'compiled', args.amp) for name in ('eager', 'compiled')}
    batches = [random_batch(shape, 2, 10) for shape in SHAPES]
    times: dict[tuple, list[float]] = defaultdict(list)
    for i in range(args.rounds):
        for j, batch in enumerate(batches):
            for name, step in steps.items():
                start, clock = time.process_time(), time.perf_counter()
                loss = step(batch)
                spent = time.process_time() - start
                if i:
                    times[name, BUCKETS[j % 2]].append(spent * 1000)
                else:
                    print(
                        f'{name} {SHAPES[j]}: first call {time.perf_counter() - clock:.1f} s, loss {loss:.4f}',
                        flush=True,
                    )
    print(f'{counters["stats"]["unique_graphs"]} graphs')
    for (name, bucket), spent_ms in times.items():
        print(f'{name} {bucket}: least {min(spent_ms):.0f} ms, median {statistics.median(spent_ms):.0f}')


if __name__ == '__main__':
    main()
