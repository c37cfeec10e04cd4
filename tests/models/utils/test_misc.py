import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.models import utils
from mmdet.models.utils import misc
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks


def test_multi_apply_and_unmap():
    assert utils.multi_apply(lambda a: (a,), []) == ()
    assert utils.multi_apply(lambda a, b, k=0: (a + b + k, a * b), [1, 2], [3, 4], k=10) == ([14, 16], [3, 8])
    flags = torch.tensor([True, False, True, False])
    assert utils.unmap(torch.tensor([5, 6]), 4, flags, -1).tolist() == [5, -1, 6, -1]
    assert utils.unmap(torch.ones(2, 3), 4, flags.int()).tolist() == [[1] * 3, [0] * 3, [1] * 3, [0] * 3]


def test_images_to_levels_and_back():
    found = utils.images_to_levels([torch.zeros(6, 4), torch.ones(6, 4)], [4, 2])
    assert [tuple(level.shape) for level in found] == [(2, 4, 4), (2, 2, 4)] and found[1][1].min() == 1
    boxes = utils.images_to_levels([HorizontalBoxes(torch.zeros(3, 4))] * 2, [2, 1])
    assert isinstance(boxes[0], HorizontalBoxes) and tuple(boxes[1].shape) == (2, 1, 4)
    maps = [torch.arange(24.0).view(2, 3, 2, 2), torch.arange(6.0).view(2, 3, 1, 1)]
    images = utils.levels_to_images(maps)
    assert images[1].tolist() == [[12, 16, 20], [13, 17, 21], [14, 18, 22], [15, 19, 23], [3, 4, 5]]
    kept = utils.select_single_mlvl([level.requires_grad_() for level in maps], 1)
    assert [tuple(level.shape) for level in kept] == [(3, 2, 2), (3, 1, 1)] and not kept[0].requires_grad
    assert utils.select_single_mlvl(maps, 0, detach=False)[0].requires_grad


def test_filter_scores_and_topk_returns_classes_before_priors():
    empty = utils.filter_scores_and_topk(torch.zeros(0, 3), 0.1, 5, torch.zeros(0, 4))
    assert [len(part) for part in empty] == [0, 0, 0, 0]
    scores = torch.tensor([[0.9, 0.1, 0.3], [0.3, 0.05, 0.8]])
    found, labels, rows, results = utils.filter_scores_and_topk(scores, 0.1, 3, dict(a=torch.tensor([5, 6])))
    assert found.tolist() == pytest.approx([0.9, 0.8, 0.3])
    assert (labels.tolist(), rows.tolist(), results['a'].tolist()) == ([0, 2, 2], [0, 1, 0], [5, 6, 5])
    assert utils.filter_scores_and_topk(scores, 0.1, 1, [torch.tensor([5, 6])])[3][0].tolist() == [5]
    assert utils.filter_scores_and_topk(scores, 0.1, 1)[3] is None
    with pytest.raises(NotImplementedError, match='dict'):
        utils.filter_scores_and_topk(scores, 0.1, 1, 'rows')


def sample(**instances):
    found = DetDataSample(metainfo=dict(img_id=3))
    found.gt_instances = InstanceData(**instances)
    return found


def test_unpack_gt_instances():
    without, with_ignored = sample(labels=torch.tensor([1])), sample(labels=torch.tensor([2]))
    with_ignored.ignored_instances = InstanceData(labels=torch.tensor([9]))
    gt, ignored, metas = utils.unpack_gt_instances([without, with_ignored])
    assert [each.labels.tolist() for each in gt] == [[1], [2]]
    assert ignored[0] is None and ignored[1].labels.tolist() == [9] and metas[1] == dict(img_id=3)


