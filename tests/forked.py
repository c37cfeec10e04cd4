"""Python processes that are forked from this one, which has imported torch and the package already: each saves seconds.

    run(['tools/x.py', 'argument'], cwd=..., env=...)    as subprocess.run([sys.executable, 'tools/x.py', 'argument'], ...)
    start(['-c', code, 'argument'], ...)                 as subprocess.Popen, with communicate, kill and returncode

What a child changes ends with it. What it finds is not quite a new process: modules are imported, types registered. Every tool is therefore run in
a new process by one test at least.
"""

import io
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmdet.visualization import DetLocalVisualizer

NAMED = (MMLogger, MessageHub, Visualizer, DetLocalVisualizer, DefaultScope)


class Forked:
    """A running child; the attributes and methods are those of subprocess.Popen."""

    def __init__(self, arguments: Sequence, cwd, env: Mapping[str, str], merged: bool):
        self.args, self.returncode = arguments, None
        self._files = [tempfile.TemporaryFile()]  # noqa: SIM115
        self._files.append(self._files[0] if merged else tempfile.TemporaryFile())  # noqa: SIM115
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.pid = os.fork()
        if self.pid == 0:
            for number, file in enumerate(self._files, start=1):
                os.dup2(file.fileno(), number)
            os._exit(_status(lambda: _become([str(argument) for argument in arguments], cwd, env)))

    def communicate(self, timeout: float = 180) -> tuple[str, str | None]:
        """Wait for the end; standard output and errors (None where they go to the same place).

        Raises:
            subprocess.TimeoutExpired: the child runs on; kill it.
        """
        end = time.monotonic() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, timeout)
            else:
                time.sleep(0.01)
        texts = []
        for file in dict.fromkeys(self._files):
            file.seek(0)
            texts.append(file.read().decode())
        return texts[0], texts[1] if len(texts) == 2 else None

    def kill(self) -> None:
        """End the child, where it still runs, and wait for it."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _become(arguments: list[str], cwd, env: Mapping[str, str]) -> None:
    """Run what a new interpreter would run with these arguments."""
    sys.stdin = open(os.devnull)  # noqa: SIM115
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(os.fdopen(number, 'wb', closefd=False), line_buffering=True) for number in (1, 2)
    )
    os.environ.clear()
    os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)
    for kind in NAMED:
        kind._instance_dict.clear()
    first, *rest = arguments
    if first == '-c':
        sys.argv = ['-c', *rest[1:]]
        exec(compile(rest[0], '<string>', 'exec'), {'__name__': '__main__'})
    elif first == '-m':
        sys.argv = rest
        runpy.run_module(rest[0], run_name='__main__', alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, os.path.dirname(os.path.abspath(first)))
        runpy.run_path(first, run_name='__main__')


def _status(function: Callable[[], None]) -> int:
    """The exit status of a process that calls the function."""
    try:
        function()
        status = 0
    except SystemExit as ended:
        status = ended.code
        if not isinstance(status, int | None):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status or 0


def start(arguments: Sequence, *, cwd=None, env: Mapping[str, str] | None = None, merged: bool = False):
    """Start ``python arguments``; the caller waits for it with ``communicate``.

    Args:
        arguments: a script, ``-m module`` or ``-c code``, and its arguments.
        cwd: folder to start in.
        env: environment variables, all of them; default: those of this process.
        merged: errors go to standard output.
    """
    env = dict(os.environ) if env is None else dict(env)
    if torch.cuda.is_initialized():  # CUDA does not survive a fork
        errors = subprocess.STDOUT if merged else subprocess.PIPE
        command = [sys.executable, *map(str, arguments)]
        return subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=errors, text=True)
    return Forked(arguments, cwd, env, merged)


def run(arguments: Sequence, *, cwd=None, env: Mapping[str, str] | None = None, timeout: float = 180):
    """Run ``python arguments`` to its end; see :func:`start`."""
    process = start(arguments, cwd=cwd, env=env)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(list(arguments), process.returncode, stdout, stderr)


def run_new(arguments: Sequence, *, cwd=None, env: Mapping[str, str] | None = None, timeout: float = 180):
    """The same in a new process, as a user starts it."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)
