"""Time of mmdet.ops.nms beside a plain greedy loop, and torchvision's kernel where it works.

    python benchmarks/nms.py [--device cpu] [--threads 1] [--repeat 5] [--sizes 100 1000 5000 20000]

The plain loop is the obvious implementation, class by class: take the best box, compute its IoU with all that are left (vectorised), drop
those above the threshold, repeat. Cases: `coco` (80 classes, boxes up to half of a 1333 x 800 image), `drone` (10 classes, boxes of 8-60
pixels in 2000 x 1500, clustered), `one class` (as `coco`, class-agnostic), `best 100` (as `drone`, but only the best 100 are kept). Times
are the best of `repeat` runs; every result is compared with the loop's. (mmdet is imported inside functions, because peer_mmdet.py uses the
loop from here with another package named mmdet.)
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor


def make_case(kind: str, count: int, device: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Candidates as a detector gives them: about eight boxes around each object. Returns boxes (N, 4), scores, labels or None."""
    generator = torch.Generator().manual_seed(count)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator)

    drone = kind in ('drone', 'best 100')
    size = torch.tensor([2000.0, 1500.0] if drone else [1333.0, 800.0])
    objects = count // 8 + 1
    wh = 8 + 52 * uniform(objects, 2) if drone else 16 + (size / 2) * uniform(objects, 2) ** 2
    member = torch.randint(objects, (count,), generator=generator)
    centre = (uniform(objects, 2) * size)[member] + 0.15 * wh[member] * torch.randn(count, 2, generator=generator)
    wh = wh[member] * torch.exp(0.15 * torch.randn(count, 2, generator=generator))
    labels = torch.randint(10 if drone else 80, (objects,), generator=generator)[member]
    boxes = torch.cat([centre - wh / 2, centre + wh / 2], 1).to(device)
    return boxes, uniform(count).to(device), None if kind == 'one class' else labels.to(device)


def plain_loop(boxes: Tensor, scores: Tensor, threshold: float, labels: Tensor | None) -> Tensor:
    """Greedy NMS by vectorised elimination, class by class."""
    kept = []
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    labels = torch.zeros_like(scores) if labels is None else labels
    for label in labels.unique():
        members = (labels == label).nonzero(as_tuple=True)[0]
        left = members[scores[members].sort(descending=True, stable=True).indices]
        while left.numel():
            best, left = left[0], left[1:]
            kept.append(best)
            wh = torch.minimum(boxes[left, 2:], boxes[best, 2:]) - torch.maximum(boxes[left, :2], boxes[best, :2])
            inter = wh.clamp(min=0).prod(1)
            left = left[inter / (areas[left] + areas[best] - inter) <= threshold]
    kept = torch.stack(kept).sort().values  # equal scores: input order
    return kept[scores[kept].sort(descending=True, stable=True).indices]


def blocks(boxes: Tensor, scores: Tensor, threshold: float, labels: Tensor | None, max_num: int) -> Tensor:
    """Indices kept by the engine for devices other than the CPU."""
    from mmdet.ops import nms_engines

    order = scores.sort(descending=True, stable=True).indices
    return order[
        nms_engines.greedy_blocks(boxes[order], None if labels is None else labels[order], threshold, 0, max_num)
    ]


def kernel(boxes: Tensor, scores: Tensor, threshold: float, labels: Tensor | None, max_num: int) -> Tensor:
    """Indices kept by torchvision's kernel, as mmdet.ops uses it on CUDA."""
    from mmdet.ops import nms_engines, torchvision_kernel

    order = scores.sort(descending=True, stable=True).indices
    ranked_labels = None if labels is None else labels[order]
    return order[nms_engines.greedy_kernel(torchvision_kernel('nms'), boxes[order], ranked_labels, threshold, max_num)]


def best_ms(function: Callable[[], Tensor], device: str, repeat: int) -> tuple[Tensor, float]:
    """Result of a function, and its best time in milliseconds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = function()
        if device.startswith('cuda'):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return result, 1e3 * min(times)


def main() -> None:
    """Print one line for each case and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--iou-threshold', type=float, default=0.6)
    parser.add_argument('--sizes', type=int, nargs='+', default=[100, 1000, 5000, 20000])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from mmdet.ops import nms, torchvision_kernel

    has_kernel = torchvision_kernel('nms') is not None
    print(
        f'{"case":10s} {"N":>6s} {"kept":>6s} {"loop ms":>10s} {"nms ms":>9s} {"ratio":>7s} {"blocks ms":>10s} {"torchvision ms":>15s}'
    )
    for kind in ('coco', 'drone', 'one class', 'best 100'):
        for count in args.sizes:
            boxes, scores, labels = make_case(kind, count, args.device)
            max_num = 100 if kind == 'best 100' else -1
            threshold = args.iou_threshold
            expected, loop = best_ms(lambda: plain_loop(boxes, scores, threshold, labels), args.device, 1)  # noqa: B023
            expected = expected if max_num < 0 else expected[:max_num]
            others = [lambda: nms(boxes, scores, threshold, labels=labels, max_num=max_num)]  # noqa: B023
            others.append(lambda: blocks(boxes, scores, threshold, labels, max_num))  # noqa: B023
            if has_kernel:
                others.append(lambda: kernel(boxes, scores, threshold, labels, max_num))  # noqa: B023
            times = []
            for function in others:
                result, elapsed = best_ms(function, args.device, args.repeat)
                assert torch.equal(result, expected), 'results differ'
                times.append(elapsed)
            last = f'{times[2]:15.2f}' if has_kernel else f'{"-":>15s}'
            line = f'{kind:10s} {count:6d} {len(expected):6d} {loop:10.1f} {times[0]:9.2f} {loop / times[0]:6.0f}x'
            print(f'{line} {times[1]:10.1f} {last}', flush=True)


if __name__ == '__main__':
    main()
