"""Where a checkpoint comes from: local paths, URLs, and the names that configs use (``torchvision://resnet50``)."""

import difflib
import json
import os
import re
import socket
from pathlib import Path

import mmengine
import torch
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from ...errors import CheckpointError

CACHE_VARIABLE = 'MMDET_CACHE'
DOWNLOAD_TIMEOUT_SECONDS = 30

_TORCHVISION = 'https://download.pytorch.org/models/'
_OPEN_MMLAB = 'https://download.openmmlab.com/pretrain/third_party/'

# For each name its URL, and then the names of files with the same weights that are accepted if they are in the cache.
KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    'torchvision://resnet50': (f'{_TORCHVISION}resnet50-0676ba61.pth', 'resnet50-19c8e357.pth'),
    'torchvision://resnet101': (f'{_TORCHVISION}resnet101-63fe2227.pth', 'resnet101-5d3b4d8f.pth'),
    'open-mmlab://resnext101_32x4d': (f'{_OPEN_MMLAB}resnext101_32x4d-a5af3160.pth',),
    'open-mmlab://res2net101_v1d_26w_4s': (f'{_OPEN_MMLAB}res2net101_v1d_26w_4s_mmdetv2-f0a600f9.pth',),
}
# Spellings that mean the same scheme.
_SCHEME_ALIASES = {'modelzoo': 'torchvision', 'openmmlab': 'open-mmlab'}
# mmengine ships the tables of all other names of these schemes.
_SCHEME_TABLES = {'torchvision': 'torchvision_0.12.json', 'open-mmlab': 'openmmlab.json'}


def cache_folder() -> Path:
    """Folder of downloaded checkpoints: ``$MMDET_CACHE``, else torch hub's ``checkpoints`` folder."""
    folder = os.environ.get(CACHE_VARIABLE)
    return Path(folder).expanduser() if folder else Path(torch.hub.get_dir()) / 'checkpoints'


def resolve_checkpoint(name: str | os.PathLike) -> Path:
    """Local path of a checkpoint, downloading it into :func:`cache_folder` when it is a URL or a known name.

    Under several processes rank 0 downloads and the others wait; a rank of another machine without a shared cache
    downloads its own.

    Args:
        name: local path (``~`` allowed), ``http(s)://`` URL, or ``scheme://name``.

    Raises:
        CheckpointError: unknown name, no such file, or the download failed; the message says which file to put where.
    """
    name = os.fspath(name)
    scheme, separator, rest = name.partition('://')
    if not separator:
        path = Path(name).expanduser()
        if path.is_dir():
            raise CheckpointError('is a folder; a checkpoint file is needed', file=name)
        if not path.is_file():
            raise CheckpointError('no such checkpoint file', file=name)
        return path
    if scheme == 'file':
        return resolve_checkpoint(rest)
    if scheme in ('http', 'https'):
        return _cached(name, (name,))
    scheme = _SCHEME_ALIASES.get(scheme, scheme)
    return _cached(name, _locations(name, scheme, rest))


def _locations(name: str, scheme: str, rest: str) -> tuple[str, ...]:
    known = KNOWN_NAMES.get(f'{scheme}://{rest}')
    if known is not None:
        return known
    if scheme not in _SCHEME_TABLES:
        raise CheckpointError(
            'unknown scheme; use a local path, http(s)://, torchvision:// or open-mmlab://',
            field='checkpoint',
            received=name,
        )
    table = json.loads((Path(mmengine.__path__[0]) / 'hub' / _SCHEME_TABLES[scheme]).read_text(encoding='utf-8'))
    url = table.get(rest)
    if url is None:
        near = difflib.get_close_matches(rest, [key for key, value in table.items() if value], n=3)
        hint = f'; near names: {", ".join(near)}' if near else ''
        raise CheckpointError(f'unknown name of scheme {scheme}://{hint}', field='checkpoint', received=name)
    return (url if url.startswith('http') else f'https://download.openmmlab.com/{url}',)


def _cached(name: str, locations: tuple[str, ...]) -> Path:
    url = locations[0]
    folder = cache_folder()
    file_names = [location.rsplit('/', 1)[-1].partition('?')[0] for location in locations]
    target = folder / (file_names[0] or 'checkpoint.pth')
    failure = _fetch(url, target, file_names) if is_main_process() else None
    barrier()
    if not is_main_process():
        failure = _fetch(url, target, file_names)
    if failure is None:
        return _first_file(folder, file_names) or target
    raise CheckpointError(
        f'cannot download {"it" if name == url else url} ({type(failure).__name__}: {failure}). Without network access, put the file '
        f'{target.name} at {target} (or into the folder that ${CACHE_VARIABLE} names), or give a local path instead',
        file=name,
    ) from failure


def _first_file(folder: Path, file_names: list[str]) -> Path | None:
    return next((folder / file for file in file_names if (folder / file).is_file()), None)


def _fetch(url: str, target: Path, file_names: list[str]) -> Exception | None:
    """Download a file unless one of these is in the folder; returns the failure, for after the barrier of the ranks."""
    if _first_file(target.parent, file_names) is None:
        try:
            _download(url, target)
        except Exception as error:
            return error
    return None


def _download(url: str, target: Path) -> None:
    """Download by torch hub, which writes a temporary file beside the target, checks the hash in its name, and renames it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    print_log(f'downloading {url} to {target}', logger='current')
    match = re.search(r'-([a-f0-9]{8,})\.', target.name)
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        torch.hub.download_url_to_file(
            url, str(target), hash_prefix=match.group(1) if match else None, progress=os.isatty(2)
        )
    finally:
        socket.setdefaulttimeout(previous)
