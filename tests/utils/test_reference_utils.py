"""Names of mmdet.utils, mmdet.testing and the version as plug-ins of mmdetection 3.x use them."""

import os

import pytest
import torch
from mmengine.config import Config

import mmdet
from mmdet import utils
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs, demo_mm_proposals, get_detector_cfg, random_boxes
from mmdet.utils import memory, misc
from mmdet.version import release, version_info
from tests import processes


def test_version_is_one_that_plug_ins_accept():
    assert mmdet.digit_version('3.3.0') <= mmdet.digit_version(mmdet.__version__) < mmdet.digit_version('3.4.0')
    assert mmdet.version_info == version_info == (3, 3, 0)
    facts = utils.collect_env()
    assert mmdet.__version__ in facts['MMDetection'] and release in facts['MMDetection']
    with pytest.raises(AttributeError, match='nothing'):
        mmdet.nothing  # noqa: B018


def test_references_in_configs():
    cfg = Config(
        dict(
            a=3, b='${a}', c='x${a}y', items=[1, 2], same='${items}', deep=dict(q=['${d.z}', '${b}']), d=dict(z=(1, 2))
        )
    )
    found = utils.replace_cfg_vals(cfg)
    assert (found.b, found.c, found.same, found.deep.q) == (3, 'x3y', [1, 2], [(1, 2), 3])
    assert cfg.b == '${a}'
    wrapped = utils.replace_cfg_vals(Config(dict(model=dict(a=1), model_wrapper=dict(type='W', inner='${model}'))))
    assert wrapped.to_dict() == dict(model=dict(type='W', inner=dict(a=1)))
    for wrong, kind in (
        (dict(items=[1], b='x${items}'), AssertionError),
        (dict(a='${b}'), ValueError),
        (dict(a='${b}', b='${a}'), ValueError),
    ):
        with pytest.raises(kind):
            utils.replace_cfg_vals(Config(wrong))


def test_data_root_of_the_environment(monkeypatch):
    parts = dict(
        data_root='data/coco/',
        train_dataloader=dict(dataset=dict(data_root='data/coco/')),
        val_evaluator=[dict(ann_file='data/coco/val.json')],
        other='data/coco/',
    )
    cfg = Config(parts)
    utils.update_data_root(cfg)
    assert cfg.data_root == 'data/coco/'
    monkeypatch.setenv('MMDET_DATASETS', '/mnt/')
    utils.update_data_root(cfg)
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root == '/mnt/'
    assert cfg.val_evaluator[0].ann_file == '/mnt/val.json' and cfg.other == 'data/coco/'
    with pytest.raises(AssertionError, match='Config'):
        utils.update_data_root(parts)


@pytest.mark.parametrize(
    'dataset',
    [dict(pipeline=[1]), dict(dataset=dict(pipeline=[1])), dict(dataset=dict(datasets=[dict(pipeline=[1]), {}]))],
)
def test_pipeline_of_the_test_set(dataset, tmp_path):
    cfg = Config(dict(test_dataloader=dict(dataset=dataset)))
    assert utils.get_test_pipeline_cfg(cfg) == [1]
    cfg.dump(tmp_path / 'config.py')
    assert utils.get_test_pipeline_cfg(str(tmp_path / 'config.py')) == [1]


def test_no_pipeline():
    with pytest.raises(RuntimeError, match='pipeline'):
        utils.get_test_pipeline_cfg(Config(dict(test_dataloader=dict(dataset=dict(type='Set')))))


