"""Source files of an exported network: the toolbox's own modules with rewritten imports, so that there is no second copy of the network.

Only the module names in import lines change. Imports of exported modules become relative, those of mmcv, mmengine and the registry point to
``compat.py``, and those of torch and the standard library stay. A module that imports anything else cannot be exported.
"""

import ast
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path

from ..archs.blocks import family_of
from ..errors import ConfigError
from ..moved import modules_of

PACKAGE = 'tinynas'
_HERE = __package__
# Modules that every export contains, and their files in the exported folder.
FILES = {
    f'{_HERE}.demo': 'demo.py',
    f'{_HERE}.standalone': f'{PACKAGE}/network.py',
    f'{_HERE}.compat': f'{PACKAGE}/compat.py',
    'mmdet.models.layers.tinynas_blocks': f'{PACKAGE}/modules.py',
    'mmdet.models.layers.tinynas_damo': f'{PACKAGE}/damo.py',
    'mmdet.models.layers.lsq': f'{PACKAGE}/lsq.py',
    'mmdet.archs.structure': f'{PACKAGE}/structure.py',
    'mmdet.archs.parsing': f'{PACKAGE}/parsing.py',
    'mmdet.archs.blocks': f'{PACKAGE}/blocks/__init__.py',
    'mmdet.archs.blocks.base': f'{PACKAGE}/blocks/base.py',
    'mmdet.archs.blocks.conv': f'{PACKAGE}/blocks/conv.py',
    'mmdet.archs.blocks.costs': f'{PACKAGE}/blocks/costs.py',
    'mmdet.archs.blocks.depthwise': f'{PACKAGE}/blocks/depthwise.py',
    'mmdet.archs.blocks.residual': f'{PACKAGE}/blocks/residual.py',
    'mmdet_runtime.errors': f'{PACKAGE}/errors.py',
    'mmdet.formats.torch_file': f'{PACKAGE}/torch_file.py',
}
STAND_INS = {
    **dict.fromkeys(('mmcv.cnn', 'mmengine.dist', 'mmdet.registry'), f'{_HERE}.compat'),
    'mmdet.errors': 'mmdet_runtime.errors',
}
_KEPT = {'torch', *sys.stdlib_module_names}


def exported_sources(block_types: Iterable[str]) -> dict[str, str]:
    """The source files that a network of these block families needs: text by file name.

    Args:
        block_types: names of block families. The modules of families that do not belong to the toolbox are exported, too.

    Raises:
        ConfigError: a family is defined without a source file, or its module imports what is neither torch nor exported.
    """
    files = dict(FILES)
    own = []
    for family in map(family_of, sorted(set(block_types))):
        for cls in family.__mro__[:-1]:
            if cls.__module__ not in files:
                own.append(cls.__module__)
                files[cls.__module__] = f'{PACKAGE}/blocks/{cls.__module__.rpartition(".")[2]}.py'
    texts = {name: _rewritten(module, files) for module, name in files.items()}
    imports = ''.join(f'from .blocks import {Path(files[module]).stem}  # noqa: F401\n' for module in own)
    texts[f'{PACKAGE}/__init__.py'] = f'{imports}from .network import TinyNAS, example_input, load\n\n' + (
        "__all__ = ['TinyNAS', 'example_input', 'load']\n"
    )
    return texts


def _rewritten(module: str, files: dict[str, str]) -> str:
    """A module's source with the imports of the exported folder."""
    spec = importlib.util.find_spec(module) if module != '__main__' else None
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise ConfigError('defines a block family but has no source file to export', field=module)
    text = Path(spec.origin).read_text(encoding='utf-8')
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _check(alias.name, spec, files)
        elif isinstance(node, ast.ImportFrom):
            name = importlib.util.resolve_name('.' * node.level + (node.module or ''), spec.parent)
            target = (modules_of(name) or (name,))[0]
            target = STAND_INS.get(target, target)
            if target in files:
                new, i = _reference(files[target], files[module]), node.lineno - 1
                lines[i] = re.sub(r'\bfrom\s+\S+\s+import\b', f'from {new} import', lines[i], count=1)
            else:
                _check(target, spec, files)
    return '\n'.join(lines) + '\n'


def _check(module: str, spec: ModuleSpec, files: dict[str, str]) -> None:
    """Raise ConfigError unless an import is of torch or the standard library."""
    if module.partition('.')[0] not in _KEPT:
        raise ConfigError(
            f'an exported network needs torch only; {spec.name} may import torch, the standard library, '
            f'{", ".join(sorted(STAND_INS))} and {", ".join(sorted(set(files) - {spec.name}))}',
            file=spec.origin,
            field='import',
            received=module,
        )


def _reference(target: str, source: str) -> str:
    """The module name by which one exported file imports another: relative inside the package, absolute in scripts beside it."""
    parts, place = list(Path(target).with_suffix('').parts), list(Path(source).parent.parts)
    if parts[-1] == '__init__':
        parts.pop()
    if not place:
        return '.'.join(parts)
    shared = len(os.path.commonprefix([parts[:-1], place]))
    return '.' * (len(place) - shared + 1) + '.'.join(parts[shared:])
