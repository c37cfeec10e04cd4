"""Options that several commands share; each dataclass is a parameter of their functions."""

import argparse
import dataclasses
import os
from typing import Annotated, Any, Literal

from mmdet_runtime.track_arguments import add_track_arguments

from .signature import Arguments, Option


@dataclasses.dataclass
class ConfigOptions:
    """Changes of a config.

    Attributes:
        cfg_options: override config values: dotted keys, lists as key='[a,b]' or key=a,b.
        trust_checkpoint: allow unpickling arbitrary objects from checkpoint files: only for files you trust.
    """

    cfg_options: dict | None = None
    trust_checkpoint: bool = False


@dataclasses.dataclass
class PrecisionOptions:
    """The ``inference`` dict of a config.

    Attributes:
        amp: mixed precision: float16 on a GPU and bfloat16 on a CPU, or the type named.
        compile: torch.compile the network, once for all sizes of images, which takes a minute or two; or in this mode.
    """

    amp: bool | Literal['bf16', 'fp16'] = False
    compile: bool | Literal['default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs'] = False

    def as_cfg_options(self) -> dict[str, Any]:
        """The overrides of the config that say the same."""
        chosen = {'inference.amp': self.amp, 'inference.compile': self.compile}
        return {key: value for key, value in chosen.items() if value}


@dataclasses.dataclass
class InferenceOptions(PrecisionOptions):
    """What computes the network, and how.

    Attributes:
        backend: what computes the network: torch, torch-compile, onnxruntime, openvino or openvino-winograd; default: torch.
        backend_precision: fp32 (default), or bf16 or fp16 where the backend and the machine have it.
    """

    backend: str | None = None
    backend_precision: Annotated[str | None, Option(metavar='TYPE')] = None


class TrackArguments(Arguments):
    """``--track``, ``--line``, ``--zone`` and what belongs to them, for :func:`mmdet_runtime.track_arguments.read_track_arguments`."""

    @staticmethod
    def add_to(parser: argparse.ArgumentParser) -> None:
        """See :func:`mmdet_runtime.track_arguments.add_track_arguments`."""
        add_track_arguments(parser)


@dataclasses.dataclass
class RunOptions(ConfigOptions):
    """How the processes of a run were started, and what they print.

    Attributes:
        verbose: show on the console what is otherwise in the log file only.
        launcher: how processes were started; torchrun is noticed.
        local_rank: set by old launchers; LOCAL_RANK wins.
    """

    verbose: bool = False
    launcher: Literal['none', 'pytorch', 'slurm', 'mpi'] | None = None
    local_rank: Annotated[int, Option(hidden=True)] = 0

    def settled_launcher(self) -> str:
        """The launcher in use; LOCAL_RANK is set in a process whose launcher passed ``--local_rank`` instead."""
        from ..config.launcher import launcher_in_use

        os.environ.setdefault('LOCAL_RANK', str(self.local_rank))
        return launcher_in_use(self.launcher)

    def overrides(self, *others: dict[str, Any]) -> dict[str, Any] | None:
        """All overrides of the config, those of ``others`` among them."""
        merged = {key: value for other in others for key, value in other.items()} | (self.cfg_options or {})
        if self.verbose:
            merged['verbose'] = True
        return merged or None
