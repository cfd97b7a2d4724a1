"""The ZIP of several files (APPNOTE.TXT 6.3.10, PKWARE): stored, not compressed, so that its length is known in advance
and any part of it can be produced alone, which lets a cut download continue.

Where the CRC-32 of a file is known, its local header states it, and streaming readers accept the entry. Files deposited
by older programs have none: a data descriptor follows their content, which readers that seek accept.
`app/web/static/zip.js` writes the same bytes; both are tested against tests/vectors/zip.json.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

_LIMIT_16, _LIMIT_32 = 0xFFFF, 0xFFFF_FFFF
"""A field with this value refers to a ZIP64 field (APPNOTE 4.4.1.4)."""

_PLAIN, _ZIP64 = 10, 45
"""Versions needed to extract (4.4.3.2)."""

_UTF8, _DESCRIPTOR = 1 << 11, 1 << 3
"""General purpose bits (4.4.4)."""

_UNIX = 3 << 8
_MODE = 0o100644 << 16
"""A regular file that its owner may write and everybody may read."""


@dataclass(frozen=True, slots=True, repr=False)
class ZipEntry:
    """A file of an archive: its portable path as `name`, size in bytes, CRC-32 if known, and the time it shows."""

    name: str
    size: int
    crc32: int | None
    modified: datetime


@dataclass(frozen=True, slots=True, repr=False)
class ZipLayout:
    """The bytes of an archive around its files' contents."""

    entries: Sequence[ZipEntry]

    @property
    def is_fixed(self) -> bool:
        """Whether all bytes are known in advance, so that any range can be sent. Data descriptors are not."""
        return all(entry.crc32 is not None for entry in self.entries)

    @property
    def size(self) -> int:
        """Length of the archive in bytes."""
        checksums = dict.fromkeys(range(len(self.entries)), 0)
        around = (len(part) for part in self.parts(checksums) if not isinstance(part, int))
        return sum(around) + sum(entry.size for entry in self.entries)

    def parts(self, checksums: Mapping[int, int]) -> Iterator[bytes | int]:
        """Yield the archive's parts in order: bytes, or the index of the entry whose content stands there.

        The caller fills in `checksums` the CRC-32 of each entry without one, while it sends the entry's content.
        """
        offset, directory = 0, []
        for index, entry in enumerate(self.entries):
            header = _local_header(entry)
            yield header
            yield index
            checksum = checksums[index] if entry.crc32 is None else entry.crc32
            descriptor = _descriptor(entry, checksum)
            if descriptor:
                yield descriptor
            directory.append(_central_header(entry, checksum, offset))
            offset += len(header) + entry.size + len(descriptor)
        yield from directory
        yield _end(len(directory), sum(map(len, directory)), offset)


def _local_header(entry: ZipEntry) -> bytes:
    """Return a local file header (4.3.7). With a descriptor, checksum and sizes are zero there (4.4.4, bit 3)."""
    name, large, known = entry.name.encode(), entry.size >= _LIMIT_32, entry.crc32 is not None
    size = entry.size if known else 0
    extra = struct.pack("<HHQQ", 1, 16, size, size) if large else b""
    short = _LIMIT_32 if large else size
    fields = (_version(large=large), _flags(entry), 0, *_dos_time(entry.modified), entry.crc32 or 0, short, short)
    return struct.pack("<4s5H3I2H", b"PK\3\4", *fields, len(name), len(extra)) + name + extra


def _descriptor(entry: ZipEntry, checksum: int) -> bytes:
    """Return a data descriptor (4.3.9) for an entry whose header lacks the checksum."""
    if entry.crc32 is not None:
        return b""
    form = "<4sI2Q" if entry.size >= _LIMIT_32 else "<4s3I"
    return struct.pack(form, b"PK\7\x08", checksum, entry.size, entry.size)


def _central_header(entry: ZipEntry, checksum: int, offset: int) -> bytes:
    """Return a central directory header (4.3.12)."""
    name, large = entry.name.encode(), entry.size >= _LIMIT_32
    wide = [entry.size, entry.size] if large else []
    if offset >= _LIMIT_32:
        wide.append(offset)
    extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    size, version = min(entry.size, _LIMIT_32), _version(large=bool(wide))
    fields = (_UNIX | _ZIP64, version, _flags(entry), 0, *_dos_time(entry.modified), checksum, size, size)
    tail = (len(name), len(extra), 0, 0, 0, _MODE, min(offset, _LIMIT_32))
    return struct.pack("<4s6H3I5H2I", b"PK\1\2", *fields, *tail) + name + extra


def _end(count: int, size: int, offset: int) -> bytes:
    """Return the end of the central directory (4.3.16), in ZIP64 (4.3.14, 4.3.15) after its own if a field is full."""
    wide = b""
    if count >= _LIMIT_16 or size >= _LIMIT_32 or offset >= _LIMIT_32:
        versions = (_UNIX | _ZIP64, _ZIP64)
        wide = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, *versions, 0, 0, count, count, size, offset)
        wide += struct.pack("<4sIQI", b"PK\6\7", 0, offset + size, 1)
    short = min(count, _LIMIT_16)
    return wide + struct.pack(
        "<4s4H2IH", b"PK\5\6", 0, 0, short, short, min(size, _LIMIT_32), min(offset, _LIMIT_32), 0
    )


def _version(*, large: bool) -> int:
    return _ZIP64 if large else _PLAIN


def _flags(entry: ZipEntry) -> int:
    return _UTF8 if entry.crc32 is not None else _UTF8 | _DESCRIPTOR


def _dos_time(moment: datetime) -> tuple[int, int]:
    """Return MS-DOS time and date (4.4.6), which begin in 1980 and end in 2107."""
    year = min(max(moment.year, 1980), 2107)
    time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
    return time, (year - 1980) << 9 | moment.month << 5 | moment.day
