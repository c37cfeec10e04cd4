"""Where a checkpoint comes from: local paths, URLs, and the names that configs use (``torchvision://resnet50``)."""

import difflib
import functools
import hashlib
import http.client
import json
import math
import os
import queue
import re
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import mmengine
import torch
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from mmdet_runtime.files import sha256_of

from ...errors import CheckpointError
from ...utils.files import write_atomically
from ...utils.progress import progress

CACHE_VARIABLE = 'MMDET_CACHE'
ANSWER_SECONDS = 10  # in which a server must answer, however many addresses its name has
DOWNLOAD_TIMEOUT_SECONDS = 30  # in which something more of the file must arrive

_BLOCK = 1_000_000  # bytes

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
    downloads its own. A file whose name ends in the first digits of its SHA-256 (``gfl-25944287.pth``), or whose URL has them behind it
    (``#sha256=25944287``), is compared with them, after the download and whenever it is taken from the folder.

    Args:
        name: local path (``~`` allowed), ``http(s)://`` URL, or ``scheme://name``.

    Raises:
        CheckpointError: unknown name, no such file, a file of the folder that is not the one published, or the download failed; the message says
            which file to put where.
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
    url = locations[0].partition('#')[0]
    folder = cache_folder()
    files = {_file_name(location) or 'checkpoint.pth': sha256_digits(location) for location in locations}
    target = folder / next(iter(files))
    failure = _fetch(locations[0], target, files) if is_main_process() else None
    barrier()
    if not is_main_process():
        failure = _fetch(locations[0], target, files)
    if failure is None:
        return _first_file(folder, files) or target
    if isinstance(failure, CheckpointError):
        raise failure
    raise CheckpointError(
        f'cannot download {"it" if name == url else url} ({type(failure).__name__}: {failure}). Without network access, put the file '
        f'{target.name} at {target} (or into the folder that ${CACHE_VARIABLE} names), or give a local path instead',
        file=name,
    ) from failure


def _file_name(location: str) -> str:
    return re.split('[?#]', location)[0].rpartition('/')[2]


def sha256_digits(location: str) -> str | None:
    """The first digits of a file's SHA-256, as its URL or its name states them; None: neither does."""
    stated = re.search(r'#sha256=([a-f0-9]{8,64})$', location) or re.search(
        r'-([a-f0-9]{8,64})\.', _file_name(location)
    )
    return stated[1] if stated else None


def _first_file(folder: Path, files: dict[str, str | None]) -> Path | None:
    return next((folder / file for file in files if (folder / file).is_file()), None)


def _fetch(location: str, target: Path, files: dict[str, str | None]) -> Exception | None:
    """Download a file unless one of these is in the folder; returns the failure, for after the barrier of the ranks."""
    try:
        found = _first_file(target.parent, files)
        if found is None:
            _download(location, target)
        else:
            _compare(found, files[found.name])
    except Exception as error:
        return error
    return None


def _compare(path: Path, digits: str | None) -> None:
    """Raise a CheckpointError where a file that lies in the cache is not the one that its name promises."""
    if digits is None:
        return
    status = path.stat()
    found = _sha256(path, status.st_size, status.st_mtime_ns)
    if not found.startswith(digits):
        raise CheckpointError(
            f'is not the published file ({status.st_size:,} bytes): its SHA-256 must begin with {digits}. Remove it, and it is downloaded, or put the '
            'right one there',
            file=path,
            received=found[: len(digits)],
        )


@functools.lru_cache
def _sha256(path: Path, _size: int, _time: int) -> str:
    return sha256_of(path)


def _download(location: str, target: Path) -> None:
    """Download a file under a temporary name, compare its length and its hash, and rename it; whatever goes wrong, nothing is left."""
    url = location.partition('#')[0]
    print_log(f'downloading {url} to {target}', logger='current')
    with _answer(url) as answer:
        if answer.headers.get_content_type() == 'text/html':
            raise ValueError('the answer is a page to be read, not a file; fetch the file by a browser')
        write_atomically(
            target, lambda file: _receive(answer, file, target.name, sha256_digits(location)), error=CheckpointError
        )


def _receive(answer: http.client.HTTPResponse, file: BinaryIO, name: str, digits: str | None) -> None:
    length = answer.headers.get('Content-Length')
    digest, size = hashlib.sha256(), 0
    blocks = _blocks(answer)
    for block in blocks if length is None else progress(blocks, f'{name}, MB', math.ceil(int(length) / _BLOCK)):
        file.write(block)
        digest.update(block)
        size += len(block)
    if length is not None and size != int(length):
        raise EOFError(f'the connection ended after {size:,} of {int(length):,} bytes')
    if digits and not digest.hexdigest().startswith(digits):
        raise ValueError(
            f'its SHA-256 must begin with {digits}; that of the {size:,} bytes received begins with {digest.hexdigest()[: len(digits)]}'
        )


def _blocks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while block := answer.read(_BLOCK):
            yield block
    except (
        OSError,
        http.client.HTTPException,
    ) as error:  # an OSError of the network would be taken for one of the disk
        raise EOFError(f'the connection broke: {error or type(error).__name__}') from error


def _answer(url: str) -> http.client.HTTPResponse:
    """The open answer to a request.

    urllib limits the time for each address of a host, and none for finding the addresses; a machine without network may wait minutes for both.
    """
    answers: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, headers={'User-Agent': 'mmdet'})
            answers.put(urllib.request.urlopen(request, timeout=DOWNLOAD_TIMEOUT_SECONDS))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise TimeoutError(f'no answer within {ANSWER_SECONDS} s') from None
    if isinstance(answer, Exception):
        raise answer
    return answer
