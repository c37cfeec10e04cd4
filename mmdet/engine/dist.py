"""Start torch.distributed from torchrun, slurm or MPI, with or without GPUs."""

import datetime
import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as torch_dist
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from ..errors import ConfigError
from ..utils.lock import locked

_DEFAULT_PORT = 29500
# The others wait so long while the first process computes metrics or writes a checkpoint.
TIMEOUT_SECONDS = 1800.0
# Environment variables of each launcher: global rank, world size, rank inside the machine.
_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def init_dist(
    launcher: str, *, backend: str = 'nccl', timeout: float = TIMEOUT_SECONDS, port: int | None = None, **kwargs: Any
) -> None:
    """Join the process group of the launcher's processes, unless that is done already.

    Without CUDA the backend is gloo, whatever ``backend`` says.

    Args:
        launcher: ``pytorch`` (torchrun), ``slurm`` or ``mpi``.
        backend: ``nccl`` or ``gloo``.
        timeout: seconds that a collective may wait for the others; a process that is lost without a trace ends the run after so long.
        port: port of the master; wins over ``MASTER_PORT`` in the environment.
        **kwargs: further arguments of ``torch.distributed.init_process_group``; mmengine's ``init_backend`` is accepted
            and ignored.

    Raises:
        ConfigError: unknown launcher, its environment variables are missing, or more processes than GPUs on this
            machine.
    """
    if torch_dist.is_initialized():
        return
    if launcher not in _VARIABLES:
        raise ConfigError(f'must be one of none, {", ".join(_VARIABLES)}', field='launcher', received=launcher)
    kwargs.pop('init_backend', None)
    rank, world_size, local_rank = (_integer(name, launcher) for name in _VARIABLES[launcher])
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(local_rank))
    if port is not None:
        os.environ['MASTER_PORT'] = str(port)
    if launcher == 'slurm':
        if 'MASTER_ADDR' not in os.environ:
            names = ('SLURM_STEP_NODELIST', 'SLURM_JOB_NODELIST', 'SLURM_NODELIST')
            nodes = next(filter(None, map(os.environ.get, names)), None)
            if nodes is None:
                message = "launcher 'slurm' needs MASTER_ADDR or SLURM_NODELIST in the environment"
                raise ConfigError(message, field='launcher')
            os.environ['MASTER_ADDR'] = _first_host(nodes)
        # Several jobs may share a machine: the job number keeps their ports apart.
        os.environ.setdefault('MASTER_PORT', str(_DEFAULT_PORT + int(os.environ.get('SLURM_JOB_ID', 0)) % 1000))
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', str(_DEFAULT_PORT))
    if torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f'process {local_rank} of this machine has no GPU of its own ({torch.cuda.device_count()} visible); '
                'start fewer processes, or hide the GPUs (CUDA_VISIBLE_DEVICES=-1) to run on the CPU',
                field='launcher',
            )
        torch.cuda.set_device(local_rank)
    elif backend != 'gloo':
        if rank == 0:
            print_log(f'no CUDA device: distributed backend gloo instead of {backend}', logger='current')
        backend = 'gloo'
    kwargs['timeout'] = datetime.timedelta(seconds=float(timeout))
    torch_dist.init_process_group(backend, rank=rank, world_size=world_size, **kwargs)


def locked_for_all(path: str | Path) -> AbstractContextManager[str | None]:
    """:func:`~mmdet.utils.lock.locked` for all processes of a run: the first one takes the lock, and where it cannot all raise."""

    def share(values: list) -> list:
        broadcast_object_list(values)
        return values

    return locked(path, first=is_main_process(), share=share)


def _integer(name: str, launcher: str) -> int:
    value = os.environ.get(name, '0' if name == 'SLURM_LOCALID' else None)
    if value is None or not value.isdigit():
        raise ConfigError(
            f'launcher {launcher!r} needs the environment variable {name}', field='launcher', received=value
        )
    return int(value)


def _first_host(node_list: str) -> str:
    """First host of slurm's compressed list, without a call of ``scontrol``.

    >>> _first_host('gpu[03-05,9],login1'), _first_host('a7,b2'), _first_host('rack2-n[12]-ib')
    ('gpu03', 'a7', 'rack2-n12-ib')
    """
    # Every part may be empty, so the pattern always matches.
    prefix, choices, suffix = re.findall(r'^([^,\[]*)(?:\[([^\]]+)\])?([^,\[]*)', node_list)[0]
    return prefix + re.split('[,-]', choices)[0] + suffix
