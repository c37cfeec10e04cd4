import cv2
import numpy as np
import pytest
import torch

from mmdet.datasets.transforms import Compose
from mmdet.datasets.transforms.formatting import to_chw
from mmdet.datasets.transforms.loading import settle_pipeline
from mmdet.registry import TRANSFORMS
from mmdet.structures import DetDataSample
from mmdet.utils import ConfigError, DataError

from .helpers import crowd, make_sample


def pack(results, **arguments):
    return TRANSFORMS.build(dict(type='PackDetInputs', **arguments))(results)


def test_no_objects():
    for sample in (make_sample(20, 10), make_sample(20, 10, [[0, 0, 1, 1]], ignored=[0])):
        gt = pack(sample)['data_samples'].gt_instances
        assert gt.bboxes.shape == (0, 4) and gt.bboxes.dtype == torch.float32
        assert gt.labels.shape == (0,) and gt.labels.dtype == torch.int64 and len(gt) == 0


def test_without_annotations():
    sample = pack(dict(img=make_sample()['img'], img_id=3))['data_samples']
    assert len(sample.gt_instances) == 0 and len(sample.ignored_instances) == 0 and sample.metainfo == dict(img_id=3)


def test_pack():
    sample = make_sample(20, 10, [[0, 0, 1, 1], [2, 2, 4, 5], [1, 1, 9, 9]], ignored=[1])
    sample.update(scale_factor=(2.0, 2.0), flip=False, flip_direction=None)
    packed = pack(dict(sample))
    assert packed['inputs'].dtype == torch.uint8 and packed['inputs'].shape == (3, 10, 20)
    assert packed['inputs'].is_contiguous()
    assert np.array_equal(packed['inputs'].numpy(), sample['img'].transpose(2, 0, 1))
    data_sample = packed['data_samples']
    assert isinstance(data_sample, DetDataSample)
    assert data_sample.gt_instances.bboxes.tolist() == [[0, 0, 1, 1], [1, 1, 9, 9]]
    assert data_sample.gt_instances.labels.tolist() == [0, 2]
    assert data_sample.ignored_instances.bboxes.tolist() == [[2, 2, 4, 5]]
    assert data_sample.ignored_instances.labels.tolist() == [1]
    expected = {'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction'}
    assert set(data_sample.metainfo_keys()) == expected
    assert set(pack(dict(sample), meta_keys=('img_id', 'missing'))['data_samples'].metainfo_keys()) == {'img_id'}


def test_nothing_is_shared():
    sample = make_sample(20, 10, [[0, 0, 1, 1]])
    packed = pack(dict(sample))
    packed['inputs'].zero_()
    packed['data_samples'].gt_instances.bboxes.fill_(-1)
    packed['data_samples'].gt_instances.labels.fill_(-1)
    assert sample['img'].any() and sample['gt_bboxes'].tolist() == [[0, 0, 1, 1]]
    assert sample['gt_bboxes_labels'].tolist() == [0]


