"""How the process of a tool ends when it is stopped from outside, or when another process of its run is gone: with one line."""

import contextlib
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import torch.distributed as torch_dist

from mmdet_runtime.errors import one_line
from mmdet_runtime.files import LAST_ACTS

# What the backends say when the other end of a connection is gone, or does not answer.
_LOST = (
    'closed by peer', 'reset by peer', 'broken pipe', 'connection refused', 'connection was', 'socket closed', 'timed out', 'timeout',
    'remote process exited', 'ncclremoteerror', 'failed to recv',
)  # fmt: skip
# How long the main thread may take to leave its work after a signal; None: for ever.
GRACE_SECONDS: float | None = 10.0
_WAITS = 100  # into which the grace is divided


class _Signals:
    """Turns SIGTERM into SystemExit and SIGINT into KeyboardInterrupt, once: launchers and schedulers often send both, or one twice.

    Python calls handlers between two of its own instructions only, and a main thread that waits in a backend for other processes may wait for ever. So a
    thread, which the interpreter tells of each signal at once, ends the process when the block has not been left some seconds later.
    """

    def __init__(self, numbers: list[signal.Signals]) -> None:
        self.received: signal.Signals | None = None
        self.numbers, self._pid, self._left = numbers, os.getpid(), threading.Event()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of each signal."""
        if os.getpid() != self._pid and number != signal.SIGINT:  # a forked loader worker ends as it would without this
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.received is None:
            self.received = signal.Signals(number)
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            sys.exit(128 + number)

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals inside the block."""
        before = {number: signal.signal(number, self.handle) for number in self.numbers}
        read, write = socket.socketpair()
        write.setblocking(False)
        wakeup = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
        thread = threading.Thread(target=self._watch, args=(read,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._left.set()
            signal.set_wakeup_fd(wakeup)
            write.send(b'\0')
            thread.join()
            read.close()
            write.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self, told: socket.socket) -> None:
        number = 0
        while number not in self.numbers:
            number = told.recv(1)[0]
            if number == 0:
                return
        if not self._left_in_time():
            try:
                for act in LAST_ACTS:
                    act()
                print(f'Stopped by {signal.Signals(number).name} while it waited.', file=sys.stderr, flush=True)
            finally:
                os._exit(128 + number)

    def _left_in_time(self) -> bool:
        """Whether the block is left within the grace. It is counted in short waits: while the process itself is stopped (job control, a frozen
        container), the clock goes on, but the main thread has no chance to leave."""
        if GRACE_SECONDS is None:
            return self._left.wait()
        return any(self._left.wait(GRACE_SECONDS / _WAITS) for _ in range(_WAITS))


if hasattr(os, 'register_at_fork'):  # the thread is told of the signals of its own process only
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))


@contextlib.contextmanager
def ends_in_one_line() -> Iterator[None]:
    """End the process with one line and without a traceback when a signal stops it or another process of the run is lost.

    SIGTERM and SIGINT unwind the block, so that everything is given back, and end with status 143 and 130. A collective whose peer has died ends with
    status 1. With ``MMDET_TRACEBACK=1`` in the environment the traceback is shown.
    """
    # What was chosen before stays: ignored signals under nohup, handlers of a program that calls a tool's main.
    defaults = ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler))
    main_thread = threading.current_thread() is threading.main_thread()
    signals = _Signals([number for number, default in defaults if main_thread and signal.getsignal(number) == default])
    try:
        with signals.handled() if signals.numbers else contextlib.nullcontext():
            yield
    except BaseException as error:
        code = _end(error, signals.received)
        if code is None or os.environ.get('MMDET_TRACEBACK') == '1':
            raise
        sys.exit(code)


def _end(error: BaseException, received: signal.Signals | None) -> int | None:
    """Print the line for an exception that ends a tool; returns the exit status, None for an exception that is none of these."""
    if received is None and isinstance(error, KeyboardInterrupt):  # raised by another handler
        received = signal.SIGINT
    if received is not None:  # whatever it led to: loader workers that the same signal killed raise errors of their own
        print(f'Stopped by {received.name}.', file=sys.stderr)
        return 128 + received
    if is_lost_peer(error):
        print(
            f'LostPeerError: process {os.environ.get("RANK", "?")} of {os.environ.get("WORLD_SIZE", "?")}: another process of the run has ended or '
            f'does not answer; see what that one said. Here: {_first_sentence(error)}',
            file=sys.stderr,
        )
        return 1
    return None


def _first_sentence(error: BaseException) -> str:
    """Of a backend's message, without the place in its source."""
    return re.sub(r'^\[\S+\] ', '', one_line(error)).partition('. ')[0][:300]


def is_lost_peer(error: BaseException) -> bool:
    """Whether an exception is what gloo, NCCL or the store raise when another process of the run is gone or does not answer."""
    text = str(error).lower()
    theirs = isinstance(error, torch_dist.DistError) or (isinstance(error, RuntimeError) and 'gloo' in text)
    return theirs and any(words in text for words in _LOST)
