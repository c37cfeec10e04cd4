"""Two processes over gloo, started as torchrun and slurm would."""

import datetime
import os
import signal
import socket
import sys

import pytest
import torch

from mmdet.engine.dist import TIMEOUT_SECONDS, _first_host, init_dist, locked_for_all
from mmdet.errors import ConfigError
from mmdet.utils import reports_user_errors
from mmdet.utils.lock import LOCK_NAME, locked
from tests import processes

from .toy import toy_runner

SCRIPT = """
import sys
from tests.engine.toy import toy_runner
import torch
torch.set_num_threads(1)
options = dict(batch_size=2, launcher='slurm')
toy_runner(sys.argv[1], epochs=2, **options, **{'model.plain': True}).train()
print('first run done', flush=True)
toy_runner(sys.argv[1] + '-poisoned', epochs=2, **options, **{'model.poison_at': 3, 'model.poison_rank': 1}).train()
"""


@pytest.fixture(scope='module')
def two_processes(tmp_path_factory, repository):
    """Work folder, exit codes, outputs of a plain and a poisoned run by two processes, started as srun would."""
    work_dir = tmp_path_factory.mktemp('dist') / 'two'
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if name != 'MASTER_ADDR'}
    environment.update(SLURM_NTASKS='2', SLURM_NODELIST='localhost', MASTER_PORT=port, PYTHONPATH=str(repository))
    environments = [dict(environment, SLURM_PROCID=rank, SLURM_LOCALID=rank) for rank in '01']
    done = processes.run_together(['-c', SCRIPT, work_dir], environments, cwd=repository)
    return work_dir, [process.returncode for process in done], [process.stdout + process.stderr for process in done]


