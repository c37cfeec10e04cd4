"""Decode, detect and write at the same time, in threads, with results in the order of the sources and bounded memory.

Threads suffice, as OpenCV and the backends release Python's lock while they work::

    sources ─> feeder ─> decoders ─> [queue] ─> main thread: detect ─> [queue] ─> writer

Both queues are short: a slow writer holds up the network, and a slow network the decoders, so that few images are in memory at any time.
"""

import contextlib
import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .errors import MMDetError

Item = TypeVar('Item')
Found = TypeVar('Found')
Picture = TypeVar('Picture')  # what is decoded: an array, or an image at a part of its sides
# What an image can be the cause of. Everything else is an error of the program, and ends it.
_OF_ONE_IMAGE = (MMDetError, MemoryError)
_END: Any = object()
_TIMES_KEPT = 1 << 16


@dataclass
class Report(Generic[Item]):
    """What became of the sources.

    Attributes:
        done: how many were detected in and written.
        failed: the others, each with the reason.
        stopped: whether the user stopped it before its end; ``status``: the exit status that this asks for, 130 or 143.
        seconds: how long it took; ``decode`` and ``write``: seconds of the last sources in these threads.
    """

    done: int = 0
    failed: list[tuple[Item, str]] = field(default_factory=list)
    stopped: bool = False
    status: int = 0
    seconds: float = 0.0
    decode: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMES_KEPT))
    write: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMES_KEPT))

    @property
    def per_second(self) -> float:
        """Images a second."""
        return self.done / self.seconds if self.seconds else 0.0


def process(
    sources: Iterable[Item],
    decode: Callable[[Item], Picture],
    detect: Callable[[list[Picture]], Sequence[Found]],
    write: Callable[[Item, Picture, Found], object],
    *,
    batch_size: int = 1,
    decoders: int = 2,
    depth: int = 2,
    detectors: int = 1,
    parallel: bool = True,
) -> Report[Item]:
    """Run a detector over sources.

    Args:
        sources: iterated once, by one thread.
        decode: the pixels of a source; called by several threads at once.
        detect: the results of some images, in their order.
        write: called for each source in order, by one thread.
        batch_size: images of a call of ``detect``.
        decoders: threads that decode.
        depth: batches that are decoded, and results that wait to be written, at most.
        detectors: calls of ``detect`` at once. With two, the steps of one image that leave the network idle (packing, cutting a mosaic)
            run while it computes for the next one.
        parallel: False does one after the other in the calling thread, which is easier to measure.

    Returns:
        What became of them. A source that cannot be decoded or detected in is counted, and the others go on. When the user interrupts
        (Ctrl-C), or the program is told to exit, what is detected already is written.

    Raises:
        Exception: what ``sources`` and ``write`` raise, and what is no error of one image.
    """
    report: Report[Item] = Report()
    start = time.perf_counter()
    steps = _in_turn if not parallel else _in_threads
    decoded = steps(sources, _timed(decode, report.decode), batch_size * depth, decoders)
    with (
        contextlib.closing(_batches(decoded, batch_size)) as batches,
        _Writer(_timed(write, report.write), report, depth * batch_size, parallel) as writer,
    ):
        try:
            for batch, results in _detected(batches, detect, report, detectors if parallel else 1):
                for (source, image), found in zip(batch, results):
                    writer.put(source, image, found)
        except (KeyboardInterrupt, SystemExit) as error:  # the toolbox makes the latter of SIGTERM
            report.stopped = True
            report.status = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 130
    report.seconds = time.perf_counter() - start
    return report


def _timed(function: Callable, seconds: deque[float]) -> Callable:
    def timed(*args: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args)
        finally:
            seconds.append(time.perf_counter() - start)

    return timed


_Decoded = tuple[Any, Any]  # a source with its image, or with the exception that its decoding raised


def _decode_one(decode: Callable, source: Any) -> _Decoded:
    try:
        return source, decode(source)
    except _OF_ONE_IMAGE as error:
        return source, error


def _in_turn(sources: Iterable, decode: Callable, depth: int, decoders: int) -> Generator[_Decoded, None, None]:
    with contextlib.ExitStack() as stack:
        if hasattr(sources, 'close'):
            stack.callback(sources.close)
        for source in sources:
            yield _decode_one(decode, source)


