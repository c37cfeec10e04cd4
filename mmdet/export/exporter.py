"""Write searched networks as stand-alone folders: structure, code that needs torch only, weights, demo, ONNX."""

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..archs.blocks.base import is_3d
from ..archs.blocks.costs import elements
from ..archs.files import StructureEntry, load_structures, save_structures
from ..archs.parsing import ACTIVATIONS, structure_to_dicts
from ..archs.structure import describe, is_quantised, stage_ends
from ..errors import CheckpointError, ConfigError
from ..nas.report import DEFAULT_FRAMES, DEFAULT_IMAGE_SIZE
from ..utils.files import explained, replacing, write_atomically, write_text
from ..utils.outputs import refuse_inputs
from ..visualization.charts import escaped
from .sources import PACKAGE, exported_sources
from .standalone import STRUCTURE_FILE, WEIGHTS_FILE, TinyNAS, example_input, load

ONNX_FILE = 'model.onnx'
TASKS = ('classification', 'detection')
# The task of an export, by the task that the structure file names.
_OUTPUTS_OF = dict(damoyolo='detection', detection='detection')
EXPORTED_FILES = (STRUCTURE_FILE, WEIGHTS_FILE, ONNX_FILE, 'README.md')  # beside the code
_CLASSIFIER_KEYS = ('fc_linear.', 'head.')


@dataclass
class ExportOptions:
    """Choices for an exported network that its structure does not determine.

    Attributes:
        task: ``'classification'`` (scores) or ``'detection'`` (maps); None takes that of the checkpoint, else of the structure file.
        image_size: side, or (height, width), of the example input; None takes the file's, else 224.
        frames: length of the example clip; None takes the file's, else 13.
        out_indices: stages whose maps a detection backbone gives; None for the last four.
        num_classes: number of classes of a classifier without a checkpoint; None for 1000.
        hidden_channels: width of a classifier's hidden layer; None takes the checkpoint's, else no such layer.
        act: activation of blocks that do not name one; None for that of their family.
    """

    task: str | None = None
    image_size: int | Sequence[int] | None = None
    frames: int | None = None
    out_indices: Sequence[int] | None = None
    num_classes: int | None = None
    hidden_channels: int | None = None
    act: str | None = None


@dataclass
class Export:
    """A written export: the folder, the network loaded from it, and its files relative to the folder."""

    folder: Path
    model: TinyNAS
    files: list[str]


def export_network(
    structure: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    index: int = 0,
    state_dict: Mapping[str, Tensor] | None = None,
    options: ExportOptions | None = None,
    onnx: bool = False,
) -> Export:
    """Write a structure of a file as a stand-alone network.

    Args:
        structure: a file of structures (:func:`~mmdet.nas.load_structures`).
        folder: folder to write; an earlier export in it is replaced.
        index: which structure of the file, from 0.
        state_dict: weights of a ``TinyNASBackbone``, a ``TinyNASClassifier``, a detector with such a backbone, or published ones; not changed. None
            for random weights.
        options: choices that the structure does not determine.
        onnx: whether to write an ONNX file, too.

    Raises:
        DataError: the structure file cannot be read.
        ConfigError: options that do not fit the structure, a folder with other contents or with ``structure`` itself, a block family that needs more than torch, or missing
            ONNX packages.
        CheckpointError: the weights are those of another network.
    """
    options = options or ExportOptions()
    entries = load_structures(structure)
    if not 0 <= index < len(entries):
        raise ConfigError(
            f'must be in 0..{len(entries) - 1}: {[entry.name for entry in entries]}', field='index', received=index
        )
    entry = entries[index]
    if onnx:
        _require_onnx()
        if state_dict is None and is_quantised(entry.blocks):
            raise ConfigError('ONNX needs the learned steps of a quantised network: give a checkpoint', field='onnx')
    weights = None if state_dict is None else own_weights(state_dict)
    network = _network_arguments(entry, options, weights)
    sources = exported_sources(block.type for block in entry.blocks)
    if weights is not None:
        weights = _fitting_weights(entry, network, weights)
    info = dict(entry.info, input_size=_input_size(entry, options), network=network)

    folder = Path(folder)
    earlier = (folder / STRUCTURE_FILE).is_file()
    if folder.exists() and not earlier and (not folder.is_dir() or any(folder.iterdir())):
        message = 'must be a new or empty folder, or that of an earlier export'
        raise ConfigError(message, field='out_dir', received=str(folder))
    refuse_inputs([folder / STRUCTURE_FILE], [structure], field='out_dir')
    for name, text in sources.items():
        write_text(folder / name, text)
    frames = (options.frames or entry.frames or DEFAULT_FRAMES) if is_3d(entry.blocks) else None
    written = StructureEntry(entry.name, entry.blocks, entry.image_size, frames, entry.task, info)
    save_structures(folder / STRUCTURE_FILE, [written])
    files = [*sources, STRUCTURE_FILE]
    if weights is not None:
        write_atomically(folder / WEIGHTS_FILE, lambda file: torch.save(weights, file))
        files.append(WEIGHTS_FILE)
    for name in (WEIGHTS_FILE, ONNX_FILE):
        if name not in files:
            with explained(folder / name):
                (folder / name).unlink(missing_ok=True)  # from an earlier export, of another structure
    model = load(folder)
    if onnx:
        export_onnx(model, example_input(folder), folder / ONNX_FILE, open_batch=not is_quantised(entry.blocks))
        files.append(ONNX_FILE)
    write_text(folder / 'README.md', _readme(entry, info, files))
    return Export(folder, model, [*files, 'README.md'])