def test_empty_instances():
    (plain,) = misc.empty_instances([{}], 'cpu', 'bbox')
    assert (plain.bboxes.shape, plain.scores.shape, plain.labels.dtype) == ((0, 4), (0,), torch.int64)
    (objects,) = misc.empty_instances([{}], 'cpu', 'bbox', use_box_type=True, num_classes=7, score_per_cls=True)
    assert isinstance(objects.bboxes, HorizontalBoxes) and objects.scores.shape == (0, 8)
    given = [InstanceData()]
    assert misc.empty_instances([dict(ori_shape=(4, 5))], 'cpu', 'mask', given)[0] is given[0]
    assert given[0].masks.shape == (0, 4, 5) and given[0].masks.dtype == torch.bool
    assert (
        misc.empty_instances([dict(ori_shape=(4, 5))], 'cpu', 'mask', mask_thr_binary=-1)[0].masks.dtype == torch.uint8
    )
    with pytest.raises(AssertionError, match='task_type'):
        misc.empty_instances([{}], 'cpu', 'pose')
    with pytest.raises(AssertionError, match='one result'):
        misc.empty_instances([{}], 'cpu', 'bbox', [InstanceData(), InstanceData()])


def test_boxes_become_tensors_in_place():
    found = sample(bboxes=HorizontalBoxes(torch.ones(2, 4)))
    found.pred_instances = InstanceData(bboxes=torch.zeros(1, 4))
    found.ignored_instances = InstanceData(bboxes=HorizontalBoxes(torch.zeros(3, 4)))
    assert misc.samplelist_boxtype2tensor([found, DetDataSample()]) is None
    for instances, count in ((found.gt_instances, 2), (found.pred_instances, 1), (found.ignored_instances, 3)):
        assert isinstance(instances.bboxes, torch.Tensor) and instances.bboxes.shape == (count, 4)


def test_filter_gt_instances():
    bboxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 2, 9], [0, 0, 9, 2]])
    labels, scores = torch.arange(3), torch.tensor([0.9, 0.5, 0.95])

    def kept(**options):
        found = sample(bboxes=bboxes, labels=labels, scores=scores)
        assert misc.filter_gt_instances([found], **options)[0] is found
        return found.gt_instances.labels.tolist()

    assert kept() == [0, 1, 2]
    assert kept(score_thr=0.6) == [0, 2]
    assert kept(wh_thr=(3, 3)) == [0]
    assert kept(score_thr=0.6, wh_thr=(2, 1)) == [0, 2]


def test_loss_dicts():
    losses = dict(loss_cls=torch.tensor(2.0), loss_l=[torch.tensor(1.0)], acc=torch.tensor(3.0))
    assert list(utils.rename_loss_dict('rpn_', losses)) == ['rpn_loss_cls', 'rpn_loss_l', 'rpn_acc']
    assert utils.reweight_loss_dict(losses, 0.5) is losses
    assert (losses['loss_cls'], losses['loss_l'], losses['acc']) == (1, [0.5], 3)


