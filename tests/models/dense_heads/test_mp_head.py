import json
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from mmdet.models.dense_heads import GFLTargets, MPHead
from mmdet.models.dense_heads.mp_head import cluster_shares
from mmdet.models.layers.sinkhorn import transport_cost
from mmdet.models.layers.word_memory import draw_words, push_words, word_log_likelihood
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import ConfigError
from tests.devices import on, tolerance
from tests.reference_fill import fill_state_dict, statistics, tensor

from .head_case import METAS, SIZES, TEST_CFG, TRAIN_CFG, gt

GT0 = gt([[10, 12, 60, 50], [30, 20, 140, 110], [100, 90, 108, 99]], [3, 7, 9])
GT1 = gt([[5, 5, 110, 95]], [0])
CLOSE = dict(rtol=1e-4, atol=2e-5)


def build(**kwargs):
    """A head of two classes and two channels unless told otherwise; strides of the shared case."""
    options = dict(num_classes=2, in_channels=2, feat_channels=2, stacked_convs=0, proxies_list=[2, 1], num_words=2)
    return MPHead(**dict(options, train_cfg=TRAIN_CFG, test_cfg=TEST_CFG, **kwargs))


def planar(probabilities=(0.5, 0.5, 1.0), **kwargs):
    """The sheet's head in the plane, float64: class A has proxies (1, 0) and (0, 2), class B (-1, 0)."""
    head = build(**kwargs).double()
    head.proxies.data = torch.tensor([[1.0, 0], [0, 2], [-1, 0]], dtype=torch.float64)
    head._proxies_prob.copy_(torch.tensor(probabilities))
    return head


def located(labels, weights=None):
    """Targets of one image of one level with these labels (2 is background)."""
    labels = torch.tensor([labels])
    pos = (labels.flatten() < 2).nonzero().squeeze(1)
    weights = torch.ones(labels.shape) if weights is None else torch.tensor([weights])
    nothing = torch.zeros(len(pos), 4)
    return GFLTargets(
        labels, weights.double(), pos, nothing, nothing, nothing, pos * 0, max(len(pos), 1), [labels.numel()]
    )


def unit(*rows):
    return F.normalize(torch.tensor(rows, dtype=torch.float64), dim=-1)


@pytest.fixture(scope='module')
def reference(repository):
    """Outputs and losses of the original implementation, in float32 on a CPU; weights and inputs by tests.reference_fill."""
    return json.loads((repository / 'tests' / 'data' / 'mp_head.json').read_text())


@pytest.fixture(scope='module')
def filled_state():
    state = MPHead(num_classes=10, in_channels=256).state_dict()
    filled = fill_state_dict(state)
    return {name: filled[name] if value.is_floating_point() else value for name, value in state.items()}


def full_head(state, **kwargs):
    head = MPHead(num_classes=10, in_channels=256, train_cfg=TRAIN_CFG, test_cfg=TEST_CFG, **kwargs)
    head.load_state_dict({name: value.clone() for name, value in state.items()}, strict=True)
    return head


def loss_inputs():
    embeddings = [tensor((2, 256, h, w), 420 + level, 2) for level, (h, w) in enumerate(SIZES)]
    return embeddings, [tensor((2, 68, h, w), 440 + level, 3) for level, (h, w) in enumerate(SIZES)]


# ------------------------------------------------------------------------------------------------- the original's numbers


def test_names_and_shapes(reference, filled_state):
    shapes = {name: list(value.shape) for name, value in filled_state.items()}
    assert shapes == reference['keys']


@torch.no_grad()
def test_golden_evaluation(reference, filled_state):
    head = full_head(filled_state).eval()
    features = tuple(tensor((2, 256, h, w), 400 + level, 2) for level, (h, w) in enumerate(SIZES))
    for cls, reg, expected in zip(*head(features), reference['eval'], strict=True):
        for output, numbers in ((cls, expected['cls']), (reg, expected['reg'])):
            assert list(output.shape) == numbers.pop('shape')
            torch.testing.assert_close(torch.tensor(statistics(output)), torch.tensor([*numbers.values()]), **CLOSE)