@pytest.mark.slow
def test_two_processes_equal_one(two_processes, tmp_path):
    """Same global batches of 4; without batch norm and dropout, which see a process's own part only."""
    work_dir, _, outputs = two_processes
    assert all('first run done' in output for output in outputs), outputs
    toy_runner(tmp_path, epochs=2, batch_size=4, **{'model.plain': True}).train()
    one, two = (torch.load(folder / 'epoch_2.pth', weights_only=True) for folder in (tmp_path, work_dir))
    assert two['meta']['world_size'] == 2
    for key in ('state_dict', 'ema_state_dict'):
        for name, value in one[key].items():
            torch.testing.assert_close(two[key][name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_all_ranks_stop_at_a_non_finite_loss_of_one(two_processes):
    _, codes, outputs = two_processes
    assert codes == [1, 1]
    assert 'NonFiniteLossError: iteration 3, rank 0: the loss of another rank is not finite' in outputs[0]
    assert (
        'NonFiniteLossError: iteration 3, rank 1: the loss is not finite' in outputs[1] and 'loss_cls=nan' in outputs[1]
    )


def forked_pair(folder, act) -> list[tuple[int, str]]:
    """Exit status and error output of two forked processes, which join over gloo and call ``act(rank)`` as a tool."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    pids = []
    for rank in range(2):
        pids.append(os.fork())
        if pids[-1] == 0:
            code = 99
            try:
                os.environ.update(
                    RANK=str(rank), WORLD_SIZE='2', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1', MASTER_PORT=port, CUDA_VISIBLE_DEVICES='-1',
                )  # fmt: skip
                with open(folder / f'{rank}.txt', 'w', buffering=1) as sys.stderr:
                    init_dist('pytorch', backend='gloo', timeout=60)
                    reports_user_errors(act)(rank)
                    code = 0
            except SystemExit as ended:
                code = ended.code
            finally:
                os._exit(code)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return [(code, (folder / f'{rank}.txt').read_text()) for rank, code in enumerate(codes)]


@pytest.mark.parametrize('collective', ['all_reduce', 'broadcast_objects', 'barrier'])
@pytest.mark.parametrize('dead', [0, 1])
def test_a_process_whose_peer_was_killed_says_so_in_one_line(tmp_path, collective, dead):
    def act(rank):
        torch.distributed.barrier()
        if rank == dead:
            os.kill(os.getpid(), signal.SIGKILL)
        if collective == 'all_reduce':
            torch.distributed.all_reduce(torch.ones(3))
        elif collective == 'barrier':
            torch.distributed.barrier()
        else:
            torch.distributed.broadcast_object_list([rank], src=dead)

    found = forked_pair(tmp_path, act)
    assert found[dead][0] == -signal.SIGKILL
    code, text = found[1 - dead]
    assert (
        code == 1
        and text.count('\n') == 1
        and text.startswith(f'LostPeerError: process {1 - dead} of 2: another process')
    )


def test_the_first_process_takes_the_lock_for_all(tmp_path):
    path = tmp_path / 'work' / LOCK_NAME

    def act(rank):
        with locked_for_all(path):
            torch.distributed.barrier()
            assert path.is_file()
            torch.distributed.barrier()

    with locked(path):
        found = forked_pair(tmp_path, act)
    for code, text in found:
        assert code == 2 and f'in use by process {os.getpid()}' in text and text.count('\n') == 1
    assert forked_pair(tmp_path, act) == [(0, ''), (0, '')] and not path.exists()


def test_launchers_name_what_is_missing(monkeypatch):
    for name in ('RANK', 'SLURM_PROCID', 'SLURM_NTASKS'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match='needs the environment variable RANK'):
        init_dist('pytorch')
    with pytest.raises(ConfigError, match='needs the environment variable SLURM_PROCID'):
        init_dist('slurm')
    with pytest.raises(ConfigError, match="must be one of none, pytorch, slurm, mpi. Received: 'k8s'"):
        init_dist('k8s')


@pytest.fixture
def joined(monkeypatch):
    """What ``init_process_group`` is called with, in an environment that no launcher has touched, without GPUs."""
    calls = []
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda *args, **kwargs: calls.append((args, kwargs)))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT', 'SLURM_NODELIST', 'SLURM_LOCALID')
    for name in (*names, 'SLURM_STEP_NODELIST', 'SLURM_JOB_NODELIST', 'SLURM_JOB_ID'):
        monkeypatch.setenv(name, 'x')  # so that what init_dist sets is taken back
        monkeypatch.delenv(name)
    return calls


TIMEOUT = datetime.timedelta(seconds=TIMEOUT_SECONDS)


def master() -> str:
    return f'{os.environ["MASTER_ADDR"]}:{os.environ["MASTER_PORT"]}'


def test_torchrun(joined, monkeypatch):
    for name, value in dict(RANK='3', WORLD_SIZE='4', LOCAL_RANK='1', MASTER_ADDR='a', MASTER_PORT='7').items():
        monkeypatch.setenv(name, value)
    init_dist('pytorch', timeout=9, init_backend='torch', group_name='mine')
    kwargs = dict(rank=3, world_size=4, group_name='mine', timeout=datetime.timedelta(seconds=9))
    assert joined == [(('gloo',), kwargs)] and master() == 'a:7'
    init_dist('pytorch', port=8)
    assert master() == 'a:8' and joined[1][1]['timeout'] == TIMEOUT
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    init_dist('nothing is checked')
    assert len(joined) == 2


def test_slurm(joined, monkeypatch):
    """The step's nodes win over the job's; the job's number gives the port."""
    for name, value in dict(SLURM_PROCID='5', SLURM_NTASKS='8', SLURM_JOB_NODELIST='b[1-2]').items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('SLURM_JOB_ID', '71234')
    init_dist('slurm')
    assert joined == [(('gloo',), dict(rank=5, world_size=8, timeout=TIMEOUT))] and master() == 'b1:29734'
    assert [os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')] == ['5', '8', '0']
    for name in ('MASTER_ADDR', 'MASTER_PORT', 'SLURM_JOB_ID'):
        monkeypatch.delenv(name)
    monkeypatch.setenv('SLURM_STEP_NODELIST', 'c7,c8')
    init_dist('slurm')
    assert master() == 'c7:29500'
    monkeypatch.delenv('SLURM_STEP_NODELIST')
    monkeypatch.delenv('SLURM_JOB_NODELIST')
    monkeypatch.delenv('MASTER_ADDR')
    with pytest.raises(ConfigError, match='needs MASTER_ADDR or SLURM_NODELIST'):
        init_dist('slurm')
    monkeypatch.setenv('MASTER_ADDR', 'd1')  # then no list of nodes is needed
    init_dist('slurm')
    assert master() == 'd1:29500'


def test_mpi(joined, monkeypatch):
    for name, value in dict(RANK='1', SIZE='2', LOCAL_RANK='0').items():
        monkeypatch.setenv(f'OMPI_COMM_WORLD_{name}', value)
    init_dist('mpi')
    assert joined == [(('gloo',), dict(rank=1, world_size=2, timeout=TIMEOUT))] and master() == '127.0.0.1:29500'


def test_each_process_has_its_gpu(joined, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'set_device', chosen.append)
    for name, value in dict(RANK='3', WORLD_SIZE='4', LOCAL_RANK='1').items():
        monkeypatch.setenv(name, value)
    init_dist('pytorch')
    assert chosen == [1] and joined[0][0] == ('nccl',)
    monkeypatch.setenv('LOCAL_RANK', '2')
    with pytest.raises(ConfigError, match=r'process 2 of this machine has no GPU of its own \(2 visible\)'):
        init_dist('pytorch')


@pytest.mark.parametrize(
    ('nodes', 'first'),
    [('a7', 'a7'), ('a7,b2', 'a7'), ('gpu[03-05,9],login1', 'gpu03'), ('rack2-n[12]-ib', 'rack2-n12-ib')],
)
def test_first_host_of_a_slurm_node_list(nodes, first):
    assert _first_host(nodes) == first


def test_broken_torchvision_does_not_stop_the_report(tmp_path, monkeypatch):
    """As a CUDA build of torchvision beside a CPU build of torch: the import raises RuntimeError."""
    package = tmp_path / 'torchvision'
    package.mkdir()
    (package / '__init__.py').write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.delitem(sys.modules, 'torchvision', raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    toy_runner(tmp_path / 'work', epochs=1).train()
