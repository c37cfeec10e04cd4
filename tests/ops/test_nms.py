"""NMS: written-out cases, and every engine against a plain greedy loop on random boxes with ties."""

import sys

import numpy as np
import pytest
import torch

from mmdet.errors import ConfigError, ModelInputError
from mmdet.ops import batched_nms, nms, nms_engines, soft_nms
from mmdet_runtime import suppression


def plain_greedy(boxes, scores, threshold, labels=None, offset=0, views=None):
    """The definition: for each box by falling score, ask all kept ones."""
    sides = boxes.numpy().T
    width, height = (
        np.minimum(sides[k + 2][:, None], sides[k + 2]) - np.maximum(sides[k][:, None], sides[k]) + np.float32(offset)
        for k in (0, 1)
    )
    inter = width.clip(0) * height.clip(0)
    area = (sides[2] - sides[0] + np.float32(offset)) * (sides[3] - sides[1] + np.float32(offset))
    union = area[:, None] + area - inter
    suppresses = np.where(union > 0, inter / np.where(union > 0, union, 1), 0) > np.float32(threshold)
    if labels is not None:
        suppresses &= labels.numpy()[:, None] == labels.numpy()
    if views is not None:
        one_view = (views.numpy()[:, None] == views.numpy()) & (views.numpy() >= 0)
        one_box = (boxes.numpy()[:, None] == boxes.numpy()).all(2)
        suppresses &= ~one_view | (one_box if labels is None else False)
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: -float(scores[i])):
        if not any(suppresses[j, i] for j in kept):
            kept.append(i)
    return kept


