"""Read configs and command lines, with errors that say what to change."""

import argparse
import difflib
import functools
import os
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mmengine.config import Config, DictAction

from mmdet_runtime.arguments import ArgumentParser

from ..build_errors import build_errors_explained
from ..errors import ConfigError, MMDetError
from ..registry import all_registries
from . import text  # noqa: F401  (configs with keywords as keys can be written)
from .config_files import config_errors, refuse_class_config
from .ending import ends_in_one_line
from .launcher import launcher_in_use, starts_as_main_process
from .legacy.config import merge_options, read_legacy_config

P = ParamSpec('P')
T = TypeVar('T')

# The runner reads these keys even where a config does not have them.
_RUN_KEYS = frozenset({'trust_checkpoint', 'verbose', 'inference'})
# Modes of torch.compile that may be named; those with CUDA graphs, or that time kernels, are made for GPUs.
COMPILE_MODES = ('default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs')


def load_config(path: str | Path, cfg_options: dict | None = None) -> Config:
    """Read a config file and apply overrides.

    An old-style config (mmdetection 1.x, 2.x) is translated, see :mod:`mmdet.config.legacy`.

    Args:
        path: a ``.py``, ``.json`` or ``.yaml`` config.
        cfg_options: dotted keys and values, merged into the config.

    Raises:
        ConfigError: the file is missing, cannot be parsed, or an override does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError('no such config file', file=path)
    with config_errors(path):
        refuse_class_config(path)
        legacy = read_legacy_config(path, cfg_options)
        cfg, cfg_options = (Config.fromfile(str(path)), cfg_options) if legacy is None else legacy
    if cfg_options:
        _warn_of_new_keys(cfg, cfg_options)
        merge_options(cfg, cfg_options, path)
    _settle_teacher(cfg, path)
    return cfg


def _settle_teacher(cfg: Config, path: Path) -> None:
    """Complete the path of a teacher's config that is not in the working directory, but in or above the folder of the config."""
    model = cfg.get('model')
    name = model.get('teacher_config') if isinstance(model, dict) else None
    if isinstance(name, str) and not Path(name).is_file():
        places = (folder / name for folder in path.absolute().parents)
        model['teacher_config'] = next((str(place) for place in places if place.is_file()), name)


def _warn_of_new_keys(cfg: Config, cfg_options: dict) -> None:
    """Name the overrides whose first key the config does not have: they are allowed, but often a typing error."""
    if not starts_as_main_process():
        return
    for option in cfg_options:
        first = option.partition('.')[0]
        if first not in cfg and first not in _RUN_KEYS:
            near = difflib.get_close_matches(first, list(cfg), n=1)
            hint = f'; did you mean {near[0]!r}?' if near else ''
            print(f'--cfg-options: the config has no {first!r}, {option!r} is added to it{hint}', file=sys.stderr)


class CfgOptions(DictAction):
    """``--cfg-options key=value ...``: an argument without ``=``, or with a value that cannot be read, is a usage error rather than a traceback."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Check the pairs and add them to those that were given before."""
        for value in values:
            if not value.partition('=')[0] or '=' not in value:
                raise argparse.ArgumentError(self, f'expects key=value pairs. Received: {value!r}')
            try:
                super().__call__(parser, namespace, [value], option_string)
            except Exception as error:  # mmengine's parser of lists fails in many ways
                raise argparse.ArgumentError(self, f'cannot read this value. Received: {value!r}') from error


class _Setting(argparse.Action):
    """An option that is short for ``--cfg-options KEY=VALUE``; ``dest`` is the key, True the value of an option without one, or with 'auto'."""

    def __call__(self, _parser: object, namespace: argparse.Namespace, values: Any, *_: object) -> None:
        namespace.cfg_options = {
            **(getattr(namespace, 'cfg_options', None) or {}),
            self.dest: True if values in ([], 'auto') else values,
        }


class _ValueRange(argparse.Action):
    """``--value-range LOW HIGH`` or the name of a rule."""

    def __call__(self, _parser: object, namespace: argparse.Namespace, values: Any, *_: object) -> None:
        setattr(namespace, self.dest, values[0] if len(values) == 1 else tuple(values))


def _number_or_rule(value: str) -> float | str:
    return value if value.isalpha() else float(value)


def add_value_range(parser: argparse.ArgumentParser) -> None:
    """Add ``--value-range``, as :func:`mmdet.formats.pixels.check_value_range` takes it."""
    parser.add_argument(
        '--value-range', nargs='+', type=_number_or_rule, action=_ValueRange, metavar=('LOW', 'HIGH'),
        help="what 16-bit and floating-point pixels mean: two values that become 0 and 255, or 'full' or 'minmax'",
    )  # fmt: skip


