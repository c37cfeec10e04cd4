"""The process's place in a distributed run, read from the environment before the processes join."""

import os


def starts_as_main_process() -> bool:
    """Whether the launcher made this process the first of a run; True without a launcher."""
    ranks = (os.environ.get(name, '0') for name in ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'))
    return all(rank == '0' for rank in ranks)
