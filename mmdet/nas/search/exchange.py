"""The processes of a search ("islands"), which exchange what they found after fixed numbers of evaluations."""

import os
from typing import Any

import torch.distributed as dist

from ...errors import ConfigError


class Alone:
    """A search of one process; also the interface of larger groups."""

    rank, world_size = 0, 1

    def gather(self, packet: Any) -> list:
        """The packets of all processes, by rank. Every process must call this equally often."""
        return [packet]

    def close(self) -> None:
        """Leave the group."""


class Torchrun(Alone):
    """Processes started by ``torchrun`` (``tools/dist_search.sh``), over gloo."""

    def __init__(self) -> None:
        missing = [key for key in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT') if key not in os.environ]
        if missing:
            message = 'start the processes by tools/dist_search.sh or torchrun; the environment lacks '
            raise ConfigError(message + ', '.join(missing), field='--launcher', received='pytorch')
        dist.init_process_group('gloo')
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()

    def gather(self, packet: Any) -> list:
        packets: list = [None] * self.world_size
        dist.all_gather_object(packets, packet)
        return packets

    def close(self) -> None:
        dist.destroy_process_group()


def join(launcher: str) -> Alone:
    """The group of processes that ``--launcher`` names: ``'none'`` for one process, ``'pytorch'`` for those of ``torchrun``.

    Raises:
        ConfigError: another launcher, or ``'pytorch'`` without the environment that ``torchrun`` sets.
    """
    if launcher not in ('none', 'pytorch'):
        raise ConfigError("must be 'none' or 'pytorch'", field='--launcher', received=launcher)
    return Alone() if launcher == 'none' else Torchrun()
