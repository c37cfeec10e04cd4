"""Conversion of checkpoints to tensors under this package's names and plain values, for ``upgrade_checkpoint.py`` and ``publish_model.py``."""

import hashlib
import io
import json
import os
import re
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes

from ...errors import CheckpointError, ConfigError
from ...utils.class_names import class_names, shown
from ...utils.files import write_bytes
from ...utils.outputs import refuse_inputs
from .class_rows import ClassRows
from .loading import LoadReport, load_into
from .names import keep_metadata, rename_reference_keys
from .reading import load_checkpoint_file
from .saving import to_plain

# mmcv 1.x kept the averages of its EMA hook as buffers of the model itself, dots turned into underscores.
_EMA_BUFFER = re.compile(r'^ema_[A-Za-z0-9_]+$')
# How names begin that only detectors have: heads, and the network of a TransformersDetector.
_DETECTORS = ('bbox_head.', 'roi_head.', 'model.')
# Names of the class names and colours in an old ``meta``, and in ``dataset_meta``.
_OLD_META = {'CLASSES': 'classes', 'PALETTE': 'palette'}
# Entries of ``meta`` that only the run which wrote them uses.
_RUN_META = frozenset({'env_info', 'exp_name', 'hook_msgs', 'experiment_name'})


@dataclass
class ConversionReport:
    """What :func:`convert_checkpoint` found and did.

    Attributes:
        renamed: ``(old, new)`` names.
        dropped: entries that were left out, with the reason.
        found: what the tensors say about the model, one line a fact.
        load: names and shapes against a model, if one was given.
        mapped: which class continues which, where classes were chosen.
    """

    renamed: list[tuple[str, str]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    load: LoadReport | None = None
    mapped: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Everything, one line an entry."""
        lines = [f'found: {fact}' for fact in self.found]
        lines += [f'renamed: {old} -> {new}' for old, new in self.renamed]
        lines += [f'dropped: {entry}' for entry in self.dropped]
        lines += self.mapped
        if self.load is not None:
            lines += [f'model: {note}' for note in self.load.notes]
            lines.append(f'model: all {self.load.loaded} tensors fit')
        return lines


def convert_checkpoint(
    source: str | os.PathLike,
    *,
    trust: bool = False,
    model: torch.nn.Module | None = None,
    map_classes: Any = None,
    classes: Sequence[str] | None = None,
) -> tuple[dict, ConversionReport]:
    """Read any checkpoint of the family and give ``dict(state_dict, meta)`` under the names of this package.

    Optimiser, schedules and logs are left out. ``meta`` keeps what has a plain form, class names as ``dataset_meta``.

    Args:
        source: path, URL or known name, see :func:`~mmdet.engine.load_checkpoint_file`.
        trust: allow full unpickling, which can run code hidden in the file.
        model: load into it, strictly; it may adapt itself (class channels, version of deformable layers).
        map_classes: as in configs (see :class:`~mmdet.engine.checkpoint.class_rows.ClassRows`): give the rows of the classes of the
            checkpoint to those of ``model``. Each needs a counterpart.
        classes: names of the classes of ``model``, for ``map_classes``.

    Raises:
        CheckpointError: not readable, or it does not fit ``model``.
        ConfigError: ``map_classes`` names what is not there, or a class of ``model`` has no counterpart.
    """
    content = load_checkpoint_file(source, trust=trust)
    report = ConversionReport()
    state, report.renamed = rename_reference_keys(content.pop('state_dict'))
    state = _without_averages(state, report)
    meta = _clean_meta(content.pop('meta', {}), report)
    report.dropped += [f'{key}: of the training run' for key in content]
    report.found = describe(state)
    if model is not None:
        rows = ClassRows(map_classes, class_names(meta), classes, source) if map_classes else None
        if rows is not None and -1 in rows.sources:
            message = (
                f'the checkpoint has no class for {shown([n for n, i in zip(rows.wanted, rows.sources) if i < 0])}'
            )
            raise ConfigError(message, field='map_classes', received=map_classes)
        report.load = load_into(model, state, strict=True, by_name=None if rows is None else rows.apply)
        if rows is not None:  # what was loaded has the names and shapes of the model
            report.mapped, state = rows.lines(), OrderedDict(model.state_dict())
            meta['dataset_meta'] = dict(classes=rows.wanted)
    return dict(meta=meta, state_dict=state), report


def _without_averages(state: OrderedDict, report: ConversionReport) -> OrderedDict:
    averages = {name for name in state if _EMA_BUFFER.match(name)}
    if not averages or len(averages) == len(state):
        return state
    report.dropped.append(
        f'{len(averages)} buffers ema_*: the other half of the averaging hook; the named weights are the averages'
    )
    kept = OrderedDict((name, value) for name, value in state.items() if name not in averages)
    keep_metadata(state, kept)
    return kept


def _clean_meta(meta: Mapping, report: ConversionReport) -> dict:
    clean = {}
    stored = meta.get('dataset_meta')
    dataset_meta = dict(stored) if isinstance(stored, Mapping) else {}
    for old, new in _OLD_META.items():
        if meta.get(old) is not None:
            dataset_meta.setdefault(new, meta[old])
            report.renamed.append((f'meta.{old}', f'meta.dataset_meta.{new}'))

    def refuse(where: str, item: object) -> None:
        report.dropped.append(f'meta.{where}: {type(item).__name__}: has no plain form')

    for key, value in meta.items():
        if key not in {*_RUN_META, *_OLD_META, 'dataset_meta'}:
            clean[key] = to_plain(value, unknown=refuse, where=key)
    if dataset_meta:
        if isinstance(dataset_meta.get('classes'), list):
            dataset_meta['classes'] = tuple(dataset_meta['classes'])
        clean['dataset_meta'] = to_plain(dataset_meta)
    return clean


def describe(state: Mapping) -> list[str]:
    """What tensor names and shapes say about a detector of the family.

    >>> describe({'bbox_head.gfl_cls.weight': torch.zeros(81, 8, 3, 3), 'bbox_head.reg_conf.0.weight': torch.zeros(64, 20, 1, 1)})
    ['GFLV2 head (reg_conf), 81 class channels: the published layout of 80 classes, or a head of 81', '2 tensors, 7112 numbers']
    """
    facts = []
    for name, value in state.items():
        if name.endswith('gfl_cls.weight'):
            prefix = name.removesuffix('gfl_cls.weight')
            if f'{prefix}reg_conf.0.weight' in state:
                layout = f'the published layout of {len(value) - 1} classes, or a head of {len(value)}'
                facts.append(f'GFLV2 head (reg_conf), {len(value)} class channels: {layout}')
            else:
                facts.append(f'GFL head, {len(value)} classes')
    facts += _deformable_layers(state)
    facts.append(f'{len(state)} tensors, {sum(value.numel() for value in state.values())} numbers')
    return facts


def _deformable_layers(state: Mapping) -> list[str]:
    """The versions of the deformable layers, by the rows of their offsets: 2 for each kernel point (v1) or 3 (v2)."""
    counts: Counter[str] = Counter()
    for name, value in state.items():
        layer, _, leaf = name.rpartition('.conv_offset.')
        kernel = state.get(f'{layer}.weight')
        if leaf == 'weight' and kernel is not None and kernel.dim() == 4:
            points, rows = kernel.shape[2] * kernel.shape[3], len(value)
            counts[{2 * points: "v1 ('DCN')", 3 * points: "v2 ('DCNv2')"}.get(rows, f'of {rows} offset rows')] += 1
    return [f'{count} deformable layers {version}' for version, count in counts.items()]


def _serialise(checkpoint: Mapping, suffix: str) -> memoryview:
    """The bytes of the file that :func:`write_checkpoint` writes."""
    if suffix in ('.pth', '.pt'):
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        return buffer.getbuffer()
    if suffix == '.safetensors':
        # The format refuses tensors that share memory (tied weights): each gets its own.
        state = {name: value.detach().cpu().contiguous().clone() for name, value in checkpoint['state_dict'].items()}
        metadata = {'format': 'pt', 'meta': json.dumps(checkpoint.get('meta') or {}, default=str)}
        return memoryview(safetensors_bytes(state, metadata=metadata))
    raise CheckpointError('must end in .pth, .pt or .safetensors', field='output', received=suffix)


def write_checkpoint(checkpoint: Mapping, target: str | os.PathLike) -> None:
    """Write ``dict(state_dict, meta)`` as ``.pth``, or as ``.safetensors`` with ``meta`` as JSON in the header.

    Raises:
        CheckpointError: another suffix, or the file cannot be written; an existing file stays whole then.
    """
    target = Path(target)
    write_bytes(target, _serialise(checkpoint, target.suffix), error=CheckpointError)


def publish_checkpoint(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    keys: Collection[str] = ('meta', 'state_dict'),
    trust: bool = False,
    lenient: bool = False,
) -> Path:
    """Write the part of a checkpoint that others need, named by the first 8 hex digits of the file's SHA-256.

    ``source`` and whatever lies at ``target`` are left alone.

    Args:
        source: checkpoint to read.
        target: ``NAME.pth`` or ``NAME.safetensors``; the file becomes ``NAME-xxxxxxxx.pth``.
        keys: entries to keep.
        trust: allow full unpickling of ``source``.
        lenient: any ``keys`` may be given; those that ``source`` lacks are passed over.

    Returns:
        the path of the new file.

    Raises:
        CheckpointError: ``source`` is not readable or has no such entry, ``target`` cannot be written.
    """
    target = Path(target)
    content = load_checkpoint_file(source, trust=trust)
    if not lenient and ('state_dict' not in keys or not content.keys() >= set(keys)):
        raise CheckpointError(
            f'must name state_dict, out of {sorted(content)}', file=source, field='keys', received=list(keys)
        )
    content['meta'] = _clean_meta(content['meta'], ConversionReport())
    data = _serialise({key: to_plain(content[key], where=key) for key in keys if key in content}, target.suffix)
    published = target.with_name(f'{target.stem}-{hashlib.sha256(data).hexdigest()[:8]}{target.suffix}')
    refuse_inputs([published], [source], field='target')
    write_bytes(published, data, error=CheckpointError)
    return published


def join_checkpoints(
    coarse: str | os.PathLike,
    fine: str | os.PathLike,
    out: str | os.PathLike,
    *,
    trust_checkpoint: bool = False,
    by_name: bool = False,
) -> list[str]:
    """Write the checkpoint of ``UFPMPDet`` out of those of its stages, names prefixed ``coarse.detector.`` and ``fine.detector.``.

    Args:
        coarse, fine: checkpoints of single detectors, of this package or the reference's.
        out: ``.pth`` or ``.safetensors``.
        trust_checkpoint: unpickle arbitrary objects; only for files of your own.
        by_name: the stages may have different classes, or the same in another order; the detector maps those of equal names.

    Returns:
        what was found, in lines.

    Raises:
        ConfigError: ``out`` is one of the stages.
        CheckpointError: a file is unreadable, is not that of one detector, or the class names differ (without ``by_name``).
    """
    refuse_inputs([out], [coarse, fine], field='out')
    state, lines, metas = {}, [], {}
    for part, source in (('coarse', coarse), ('fine', fine)):
        content, report = convert_checkpoint(source, trust=trust_checkpoint)
        if not any(name.startswith(_DETECTORS) for name in content['state_dict']):
            wanted = ', '.join(f'{start}*' for start in _DETECTORS)
            message = f'must be the checkpoint of one detector, with tensors of one of {wanted}'
            raise CheckpointError(message, file=source, received=list(content['state_dict'])[:3])
        state.update({f'{part}.detector.{name}': value for name, value in content['state_dict'].items()})
        metas[part] = content['meta'].get('dataset_meta') or {}
        lines += [f'{part}: {fact}' for fact in report.found]
    classes = [tuple(meta.get('classes') or ()) for meta in metas.values()]
    if all(classes) and classes[0] != classes[1] and not by_name:
        message = f'its classes are not those of {coarse}, {classes[0]} (by_name=True maps those of equal names)'
        raise CheckpointError(message, file=fine, received=classes[1])
    dataset_meta = metas['fine'] or metas['coarse']
    meta: dict = dict(dataset_meta=dataset_meta) if dataset_meta else {}
    if all(classes) and classes[0] != classes[1]:  # the detector that reads it maps one to the other
        meta['stage_classes'] = dict(coarse=classes[0], fine=classes[1])
        lines.append(f'the stages have different classes, {classes[0]} and {classes[1]}: mapped by name')
    write_checkpoint(dict(meta=meta, state_dict=state), out)
    return lines