def add_inference_arguments(parser: ArgumentParser, *, with_options: bool = False) -> None:
    """Add the options that are short for the ``inference`` dict of a config; ``with_options`` also ``--cfg-options``, where it is not there yet."""
    add = parser.add_argument
    add('--amp', nargs='?', const='auto', choices=['auto', 'bf16', 'fp16'], dest='inference.amp', action=_Setting, default=argparse.SUPPRESS,
        help='mixed precision: float16 on a GPU and bfloat16 on a CPU, or the type named')  # fmt: skip
    add('--compile', nargs='?', const='auto', choices=['auto', *COMPILE_MODES], dest='inference.compile', action=_Setting,
        default=argparse.SUPPRESS, help='torch.compile the network, once for all sizes of images, which takes a minute or two; or in this mode')  # fmt: skip
    if with_options:
        add('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE', help='override config values')


def add_random_weights(parser: argparse.ArgumentParser) -> None:
    """Add ``--random-weights``, without which a missing checkpoint is an error."""
    parser.add_argument('--random-weights', action='store_true', help='detect without a checkpoint, to try a structure')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every tool with a config has: overrides, launcher, trust, length of the console output."""
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE',
                        help="override config values: dotted keys, lists as key='[a,b]' or key=a,b")  # fmt: skip
    parser.add_argument(
        '--verbose', nargs=0, action=_Setting, help='show on the console what is otherwise in the log file only'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        help='how processes were started; torchrun is noticed',
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by old launchers; LOCAL_RANK wins'
    )
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='allow unpickling arbitrary objects from checkpoint files: only for files you trust')  # fmt: skip


def set_local_rank(args: argparse.Namespace) -> None:
    """Settle ``--launcher``, and set LOCAL_RANK in a process whose launcher passed ``--local_rank`` instead of setting it."""
    args.launcher = launcher_in_use(args.launcher)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))


def type_name(spec: object) -> str:
    """Name of the type in a config's dict, which gives it as a string (with or without a scope) or as a class; else the type of an object.

    >>> type_name(dict(type='mmdet.GFL')), type_name(dict(type=dict)), type_name(3)
    ('GFL', 'dict', 'int')
    """
    kind = spec.get('type') if isinstance(spec, dict) else type(spec)
    return getattr(kind, '__name__', str(kind)).rpartition('.')[2]


def require_keys(cfg: Config, keys: Sequence[str], purpose: str) -> None:
    """Raise ConfigError unless a config has these top-level keys (``train_cfg=dict()`` counts, None does not)."""
    missing = [key for key in keys if cfg.get(key) is None]
    if missing:
        others = f' (and {", ".join(missing[1:])})' if missing[1:] else ''
        raise ConfigError(f'missing{others}: {purpose} needs {", ".join(keys)}', file=cfg.filename, field=missing[0])


def resolve_work_dir(cfg: Config, config_path: str | Path, work_dir: str | None = None) -> str:
    """The command line's work dir, else the config's, else ``work_dirs/<config name>``."""
    return work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(config_path).stem)


def reports_user_errors(main: Callable[P, T]) -> Callable[P, T]:
    """Decorate a tool's ``main``: what a user can cause ends in one line on the error stream instead of a traceback.

    The exit status is 2 for errors of the package and for files and folders that the system refuses (``OSError``); signals and lost processes
    have others, see :func:`~mmdet.config.ending.ends_in_one_line`. It is 141, without a line, where nothing reads the output any more. A list of what
    does not fit, such as the tensors of a checkpoint, follows the line. With ``MMDET_TRACEBACK=1`` in the environment the traceback is shown.
    """

    @functools.wraps(main)
    @ends_in_one_line()
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with build_errors_explained(all_registries()):
                result = main(*args, **kwargs)
            sys.stdout.flush()
            return result
        except (MMDetError, OSError) as error:
            if isinstance(error, BrokenPipeError) and _reader_is_gone():
                # Python writes out the rest when it ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(128 + 13)  # SIGPIPE
            if os.environ.get('MMDET_TRACEBACK') == '1':
                raise
            print(f'{type(error).__name__}: {error}', file=sys.stderr)
            sys.exit(2)

    return wrapper


def _reader_is_gone() -> bool:
    """Whether nothing reads the standard output any more, as behind ``| head``."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError):  # Windows has no poll; an output that is no file has no number
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))
