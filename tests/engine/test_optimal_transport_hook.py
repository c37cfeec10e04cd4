"""The schedule of the multi-proxy head in whole runs: unbroken, resumed, by iterations, by two processes."""

import os

import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import nn

from mmdet.errors import ConfigError
from mmdet.models.dense_heads import MPHead
from mmdet.registry import DATASETS, MODELS
from tests import processes

from .test_runner_resume import assert_same_run, load, train_until
from .toy import toy_runner

PROXIES = [2, 3, 1]


@MODELS.register_module(force=True)
class ToyMPDetector(BaseModel):
    """A multi-proxy head of 8 channels on three maps, made by one convolution each from the input."""

    def __init__(self):
        super().__init__()
        self.stem = nn.ModuleList(nn.Conv2d(3, 8, 3, stride, padding=1) for stride in (8, 16, 32))
        self.bbox_head = MPHead(
            3, 8, stacked_convs=1, feat_channels=8, num_words=35, proxies_list=PROXIES,
            norm_cfg=dict(type='GN', num_groups=2),
            anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32]),
            train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1),
        )  # fmt: skip
        self.betas = []

    def forward(self, inputs, truth, mode='tensor'):
        images = torch.stack(inputs)
        self.betas.append(self.bbox_head.beta)
        metas = [dict(img_shape=images.shape[-2:], pad_shape=images.shape[-2:])] * len(images)
        return self.bbox_head.loss_by_feat(*self.bbox_head(tuple(conv(images) for conv in self.stem)), truth, metas)


@DATASETS.register_module(force=True)
class ToyBoxes(BaseDataset):
    """Noise, with one or two boxes that are a function of the index."""

    METAINFO = dict(classes=('car', 'van', 'bus'))

    def load_data_list(self):
        return [dict(number=number) for number in range(12)]

    def prepare_data(self, idx):
        number = int(idx)
        generator = torch.Generator().manual_seed(number)
        boxes = torch.tensor([[4.0, 4, 50, 40], [20, 10, 60, 64]])[: 1 + number % 2]
        labels = torch.tensor([number % 3, 2])[: len(boxes)]
        truth = InstanceData(bboxes=boxes, labels=labels)
        return dict(inputs=torch.randn(3, 64, 64, generator=generator), truth=truth)


def runner(work_dir, epochs=3, hook=(), **options):
    """Three iterations an epoch; regularisers from the second epoch, k-means every second iteration."""
    hook = dict(dict(type='OptimalTransportHook', start_emb=1, interval=2, end_estimating=2), **dict(hook))
    options = {
        'model': dict(type='ToyMPDetector', _delete_=True),
        'train_dataloader.dataset': dict(type='ToyBoxes', _delete_=True),
        'default_hooks.optimal_transport': hook,
        'optim_wrapper.optimizer.lr': 0.01,
        **options,
    }
    return toy_runner(work_dir, epochs=epochs, **options)


def shares(checkpoint):
    return checkpoint['state_dict']['bbox_head._proxies_prob']


def test_resumed_run_equals_the_unbroken_one(tmp_path):
    """Other hooks of the config (EMA) stay; the resumed run has its beta, memory and k-means."""
    unbroken = runner(tmp_path / 'a')
    unbroken.train()
    assert unbroken.model.betas == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    one = load(tmp_path / 'a' / 'epoch_3.pth')
    assert one['optimal_transport'] == dict(beta={'bbox_head': 1.0})
    assert (one['state_dict']['bbox_head._pos_embedding_ptr'] >= 0).all()
    train_until(runner(tmp_path / 'b'), 4)
    assert load(tmp_path / 'b' / 'epoch_1.pth')['optimal_transport'] == dict(beta={'bbox_head': 1.0})
    resumed = runner(tmp_path / 'b', resume='auto')
    resumed.train()
    assert resumed.model.betas == [1] * 6
    assert_same_run(one, load(tmp_path / 'b' / 'epoch_3.pth'))


def test_checkpoint_without_the_hooks_state(tmp_path):
    runner(tmp_path, epochs=2).train()
    checkpoint = load(tmp_path / 'epoch_2.pth')
    del checkpoint['optimal_transport']
    torch.save(checkpoint, tmp_path / 'old.pth')
    later = runner(tmp_path / 'later', epochs=3, resume=True, load_from=str(tmp_path / 'old.pth'))
    later.train()
    assert later.model.betas == [1] * 3


def test_loading_weights_starts_a_new_schedule(tmp_path):
    runner(tmp_path, epochs=2).train()
    later = runner(tmp_path / 'later', epochs=1, load_from=str(tmp_path / 'epoch_2.pth'))
    later.train()
    assert later.model.betas == [0] * 3


def test_estimates(tmp_path):
    """After iterations 2 and 4; 6 ends the second epoch's work, when two are not yet finished; never after it."""
    run = runner(tmp_path, epochs=3)
    seen = []
    run.model.bbox_head.update_ot = lambda seed: seen.append((run.iter + 1, seed - run.seed))
    run.train()
    assert seen == [(2, 2), (4, 4), (6, 6)]


def test_shares_are_estimated_and_sum_to_one(tmp_path):
    runner(tmp_path, epochs=1).train()
    sums = [part.sum() for part in shares(load(tmp_path / 'epoch_1.pth')).split(PROXIES)]
    torch.testing.assert_close(torch.stack(sums), torch.ones(3))


def test_iteration_based_training_counts_passes_over_the_data(tmp_path):
    run = runner(tmp_path, iters=8)
    run.train()
    assert run.model.betas == [0, 0, 0, 1, 1, 1, 1, 1]


def test_a_model_without_proxies(tmp_path):
    with pytest.raises(ConfigError, match='no head with proxies'):
        runner(tmp_path, **{'model.type': 'ToyDetector'}).train()


def test_missing_nltk_is_named_before_the_training(tmp_path, monkeypatch):
    run = runner(tmp_path)
    monkeypatch.setattr('mmdet.models.dense_heads.mp_head.find_spec', lambda name: None)
    with pytest.raises(ConfigError, match='needs nltk'):
        run.train()
    runner(tmp_path / 'without', epochs=1, hook=dict(end_estimating=0)).train()


def test_refuses():
    from mmdet.engine.hooks import OptimalTransportHook

    with pytest.raises(ConfigError, match='at least 1. Received: 0'):
        OptimalTransportHook(interval=0)


SCRIPT = """
import sys
import torch
torch.set_num_threads(1)
from tests.engine.test_optimal_transport_hook import runner
run = runner(sys.argv[1], epochs=2, batch_size=2, launcher='pytorch')
run.train()
head = run.model.module.bbox_head
torch.save({name: value.clone() for name, value in head.state_dict().items()}, sys.argv[1] + f'/rank{run.rank}.pth')
"""


@pytest.mark.slow
def test_two_processes_hold_the_same_memory(tmp_path, repository):
    places = [dict(os.environ, **rank, PYTHONPATH=str(repository)) for rank in processes.ranks()]
    done = processes.run_together(['-c', SCRIPT, tmp_path], places, cwd=repository)
    assert [process.returncode for process in done] == [0, 0], done
    one, other = (load(tmp_path / f'rank{rank}.pth') for rank in '01')
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    # Ten words of the background an iteration in total, as one process would draw: six iterations.
    assert one['_pos_embedding_ptr'][-1] == 60 % 35
    assert all(part.sum().item() == pytest.approx(1) for part in one['_proxies_prob'].split(PROXIES))
