"""A process that has imported what tests' processes import, and forks them on request: see :mod:`tests.processes`.

    python -m tests.warm_process FD

It reads requests from the socket of the descriptor FD until that is closed. Nothing may compute here: a fork of a process in which
OpenMP has run threads hangs.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

MODULES = (
    'mmdet.apis.training',
    'mmdet.export',
    'mmdet.analysis',
    'mmdet.nas',
    'torch._dynamo',
    'torch.utils.tensorboard',
    'cv2',
    'scipy.optimize',
    'pytest',
)


def main() -> None:
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    for name in MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # otherwise the children's collections would copy every page
    listening = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, reap)
    while True:
        message, descriptors, _, _ = socket.recv_fds(listening, 1 << 20, 3)
        if not message:
            return
        if os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        listening.close()
        if watch(socket.socket(fileno=descriptors[0])):
            end(become, json.loads(message), *descriptors[1:])
        os._exit(0)


def reap(*_) -> None:
    """Take note of those that ended, and so of their time."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def watch(told: socket.socket) -> bool:
    """Fork the process; tell its id and, at its end, its exit status. True in the process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if not pid:
        told.close()
        return True
    told.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        told.send(str(os.waitstatus_to_exitcode(status)).encode())
    return False


def end(function: Callable, *arguments) -> NoReturn:
    """Call a function and end the process as Python does, but for the second that the destruction of everything imported takes."""
    code: Any = 0
    try:
        function(*arguments)
    except SystemExit as wish:
        code = wish.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code & 0xFF)


def become(request: dict, *outputs: int) -> None:
    """Be ``python ARGUMENTS`` in the folder and the environment of the request."""
    import numpy as np
    import torch

    os.setsid()
    for target, descriptor in zip((1, 2), outputs):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request['env'])
    os.chdir(request['cwd'])
    random.seed()
    np.random.seed()
    torch.seed()
    paths = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    kind, *arguments = request['arguments']
    if kind in ('-c', '-m'):
        what, *arguments = arguments
        sys.path[:1] = ['', *filter(None, paths)]
        sys.argv = [kind, *arguments]
        if kind == '-c':
            exec(compile(what, '<string>', 'exec'), vars(sys.modules['__main__']))
        else:
            runpy.run_module(what, run_name='__main__', alter_sys=True)
    else:
        sys.path[:1] = [os.path.dirname(os.path.abspath(kind)), *filter(None, paths)]
        sys.argv = [kind, *arguments]
        runpy.run_path(kind, run_name='__main__')


if __name__ == '__main__':
    main()