def _in_threads(sources: Iterable, decode: Callable, depth: int, decoders: int) -> Generator[_Decoded, None, None]:
    """Sources with their images, in order; a feeder hands up to ``depth`` of them to the decoders in advance."""
    ready: queue.Queue[Future] = queue.Queue(depth)
    stop = threading.Event()

    def feed(pool: ThreadPoolExecutor) -> None:
        """Put a future for each source, and one that ends the iteration or raises."""
        last: Future = Future()
        try:
            with contextlib.ExitStack() as stack:
                if hasattr(sources, 'close'):
                    stack.callback(sources.close)
                for source in sources:
                    if not _put(ready, pool.submit(_decode_one, decode, source), stop):
                        return
            last.set_result(_END)
        except BaseException as error:  # the consumer raises it
            last.set_exception(error)
        _put(ready, last, stop)

    with ThreadPoolExecutor(decoders, 'decode') as pool:
        feeder = threading.Thread(target=feed, args=(pool,), name='feed', daemon=True)
        feeder.start()
        try:
            while (item := ready.get().result()) is not _END:
                yield item
        finally:
            stop.set()
            feeder.join(timeout=5)  # it may wait for a silent camera


def _put(where: queue.Queue, item: object, stop: threading.Event) -> bool:
    """Put an item into a queue that may be full; False once ``stop`` is set."""
    while not stop.is_set():
        with contextlib.suppress(queue.Full):
            where.put(item, timeout=0.1)
            return True
    return False


def _batches(items: Generator[_Decoded, None, None], size: int) -> Generator[list[_Decoded], None, None]:
    with contextlib.closing(items) as closed:
        while batch := [*itertools.islice(closed, size)]:
            yield batch


def _detected(
    batches: Generator[list[_Decoded], None, None], detect: Callable, report: Report, detectors: int
) -> Generator[tuple[list[_Decoded], list], None, None]:
    """Batches without what failed, with their results, in order."""

    def run(batch: list[_Decoded]) -> tuple[list[_Decoded], list, list[tuple[Any, str]]]:
        failed = [(source, str(error)) for source, error in batch if isinstance(error, BaseException)]
        good = [item for item in batch if not isinstance(item[1], BaseException)]
        try:
            return good, list(detect([image for _, image in good])) if good else [], failed
        except _OF_ONE_IMAGE as error:
            if len(good) == 1:
                return [], [], [*failed, (good[0][0], str(error))]
        parts = [run([item]) for item in good]  # one of them is the cause
        return (
            [item for kept, _, _ in parts for item in kept],
            [one for _, found, _ in parts for one in found],
            failed + [one for _, _, bad in parts for one in bad],
        )

    if detectors == 1:
        for batch in batches:
            good, results, failed = run(batch)
            report.failed += failed
            yield good, results
        return
    with ThreadPoolExecutor(detectors, 'detect') as pool:
        pending: deque[Future] = deque()
        try:
            while True:
                while len(pending) < detectors and (following := next(batches, None)) is not None:
                    pending.append(pool.submit(run, following))
                if not pending:
                    return
                good, results, failed = pending.popleft().result()
                report.failed += failed
                yield good, results
        finally:
            for future in pending:
                future.cancel()


class _Writer:
    """Calls ``write`` in a thread of its own; leaving the block waits until all is written. What it raises is raised by the next call."""

    def __init__(self, write: Callable, report: Report, depth: int, parallel: bool) -> None:
        self._write, self._report = write, report
        self._queue: queue.Queue = queue.Queue(depth)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name='write') if parallel else None

    def __enter__(self) -> '_Writer':
        if self._thread is not None:
            self._thread.start()
        return self

    def put(self, *item: object) -> None:
        """Write one result, soon."""
        if self._thread is None:
            self._do(item)
            return
        if self._failure is None:
            self._queue.put(item)
        if self._failure is not None:
            raise self._failure

    def _do(self, item: Any) -> None:
        self._write(*item)
        self._report.done += 1

    def _run(self) -> None:
        while (item := self._queue.get()) is not _END:
            if self._failure is None:
                try:
                    self._do(item)
                except BaseException as error:  # raised by the main thread
                    self._failure = error

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        if self._thread is not None:
            self._queue.put(_END)
            self._thread.join()
        if self._failure is not None and value is None:
            raise self._failure
