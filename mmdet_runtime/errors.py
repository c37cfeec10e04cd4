"""The package's own exceptions: every error that a user can cause is one of these.

Each also derives from the builtin that callers would expect (``ValueError``, ``RuntimeError``), and composes its message the same way:
*where* (file, record, field), *what is wrong or allowed*, then *what was received*.

    >>> place = dict(file='train.json', record='box 7', field='bbox')
    >>> raise DataError('width must be > 0', **place, received=[0, 0, -1, 4])
    Traceback (most recent call last):
    ...
    mmdet_runtime.errors.DataError: train.json: box 7: bbox: width must be > 0. Received: [0, 0, -1, 4]
"""

_UNSET = object()
_LONGEST = 2000  # characters of a received value in a message


class MMDetError(Exception):
    """Base of the errors that a user's input can cause.

    Args:
        message: what is wrong, naming what is allowed.
        file: path of the file at fault.
        record: the record inside it (an annotation id, a line number, a tensor name).
        field: the field, key or argument.
        received: the offending value, shown by ``repr``.
    """

    def __init__(
        self,
        message: str,
        *,
        file: object = None,
        record: object = None,
        field: object = None,
        received: object = _UNSET,
    ):
        self.file, self.record, self.field = file, record, field
        where = [str(part) for part in (file, record, field) if part is not None]
        text = ': '.join([*where, message])
        if received is not _UNSET:
            self.received = received
            text = f'{text.rstrip(".")}. Received: {_shown(received)}'
        super().__init__(text)


def one_line(error: BaseException) -> str:
    """The message of another library's error in one line, for an error of ours that quotes it."""
    return ' '.join(str(error).split())


def _shown(value: object) -> str:
    """The ``repr`` of a value, cut to what can be read; its type where Python refuses one (endless nesting, 10**5000)."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f'a {type(value).__name__} that cannot be shown'
    return text if len(text) <= _LONGEST else f'{text[:_LONGEST]}... ({len(text)} characters)'


class ConfigError(MMDetError, ValueError):
    """A config file, key or command-line argument is wrong."""


class DataError(MMDetError, ValueError):
    """An annotation file, image or prediction file is missing, broken or inconsistent."""


class CheckpointError(MMDetError, RuntimeError):
    """A checkpoint is missing, broken, unsafe, or does not fit the model."""


class ModelInputError(MMDetError, ValueError):
    """Tensors handed to a model, loss or operator have an impossible shape, type or value."""


class ArgumentError(ConfigError, ModelInputError, AssertionError):
    """An argument has an impossible value, where callers written for mmdetection 3.x expect an ``AssertionError``.

    Arguments come from configs or are tensors, hence the other two bases.
    """


class NonFiniteLossError(MMDetError, RuntimeError):
    """A loss became NaN or infinite; raised before the optimiser moves."""
