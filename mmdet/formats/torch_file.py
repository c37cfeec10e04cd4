"""What ``torch.load`` does not look at: check sums of checkpoint files, and tuples that crash it.

Needs the standard library only: exported networks contain this module.
"""

import io
import os
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from ..errors import CheckpointError

_LOCAL_HEADER = struct.Struct('<4s5H3I2H')
_CHUNK_BYTES = 1 << 20
_TRIES = 10
_ENCRYPTED, _DIRECTORY = 0x1, 0x10
_MAX_TUPLES = 100  # inside each other
# So few tuples cannot overflow the stack, wherever they are: 80,000 inside each other do not fill 8 MiB.
_HARMLESS_TUPLES = 10_000
_OLD_FORMAT_PICKLES = 5  # magic number, version, sizes of C types, content, keys of the storages


T = TypeVar('T')


@dataclass(frozen=True)
class Member:
    """A member of a zip file: its bytes lie at ``start``, ``size`` of them, and their CRC-32 is ``crc``."""

    name: str
    start: int
    size: int
    crc: int

    @property
    def is_tensor(self) -> bool:
        """Whether it holds the numbers of a tensor, as opposed to names, shapes and plain values."""
        return '/data/' in self.name


def read_members(path: Path, stream: BinaryIO) -> list[Member]:
    """The members of a torch zip file, found the way torch finds them.

    What torch reads of the headers must be right: the name twice, no compression, equal sizes, nothing that overlaps.

    Args:
        path: its name, for messages.
        stream: the open file.

    Raises:
        CheckpointError: ``torch.save`` did not write the file, it is cut off, or a header of it is damaged; the message names the member.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
            names = {entry.filename.rpartition('/')[2] for entry in entries}
            if 'constants.pkl' in names:
                message = 'is a TorchScript program, not a checkpoint; save the state_dict of its model'
                raise CheckpointError(message, file=path)
            if 'data.pkl' not in names:
                raise CheckpointError('is a zip file, but none that torch.save wrote', file=path)
            ends = [entry.header_offset for entry in entries[1:]] + [archive.start_dir]
            members = [_member(path, stream, entry, end) for entry, end in zip(entries, ends)]
    except CheckpointError:
        raise
    except Exception as error:  # damaged lengths and offsets make zipfile raise nearly anything
        raise CheckpointError(f'truncated or damaged ({type(error).__name__}: {error})', file=path) from error
    # torch does not tell upper from lower case when it looks for a name.
    if len({member.name.lower() for member in members}) < len(members):
        raise CheckpointError('damaged: two members have one name', file=path)
    return members


def _member(path: Path, stream: BinaryIO, entry: zipfile.ZipInfo, end: int) -> Member:
    stream.seek(entry.header_offset)
    header = stream.read(_LOCAL_HEADER.size)
    signature, _, flags, method, _, _, _, _, _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    name = stream.read(name_length)
    start = entry.header_offset + len(header) + name_length + extra_length
    intact = (
        signature == b'PK\x03\x04'
        and name == entry.orig_filename.encode('utf-8' if entry.flag_bits & 0x800 else 'cp437')
        and (flags, method) == (entry.flag_bits, entry.compress_type)
        and not flags & _ENCRYPTED
        and not entry.external_attr & _DIRECTORY  # torch reads nothing of a folder, and takes what lay in memory
        and start + entry.compress_size <= end
    )
    if not intact:
        raise CheckpointError('damaged: its headers disagree', file=path, record=f'member {entry.filename}')
    if method != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise CheckpointError('must be stored without compression', file=path, record=f'member {entry.filename}')
    return Member(entry.filename, start, entry.file_size, entry.CRC)


def has_sums(members: Iterable[Member]) -> bool:
    """False for a file written under ``torch.serialization.set_crc32_options(False)``, all of whose sums are 0."""
    return any(member.crc for member in members)


def check_sums(path: Path, stream: BinaryIO, members: Iterable[Member]) -> None:
    """Read members and compare their CRC-32; arguments as for :func:`read_members`.

    Raises:
        CheckpointError: one differs; the message names the member.
    """
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    for member in members:
        stream.seek(member.start)
        left, crc = member.size, 0
        while left and (count := stream.readinto(buffer[: min(left, _CHUNK_BYTES)])):  # type: ignore[attr-defined]
            crc = zlib.crc32(buffer[:count], crc)
            left -= count
        if left or crc != member.crc:
            raise CheckpointError(
                'damaged: its content does not agree with its check sum', file=path, record=f'member {member.name}'
            )


def check_tuples(path: Path, stream: BinaryIO, members: Sequence[Member] = ()) -> None:
    """Refuse a pickle with many tuples inside each other: as a key of a dictionary, such a tuple overflows the stack and ends the process.

    Args:
        path: name of a file of ``torch.save``, for messages.
        stream: the open file; the old format at its start.
        members: what :func:`read_members` gives for the zip format; nothing for the old one.

    Raises:
        CheckpointError: there are more of them than in any checkpoint, or the pickle is damaged.
    """
    try:
        for member in members:
            if not member.name.lower().endswith('data.pkl'):
                continue
            stream.seek(member.start)
            data = stream.read(member.size)
            if sum(map(data.count, (b't', b'\x85', b'\x86', b'\x87'))) > _HARMLESS_TUPLES:
                _check_tuples(io.BytesIO(data), path)
        for _ in range(0 if members else _OLD_FORMAT_PICKLES):
            _check_tuples(stream, path)
    except CheckpointError:
        raise
    except Exception as error:  # damaged bytes make pickletools raise nearly anything
        raise CheckpointError(f'truncated or damaged ({type(error).__name__}: {error})', file=path) from error


def _check_tuples(stream: BinaryIO, path: Path) -> None:
    """Read a pickle's instructions with, for each object on its stack, the number of tuples inside each other."""
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[Any, int] = {}
    for operation, argument, _ in pickletools.genops(stream):
        name, taken = operation.name, operation.stack_before
        if name == 'MARK':
            marks.append(len(stack))
        elif name.endswith('PUT') or name == 'MEMOIZE':
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name.endswith('GET'):
            stack.append(memo[argument])
        elif name == 'DUP':
            stack.append(stack[-1])
        else:
            count = len(taken)
            if pickletools.markobject in taken:
                count = taken.index(pickletools.markobject) + len(stack) - marks.pop()
            values = stack[len(stack) - count :]
            del stack[len(stack) - count :]
            if name.startswith('TUPLE'):
                depth = max(values, default=0) + 1
                if depth > _MAX_TUPLES:
                    raise CheckpointError(f'more than {_MAX_TUPLES} tuples inside each other', file=path)
                stack.append(depth)
            else:
                stack += [0] * len(operation.stack_after)


def read_unreplaced(path: Path, read: Callable[[], T]) -> T:
    """Call ``read``, which opens ``path`` several times; again where another process has put another file in its place meanwhile.

    Raises:
        CheckpointError: that happens again and again; or what ``read`` raises.
    """

    def identity() -> tuple[int, ...]:
        try:
            found = os.stat(path)
        except OSError:  # what reads the file says so
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    for _ in range(_TRIES):
        before = identity()
        try:
            result = read()
        except CheckpointError:
            if identity() == before:
                raise
        else:
            if identity() == before:
                return result
    raise CheckpointError('is being written by another process', file=path)


def check_file(path: Path, stream: BinaryIO) -> None:
    """Check a whole torch zip file; one without check sums only for its headers. Arguments as for :func:`read_members`.

    The file is opened once, by the caller, hence stays the same while another process puts another one in its place.

    Raises:
        CheckpointError: truncated or damaged; the message names the member.
    """
    members = read_members(path, stream)
    if has_sums(members):
        check_sums(path, stream, members)
    check_tuples(path, stream, members)