def test_golden_losses(reference, filled_state):
    head = full_head(filled_state, beta=1)
    losses = head.loss_by_feat(*loss_inputs(), [GT0, GT1], METAS)
    names = dict(loss_bbox='loss_bbox_over_sum_weights', loss_dfl='loss_dfl_over_sum_weights')
    for name in ('loss_cls', 'loss_bbox', 'loss_dfl', 'loss_emb'):
        expected = torch.tensor(reference[names.get(name, name)])
        torch.testing.assert_close(torch.stack(losses[name]).detach(), expected, **CLOSE)
    torch.testing.assert_close(losses['loss_op'].detach(), torch.tensor(reference['loss_op']), **CLOSE)


@pytest.mark.parametrize(('num_classes', 'proxies', 'count'), [(10, None, 32_856_969), (3, [4, 4, 4], 32_849_289)])
def test_parameters_of_the_detector(repository, num_classes, proxies, count):
    cfg = Config.fromfile(repository / 'configs/_base_/models/mp_det_r50_fpn.py').model
    cfg.bbox_head.num_classes = num_classes
    cfg.bbox_head.proxies_list = proxies or cfg.bbox_head.proxies_list
    with torch.device('meta'):
        model = MODELS.build(cfg)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert model.bbox_head.beta == 0 and model.bbox_head.test_cfg.max_per_img == 500


# ------------------------------------------------------------------------------------------------- logits


@pytest.mark.parametrize(
    ('embedding', 'logits'),
    [
        ((3, 4), (7.7615941560, -6)),
        ((1, 0), (9.9995460213, -10)),
        ((-2, -2), (-7.0710678119, 7.0710678119)),
    ],
)
def test_logits(embedding, logits):
    head = planar()
    embedding, expected = (torch.tensor(values, dtype=torch.float64) for values in (embedding, logits))
    torch.testing.assert_close(head.classify(embedding).detach(), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(head.classify(7 * embedding).detach(), expected, rtol=0, atol=1e-9)
    head.proxies.data *= 3
    torch.testing.assert_close(head.classify(embedding).detach(), expected, rtol=0, atol=1e-9)


def test_logits_of_half_precision_embeddings_are_computed_in_float32():
    head, embeddings = planar().float(), torch.tensor([[3.0, 4], [-1, 2]])
    for half in (torch.bfloat16, torch.float16):
        assert torch.equal(head.classify(embeddings.to(half)), head.classify(embeddings))


def test_mode_decides_what_forward_returns():
    head = build(feat_channels=3)
    features = tuple(torch.rand(1, 2, *size) for size in SIZES)
    embeddings, reg = head(features)
    assert [level.shape for level in embeddings] == [(1, 3, *size) for size in SIZES]
    logits, reg_too = head.eval()(features)
    assert [level.shape for level in logits] == [(1, 2, *size) for size in SIZES]
    assert torch.equal(reg[0], reg_too[0])
    assert torch.equal(logits[1], head.classify_map(embeddings[1]))
    assert torch.equal(head.forward_single(features[1], head.scales[1])[0], logits[1])


def test_sharp_choice_does_not_overflow():
    logits = planar(gamma=1e4).float().classify(torch.rand(5, 2))
    assert logits.isfinite().all()


# ------------------------------------------------------------------------------------------------- transport

TRANSPORT = [
    ([(1, 0), (0, 1), (1, 1)], [0, 0, 2], (0.5, 0.5, 1), 0.0016732127),
    ([(1, 0), (0, 1), (1, 1)], [0, 0, 2], (0.25, 0.75, 1), 0.0625113473),
    ([(1, 0), (0, 1), (1, 1)], [0, 0, 1], (0.25, 0.75, 1), 0.4892880426),
    ([(3, 4), (1, 0), (-2, -2)], [0, 0, 0], (0.25, 0.75, 1), 0.1818724476),
]


@pytest.mark.parametrize(('rows', 'labels', 'probabilities', 'expected'), TRANSPORT)
def test_golden_transport(rows, labels, probabilities, expected):
    loss = planar(probabilities).transport_loss(unit(*rows), located(labels))
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_transport_without_positives():
    head, embeddings = planar(), unit((1, 0), (0, 1)).requires_grad_()
    loss = head.transport_loss(embeddings, located([2, 2]))
    loss.backward()
    assert loss.item() == 0 and embeddings.grad.abs().sum() == 0 and head.proxies.grad.isfinite().all()


def plain_sinkhorn(cost, mass):
    """One problem, as written in the paper, until nothing moves."""
    kernel, u, v = (-cost / 0.1).exp(), torch.ones(len(cost)).double(), torch.ones(cost.size(1)).double()
    for _ in range(100):
        last, u = u, 1 / len(cost) / (kernel @ v)
        v = mass / (kernel.t() @ u)
        if (u - last).abs().mean() < 1e-8:
            break
    return (u[:, None] * kernel * v * cost).sum()


def test_groups_do_not_see_each_other():
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(23, 4, generator=generator).double()
    groups = torch.tensor([0, 2, 3]).repeat(8)[:23]  # nobody in group 1
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]]).bool()
    mass = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0, 0], [1.2, 1, 0.9, 0], [1, 0, 0, 0]]).double()
    found = transport_cost(cost, groups, mass, mask)
    for group in (0, 2, 3):
        own = cost[groups == group][:, mask[group]]
        torch.testing.assert_close(found[group], plain_sinkhorn(own, mass[group][mask[group]]))
    assert found[1] == 0


