"""The process's place in a distributed run, read from the environment before the processes join."""

import os

_TORCHRUN = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')


def launcher_in_use(requested: str | None) -> str:
    """The launcher that was asked for; without one, ``pytorch`` where torchrun has started this process, else ``none``.

    torchrun is known by all of its variables together: slurm, schedulers and shells set some of them in plain runs, too.
    """
    return requested or ('pytorch' if all(os.environ.get(name) for name in _TORCHRUN) else 'none')


def starts_as_main_process() -> bool:
    """Whether the launcher made this process the first of a run; True without a launcher."""
    ranks = (os.environ.get(name, '0') for name in ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'))
    return all(rank == '0' for rank in ranks)
