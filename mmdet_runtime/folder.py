"""Reading and checking an exported folder: its manifest, and whether its files are those that were written with it.

``manifest.json`` says what the networks are (``networks``), how images become their inputs and outputs become boxes (``stages``), and for
composite detectors how the stages work together (``composite``). The formats of all fields are in :data:`_NETWORK`, :data:`_STAGE` and :data:`_LATER`.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .backends import PRECISIONS, Network, open_network
from .checks import is_finite, is_int
from .errors import CheckpointError, ConfigError
from .files import sha256_of
from .suppression import nms_options

MANIFEST = 'manifest.json'
FORMAT, VERSION = 'mmdet-runtime', 1
# The stages that each kind has; `whole` looks at the whole image beside the tiles.
STAGES = {
    'detector': (('detector',), ()),
    'UFPMPDet': (('coarse', 'fine'), ()),
    'SlicedDet': (('stage',), ('whole',)),
}
OUTPUTS = ('raw', 'candidates', 'boxes')

_Check = tuple[Callable[[Any], bool], str]


def _one_of(*allowed: object) -> _Check:
    return lambda value: value in allowed, f'must be one of {list(allowed)}'


def _numbers(count: int, least: float | None = None) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list)
        and len(value) == count
        and all(is_finite(v) and (least is None or v >= least) for v in value)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_scales(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_numbers(2, 1)(one) for one in value)


def _is_inputs(value: Any) -> bool:
    shape = value.get('image') if isinstance(value, dict) else None
    return (
        isinstance(shape, list) and len(shape) == 4 and shape[1] == 3 and all(v is None or is_int(v, 1) for v in shape)
    )


def _is_rule(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    rule = dict(dict(divisor=1, least_side=1, strides=[], cells=0), **value)
    counts = all(
        is_int(rule[name], least) and rule[name] < 1 << 20
        for name, least in (('divisor', 1), ('least_side', 1), ('cells', 0))
    )
    return (
        counts
        and len(rule) == 4
        and isinstance(rule['strides'], list)
        and _numbers(len(rule['strides']), 1)(rule['strides'])
    )


def _is_hashes(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(_is_text(v) and len(v) == 64 for pair in value.items() for v in pair[1:])
    )


def _is_nms(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    try:
        nms_options(value)
    except (ConfigError, TypeError):
        return False
    return all(is_finite(option) for option in value.values() if isinstance(option, float))


def _no_json(constant: str) -> Any:
    raise ValueError(f'{constant} is no JSON')


_BOOL: _Check = lambda value: isinstance(value, bool), 'must be true or false'
_COUNT: _Check = lambda value: is_int(value, 1), 'must be an integer >= 1'
_COLOR: _Check = (
    lambda value: value is None or _numbers(3)(value) or _numbers(1)(value),
    'must be null or a list of 1 or 3 numbers',
)
_NETWORK: dict[str, _Check] = {
    'file': (_is_text, 'must be the name of a file'),
    'sha256': (_is_hashes, 'must be an object of 64 hexadecimal digits by file name'),
    'to': (_is_text, 'must be text'),
    'precision': _one_of(*PRECISIONS),
    'outputs': _one_of(*OUTPUTS),
    'inputs': (_is_inputs, 'must be {"image": [batch, 3, height, width]} with null for what is free'),
    'divisor': _COUNT,
}
_STAGE: dict[str, _Check] = {
    'network': (_is_text, 'must be the name of one of the networks'),
    'scales': (_is_scales, 'must be a list of [width, height]'),
    'flip': _BOOL,
    'keep_ratio': _BOOL,
    'max_zoom': (lambda value: value is None or (is_finite(value) and value > 0), 'must be null or a number > 0'),
    'batch_size': _COUNT,
    'mean': _COLOR,
    'std': _COLOR,
    'bgr_to_rgb': _BOOL,
    'pad_divisor': _COUNT,
    'pad_value': (is_finite, 'must be a number'),
    'test_cfg': (lambda value: isinstance(value, dict), 'must be an object with score_thr, nms and max_per_img'),
    'clips_boxes': _BOOL,
}
# Of a stage; folders of earlier releases lack them.
_LATER: dict[str, _Check] = {
    'end_to_end': _BOOL,
    'input_rule': (
        _is_rule,
        'must be null, or an object with some of divisor, least_side, cells (whole numbers) and strides (a list of numbers >= 1)',
    ),
}
# Those that are left out have no effect.
_TEST_CFG: dict[str, _Check] = {
    'score_thr': (is_finite, 'must be a number'),
    'max_per_img': (is_int, 'must be an integer'),
    'min_bbox_size': (is_finite, 'must be a number'),
    'nms': (_is_nms, 'must be null, or an object with a known type and its arguments'),
}


@dataclasses.dataclass(frozen=True)
class Folder:
    """An exported folder whose manifest was checked.

    Attributes:
        path: the folder.
        kind: ``'detector'``, ``'UFPMPDet'`` or ``'SlicedDet'``.
        classes: names by label.
        networks, stages, composite: as in the manifest.
        manifest: the whole of it.
    """

    path: Path
    kind: str
    classes: tuple[str, ...]
    networks: dict[str, dict]
    stages: dict[str, dict]
    composite: dict
    manifest: dict

    def open_network(self, name: str, **options: Any) -> Network:
        """Open one of the networks; the options are those of :func:`~mmdet_runtime.backends.open_network`.

        Its ``precision`` is by default that of the manifest. A network that is exported for OpenVINO is opened by it, one in an ONNX file of
        bfloat16 on a CPU, too, as ONNX Runtime does not compute in it.

        Raises:
            ConfigError: beside what that function raises, a precision that the file does not have: ``'int8'`` of one that is not quantised, and any but
                its own for ONNX Runtime.
        """
        entry = self.networks[name]
        own, asked = entry['precision'], options.get('precision')
        options['precision'] = asked or own
        if asked == 'int8' != own:
            message = f'the network is a file of {own}; int8 takes an export with --precision int8'
            raise ConfigError(message, file=self.path / entry['file'], field='precision', received=asked)
        if options.get('backend') is None and own == 'bf16' and options.get('device', 'CPU').upper() == 'CPU':
            options['backend'] = 'openvino'
        network = open_network(self.path / entry['file'], **options)
        if network.backend == 'onnxruntime' and asked not in (None, own):
            message = f"ONNX Runtime computes in the types of the file, {own}; take backend='openvino', or export with this precision"
            raise ConfigError(message, file=network.name, field='precision', received=asked)
        return network


def read_folder(path: str | os.PathLike, *, verify: bool = True) -> Folder:
    """Read and check an exported folder.

    Args:
        path: the folder, or its ``manifest.json``.
        verify: whether the check sums of the files are compared (a second for 500 MB).

    Raises:
        CheckpointError: no such folder or file, a manifest that is broken, of a newer version or of another program, or a file that is
            not the one that was exported. The message names file and field.
    """
    folder = Path(path)
    folder = folder.parent if folder.name == MANIFEST else folder
    file = folder / MANIFEST
    if not folder.is_dir():
        raise CheckpointError('no such folder; tools/export.py writes one', file=folder)
    try:
        manifest = json.loads(file.read_text(encoding='utf-8'), parse_constant=_no_json)
    except FileNotFoundError as error:
        raise CheckpointError(f'the folder has no {MANIFEST}; tools/export.py writes it', file=folder) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f'cannot be read as JSON ({error})', file=file) from error
    if not isinstance(manifest, dict) or manifest.get('format') != FORMAT:
        found = manifest.get('format') if isinstance(manifest, dict) else type(manifest).__name__
        raise CheckpointError(f'must be {FORMAT!r}', file=file, field='format', received=found)
    if manifest.get('version') != VERSION:
        newer = is_int(manifest.get('version')) and manifest['version'] > VERSION
        message = f'this runtime reads version {VERSION}' + ('; a newer one is needed' if newer else '')
        raise CheckpointError(message, file=file, field='version', received=manifest.get('version'))
    kind = manifest.get('kind')
    if kind not in STAGES:
        raise CheckpointError(f'must be one of {[*STAGES]}', file=file, field='kind', received=kind)
    classes = manifest.get('classes')
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise CheckpointError('must be a list of names', file=file, field='classes', received=classes)
    networks, stages = (_entries(manifest, name, file) for name in ('networks', 'stages'))
    for name, entry in networks.items():
        _check_fields(entry, _NETWORK, f'networks.{name}', file)
        _check_files(folder, entry, f'networks.{name}', file, verify)
    needed, possible = STAGES[kind]
    if not set(needed) <= set(stages) <= {*needed, *possible}:
        raise CheckpointError(f'of a {kind} must be {list(needed)}', file=file, field='stages', received=[*stages])
    for name, entry in stages.items():
        _check_fields(entry, {**_STAGE, **_given(_LATER, entry)}, f'stages.{name}', file)
        _check_fields(entry['test_cfg'], _given(_TEST_CFG, entry['test_cfg']), f'stages.{name}.test_cfg', file)
        if entry['network'] not in networks:
            field = f'stages.{name}.network'
            raise CheckpointError(f'must be one of {[*networks]}', file=file, field=field, received=entry['network'])
        _check_usable(kind, networks[entry['network']], entry, name, file)
    composite = manifest.get('composite') or {}
    if not isinstance(composite, dict):
        raise CheckpointError('must be an object', file=file, field='composite', received=composite)
    return Folder(folder, kind, tuple(classes), networks, stages, composite, manifest)


def _entries(manifest: Mapping, name: str, file: Path) -> dict[str, dict]:
    entries = manifest.get(name)
    if not isinstance(entries, dict) or not entries or not all(isinstance(one, dict) for one in entries.values()):
        raise CheckpointError('must be an object of objects by name', file=file, field=name, received=entries)
    return entries


def _given(checks: Mapping[str, _Check], entry: Mapping) -> dict[str, _Check]:
    return {name: check for name, check in checks.items() if name in entry}


def _check_fields(entry: Mapping, checks: Mapping[str, _Check], where: str, file: Path) -> None:
    for name, (is_right, allowed) in checks.items():
        if name not in entry:
            raise CheckpointError(f'is missing; it {allowed}', file=file, field=f'{where}.{name}')
        if not is_right(entry[name]):
            raise CheckpointError(allowed, file=file, field=f'{where}.{name}', received=entry[name])


def _check_files(folder: Path, entry: Mapping, where: str, file: Path, verify: bool) -> None:
    """The network's files are in the folder, and are those of the manifest."""
    if entry['file'] not in entry['sha256']:
        field = f'{where}.sha256'
        raise CheckpointError(f'has no entry for {entry["file"]}', file=file, field=field, received=[*entry['sha256']])
    for name, expected in entry['sha256'].items():
        if Path(name).is_absolute() or '..' in Path(name).parts:
            raise CheckpointError('must be a file of the folder', file=file, field=f'{where}.sha256', received=name)
        try:
            found = sha256_of(folder / name) if verify else os.stat(folder / name) and expected.lower()
        except OSError as error:
            message = f'the file is missing or cannot be read ({error.strerror}); {MANIFEST} names it in {where}'
            raise CheckpointError(message, file=folder / name) from error
        if found != expected.lower():
            message = f'is not the file that was exported: its SHA-256 differs from {where}.sha256 of {MANIFEST}; copy the folder again'
            raise CheckpointError(message, file=folder / name, received=found)


def _check_usable(kind: str, network: Mapping, stage: Mapping, name: str, file: Path) -> None:
    """What a stage needs of its network."""
    field, outputs = f'networks.{stage["network"]}.outputs', network['outputs']
    if outputs == 'raw':
        message = (
            'raw outputs are those of the network before decoding, for programs that decode themselves; '
            "this runtime takes 'candidates' or 'boxes': export again with one of them"
        )
        raise CheckpointError(message, file=file, field=field, received=outputs)
    many = kind != 'detector' or len(stage['scales']) > 1 or stage['flip']
    if outputs == 'boxes' and many:
        message = f"must be 'candidates' for stage {name}: several views of an image are merged by one NMS"
        raise CheckpointError(message, file=file, field=field, received=outputs)
    if (stage['mean'] is None) != (stage['std'] is None):
        raise CheckpointError('must both be null, or none of them', file=file, field=f'stages.{name}.mean, std')
