"""How the process of a tool ends when it is stopped from outside, or when another process of its run is gone: with one line."""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

import torch.distributed as torch_dist

# What the backends say when the other end of a connection is gone, or does not answer.
_LOST = (
    'closed by peer', 'reset by peer', 'broken pipe', 'connection refused', 'connection was', 'socket closed', 'timed out', 'timeout',
    'remote process exited', 'ncclremoteerror', 'failed to recv',
)  # fmt: skip
_GRACE_SECONDS = 10.0


class _Signals:
    """Turns SIGTERM into SystemExit and remembers what came first.

    A launcher and a scheduler often send the same signal twice. The second must not disturb the cleaning up; one that comes much later is obeyed anew.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._time = -_GRACE_SECONDS
        self._pid = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked loader worker: it ends as it would without this handler
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        now = time.monotonic()
        if now - self._time < _GRACE_SECONDS:
            return
        self.received, self._time = signal.Signals(number), now
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)


@contextlib.contextmanager
def ends_in_one_line() -> Iterator[None]:
    """End the process with one line and without a traceback when a signal stops it or another process of the run is lost.

    SIGTERM and SIGINT unwind the block, so that everything is given back, and end with status 143 and 130. A collective whose peer has died ends with
    status 1. With ``MMDET_TRACEBACK=1`` in the environment the traceback is shown.
    """
    signals = _Signals()
    previous = {}
    if threading.current_thread() is threading.main_thread():
        # What was chosen before stays: ignored signals under nohup, handlers of a program that calls a tool's main.
        for number, default in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
            if signal.getsignal(number) == default:
                previous[number] = signal.signal(number, signals)
    try:
        yield
    except BaseException as error:
        code = _end(error, signals.received)
        if code is None or os.environ.get('MMDET_TRACEBACK') == '1':
            raise
        sys.exit(code)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _end(error: BaseException, received: signal.Signals | None) -> int | None:
    """Print the line for an exception that ends a tool; returns the exit status, None for an exception that is none of these."""
    if (
        received is not None
    ):  # whatever came of it: loader workers that the same signal killed raise errors of their own
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
    return re.sub(r'^\[\S+\] ', '', ' '.join(str(error).split())).partition('. ')[0][:300]


def is_lost_peer(error: BaseException) -> bool:
    """Whether an exception is what gloo, NCCL or the store raise when another process of the run is gone or does not answer."""
    text = str(error).lower()
    theirs = isinstance(error, torch_dist.DistError) or (isinstance(error, RuntimeError) and 'gloo' in text)
    return theirs and any(words in text for words in _LOST)


__all__ = ['ends_in_one_line', 'is_lost_peer']
