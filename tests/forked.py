"""Python processes that are forked from this one, which has imported torch and the package already: each saves seconds.

    run(['tools/x.py', 'argument'], cwd=..., env=...)    as subprocess.run([sys.executable, 'tools/x.py', 'argument'], ...)

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


def run(arguments: Sequence, *, cwd=None, env: Mapping[str, str] | None = None, timeout: float = 180):
    """As :func:`run_new`, in a fork of this process."""
    if torch.cuda.is_initialized():  # CUDA does not survive a fork
        return run_new(arguments, cwd=cwd, env=env, timeout=timeout)
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            environment = dict(os.environ) if env is None else dict(env)
            os._exit(_status(lambda: _become([str(argument) for argument in arguments], cwd, environment)))
        code = _wait(pid, arguments, timeout)
        for file in (stdout, stderr):
            file.seek(0)
        return subprocess.CompletedProcess(list(arguments), code, stdout.read().decode(), stderr.read().decode())


def _wait(pid: int, arguments: Sequence, timeout: float) -> int:
    """The exit status of a child, which is killed when it takes longer."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise subprocess.TimeoutExpired(list(arguments), timeout)


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


def run_new(arguments: Sequence, *, cwd=None, env: Mapping[str, str] | None = None, timeout: float = 180):
    """Run ``python arguments`` to its end in a new process, as a user starts it.

    Args:
        arguments: a script, ``-m module`` or ``-c code``, and its arguments.
        cwd: folder to start in.
        env: environment variables, all of them; default: those of this process.
        timeout: seconds after which the process is killed.

    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)