@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize('shape', [(1, 1), (1, 1, 3), (5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_any_layout(shape, dtype):
    image = np.random.RandomState(0).randint(0, 256, shape).astype(dtype)
    for view in (image, image[::-1], image[:, ::-1], image[:, ::2]):
        tensor = to_chw(view)
        expected = view[None] if view.ndim == 2 else view.transpose(2, 0, 1)
        assert tensor.is_contiguous() and np.array_equal(tensor.numpy(), expected)


def test_two_thousand_objects():
    packed = pack(make_sample(640, 480, crowd(2000, 640, 480), ignored=range(0, 2000, 4)))['data_samples']
    assert len(packed.gt_instances) == 1500 and len(packed.ignored_instances) == 500


def test_lengths_that_differ():
    sample = make_sample(20, 10, [[0, 0, 1, 1]])
    sample['gt_bboxes_labels'] = np.zeros(2, np.int64)
    with pytest.raises(DataError, match='image.jpg.*differ'):
        pack(sample)


def test_bad_arguments():
    with pytest.raises(ConfigError, match='meta_keys'):
        pack({}, meta_keys='img_id')


def test_whole_training_pipeline(tmp_path):
    cv2.imwrite(str(tmp_path / 'scene.png'), make_sample(500, 375)['img'])
    pipeline = [
        dict(type='LoadImageFromFile', backend_args=None),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(1333, 800), keep_ratio=True),
        dict(type='RandomFlip', prob=1.0),
        dict(type='PackDetInputs'),
    ]
    instances = [
        dict(bbox=[0, 0, 250, 375], bbox_label=3, ignore_flag=0),
        dict(bbox=[0, 0, 5, 5], bbox_label=1, ignore_flag=1),
    ]
    record = dict(img_path=str(tmp_path / 'scene.png'), img_id=1, height=375, width=500, instances=instances)
    for objects in (instances, []):
        packed = TRANSFORMS.build(dict(type='Compose', transforms=pipeline))(dict(record, instances=objects))
        sample = packed['data_samples']
        assert packed['inputs'].shape == (3, 800, 1067) and packed['inputs'].dtype == torch.uint8
        assert (
            sample.ori_shape == (375, 500) and sample.img_shape == (800, 1067) and sample.flip_direction == 'horizontal'
        )
        assert sample.scale_factor == (1067 / 500, 800 / 375)
        assert len(sample.gt_instances) == len(sample.ignored_instances) == len(objects) // 2
    sample = TRANSFORMS.build(dict(type='Compose', transforms=pipeline))(record)['data_samples']
    torch.testing.assert_close(sample.gt_instances.bboxes, torch.tensor([[533.5, 0.0, 1067.0, 800.0]]))
    assert sample.gt_instances.labels.tolist() == [3]


def test_pack_without_some_of_the_arrays():
    sample = make_sample(20, 10, [[0, 0, 1, 1], [2, 2, 4, 5]], ignored=[0])
    del sample['gt_bboxes_labels']
    packed = pack(dict(sample))['data_samples']
    assert packed.gt_instances.bboxes.tolist() == [[2, 2, 4, 5]] and 'labels' not in packed.gt_instances
    assert packed.ignored_instances.bboxes.tolist() == [[0, 0, 1, 1]]
    del sample['gt_ignore_flags']
    packed = pack(dict(sample))['data_samples']
    assert len(packed.gt_instances) == 2 and packed.ignored_instances.bboxes.shape == (0, 4)
    bare = pack(dict(img_id=3))
    assert 'inputs' not in bare and bare['data_samples'].img_id == 3 and len(bare['data_samples'].gt_instances) == 0


def test_pack_types_and_flags_of_any_kind():
    sample = make_sample(20, 10, [[0, 0, 1, 1], [2, 2, 4, 5]])
    sample.update(gt_bboxes=sample['gt_bboxes'].astype(float), gt_bboxes_labels=np.array([4, 2], np.int32))
    for flags in (np.array([0, 1]), np.array([False, True])):
        data_sample = pack(dict(sample, gt_ignore_flags=flags))['data_samples']
        for instances, label in ((data_sample.gt_instances, 4), (data_sample.ignored_instances, 2)):
            assert instances.bboxes.dtype == torch.float32 and instances.labels.dtype == torch.int64
            assert instances.labels.tolist() == [label]


@pytest.mark.parametrize('key', ['gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags'])
def test_every_length_is_compared(key):
    sample = make_sample(20, 10, [[0, 0, 1, 1], [2, 2, 4, 5]])
    sample[key] = sample[key][:1]
    with pytest.raises(DataError, match=rf"image\.jpg: per-object arrays differ in length.*'{key}': 1"):
        pack(sample)


def test_meta_keys_are_names():
    for wrong in (3, ['img_id', 3], None):
        with pytest.raises(ConfigError, match='meta_keys: must be a list of key names'):
            pack({}, meta_keys=wrong)


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize('size', [(150, 33), (64, 5), (1, 7), (7, 1)])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.int16])
def test_images_mirrored_while_they_are_packed(direction, size, dtype):
    image = np.random.RandomState(0).randint(0, 256, (*size, 3)).astype(dtype)
    sample = dict(img=image, gt_bboxes=np.array([[1, 0, 3, 1]], np.float32))
    steps = [dict(type='RandomFlip', prob=1.0, direction=direction), dict(type='PackDetInputs')]
    plain, settled = Compose(steps), Compose(steps)
    settle_pipeline(settled.transforms)
    axes = {'horizontal': (1,), 'vertical': (0,), 'diagonal': (0, 1)}[direction]
    packed = [pipeline(dict(sample)) for pipeline in (plain, settled)]
    for one in packed:
        np.testing.assert_array_equal(one['inputs'], np.flip(image, axes).transpose(2, 0, 1))
        assert one['inputs'].is_contiguous() and not np.shares_memory(one['inputs'].numpy(), image)
    first, second = (one['data_samples'].gt_instances.bboxes for one in packed)
    assert first.equal(second)


def test_a_flip_that_is_not_last_mirrors_at_once():
    steps = Compose(
        [dict(type='RandomFlip', prob=1.0), dict(type='Pad', size_divisor=4), dict(type='PackDetInputs')]
    ).transforms
    settle_pipeline(steps)
    assert steps[0](dict(img=np.zeros((4, 4, 3), np.uint8)))['img'].flags.c_contiguous
