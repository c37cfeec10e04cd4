"""Python processes that tests start.

:func:`run` and :func:`start` fork them from :mod:`tests.warm_process`, a process that has imported torch and the package and does nothing
else, so that each saves the seconds of the imports. They take what a command line takes (``-c CODE``, ``-m MODULE``, or a script, and
arguments) and have their own folder, environment, random state, memory and exit. They see no CUDA device, and what is read while modules
are imported (``OMP_NUM_THREADS``, say) is as in the warm process. A test of just that, of the imports or of the interpreter uses
:func:`run_fresh`.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parents[1]


def run(arguments: Sequence, *, cwd=None, env: Mapping[str, str] | None = None, timeout: float = 180):
    """Run ``python arguments`` to its end; see :func:`subprocess.run` for the others, the result and the errors."""
    process = start(arguments, cwd=cwd, env=env)
    try:
        outputs = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, *outputs)


def run_fresh(arguments: Sequence, *, cwd=None, env: Mapping[str, str] | None = None, timeout: float = 180):
    """As :func:`run`, by a new interpreter."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)


def run_together(arguments: Sequence, environments: Sequence[Mapping[str, str]], *, cwd=None, timeout: float = 240):
    """Run ``python arguments`` in each of the environments at the same time, the ranks of a training, say; returns the results.

    Raises:
        subprocess.TimeoutExpired: one has not ended in time.
    """
    started = [start(arguments, cwd=cwd, env=env) for env in environments]
    try:
        outputs = [process.communicate(timeout) for process in started]
    finally:
        for process in started:
            process.kill()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(started, outputs)
    ]


def ranks(number: int = 2) -> list[dict[str, str]]:
    """The variables that torchrun sets, for each of so many processes on this machine."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    group = dict(WORLD_SIZE=str(number), MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    return [dict(group, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(number)]


def call_together(function: Callable, *arguments, number: int = 2) -> None:
    """Call a function of a test module in so many processes, the ranks of a group that they can join, with the arguments as texts.

    Raises:
        AssertionError: the function raised; with what was written to stderr.
    """
    code = f'import sys; from {function.__module__} import {function.__name__} as call; call(*sys.argv[1:])'
    places = [{**os.environ, **rank} for rank in ranks(number)]
    for done in run_together(['-c', code, *arguments], places, cwd=REPOSITORY):
        assert done.returncode == 0, done.stderr


class start:
    """Start ``python arguments`` in a session of its own; the part of :class:`subprocess.Popen` that tests use.

    With ``output``, a binary file, stdout and stderr both go there.
    """

    def __init__(
        self, arguments: Sequence, *, cwd=None, env: Mapping[str, str] | None = None, output: IO[bytes] | None = None
    ):
        self.args = [sys.executable, *map(str, arguments)]
        self.returncode: int | None = None
        self._outputs = [output, output] if output else [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        self._told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = dict(
            arguments=self.args[1:], cwd=str(cwd or os.getcwd()), env=dict(os.environ if env is None else env)
        )
        with theirs:
            files = [file.fileno() for file in self._outputs]
            socket.send_fds(_warm_process(), [json.dumps(request).encode()], [theirs.fileno(), *files])
        pid = self._told.recv(100)
        assert pid, 'the warm process has ended; python -m tests.warm_process shows why'
        self.pid = int(pid)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; returns the exit status, -N after signal N."""
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                self.returncode = int(self._told.recv(100))
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.args, timeout or 0, *self._read()) from None
            self._told.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; returns what was written to stdout and stderr."""
        self.wait(timeout)
        return self._read()

    def kill(self) -> None:
        """Kill it if it runs."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def _read(self) -> tuple[str, str]:
        texts = []
        for file in self._outputs:
            if not file.readable():
                texts.append('')
                continue
            file.seek(0)
            texts.append(file.read().decode())
        return texts[0], texts[1]


@cache
def _warm_process() -> socket.socket:
    """The socket that the warm process listens at; it ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = dict(os.environ, CUDA_VISIBLE_DEVICES='-1', OMP_NUM_THREADS='1')
    with theirs:
        command = [sys.executable, '-m', 'tests.warm_process', str(theirs.fileno())]
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    return ours
