"""What a person reads on the console; the log file of the run holds everything."""

import logging
import sys

from mmengine.logging import MMLogger

# The progress lines, and the metrics after each validation.
_PROGRESS = 'mmengine.hooks.logger_hook'
# Of this package: details of each layer.
_DETAILS = frozenset({'mmdet.engine.layer_decay'})
_LOGGING = ('logging', 'mmengine.logging', __name__)


class ConsoleFilter(logging.Filter):
    """Passes warnings, progress lines and this package's own messages, which name what runs, what it reads and writes, and evaluation tables.

    mmengine's other messages are left to the log file: environment, config, list of hooks, settings of each parameter.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the console shows a record; called by the thread that logs it."""
        if record.levelno > logging.INFO:
            return True
        if record.levelno < logging.INFO:
            return False
        origin = _origin()
        if origin == _PROGRESS:
            return not record.getMessage().startswith('Exp name')
        return origin.partition('.')[0] != 'mmengine' and origin not in _DETAILS


def _origin() -> str:
    """Name of the module that logs. Not the record's: behind ``print_log``, that is always mmengine's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_globals.get('__name__', '')
        if not name.startswith(_LOGGING):
            return name
        frame = frame.f_back
    return ''


def quieten(logger: MMLogger, *, verbose: bool) -> None:
    """Set or remove the filter of the logger's console; the log file is never filtered, and a logger for debugging is not either."""
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.filters = [known for known in handler.filters if not isinstance(known, ConsoleFilter)]
            if not verbose and handler.level >= logging.INFO:
                handler.addFilter(ConsoleFilter())
