"""Writing an exported detector as a folder: the network files, ``manifest.json`` and ``README.md``.

The folder appears whole or not at all: it is filled beside its place and then renamed. One that is no earlier export, or holds files that no export
wrote, is refused. :mod:`mmdet_runtime.folder` reads what is written here.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmdet_runtime.files import sha256_of
from mmdet_runtime.folder import FORMAT, MANIFEST, VERSION

from ..errors import ConfigError
from ..utils.files import explained, temporary_folder, write_text
from ..version import release

README = 'README.md'
_LIBRARIES = {
    'onnx': ('torch', 'onnx', 'onnxruntime'),
    'openvino': ('torch', 'onnx', 'openvino'),
    'torch-export': ('torch',),
}
REJECTED = '_rejected'  # added to the name of a folder whose check failed


def refuse_foreign_folder(out: str | os.PathLike) -> None:
    """Raise a ConfigError unless a folder may be written: there is none, it is empty, or all in it is of an earlier export."""
    out = Path(out)
    try:
        os.lstat(out)
    except FileNotFoundError:
        there = False
    except (OSError, ValueError) as error:  # below a file, too long, a null byte
        raise ConfigError(f'cannot be the name of a folder ({error})', field='--out', received=str(out)) from error
    else:
        there = True
    if not out.name or (there and not out.is_dir()):
        raise ConfigError('must be the name of a folder', field='--out', received=str(out))
    held = sorted(path.relative_to(out).as_posix() for path in out.rglob('*') if not path.is_dir()) if there else []
    if not held:
        return
    foreign = sorted(set(held) - _files_of_manifest(out))
    if foreign:
        shown = ', '.join(foreign[:3]) + (f' and {len(foreign) - 3} more' if foreign[3:] else '')
        message = f'holds what no export wrote ({shown}), and is left as it is; give a new folder'
        raise ConfigError(message, field='--out', received=str(out))


def _files_of_manifest(folder: Path) -> set[str]:
    """The files that the manifest of an export names, with itself; none where there is no such manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding='utf-8'))
        if manifest['format'] != FORMAT:
            return set()
        files = {name for network in manifest['networks'].values() for name in network['sha256']}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()
    return {MANIFEST, README, *files}


@contextlib.contextmanager
def new_folder(out: str | os.PathLike) -> Iterator[Path]:
    """A folder to fill; :func:`put_in_place` makes it ``out``, and without that nothing is left of it."""
    refuse_foreign_folder(out)
    with temporary_folder(Path(out)) as folder:
        yield folder


def put_in_place(folder: Path, out: str | os.PathLike) -> Path:
    """Rename a filled folder to ``out``, in place of an earlier export."""
    refuse_foreign_folder(out)
    out = Path(out)
    with explained(out):
        if out.exists():
            with temporary_folder(out) as old:
                os.replace(out, old / out.name)
                try:
                    os.replace(folder, out)
                except BaseException:  # Ctrl-C as well
                    if not out.exists():  # another export may have come first
                        os.replace(old / out.name, out)
                    raise
        else:
            os.replace(folder, out)
    return out


def network_entry(
    folder: Path, files: list[str], *, to: str, precision: str, outputs: str, image: list[int | None], divisor: int
) -> dict[str, Any]:
    """The entry of a network in the manifest; the first of its files is the one that readers open."""
    return dict(
        file=files[0], sha256={name: sha256_of(folder / name) for name in files}, to=to, precision=precision,
        outputs=outputs, inputs=dict(image=image), divisor=divisor,
    )  # fmt: skip