def random_case(seed, count, size, classes, whole):
    """Boxes in clusters; `whole` pixels and coarse scores make many equal IoUs and tied scores."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-0.2 * size, size, (count // 4 + 1, 2))[rng.integers(0, count // 4 + 1, count)]
    centre = centre + rng.normal(0, 4, (count, 2))
    wh = rng.uniform(0, 40, (count, 2))
    boxes = np.concatenate([centre - wh / 2, centre + wh / 2], 1)
    scores = rng.uniform(0, 1, count)
    if whole:
        boxes, scores = boxes.round(), scores.round(1)
    labels = torch.from_numpy(rng.integers(0, classes, count))
    return torch.from_numpy(boxes).float(), torch.from_numpy(scores).float(), labels


def run_engine(engine, boxes, scores, threshold, labels=None, offset=0, max_num=-1, views=None):
    order = torch.sort(scores, descending=True, stable=True).indices
    ranked, (ranked_labels, ranked_views) = boxes[order], (None if of is None else of[order] for of in (labels, views))
    if engine == 'sweep':
        arrays = [None if of is None else of.numpy() for of in (ranked_labels, ranked_views)]
        kept = torch.from_numpy(
            nms_engines.greedy_sweep(ranked.numpy(), arrays[0], threshold, offset, max_num, arrays[1])
        )
    elif engine == 'blocks':
        kept = nms_engines.greedy_blocks(ranked, ranked_labels, threshold, offset, max_num, ranked_views)
    else:  # the wrapper around torchvision's kernel, with a stand-in for the kernel
        kept = nms_engines.greedy_kernel(nms, ranked, ranked_labels, threshold, max_num)
    return order[kept].tolist()


@pytest.mark.parametrize(
    'boxes, scores, expected',
    [
        ([], [], []),
        ([[0, 0, 10, 10]], [0.1], [0]),
        # IoU 9/11 > 0.6 suppresses; the far box stays
        ([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], [0.5, 0.9, 0.1], [1, 2]),
        # 1 suppresses 0 (IoU 2/3), so 0 cannot suppress 2 (IoU of 1 and 2 is 3/7)
        ([[2, 0, 12, 10], [0, 0, 10, 10], [4, 0, 14, 10]], [0.8, 0.9, 0.7], [1, 2]),
        # IoU exactly 3/5 is not "> 0.6"
        ([[0, 0, 4, 1], [1, 0, 5, 1]], [0.5, 0.4], [0, 1]),
        # equal scores: the first wins
        ([[0, 0, 9, 9], [0, 0, 9, 9]], [0.5, 0.5], [0]),
        # zero area: neither suppresses nor is suppressed
        ([[5, 5, 5, 5], [5, 5, 5, 5]], [0.5, 0.4], [0, 1]),
    ],
)
def test_written_out(device, boxes, scores, expected):
    boxes, scores = torch.tensor(boxes).float().reshape(-1, 4).to(device), torch.tensor(scores).float().to(device)
    keep = nms(boxes, scores, 0.6)
    assert keep.dtype == torch.int64
    assert keep.tolist() == expected
    if len(boxes):
        assert run_engine('blocks', boxes, scores, 0.6) == expected


@pytest.mark.parametrize('engine', ['sweep', 'blocks', 'kernel'])
@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize('whole', [False, True])
def test_engines_equal_plain_greedy(engine, threshold, whole, monkeypatch):
    monkeypatch.setattr(suppression, '_BLOCK', 64)  # several blocks, several chunks
    monkeypatch.setattr(suppression, '_PAIRS', 100)
    for seed, (count, size, classes) in enumerate([(1, 10, 1), (40, 50, 3), (300, 200, 1), (300, 60, 7)]):
        boxes, scores, labels = random_case(seed, count, size, classes, whole)
        assert run_engine(engine, boxes, scores, threshold) == plain_greedy(boxes, scores, threshold)
        by_class = plain_greedy(boxes, scores, threshold, labels)
        assert run_engine(engine, boxes, scores, threshold, labels) == by_class
        assert run_engine(engine, boxes, scores, threshold, labels, max_num=17) == by_class[:17]
        if engine != 'kernel':
            expected = plain_greedy(boxes, scores, threshold, labels, offset=1)
            assert run_engine(engine, boxes, scores, threshold, labels, offset=1) == expected


@pytest.mark.parametrize('offset', [0, 1])
def test_every_device_keeps_the_same_boxes(device, offset):
    boxes, scores, labels = random_case(3, 150, 60, 7, True)
    expected = plain_greedy(boxes, scores, 0.3, labels, offset)
    there = [tensor.to(device) for tensor in (boxes, scores, labels)]
    kept = nms(*there[:2], 0.3, labels=there[2], offset=offset)
    assert kept.device.type == device and kept.tolist() == expected
    dets, kept = soft_nms(*there[:2], 0.3, labels=there[2], offset=offset)
    on_cpu, kept_on_cpu = soft_nms(boxes, scores, 0.3, labels=labels, offset=offset)
    assert dets.device.type == kept.device.type == device
    assert torch.equal(dets.cpu(), on_cpu) and torch.equal(kept.cpu(), kept_on_cpu)


@pytest.mark.parametrize('engine', ['sweep', 'blocks'])
@pytest.mark.parametrize('offset', [0, 1])
def test_inverted_boxes(engine, offset):
    """Right edges left of left edges, as untrained networks predict: nothing is suppressed by them, and nothing raised."""
    boxes = torch.tensor(
        [[10.0, 0, 0, 10], [5, 0, 15, 10], [5, 0, 15, 9], [12, 10, 3, 0], [12, 10, 3, 0], [6, 0, 15, 10]]
    )
    scores = torch.linspace(0.9, 0.1, 6)
    assert run_engine(engine, boxes, scores, 0.5, offset=offset) == plain_greedy(boxes, scores, 0.5, offset=offset)
    assert run_engine(engine, boxes, scores, 0.5, offset=offset)[:2] == [0, 1]


def test_suppression_chain():
    """A long chain, each box suppressed only by its neighbour: every second one stays."""
    x = torch.arange(600).float()
    boxes = torch.stack([x, torch.zeros(600), x + 3.1, torch.ones(600)], 1)
    scores = torch.linspace(1, 0.1, 600)
    expected = list(range(0, 600, 2))
    assert run_engine('sweep', boxes, scores, 0.4) == expected
    assert run_engine('blocks', boxes, scores, 0.4) == expected


def test_identical_boxes():
    boxes = torch.tensor([[3.0, 4.0, 30.0, 40.0]]).repeat(5000, 1)
    assert nms(boxes, torch.ones(5000), 0.5).tolist() == [0]
    assert len(nms(boxes, torch.ones(5000), 0.5, labels=torch.arange(5000) % 10)) == 10


def test_far_classes_keep_their_precision():
    """Shifting class 79 by 79 * 8002 in float32 rounds these boxes to 1/16 pixel and changes the answer."""
    boxes = torch.tensor([[8000.0, 0.0, 8001.0, 1.0], [8000.27, 0.0, 8001.27, 1.0]])  # IoU 0.73 / 1.27 = 0.575
    scores, labels = torch.tensor([0.9, 0.8]), torch.tensor([79, 79])
    assert nms(boxes, scores, 0.59, labels=labels).tolist() == [0, 1]
    assert nms(boxes + 79 * 8002, scores, 0.59).tolist() == [0]
    assert run_engine('kernel', boxes, scores, 0.59, labels) == [0, 1]


def test_values_that_are_not_finite_are_dropped():
    boxes = torch.tensor(
        [[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, float('inf'), 9], [20, 20, 30, float('nan')], [50, 50, 60, 60]]
    )
    scores = torch.tensor([float('nan'), 0.3, 0.9, 0.8, 0.2])
    assert nms(boxes, scores, 0.5).tolist() == [1, 4]
    dets, keep = soft_nms(boxes, scores)
    assert keep.tolist() == [1, 4]
    assert torch.isfinite(dets).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_types(dtype):
    boxes = torch.tensor([[0, 0, 8, 8], [1, 0, 9, 8], [100, 100, 200, 200]]).to(dtype)
    scores = torch.tensor([0.5, 0.75, 0.25]).to(dtype)
    dets, keep = batched_nms(boxes, scores, torch.zeros(3, dtype=torch.int64), dict(type='nms', iou_threshold=0.5))
    assert keep.tolist() == [1, 2]
    assert dets.dtype == dtype


def test_score_threshold_and_max_num():
    boxes = torch.tensor([[0.0, 0, 8, 8], [10, 0, 18, 8], [20, 0, 28, 8]])
    scores = torch.tensor([0.05, 0.75, 0.25])
    assert nms(boxes, scores, 0.5, score_threshold=0.05).tolist() == [1, 2]
    assert nms(boxes, scores, 0.5, max_num=1).tolist() == [1]
    assert nms(boxes, scores, 0.5, max_num=0).tolist() == []
    assert nms(boxes, -scores, 0.5).tolist() == [0, 2, 1]  # without a limit scores may be zero or negative
    assert nms(boxes, scores, 0.5, score_threshold=0.3, labels=torch.tensor([7, 8, 9])).tolist() == [1]
    nothing = nms(boxes, scores, 0.5, score_threshold=0.9)
    assert nothing.shape == (0,) and nothing.dtype == torch.int64


def test_dropped_boxes_are_counted_in_a_warning(monkeypatch):
    messages = []
    module = sys.modules[nms.__module__]  # the package gives its name to the function
    monkeypatch.setattr(module, 'print_log', lambda message, *_: messages.append(message))
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, float('inf'), 9], [20, 20, 30, 30]])
    assert nms(boxes, torch.tensor([0.9, 0.8, float('nan')]), 0.5).tolist() == [0]
    assert len(messages) == 1 and 'dropped 2 boxes' in messages[0]
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.1]), 0.5, score_threshold=0.5).tolist() == [0]
    assert len(messages) == 2 and 'dropped 1 boxes' in messages[1]
    nms(boxes[::2], torch.tensor([0.9, 0.1]), 0.5, score_threshold=0.5)
    assert len(messages) == 2


def test_thresholds_are_inclusive_ranges():
    boxes, scores = torch.tensor([[0.0, 0, 8, 8], [0, 0, 8, 8]]), torch.tensor([0.5, 0.4])
    assert nms(boxes, scores, 1.0).tolist() == [0, 1] and nms(boxes, scores, 0.0).tolist() == [0]
    for function in (nms, soft_nms):
        for threshold in (-0.01, 1.01, float('nan')):
            with pytest.raises(ConfigError, match='iou_threshold'):
                function(boxes, scores, threshold)


class TestBatched:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [50, 50, 60, 60]])
    scores = torch.tensor([0.6, 0.9, 0.8, 0.7])
    labels = torch.tensor([0, 0, 1, 1])

    @pytest.mark.parametrize('cfg', [None, dict(type='nms', iou_threshold=0.5), dict(type='soft_nms')])
    def test_empty(self, cfg):
        dets, keep = batched_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), cfg)
        assert dets.shape == (0, 5)
        assert keep.shape == (0,) and keep.dtype == torch.int64

    def test_by_class(self):
        dets, keep = batched_nms(self.boxes, self.scores, self.labels, dict(type='nms', iou_threshold=0.6, split_thr=2))
        assert keep.tolist() == [1, 2, 3]
        assert dets.tolist() == [
            [1, 0, 11, 10, pytest.approx(s)] if s > 0.75 else [50, 50, 60, 60, pytest.approx(s)]
            for s in (0.9, 0.8, 0.7)
        ]

    def test_class_agnostic(self):
        cfg = dict(iou_thr=0.6)
        assert batched_nms(self.boxes, self.scores, self.labels, cfg, class_agnostic=True)[1].tolist() == [1, 3]
        assert batched_nms(self.boxes, self.scores, self.labels, dict(class_agnostic=True, **cfg))[1].tolist() == [1, 3]

    def test_max_num(self):
        assert batched_nms(self.boxes, self.scores, self.labels, dict(iou_threshold=0.6, max_num=2))[1].tolist() == [
            1,
            2,
        ]

    def test_no_nms(self):
        dets, keep = batched_nms(self.boxes, self.scores, self.labels, None)
        assert keep.tolist() == [1, 2, 3, 0]
        assert dets[:, 4].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])

    def test_arguments_stay_as_they_are(self):
        cfg = dict(type='nms', iou_threshold=0.5)
        before = self.boxes.clone()
        batched_nms(self.boxes, self.scores, self.labels, cfg)
        assert cfg == dict(type='nms', iou_threshold=0.5)
        assert torch.equal(before, self.boxes)

    @pytest.mark.parametrize(
        'cfg, named',
        [
            (dict(type='wnms', iou_threshold=0.5), 'wnms'),
            (dict(type='nms'), 'iou_threshold'),
            (dict(type='nms', iou_threshold=1.5), '1.5'),
            (dict(type='nms', iou_threshold=0.5, sigma=1), 'sigma'),
            (dict(type='nms', iou_threshold=0.5, offset=2), 'offset'),
            (dict(type='soft_nms', method='cubic'), 'cubic'),
            (dict(type='soft_nms', sigma=0), 'sigma'),
        ],
    )
    def test_wrong_config(self, cfg, named):
        with pytest.raises(ConfigError, match=named):
            batched_nms(self.boxes, self.scores, self.labels, cfg)

    def test_wrong_shapes(self):
        with pytest.raises(ModelInputError, match='boxes'):
            nms(torch.zeros(3, 5), torch.zeros(3), 0.5)
        with pytest.raises(ModelInputError, match='scores'):
            nms(torch.zeros(3, 4), torch.zeros(2), 0.5)
        with pytest.raises(ModelInputError, match='labels'):
            nms(torch.zeros(3, 4), torch.zeros(3), 0.5, labels=torch.zeros(4))


class TestSoft:
    # IoU of the first two is 8/12 = 2/3; the third touches neither
    boxes = torch.tensor([[0.0, 0, 10, 1], [2, 0, 12, 1], [50, 0, 60, 1]])
    scores = torch.tensor([0.9, 0.8, 0.5])

    @pytest.mark.parametrize(
        'method, second',
        [('linear', 0.8 * (1 - 2 / 3)), ('gaussian', 0.8 * np.exp(-(4 / 9) / 0.5)), ('naive', None)],
    )
    def test_decay(self, method, second):
        dets, keep = soft_nms(self.boxes, self.scores, method=method)
        expected = [(0, 0.9), (2, 0.5)] + ([(1, second)] if second else [])
        assert keep.tolist() == [index for index, _ in expected]
        assert dets[:, 4].tolist() == pytest.approx([score for _, score in expected], abs=1e-6)
        assert torch.equal(dets[:, :4], self.boxes[keep])

    def test_min_score_drops(self):
        assert soft_nms(self.boxes, self.scores, min_score=0.3)[1].tolist() == [0, 2]

    @pytest.mark.parametrize(
        ('options', 'second'),
        [
            (dict(), 0.4),  # the default threshold of 0.3
            (dict(iou_threshold=0.5), 0.4),  # reached
            (dict(iou_threshold=0.51), 0.8),
            (dict(iou_threshold=0.5, method='naive'), 0.0),
            (dict(iou_threshold=0.51, method='naive'), 0.8),
            (dict(method='gaussian'), 0.8 * np.exp(-0.25 / 0.5)),
            (dict(method='gaussian', sigma=2.0), 0.8 * np.exp(-0.125)),
            (dict(offset=1), 0.8 * (1 - 33 / 66)),
        ],
    )
    def test_decay_of_boxes_of_several_rows(self, options, second):
        """IoU 32 / 64; by inclusive corners (10 + 1) (2 + 1) = 33 of (10 + 1) (5 + 1) = 66."""
        boxes = [[3.0, 5, 19, 7], [3, 5, 19, 9]] if 'offset' not in options else [[3.0, 5, 13, 7], [3, 5, 13, 10]]
        dets, keep = soft_nms(torch.tensor(boxes), self.scores[:2], min_score=0.0, **options)
        assert keep.tolist() == [0, 1]
        assert dets[:, 4].tolist() == pytest.approx([0.9, second], abs=1e-6)

    def test_scores_decay_once_for_every_box_taken(self):
        """Three boxes side by side; each overlap is 1/3, that of the outer two 0: the middle one is decayed twice."""
        boxes = torch.tensor([[0.0, 0, 4, 3], [2, 0, 6, 3], [4, 0, 8, 3]])
        dets, keep = soft_nms(boxes, torch.tensor([0.9, 0.5, 0.8]))
        assert keep.tolist() == [0, 2, 1]
        assert dets[:, 4].tolist() == pytest.approx([0.9, 0.8, 0.5 * 4 / 9])

    def test_lowest_scores(self):
        boxes = torch.tensor([[0.0, 0, 1, 1], [5, 0, 6, 1], [9, 0, 10, 1]])
        assert soft_nms(boxes, torch.tensor([0.9, 0.0011, 0.0009]))[1].tolist() == [0, 1]
        assert soft_nms(boxes, torch.tensor([0.9, 0.5, 0.25]), min_score=0.5)[1].tolist() == [0, 1]

    def test_equal_scores_stay_in_input_order(self):
        x = torch.arange(300.0) * 10
        boxes = torch.stack([x, x, x + 5, x + 5], dim=1)
        scores = torch.full((300,), 0.5)
        assert soft_nms(boxes, scores)[1].tolist() == list(range(300))
        by_class = soft_nms(boxes, scores, labels=torch.arange(300) % 2)[1].tolist()
        assert by_class == [*range(0, 300, 2), *range(1, 300, 2)]
        # Two scores in turn, in two classes: by score, then by class, then in input order.
        scores = torch.tensor([0.25, 0.5]).repeat(150)
        labels = (torch.arange(300) // 2) % 2
        expected = [*range(1, 300, 4), *range(3, 300, 4), *range(0, 300, 4), *range(2, 300, 4)]
        assert soft_nms(boxes, scores, labels=labels)[1].tolist() == expected

    @pytest.mark.parametrize(('max_num', 'expected'), [(-1, [0, 1, 2]), (0, []), (1, [0]), (2, [0, 1]), (9, [0, 1, 2])])
    def test_max_num(self, max_num, expected):
        boxes = torch.tensor([[0.0, 0, 1, 1], [5, 0, 6, 1], [9, 0, 10, 1]])
        for labels in (None, torch.tensor([1, 0, 1])):
            dets, keep = soft_nms(boxes, self.scores, labels=labels, max_num=max_num)
            assert keep.tolist() == expected and dets.shape == (len(expected), 5)

    def test_classes_and_max_num(self):
        labels = torch.tensor([0, 1, 1])
        cfg = dict(type='soft_nms', method='gaussian', max_num=2)
        dets, keep = batched_nms(self.boxes, self.scores, labels, cfg)
        assert keep.tolist() == [0, 1]
        assert dets[:, 4].tolist() == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize('engine', ['sweep', 'blocks'])
@pytest.mark.parametrize('classes', [0, 3])
def test_views_by_every_engine(engine, classes):
    """Four views, and boxes of none; some boxes are there twice."""
    boxes, scores, labels = random_case(5, 700, 200, max(classes, 1), whole=True)
    labels = labels if classes else None
    boxes[600:] = boxes[:100]
    views = torch.from_numpy(np.random.default_rng(5).integers(-1, 4, len(boxes)))
    options = dict(labels=labels, views=views)
    expected = plain_greedy(boxes, scores, 0.5, **options)
    assert len(expected) > len(plain_greedy(boxes, scores, 0.5, labels)) > 50
    assert run_engine(engine, boxes, scores, 0.5, **options) == expected
    assert run_engine(engine, boxes, scores, 0.5, max_num=30, **options) == expected[:30]
    assert nms(boxes[:0], scores[:0], 0.5, views=views[:0]).tolist() == []