def own_weights(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of a searched network's tensors under the published names: ``block_list.*``, and ``fc_linear.*`` and ``head.*`` of a classifier.

    Prefixes before ``block_list`` are cut off, and the other parts of a detector left out.

    Raises:
        CheckpointError: there is no ``block_list``, or there are several.
    """
    found, wrappers = {}, set()
    for key, value in state_dict.items():
        before, blocks, after = key.partition('block_list.')
        if blocks and (not before or before.endswith('.')):
            found[blocks + after] = value
            wrappers.add(before)
        bare = key.removeprefix('module.').removeprefix('backbone.')
        if bare.startswith(_CLASSIFIER_KEYS):
            found[bare] = value
    if len(wrappers) > 1:
        raise CheckpointError('holds several searched networks; export one at a time', received=sorted(wrappers))
    if not wrappers:
        raise CheckpointError(
            'has no block_list.*: not the weights of a TinyNASBackbone or TinyNASClassifier',
            received=list(state_dict)[:5],
        )
    return {key: value.detach().clone() for key, value in found.items()}


def export_onnx(model: nn.Module, inputs: Tensor, path: str | os.PathLike, *, open_batch: bool = True) -> None:
    """Write a network as ONNX.

    Args:
        model: the network, in eval mode.
        inputs: an example, (1, C, ...).
        path: file to write.
        open_batch: let the batch size vary. Not for quantised networks, whose quantisers compute with it in a way that ONNX cannot express.

    Raises:
        ConfigError: the ``onnx`` and ``onnxscript`` packages are missing.
    """
    _require_onnx()
    with torch.no_grad():
        outputs = model(inputs)
    names = ['scores'] if isinstance(outputs, Tensor) else [f'stage{i}' for i in range(len(outputs))]
    dynamic_shapes = None
    if open_batch:
        dynamic_shapes = ({0: torch.export.Dim('batch', min=1)},)
        inputs = torch.cat([inputs, inputs])  # a batch of one would be taken for a constant
    program = torch.onnx.export(
        model, (inputs,), input_names=['images'], output_names=names,
        dynamic_shapes=dynamic_shapes, dynamo=True, verbose=False,
    )  # fmt: skip
    assert program is not None  # with dynamo=True
    with replacing(Path(path), keep_suffix=True) as temporary:
        program.save(os.fspath(temporary), external_data=False)


def _require_onnx() -> None:
    missing = [name for name in ('onnx', 'onnxscript') if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"ONNX export needs {' and '.join(missing)}: pip install -c constraints.txt 'mmdet-dense[onnx]' (or onnx onnxscript)",
            field='--onnx',
        )


def _network_arguments(entry: StructureEntry, options: ExportOptions, weights: Mapping[str, Tensor] | None) -> dict:
    """Keyword arguments of :class:`TinyNAS` for a structure, the user's options and the weights."""
    classifier = weights is not None and 'fc_linear.weight' in weights
    task = options.task or ('classification' if classifier else _OUTPUTS_OF.get(entry.task or ''))
    if task is None:
        task = 'classification' if weights is None else 'detection'
    if task not in TASKS:
        raise ConfigError(f'must be one of {list(TASKS)}', field='task', received=task)
    if options.act is not None and options.act not in ACTIVATIONS:
        raise ConfigError(f'must be one of {list(ACTIVATIONS)}', field='act', received=options.act)
    common: dict[str, Any] = {} if options.act is None else dict(act=options.act)
    if task == 'detection':
        for name, given in (('num_classes', options.num_classes), ('hidden_channels', options.hidden_channels)):
            if given is not None:
                raise ConfigError('is for classification', field=name, received=given)
        last = len(stage_ends(entry.blocks)) - 1
        stages = list(range(max(last - 3, 0), last + 1) if options.out_indices is None else options.out_indices)
        if not stages or stages != sorted(set(stages)) or not 0 <= stages[0] <= stages[-1] <= last:
            raise ConfigError(f'must be ascending stages in 0..{last}', field='out_indices', received=stages)
        return dict(out_indices=stages, **common)
    if options.out_indices is not None:
        raise ConfigError('is for detection', field='out_indices', received=options.out_indices)
    num_classes, hidden = options.num_classes, options.hidden_channels
    if weights is not None:
        if not classifier:
            raise CheckpointError('holds no classifier (fc_linear): export it with --task detection')
        classes = len(weights['fc_linear.weight'])
        width = len(weights['head.0.weight']) if 'head.0.weight' in weights else None
        for name, given, found in (('num_classes', num_classes, classes), ('hidden_channels', hidden, width)):
            if given is not None and given != found:
                raise ConfigError(f'the checkpoint has {found}', field=name, received=given)
        num_classes, hidden = classes, width
    if hidden is not None:
        common['hidden_channels'] = hidden
    return dict(num_classes=num_classes or 1000, **common)


def _fitting_weights(entry: StructureEntry, network: dict, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights without a classifier's layers where the network gives maps.

    Raises:
        CheckpointError: a name or a shape is not that of the network.
    """
    with torch.device('meta'):
        wanted = TinyNAS(structure_to_dicts(entry.blocks), **network).state_dict()
    unused = _CLASSIFIER_KEYS if 'out_indices' in network else ()
    weights = {key: value for key, value in weights.items() if not key.startswith(unused)}
    for problem, names in (
        ('lacks', sorted(set(wanted) - set(weights))),
        ('has tensors that the network does not have:', sorted(set(weights) - set(wanted))),
    ):
        if names:
            raise CheckpointError(
                f'{problem} {", ".join(names[:3])}{f" and {len(names) - 3} more" if names[3:] else ""}; '
                'it must be of this structure, built as TinyNASBackbone or TinyNASClassifier'
            )
    for key, value in wanted.items():
        if weights[key].shape != value.shape:
            raise CheckpointError(
                f'the structure needs {tuple(value.shape)}', record=key, received=tuple(weights[key].shape)
            )
    return weights


def _input_size(entry: StructureEntry, options: ExportOptions) -> list[int]:
    """Height and width of the image, twice the searched size for structures that were searched behind space-to-depth."""
    given = options.image_size
    if given is not None:
        sides: list[int] = list(given) if isinstance(given, Sequence) else [given]
        if len(sides) not in (1, 2) or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ConfigError('must be one or two integers >= 1', field='image_size', received=given)
        return sides * 2 if len(sides) == 1 else sides
    stem = entry.blocks[0]
    halves = 2 if stem.type == 'ConvKXBNRELU' and stem.in_channels == 12 else 1
    return [(entry.image_size or DEFAULT_IMAGE_SIZE) * halves] * 2


def _readme(entry: StructureEntry, info: dict, files: list[str]) -> str:
    """Text of the folder's README.md."""
    network = info['network']
    if 'out_indices' in network:
        gives = f'maps of stages {", ".join(map(str, network["out_indices"]))}'
    else:
        gives = f'scores of {network["num_classes"]} classes'
    images = '(B, 3, T, H, W)' if is_3d(entry.blocks) else '(B, 3, H, W)'
    batch = 'a batch of 1' if is_quantised(entry.blocks) else 'any batch size'
    text = f"""# {escaped(' '.join(entry.name.split()))}

`{describe(entry.blocks)}`

A searched network ({sum(map(elements, entry.blocks)):,} parameters) that gives {gives}. It needs torch (exported with {torch.__version__}) and
nothing else:

```
python demo.py                       # output shapes, parameters, FLOPs, time
```

```python
from {PACKAGE} import load

model = load('.')                    # weights.pth where there is one; names must match
outputs = model(images)              # {images}, normalised as in training
```

| file | what |
|---|---|
| `{STRUCTURE_FILE}` | blocks, input size, outputs; also a backbone of the toolbox |
| `{PACKAGE}/network.py` | the network, `load` |
| `{PACKAGE}/modules.py`, `lsq.py`, `damo.py` | blocks as modules; quantised convolutions; space-to-depth |
| `{PACKAGE}/blocks/`, `structure.py`, `parsing.py` | what a block consists of; reading of structures |
| `{PACKAGE}/torch_file.py`, `errors.py` | check sums of files of weights; exceptions |
"""
    if WEIGHTS_FILE in files:
        text += f'| `{WEIGHTS_FILE}` | state dict |\n'
    if ONNX_FILE in files:
        text += f'| `{ONNX_FILE}` | the same for other run times, for {batch} |\n'
    version = f'{sys.version_info[0]}.{sys.version_info[1]}'
    return f'{text}\nWritten by mmdet-dense, tools/export.py (Apache-2.0), Python {version}.\n'
