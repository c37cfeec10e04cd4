"""A filter for the console, which shows the messages that a person needs; the log file of the run holds all of them."""

import logging
import sys
from contextlib import suppress

from mmengine.logging import MMLogger

# This module logs the progress lines and the metrics after each validation.
_PROGRESS = 'mmengine.hooks.logger_hook'
# Modules of this package that log details of each layer.
_DETAILS = frozenset({'mmdet.engine.layer_decay'})
# mmengine warns here of every parameter that is frozen.
_FROZEN = 'mmengine.optim.optimizer.default_constructor'
_LOGGING = ('logging', 'mmengine.logging', __name__)


class ConsoleFilter(logging.Filter):
    """Passes warnings, progress lines, and this package's own messages: what runs, what it reads and writes, and evaluation tables.

    mmengine's other messages are left to the log file: environment, config, list of hooks, settings of each parameter.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the console shows a record; called by the thread that logs it."""
        if record.levelno < logging.INFO:
            return False
        origin = _origin()
        if record.levelno > logging.INFO:
            return origin != _FROZEN or not record.getMessage().endswith('requires_grad=False')
        if origin == _PROGRESS:
            return not record.getMessage().startswith('Exp name')
        return origin.partition('.')[0] != 'mmengine' and origin not in _DETAILS


def _origin() -> str:
    """Name of the module that logs; the record itself names mmengine for every message of ``print_log``."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_globals.get('__name__', '')
        if not name.startswith(_LOGGING):
            return name
        frame = frame.f_back
    return ''


def report_failures(logger: MMLogger) -> None:
    """Let a log file that cannot be written to (a full disk) cost one line on stderr instead of a traceback for each line, and not the run."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = _Complaint(handler.baseFilename)  # type: ignore[method-assign]


class _Complaint:
    def __init__(self, file: str):
        self.file, self.made = file, False

    def __call__(self, record: logging.LogRecord) -> None:
        """Called by the handler while it handles the exception of a write."""
        if not self.made:
            self.made = True
            reason = sys.exc_info()[1]
            with suppress(OSError):  # a console that goes to a file on the same disk
                print(
                    f'{self.file}: lines of the log could not be written ({reason}); the run goes on', file=sys.stderr
                )


def quieten(logger: MMLogger, *, verbose: bool) -> None:
    """Add the filter to the logger's console, or remove it if ``verbose``; log files and debugging loggers are not filtered."""
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.filters = [known for known in handler.filters if not isinstance(known, ConsoleFilter)]
            if not verbose and handler.level >= logging.INFO:
                handler.addFilter(ConsoleFilter())