def test_files(tmp_path):
    assert misc.find_latest_checkpoint(tmp_path / 'none') is None
    for name in ('epoch_2.pth', 'epoch_12.pth', 'a.jpg', 'notes.txt', 'deep/b.PNG'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert misc.find_latest_checkpoint(str(tmp_path)) == str(tmp_path / 'epoch_12.pth')
    (tmp_path / 'latest.pth').touch()
    assert misc.find_latest_checkpoint(tmp_path) == str(tmp_path / 'latest.pth')
    images = [str(tmp_path / 'a.jpg'), str(tmp_path / 'deep' / 'b.PNG')]
    assert misc.get_file_list(str(tmp_path)) == (images, dict(is_dir=True, is_url=False, is_file=False))
    assert misc.get_file_list(images[0]) == (images[:1], dict(is_dir=False, is_url=False, is_file=True))


def test_dynamo_limit(monkeypatch):
    import torch._dynamo

    monkeypatch.setattr(torch._dynamo.config, 'cache_size_limit', 8)
    monkeypatch.delenv('DYNAMO_CACHE_SIZE_LIMIT', raising=False)
    utils.setup_cache_size_limit_of_dynamo()
    assert torch._dynamo.config.cache_size_limit == 8
    monkeypatch.setenv('DYNAMO_CACHE_SIZE_LIMIT', '33')
    utils.setup_cache_size_limit_of_dynamo()
    assert torch._dynamo.config.cache_size_limit == 33


def test_setup_multi_processes():
    code = """if True:
        import os
        from mmengine.config import Config
        from mmdet.utils import setup_multi_processes
        setup_multi_processes(Config(dict(train_dataloader=dict(num_workers=1))))
        before = os.environ.get('OMP_NUM_THREADS')
        setup_multi_processes(Config(dict(train_dataloader=dict(num_workers=2))))
        print(before, os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith('_NUM_THREADS')}
    done = processes.run(['-c', code], env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-3:] == ['None', '1', '1']


def test_alone_there_is_nothing_to_reduce():
    tensor, values = torch.ones(2), dict(a=torch.ones(1))
    assert utils.reduce_mean(tensor) is tensor
    assert utils.all_reduce_dict(values) is values
    assert utils.sync_random_seed(5) == 5
    parameter = torch.nn.Parameter(torch.ones(1))
    parameter.grad = torch.tensor([3.0])
    utils.allreduce_grads([parameter, torch.nn.Parameter(torch.ones(1))])
    assert parameter.grad == 3


def test_means_over_two_processes(tmp_path):
    code = f"""if True:
        import sys, torch, torch.distributed as dist
        from mmdet.utils import all_reduce_dict, allreduce_grads, reduce_mean
        rank = int(sys.argv[1])
        dist.init_process_group('gloo', init_method='file://{tmp_path}/store', rank=rank, world_size=2)
        tensor = torch.tensor([1.0 + rank])
        values = dict(a=torch.tensor([rank]), b=torch.tensor([2.0]))
        parameter = torch.nn.Parameter(torch.ones(1))
        parameter.grad = torch.tensor([4.0 * rank])
        allreduce_grads([parameter])
        reduced = all_reduce_dict(values)
        print(*reduce_mean(tensor).tolist(), *tensor.tolist(), *reduced['a'].tolist(), *reduced['b'].tolist(), *parameter.grad.tolist())"""
    ranks = [processes.start(['-c', code, rank]) for rank in (0, 1)]
    found = [[float(value) for value in rank.communicate(timeout=120)[0].split()] for rank in ranks]
    assert found == [[1.5, 1 + rank, 1, 4, 2] for rank in (0, 1)]


def test_cast_tensor_type():
    inputs = dict(a=torch.ones(1), b=[torch.ones(1, dtype=torch.long), 'text'], c=(torch.ones(1),))
    found = memory.cast_tensor_type(inputs, torch.float, torch.half)
    assert (found['a'].dtype, found['b'][0].dtype, found['b'][1]) == (torch.half, torch.long, 'text')
    assert isinstance(found['c'], tuple) and found['c'][0].dtype == torch.half
    assert memory.cast_tensor_type(torch.ones(1), dst_type='meta').device.type == 'meta'
    with pytest.raises(AssertionError, match='dst_type'):
        memory.cast_tensor_type(torch.ones(1))


def test_memory_that_does_not_suffice(monkeypatch):
    calls = []

    def add(a, b, limit):
        calls.append((a.dtype, a.device.type))
        if len(calls) < limit:
            raise torch.cuda.OutOfMemoryError
        return a + b

    one = torch.ones(1)
    for limit in (1, 2, 3, 4):
        calls.clear()
        found = utils.AvoidCUDAOOM.retry_if_cuda_oom(add)(one, b=one, limit=limit)
        assert found.dtype == torch.float and found == 2
        assert [dtype for dtype, _ in calls] == [torch.float, torch.float, torch.half, torch.float][:limit]
    calls.clear()
    with pytest.raises(torch.cuda.OutOfMemoryError):
        utils.AvoidOOM(to_cpu=False).retry_if_cuda_oom(add)(one, b=one, limit=9)
    assert len(calls) == 3


def test_split_batch_by_tag():
    metas = [dict(tag='a', i=0), dict(tag='b', i=1), dict(tag='a', i=2)]
    parts = utils.split_batch(torch.arange(3.0)[:, None], metas, dict(tag=['a', 'b', 'a'], gt=[1, 2, 3]))
    assert list(parts) == ['a', 'b'] and parts['a']['img'].tolist() == [[0], [2]]
    assert (parts['a']['gt'], parts['b']['img_metas'], 'tag' in parts['a']) == ([1, 3], [metas[1]], False)


def test_image_scales_in_the_log():
    assert utils.log_img_scale((3, 4)) and not utils.log_img_scale((4, 4), skip_square=True)
    with pytest.raises(ValueError, match='shape_order'):
        utils.log_img_scale((3, 4), 'xy')

    class Caller:
        def run(self):
            return named()

    def named():
        return utils.get_caller_name()

    assert Caller().run() == 'Caller.run'


def test_demo_inputs():
    batch = demo_mm_inputs(2, [(3, 20, 30), (3, 40, 50)], num_items=[0, 2], use_box_type=True, with_mask=True)
    assert [tuple(image.shape) for image in batch['inputs']] == [(3, 20, 30), (3, 40, 50)]
    truth = batch['data_samples'][1].gt_instances
    assert type(truth.bboxes).__name__ == 'HorizontalBoxes' and truth.masks.masks.shape == (2, 40, 50)
    assert len(batch['data_samples'][0].gt_instances.bboxes) == 0 and batch['data_samples'][1].img_shape == (40, 50)
    # The draws are those of mmdetection.
    (sample,) = demo_mm_inputs(1, (3, 8, 8), [3])['data_samples']
    assert sample.gt_instances.bboxes[0].tolist() == pytest.approx([0.372782, 1.340693, 1.519608, 8.0], abs=1e-5)
    assert sample.gt_instances.labels.tolist() == [7, 9, 5]
    assert [len(each.gt_instances) for each in demo_mm_inputs(3)['data_samples']] == [5, 5, 7]
    (proposals,) = demo_mm_proposals([(3, 20, 30)], 4)
    assert proposals.bboxes.shape == (4, 4) and proposals.bboxes[:, 3].max() <= 20 and proposals.labels.eq(0).all()
    boxes = random_boxes(5, 10, rng=3)
    assert (boxes[:, 2:] >= boxes[:, :2]).all() and boxes.max() <= 10 and torch.equal(boxes, random_boxes(5, 10, rng=3))
    with pytest.raises(ValueError, match='with_semantic'):
        demo_mm_inputs(with_semantic=True)


def test_demo_inputs_go_through_a_detector():
    cfg = get_detector_cfg('gfl/gfl_r50_fpn_1x_coco.py')
    cfg.backbone.init_cfg = None
    cfg.bbox_head.num_classes = 10
    model = MODELS.build(cfg)
    losses = model(**model.data_preprocessor(demo_mm_inputs(1, (3, 64, 64)), True), mode='loss')
    assert all(torch.stack(list(value)).isfinite().all() for value in losses.values())
    with pytest.raises(ValueError, match='fname'):
        get_detector_cfg('gfl/none.py')