def test_beta_weighs_the_two_losses(filled_state):
    once, twice = (
        full_head(filled_state, beta=beta).eval().loss_by_feat(*loss_inputs(), [GT0, GT1], METAS) for beta in (1, 2)
    )
    assert torch.equal(twice['loss_op'], 2 * once['loss_op'])
    assert twice['loss_emb'] == [2 * part for part in once['loss_emb']]
    assert twice['loss_cls'] == once['loss_cls'] and twice['loss_bbox'] == once['loss_bbox']


def test_gradient_of_transport():
    cost = torch.rand(6, 3, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    groups, mask = torch.tensor([0, 0, 2, 2, 2, 0]), torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1]]).bool()
    mass = torch.tensor([[0.25, 0.75, 0], [1, 0, 0], [0, 0.5, 0.5]]).double()  # one proxy of an empty cluster
    assert torch.autograd.gradcheck(lambda c: transport_cost(c, groups, mass, mask, epsilon=0.5), (cost,))


# ------------------------------------------------------------------------------------------------- contrast


@pytest.mark.parametrize(('weights', 'expected'), [((1, 1, 1), 0.6981906642), ((1, 1, 0), 0.5991294027)])
def test_golden_contrast(weights, expected):
    head = planar()
    words = [[(1, 0), (2, 0)], [(0, 1), (0, 3)], [(-1, 0), (0, -1)]]
    head._embedding.copy_(torch.tensor(words))
    (loss,) = head.contrastive_loss(unit((3, 4), (1, 0), (-2, -2)), located([0, 1, 2], weights))
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_likelihood_in_chunks_and_its_gradient(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    words = F.normalize(torch.randn(3, 4, 5, generator=generator).double(), dim=-1)
    queries = torch.randn(7, 5, generator=generator).double().requires_grad_()
    labels = torch.tensor([0, 2, 1, 1, 0, 2, 2])
    energies = (queries @ words.flatten(0, 1).t()).exp().view(7, 3, 4).sum(2)
    expected = (energies[torch.arange(7), labels] / energies.sum(1)).log()
    (gradient,) = torch.autograd.grad(expected.sum(), queries)
    monkeypatch.setattr('mmdet.models.layers.word_memory._CHUNK_ELEMENTS', 24)  # two locations at a time
    found = word_log_likelihood(queries, words, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), queries)[0], gradient)
    assert torch.autograd.gradcheck(lambda q: word_log_likelihood(q, words, labels), (queries,))
    assert word_log_likelihood(queries[:0], words, labels[:0]).shape == (0,)


# ------------------------------------------------------------------------------------------------- memory


def test_draw_takes_what_is_there():
    embeddings = torch.arange(40.0).view(20, 2)
    labels = torch.full((20,), 3)
    pos = torch.tensor([4, 7, 9])
    labels[pos] = torch.tensor([0, 2, 0])
    words, exist = draw_words(embeddings, labels, pos, 3, 4)
    assert exist.sum(1).tolist() == [2, 0, 1, 4] and exist[0].tolist() == [True, True, False, False]
    rows = (words[:, :, 0] / 2).long()
    assert sorted(rows[0, :2].tolist()) == [4, 9] and rows[2, 0] == 7
    assert len(set(rows[3].tolist())) == 4 and not set(rows[3].tolist()) & {4, 7, 9}