def test_sigmoid_geometric_mean():
    x, y = torch.tensor([0.0, 2], requires_grad=True), torch.tensor([1.0, -1], requires_grad=True)
    mean = utils.sigmoid_geometric_mean(x, y)
    assert mean.tolist() == pytest.approx([0.60459, 0.48671], abs=1e-5)
    mean.sum().backward()
    assert x.grad.tolist() == pytest.approx([0.151148, 0.0290084], abs=1e-6)
    x, y = (torch.tensor([-60.0, 3], dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(utils.sigmoid_geometric_mean, (x, y))


def test_maps():
    source = torch.arange(16.0).view(1, 4, 4)
    assert utils.interpolate_as(source, torch.zeros(8, 6))[0, 0].tolist() == pytest.approx(
        [0, 0.5, 7 / 6, 11 / 6, 2.5, 3]
    )
    assert utils.interpolate_as(source[None], np.zeros((2, 2))).shape == (1, 1, 2, 2)
    enlarged = utils.aligned_bilinear(torch.arange(12.0).view(1, 1, 3, 4), 2)[0, 0]
    assert enlarged[0].tolist() == [0, 0, 0.5, 1, 1.5, 2, 2.5, 3] and enlarged[:, 0].tolist() == [0, 0, 2, 4, 6, 8]
    around = utils.unfold_wo_center(torch.arange(9.0).view(1, 1, 3, 3), 3, 1)
    assert around.shape == (1, 1, 8, 3, 3) and around[0, 0, :, 1, 1].tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert utils.unfold_wo_center(torch.ones(1, 2, 5, 5), 3, 2)[0, 0, 0].sum() == 9
    relative = utils.relative_coordinate_maps(
        torch.tensor([[0.0, 0], [8, 4]]), torch.tensor([[8.0, 8]]), torch.tensor([4]), 2, (1, 2)
    )
    assert relative.tolist() == [[[[1, 0]], [[1, 0.5]]]]
    assert utils.generate_coordinate((2, 3, 2, 3), 'cpu')[1].tolist() == [[[-1, 0, 1]] * 2, [[-1] * 3, [1] * 3]]
    mirrored = torch.arange(4.0).view(1, 1, 2, 2)
    assert utils.flip_tensor(mirrored, 'horizontal').flatten().tolist() == [1, 0, 3, 2]
    assert utils.flip_tensor(mirrored, 'vertical').flatten().tolist() == [2, 3, 0, 1]
    assert utils.flip_tensor(mirrored, 'diagonal').flatten().tolist() == [3, 2, 1, 0]
    for wrong in (lambda: utils.flip_tensor(mirrored, 'up'), lambda: utils.flip_tensor(mirrored[0], 'vertical'),
                  lambda: utils.aligned_bilinear(mirrored, 0), lambda: utils.unfold_wo_center(mirrored, 2, 1)):  # fmt: skip
        with pytest.raises(AssertionError, match='needs'):
            wrong()


def test_masks_and_padding():
    mask = torch.zeros(4, 5)
    assert [float(part) for part in utils.center_of_mass(mask)] == [0, 0]
    mask[1, 2] = mask[1, 4] = 1
    assert [float(part) for part in utils.center_of_mass(mask)] == [1, 3]
    for kind in (mask[None], mask[None].numpy(), BitmapMasks(mask[None].numpy(), 4, 5)):
        assert utils.mask2ndarray(kind).sum() == 2
    with pytest.raises(TypeError, match='list'):
        utils.mask2ndarray([mask])
    assert misc.padding_to(torch.ones(2, 1), 3).tolist() == [[1], [1], [0]]
    assert utils.align_tensor([torch.ones(1, 1), torch.ones(3, 1)])[0].tolist() == [[1], [0], [0]]


def test_make_divisible():
    assert [utils.make_divisible(value, 8) for value in (3, 7, 12, 31, 33, 100)] == [8, 8, 16, 32, 32, 104]
    assert utils.make_divisible(33, 16, min_value=48) == 48
    assert utils.make_divisible(33, 8, min_ratio=0.99) == 40


def test_weighted_boxes_fusion():
    assert [
        len(part) for part in utils.weighted_boxes_fusion([torch.zeros(0, 4)], [torch.zeros(0)], [torch.zeros(0)])
    ] == [0, 0, 0]
    bboxes = [
        torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 1, 9, 10]]),
        torch.tensor([[1.0, 0, 10, 11], [50, 50, 60, 60]]),
    ]
    scores = [torch.tensor([0.9, 0.3, 0.8]), torch.tensor([0.6, 0.5])]
    labels = [torch.tensor([0, 1, 0]), torch.tensor([0, 2])]
    fused = utils.weighted_boxes_fusion(
        [bboxes[0][:2], bboxes[1]], [scores[0][:2], scores[1]], [labels[0][:2], labels[1]]
    )
    torch.testing.assert_close(fused[0][0], torch.tensor([0.4, 0, 10, 10.4]))
    assert fused[1].tolist() == pytest.approx([0.75, 0.25, 0.15]) and fused[2].tolist() == [0, 2, 1]
    options = dict(weights=[2, 1], conf_type='max', skip_box_thr=0.4)
    best = utils.weighted_boxes_fusion(bboxes, scores, labels, **options)
    torch.testing.assert_close(best[0][0], torch.tensor([0.15, 0.4, 9.6, 10.15]))
    assert best[1].tolist() == pytest.approx([0.9, 0.25])
    many = utils.weighted_boxes_fusion(bboxes, scores, labels, weights=[2, 1], allows_overflow=True)
    assert many[1].tolist() == pytest.approx([4 / 3, 0.2, 1 / 6])
    with pytest.raises(AssertionError, match='conf_type'):
        utils.weighted_boxes_fusion(bboxes, scores, labels, conf_type='sum')