def versions(to: str) -> dict[str, str]:
    """What an export was made with."""
    names = [*_LIBRARIES[to], *(('nncf',) if to == 'openvino' else ())]
    found = {'mmdet-dense': release, 'python': platform.python_version()}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def write_manifest(folder: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``manifest.json`` and ``README.md``; returns the manifest."""
    manifest = dict(format=FORMAT, version=VERSION, **content)
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False) + '\n')
    write_text(folder / README, readme(manifest))
    return manifest


def readme(manifest: Mapping[str, Any]) -> str:
    """Text of the folder's README.md."""
    networks, kind = manifest['networks'], manifest['kind']
    first = next(iter(networks.values()))
    to, parity = first['to'], manifest.get('parity') or {}
    title = Path(str(manifest['source'].get('config') or kind)).stem
    lines = [
        f'# {title}, exported',
        '',
        f'{_KINDS[kind]} of {len(manifest["classes"])} classes ({", ".join(manifest["classes"][:8])}'
        f'{", ..." if manifest["classes"][8:] else ""}), written by mmdet-dense {manifest["versions"]["mmdet-dense"]}.',
        '',
        '| network | file | precision | outputs | input `image` |',
        '|---|---|---|---|---|',
    ]
    for name, network in networks.items():
        shape = ', '.join('any' if size is None else str(size) for size in network['inputs']['image'])
        lines.append(f'| {name} | `{network["file"]}` | {network["precision"]} | {network["outputs"]} | ({shape}) |')
    lines += ['', _OUTPUTS[first['outputs']], '']
    if to == 'torch-export':
        call = 'image' if first['outputs'] == 'raw' else 'image, shape'
        lines += ['```python', 'import torch', '', f'network = torch.export.load("{first["file"]}").module()', f'outputs = network({call})', '```', '']  # fmt: skip
    elif first['outputs'] != 'raw':
        extra = dict(onnx='onnx', openvino='openvino')[to]
        lines += [
            f'It runs without torch; the package `mmdet_runtime` is a folder of the toolbox (`pip install "TOOLBOX/mmdet_runtime[{extra}]"`):', '', '```', 'mmdet-runtime . IMAGES_OR_VIDEO --out results', '```',
            '', '```python', 'from mmdet_runtime import load', '', "detector = load('.')", "found = detector('image.jpg')  # bboxes (n, 4) x1 y1 x2 y2 in pixels of the image, scores, labels", '```', '',
        ]  # fmt: skip
    if to == 'onnx':
        lines += [*_trtexec(networks), '']
    if parity:
        verdict = 'passed' if parity['passed'] else 'FAILED: do not use this folder'
        lines += [f'Check against the original ({parity["images"]} images, {parity["image_source"]}): {verdict}.']
        if 'matched_share' in parity:
            lines += [
                f'{parity["matched_share"]:.2%} of {parity["boxes_before"]} boxes have a partner among {parity["boxes_after"]}; largest difference '
                f'{parity["largest_box_difference_px"]:.2g} px, {parity["largest_score_difference"]:.2g} in score.'
            ]
        lines += [f'- {reason}' for reason in parity['reasons']]
    return '\n'.join(lines).rstrip() + '\n'


_KINDS = dict(
    detector='A detector', UFPMPDet='A coarse detector, packing of what it finds, and a fine detector (UFPMP-Det)', SlicedDet='A detector over tiles'
)  # fmt: skip
_OUTPUTS = dict(
    raw='The outputs are those of the head, before any decoding. `image` is normalised and padded as the stage in `manifest.json` says.',
    candidates='Inputs: `image` float32, normalised and padded as the stage in `manifest.json` says, and `shape` int64 (batch, 2), height and width before the '
    'padding. Outputs before the NMS: `boxes` (batch, N, 4) x1 y1 x2 y2 in pixels of the input, `scores` (batch, N), 0 where there is nothing, `labels` (batch, N).',
    boxes='Inputs: `image` float32, normalised and padded as the stage in `manifest.json` says, and `shape` int64 (batch, 2), height and width before the '
    'padding. Outputs after the NMS, M boxes of all images: `boxes` (M, 4) x1 y1 x2 y2 in pixels of the input, `scores`, `labels`, and `image_index` (M,), the number in the batch.',
)  # fmt: skip


def _trtexec(networks: Mapping[str, Mapping]) -> list[str]:
    """The commands for TensorRT, which were not run."""
    lines = ['TensorRT builds an engine from the ONNX file; **this command was not run here**:', '', '```']
    for network in networks.values():
        batch, _, height, width = network['inputs']['image']
        stem = Path(network['file']).stem
        shapes = ''
        if None in (batch, height, width):
            for kind, (b, h, w) in dict(min=(1, 320, 320), opt=(1, 640, 640), max=(8, 1344, 1344)).items():
                sides = (batch or b, height or h, width or w)
                more = '' if network['outputs'] == 'raw' else f',shape:{sides[0]}x2'
                shapes += f' --{kind}Shapes=image:{sides[0]}x3x{sides[1]}x{sides[2]}{more}'
        flag = {'fp16': ' --fp16', 'int8': ' --int8 --fp16'}.get(network['precision'], '')
        lines.append(f'trtexec --onnx={network["file"]}{shapes}{flag} --saveEngine={stem}.engine')
    return [*lines, '```', '', 'Int8 files load there if they were exported with `--symmetric`.'] if any(
        network['precision'] == 'int8' for network in networks.values()
    ) else [*lines, '```']  # fmt: skip