def test_draw_with_fewer_locations_than_words():
    words, exist = draw_words(torch.ones(2, 3), torch.tensor([1, 0]), torch.tensor([1]), 1, 5)
    assert words.shape == (2, 5, 3) and exist.sum(1).tolist() == [1, 1]


def test_draw_is_uniform_and_seeded():
    embeddings, labels, nobody = torch.arange(10.0)[:, None], torch.ones(10).long(), torch.empty(0).long()
    torch.manual_seed(3)
    draws = torch.stack([draw_words(embeddings, labels, nobody, 1, 3)[0][1, :, 0] for _ in range(1000)])
    share = torch.bincount(draws.flatten().long(), minlength=10) / 1000
    assert (share - 0.3).abs().max() < 0.06  # four standard deviations
    torch.manual_seed(3)
    assert torch.equal(draw_words(embeddings, labels, nobody, 1, 3)[0][1, :, 0], draws[0])


def test_ring():
    memory, pointers = torch.zeros(2, 3, 1), torch.tensor([2, 0])
    words = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    push_words(memory, pointers, words, torch.tensor([[True, True], [True, False]]))
    assert memory[:, :, 0].tolist() == [[2, 0, 1], [3, 0, 0]] and pointers.tolist() == [1, 1]


def test_training_writes_the_memory_and_evaluation_does_not(filled_state):
    head = full_head(filled_state)
    before = head._embedding.clone()
    head.eval().loss_by_feat(*loss_inputs(), [GT0, GT1], METAS)
    assert torch.equal(head._embedding, before)
    losses = head.train().loss_by_feat(*loss_inputs(), [GT0, GT1], METAS)
    assert losses['loss_op'] == 0 and losses['loss_emb'] == [0] * 5  # beta is 0
    changed = (head._embedding != before).any(2).sum(1)
    assert torch.equal(changed, head._pos_embedding_ptr)
    assert changed[10] == 10 and changed[[0, 3, 7, 9]].gt(0).all() and changed[[1, 2, 4, 5, 6, 8]].sum() == 0
    embeddings = torch.cat([level.flatten(2).transpose(1, 2).flatten(0, 1) for level in loss_inputs()[0]])
    assert (head._embedding[10, 0] == embeddings).all(1).any()  # as they are, not normalised


# ------------------------------------------------------------------------------------------------- shares


def clusters_of(sizes, channels=8):
    """Words around orthogonal directions, so many of each."""
    noise = np.random.default_rng(0).normal(0, 0.01, (sum(sizes), channels))
    return np.repeat(np.eye(channels)[: len(sizes)], sizes, axis=0) * 3 + noise


def test_shares_are_cluster_sizes_ascending():
    shares = cluster_shares(clusters_of([30, 10, 60]), 3, random.Random(0))
    assert shares.tolist() == [0.1, 0.3, 0.6]
    assert cluster_shares(clusters_of([5]), 1, random.Random(0)).tolist() == [1]


@pytest.mark.parametrize('seed', range(3))
def test_shares_are_those_of_nltk(seed):
    from nltk.cluster import KMeansClusterer, cosine_distance

    words = np.random.default_rng(seed).normal(0.3, 1, (40, 6))
    plain = KMeansClusterer(4, cosine_distance, repeats=25, avoid_empty_clusters=True, rng=random.Random(seed))
    sizes = np.bincount(plain.cluster(list(words), assign_clusters=True), minlength=4)
    np.testing.assert_array_equal(cluster_shares(words, 4, random.Random(seed)), np.sort(sizes) / 40)


@pytest.mark.parametrize('words', [np.ones((12, 4)), np.zeros((12, 4)), np.full((12, 4), np.nan), np.eye(2), np.eye(5)])
def test_degenerate_words_have_shares_that_sum_to_one(words):
    shares = cluster_shares(words, 5, random.Random(0))
    assert len(shares) == 5 and shares.sum() == pytest.approx(1) and (np.diff(shares) >= 0).all()


