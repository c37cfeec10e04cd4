"""Read an old config file, whose ``_base_`` files may be missing.

A config names its bases by paths inside the project it comes from: ``../_base_/datasets/coco_detection.py``. When the
config is moved, there is no file at that path, or it is this project's new-style file of the same name. In both cases
the contents of :mod:`~mmdet.config.legacy.bases` are used instead. An old-style file at the path is used as it is.

The names that a file assigns tell its style, without running it.
"""

import ast
import contextlib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from ...errors import ConfigError
from .bases import BASES, ONLY_OLD, known_base
from .report import UpgradeReport

# Top-level names of the new style; one of them makes a file or a config new-style, whatever else is in it.
NEW_NAMES = frozenset({
    'default_hooks', 'default_scope', 'env_cfg', 'log_processor', 'optim_wrapper', 'param_scheduler', 'randomness',
    'test_dataloader', 'test_evaluator', 'train_dataloader', 'val_cfg', 'val_dataloader', 'val_evaluator',
})  # fmt: skip
# Top-level names of the old style that have no other use.
OLD_NAMES = frozenset({
    'checkpoint_config', 'data', 'dist_params', 'evaluation', 'log_config', 'lr_config', 'optimizer_config',
    'resume_from', 'total_epochs', 'workflow',
})  # fmt: skip
# Names of old configs that a new one may have as helper variables.
_WEAK_OLD_NAMES = frozenset({'fp16', 'img_norm_cfg', 'optimizer', 'runner'})


@dataclass
class _File:
    path: Path
    source: str
    base_node: ast.Assign | None = None  # assigns ``_base_``
    bases: Sequence[str] = ()
    names: set[str] = field(default_factory=set)  # assigned by the file

    @property
    def is_new(self) -> bool:
        return bool(self.names & NEW_NAMES)

    @property
    def is_old(self) -> bool:
        return bool(self.names & OLD_NAMES) and not self.is_new

    def locate(self, base: str) -> Path | None:
        """The file at a base's path; None if there is none, or if it belongs to another package."""
        path = self.path.parent / base
        return path if '::' not in base and path.is_file() else None


def _parse(path: Path) -> _File:
    """Read the names and bases of a file without running it.

    Raises:
        SyntaxError: not Python.
    """
    file = _File(path, path.read_text(encoding='utf-8'))
    for node in ast.parse(file.source, str(path)).body:
        if isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            file.names |= names
            if '_base_' in names:
                file.base_node = node
    if file.base_node is not None:
        with contextlib.suppress(ValueError):  # a computed one is left to mmengine
            bases = ast.literal_eval(file.base_node.value)
            file.bases = [bases] if isinstance(bases, str) else list(bases)
    return file


def is_legacy_file(path: Path, *, _above: frozenset[Path] = frozenset()) -> bool:
    """Whether a Python config file is an old-style one, itself or through its bases.

    Raises:
        SyntaxError: the file, or one of its bases, is not Python.
    """
    file, above = _parse(path), _above | {path.resolve()}
    if file.is_new or file.is_old:
        return file.is_old
    for base in file.bases:
        found, known = file.locate(base), known_base(base)
        if found is not None and found.suffix == '.py':
            if found.resolve() not in above and is_legacy_file(found, _above=above):
                return True
        elif known and (known in ONLY_OLD or file.names & _WEAK_OLD_NAMES):
            return True
    return False


def read_chain(path: Path, report: UpgradeReport) -> Config:
    """Read an old-style file and its bases; known contents replace those that are missing or new-style.

    Modules that ``custom_imports`` names are not imported.

    Raises:
        ConfigError: a base is missing or new-style and not a known one, or a file is its own base.
    """
    with tempfile.TemporaryDirectory() as folder:
        assembled = _Assembly(Path(folder), report).file(path)
        cfg = Config.fromfile(str(assembled), import_custom_modules=False, lazy_import=False)
    return Config(cfg.to_dict(), filename=str(path))  # the name of the file, not of its copy


class _Assembly:
    """Copies of a config file and its bases in one folder; ``_base_`` of a copy names the other copies."""

    def __init__(self, folder: Path, report: UpgradeReport):
        self.folder, self.report = folder, report
        self.count = 0

    def file(self, path: Path, seen: tuple[Path, ...] = ()) -> Path:
        """The file itself if all its bases can be used as they are, otherwise a rewritten copy."""
        if path.resolve() in seen:
            raise ConfigError('the file is its own base', file=path, field='_base_')
        file = _parse(path)
        usable = {base: self._base(file, base, (*seen, path.resolve())) for base in file.bases}
        if file.base_node is None or all('::' in base or file.locate(base) == copy for base, copy in usable.items()):
            return path
        lines = _predefined(file.source, path).splitlines()
        first, last = file.base_node.lineno - 1, file.base_node.end_lineno
        lines[first:last] = [f'_base_ = {[str(copy) for copy in usable.values()]!r}']
        return self._write(path.stem, '\n'.join(lines))

    def _base(self, file: _File, base: str, seen: tuple[Path, ...]) -> Path | str:
        if '::' in base:
            return base
        found, known = file.locate(base), known_base(base)
        if found is not None and found.suffix != '.py':
            return found
        if found is not None and not _parse(found).is_new:
            return self.file(found, seen)
        if known is not None:
            why = 'missing' if found is None else 'new-style here'
            self.report.note(f'_base_ {base} is {why}: the settings of mmdetection 2.x are taken')
            return self._known(known)
        message = 'an old-style config cannot build on this new-style file'
        if found is None:
            message = f'no such base file, and not one of the known {sorted(BASES)}'
        raise ConfigError(message, file=file.path, field='_base_', received=base)

    def _known(self, name: str) -> Path:
        content = dict(BASES[name])
        if '_base_' in content:
            content['_base_'] = [str(self._known(base)) for base in content['_base_']]
        return self._write(Path(name).stem, '\n'.join(f'{key} = {value!r}' for key, value in content.items()))

    def _write(self, stem: str, text: str) -> Path:
        self.count += 1
        target = self.folder / f'{stem}_{self.count}.py'
        target.write_text(text + '\n', encoding='utf-8')
        return target


def _predefined(source: str, path: Path) -> str:
    """Replace mmengine's ``{{ fileDirname }}`` and the like, which would name the copy, by those of ``path``."""
    values = dict(
        fileDirname=path.resolve().parent.as_posix(),
        fileBasename=path.name,
        fileBasenameNoExtension=path.stem,
        fileExtname=path.suffix,
    )
    return re.sub(rf'{{{{\s*({"|".join(values)})\s*}}}}', lambda match: values[match[1]], source)
