"""ATSS assignment, NMS and multi-scale deformable attention on the device at hand, each beside its peer.

    python benchmarks/operators.py [--objects 500] [--candidates 20000] [--queries 4000] [--peer]

Peers: for NMS a plain greedy loop and torchvision's kernel (the rows say whether they keep the same boxes), for the attention the usual form by one
``grid_sample`` a level, for ATSS mmdetection 3.3.0's assigner, which --peer measures by the same calls (see peer_mmdet.py).
"""

import argparse

import torch
import torch.nn.functional as F
from measuring import Rows, add_row_arguments, median_seconds
from mmengine.structures import InstanceData
from nms import blocks, kernel, make_case, plain_loop

SHAPE_HW = (800, 1344)
STRIDES = (8, 16, 32, 64, 128)
LEVELS = ((100, 168), (50, 84), (25, 42))


def atss_case(device: str, objects: int, whole_pixels: bool = False):
    """An assigner with the priors of one image, priors per level, and so many small objects, at random or on whole pixels."""
    from mmdet.registry import TASK_UTILS

    priors = TASK_UTILS.build(
        dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=list(STRIDES))
    )
    sizes = [tuple(-(-side // stride) for side in SHAPE_HW) for stride in STRIDES]
    levels = priors.grid_priors(sizes, device=device)
    generator = torch.Generator().manual_seed(0)
    size = 8 + 56 * torch.rand(objects, 2, generator=generator)
    corner = torch.rand(objects, 2, generator=generator) * (torch.tensor(SHAPE_HW[::-1]) - size)
    bboxes = torch.cat([corner, corner + size], dim=1)
    truth = InstanceData(
        bboxes=(bboxes.round() if whole_pixels else bboxes).to(device),
        labels=torch.randint(10, (objects,), generator=generator).to(device),
    )
    assigner = TASK_UTILS.build(dict(type='ATSSAssigner', topk=9))
    return assigner, (InstanceData(priors=torch.cat(levels)), [len(level) for level in levels], truth)


def measure_atss(rows: Rows, device: str, objects: int, name: str) -> None:
    """Assign all priors of one image to so many small objects."""
    assigner, arguments = atss_case(device, objects)
    result = assigner.assign(*arguments)
    seconds = median_seconds(lambda: assigner.assign(*arguments), device)
    rows.add('ATSS', name, objects=objects, priors=sum(arguments[1]), positives=int((result.gt_inds > 0).sum()), ms=1000 * seconds)  # fmt: skip


def measure_nms(rows: Rows, device: str, candidates: int) -> None:
    """Every engine on drone-sized boxes."""
    from mmdet.ops import nms, torchvision_kernel

    boxes, scores, labels = make_case('drone', candidates, device)
    engines = {
        'mmdet.ops.nms': lambda: nms(boxes, scores, 0.6, labels=labels),
        'blocks': lambda: blocks(boxes, scores, 0.6, labels, -1),
        'torchvision kernel': lambda: kernel(boxes, scores, 0.6, labels, -1),
        'plain loop': lambda: plain_loop(boxes, scores, 0.6, labels),
    }
    if torchvision_kernel('nms') is None:
        del engines['torchvision kernel']
    expected = nms(boxes, scores, 0.6, labels=labels)
    for name, engine in engines.items():
        with rows.attempt('NMS', name):
            equal = torch.equal(engine(), expected)
            times = 1 if name == 'plain loop' else 5
            seconds = median_seconds(engine, device, warmup=min(1, times - 1), times=times)
            rows.add('NMS', name, candidates=candidates, kept=len(expected), equal=equal, ms=1000 * seconds)


def grid_sample_attention(value, shapes, locations, weights):
    """The usual form: one ``grid_sample`` a level (Deformable DETR, arXiv 2010.04159, equation 3); arguments as ms_deform_attn."""
    B, _, M, D = value.shape
    Q, L, K = locations.shape[1], locations.shape[3], locations.shape[4]
    grids = (2 * locations - 1).permute(3, 0, 2, 1, 4, 5).reshape(L, B * M, Q, K, 2)
    parts = value.split([h * w for h, w in shapes], dim=1)
    sampled = [
        F.grid_sample(part.permute(0, 2, 3, 1).reshape(B * M, D, h, w), grid, align_corners=False)
        for part, (h, w), grid in zip(parts, shapes, grids)
    ]
    flat = torch.stack(sampled, dim=3).flatten(3)  # (B * M, D, Q, L * K)
    summed = (flat * weights.permute(0, 2, 1, 3, 4).reshape(B * M, 1, Q, L * K)).sum(3)
    return summed.view(B, M * D, Q).transpose(1, 2)


def measure_attention(rows: Rows, device: str, queries: int) -> None:
    """Forward, and forward with backward, of a ViT-Adapter injector; the two forms must agree."""
    from mmdet.ops.ms_deform_attn import ms_deform_attn

    torch.manual_seed(0)
    cells = sum(h * w for h, w in LEVELS)
    value = torch.randn(1, cells, 6, 64, device=device, requires_grad=True)
    locations = torch.rand(1, queries, 6, len(LEVELS), 4, 2, device=device, requires_grad=True)
    weights = torch.rand(1, queries, 6, len(LEVELS), 4, device=device, requires_grad=True)
    expected = ms_deform_attn(value, LEVELS, locations, weights).detach()
    for name, function in (('mmdet.ops.ms_deform_attn', ms_deform_attn), ('grid_sample', grid_sample_attention)):
        with rows.attempt('deformable attention', name):
            torch.testing.assert_close(
                function(value, LEVELS, locations, weights).detach(), expected, rtol=1e-3, atol=1e-3
            )
            with torch.no_grad():
                forward = median_seconds(lambda: function(value, LEVELS, locations, weights), device)  # noqa: B023
            both = median_seconds(lambda: function(value, LEVELS, locations, weights).sum().backward(), device)  # noqa: B023
            rows.add('deformable attention', name, queries=queries, forward_ms=1000 * forward, both_ms=1000 * both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--objects', type=int, default=500)
    parser.add_argument('--candidates', type=int, default=20000)
    parser.add_argument('--queries', type=int, default=4000)
    parser.add_argument('--peer', action='store_true', help="mmdetection's assigner, where its package is found first")
    add_row_arguments(parser)
    args = parser.parse_args()
    rows = Rows(args.rows, args.deadline)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    name = 'mmdetection 3.3.0' if args.peer else 'mmdet-dense'
    if args.peer:
        import peer_mmdet

        peer_mmdet.prepare()
    else:
        from mmdet.utils import register_all_modules

        register_all_modules()
    with rows.attempt('ATSS', name):
        measure_atss(rows, device, args.objects, name)
    if not args.peer:
        with rows.attempt('NMS', 'all'):
            measure_nms(rows, device, args.candidates)
        with rows.attempt('deformable attention', 'all'):
            measure_attention(rows, device, args.queries)


if __name__ == '__main__':
    main()