def test_update_ot():
    head = build(feat_channels=8, num_words=20, proxies_list=[2, 3])
    head._proxies_prob.fill_(7)
    head._embedding[0] = torch.from_numpy(clusters_of([15, 5]))
    head._embedding[1] = torch.from_numpy(clusters_of([12, 8]))  # two clusters for three proxies
    head.update_ot(seed=5)
    shares = head._proxies_prob
    torch.testing.assert_close(shares[:2], torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(shares[2:].sum(), torch.tensor(1.0))
    head.update_ot(seed=5)
    assert torch.equal(head._proxies_prob, shares)


# ------------------------------------------------------------------------------------------------- the whole head


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('truth', [[gt(), gt()], [gt([[5, 5, 60, 60]], [1]), gt()]], ids=['no positives', 'positives'])
def test_losses_are_finite_and_reach_all_parameters(device, truth, autocast):
    torch.manual_seed(0)
    head = build(in_channels=32, feat_channels=32, stacked_convs=1, beta=1, num_words=4)
    head.init_weights()
    head.to(device)
    features = tuple(torch.rand(2, 32, *size).to(device) for size in SIZES)
    with torch.autocast(device, torch.bfloat16, enabled=autocast):
        losses = head.loss_by_feat(*head(features), on(device, truth), METAS)
    parts = {name: sum(value) if isinstance(value, list) else value for name, value in losses.items()}
    assert all(part.dtype == torch.float32 and part.isfinite() for part in parts.values())
    assert parts['loss_emb'] > 0 and (parts['loss_op'] > 0) == (len(truth[0].labels) > 0)
    sum(parts.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert head.proxies.grad.abs().sum() > 0 and head._embedding.isfinite().all()


def test_every_device_gives_the_same_losses_and_gradients(device):
    torch.manual_seed(0)
    head = build(in_channels=32, feat_channels=32, stacked_convs=1, beta=1).eval()  # evaluation draws no words
    features = tuple(torch.rand(2, 32, *size) for size in SIZES)
    truth = [gt([[5, 5, 60, 60], [30, 20, 140, 110]], [1, 0]), gt()]
    results = []
    for place in ('cpu', device):
        there = on(place, head)
        samples = [DetDataSample(metainfo=meta, gt_instances=one) for meta, one in zip(METAS, on(place, truth))]
        losses = there.loss(on(place, features), samples)
        total = sum(sum(part) if isinstance(part, list) else part for part in losses.values())
        total.backward()
        results.append([total, *(parameter.grad for parameter in there.parameters())])
    for expected, received in zip(*results, strict=True):
        assert received.device.type == device
        torch.testing.assert_close(received.cpu(), expected, **tolerance(device, rtol=1e-5, atol=1e-6))


def test_losses_from_features_in_either_mode():
    head = build(in_channels=32, feat_channels=32, stacked_convs=1, beta=1)
    features = tuple(torch.rand(2, 32, *size) for size in SIZES)
    samples = [DetDataSample(metainfo=meta, gt_instances=truth) for meta, truth in zip(METAS, [gt(), gt()])]
    found = [head.train(mode).loss(features, samples)['loss_cls'] for mode in (False, True)]
    assert found[0] == found[1]
    losses, results = head.eval().loss_and_predict(features, samples)
    assert losses['loss_cls'] == found[0]
    expected = head.predict(features, samples)
    assert all(torch.equal(one.scores, other.scores) for one, other in zip(results, expected))


def test_initialisation():
    torch.manual_seed(0)
    head = MPHead(num_classes=3, in_channels=64, feat_channels=64, stacked_convs=1, proxies_list=[4, 4, 4])
    head.init_weights()
    for weight in (head.gfl_cls_conv.weight, head.gfl_reg.weight, head.cls_convs[0].conv.weight, head.proxies):
        assert weight.std().item() == pytest.approx(0.01, rel=0.1) and weight.mean().abs() < 2e-3
    assert head.gfl_cls_conv.bias.abs().sum() == head.gfl_reg.bias.abs().sum() == 0
    assert head._proxies_prob.tolist() == [0.25] * 12
    assert head._embedding.std().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    'arguments', [dict(proxies_list=[2, 1, 1]), dict(proxies_list=[2, 0]), dict(num_words=0), dict(gamma=0)]
)
def test_refuses(arguments):
    with pytest.raises(ConfigError, match='Received'):
        MPHead(**{**dict(num_classes=2, in_channels=2, proxies_list=[2, 1]), **arguments})
