"""Order, failures, interruption and memory of the pipeline."""

import threading
import time

import numpy as np
import pytest

from mmdet_runtime.errors import DataError
from mmdet_runtime.pipeline import process


def numbered(image):
    return int(image[0])


@pytest.mark.parametrize(
    'options',
    [dict(parallel=False), dict(), dict(batch_size=3), dict(batch_size=2, detectors=2), dict(decoders=4, depth=1)],
)
@pytest.mark.parametrize('count', [0, 1, 7])
def test_order_and_failures(options, count):
    """The third source cannot be decoded, and the fifth not detected in."""
    written = []

    def decode(source):
        time.sleep(0.001 * (source % 3))  # later ones may be ready first
        if source == 2:
            raise DataError('broken', file='two')
        return np.array([source])

    def detect(images):
        if any(numbered(image) == 4 for image in images):
            raise DataError('too large', file='four')
        return [10 * numbered(image) for image in images]

    report = process(range(count), decode, detect, lambda *item: written.append((item[0], item[2])), **options)
    good = [i for i in range(count) if i not in (2, 4)]
    assert written == [(i, 10 * i) for i in good] and report.done == len(good) and not report.stopped
    assert report.failed == [(i, text) for i, text in ((2, 'two: broken'), (4, 'four: too large')) if i < count]


@pytest.mark.parametrize('options', [dict(parallel=False), dict(), dict(detectors=2)])
@pytest.mark.parametrize('where', ['sources', 'decode', 'detect', 'write'])
def test_errors_of_the_program_end_it(options, where):
    """And no thread is left."""

    def fail(name, value):
        if name == where:
            raise ZeroDivisionError(name)
        return value

    def sources():
        for i in range(50):
            yield fail('sources', i) if i == 5 else i

    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError, match=where):
        process(
            sources(), lambda i: fail('decode', np.array([i])), lambda images: fail('detect', [numbered(one) for one in images]),
            lambda *item: fail('write', None), **options,
        )  # fmt: skip
    assert threading.active_count() == threads


@pytest.mark.parametrize(('end', 'status'), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_interruption_writes_what_is_done(end, status):
    closed, written = [], []

    def endless():
        try:
            i = 0
            while True:
                yield i
                i += 1
        finally:
            closed.append(True)

    def detect(images):
        if numbered(images[0]) == 3:
            raise end
        return [0]

    report = process(endless(), lambda i: np.array([i]), detect, lambda source, *_: written.append(source))
    assert report.stopped and report.done == 3 and written == [0, 1, 2] and closed == [True]
    assert report.status == status


def test_few_images_are_in_memory():
    """With a writer that waits, no more than the queues hold are decoded."""
    decoded, go = [], threading.Event()

    def write(*_):
        go.wait(5)

    runner = threading.Thread(
        target=process,
        args=(range(100), lambda i: decoded.append(i) or np.array([i]), lambda images: [0], write),
        kwargs=dict(depth=2),
    )
    runner.start()
    time.sleep(0.3)
    waiting = len(decoded)
    go.set()
    runner.join()
    # 2 in the queue of decoded ones, 1 that the feeder holds, 1 with the detector, 2 to be written, 1 with the writer
    assert waiting <= 8 and len(decoded) == 100
