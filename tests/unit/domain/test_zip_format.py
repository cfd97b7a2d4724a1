"""The bytes of an archive (lesson 47), against the vectors that the page's script is tested with, too."""

import io
import json
import zipfile
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import pytest

from app.domain.zip_format import ZipEntry, ZipLayout

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "zip.json").read_text("utf-8"))["cases"]
MOMENT = datetime(2026, 1, 31, 8, 15, 43)  # noqa: DTZ001 - a ZIP has no zone
GIB = 1024**3


def entries_of(case):
    empty = {"size": 0, "crc32": 0, "checksum": 0}
    return case.get("entries") or [{"name": str(number), **empty} for number in range(case["files"])]


def layout_of(entries):
    return ZipLayout([ZipEntry(each["name"], each["size"], each["crc32"], MOMENT) for each in entries])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_vector(case):
    entries = entries_of(case)
    layout = layout_of(entries)
    checksums = {index: each["checksum"] for index, each in enumerate(entries)}
    parts = list(layout.parts(checksums))
    around = b"".join(part for part in parts if isinstance(part, bytes))
    assert [part for part in parts if isinstance(part, int)] == list(range(len(entries)))
    assert sha256(around).hexdigest() == case["around_sha256"]
    assert around.hex() == case.get("around", around.hex())
    assert layout.size == case["size"] == len(around) + sum(each["size"] for each in entries)
    assert layout.is_fixed == all(each["crc32"] is not None for each in entries)


class Sparse(io.RawIOBase):
    """A file of any length, of which only the bytes around the contents are held; contents read as zeros."""

    def __init__(self, layout, checksums):
        super().__init__()
        self._held, self._at = [], 0
        position = 0
        for part in layout.parts(checksums):
            if isinstance(part, bytes):
                self._held.append((position, part))
            position += layout.entries[part].size if isinstance(part, int) else len(part)
        self._size = position

    def seekable(self):
        return True

    def readable(self):
        return True

    def tell(self):
        return self._at

    def seek(self, offset, whence=0):
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, count=-1):
        count = min(self._size - self._at, count if count >= 0 else self._size)
        data = bytearray(count)
        for start, part in self._held:
            first, last = max(start, self._at), min(start + len(part), self._at + count)
            if first < last:
                data[first - self._at : last - self._at] = part[first - start : last - start]
        self._at += count
        return bytes(data)


@pytest.mark.parametrize("case", [case for case in CASES if "entries" in case], ids=lambda case: case["name"])
def test_an_independent_reader_finds_every_file_even_past_4_gib(case):
    """ZIP64 at its limits: what is one byte below, at and above them is found where it lies, with its size."""
    entries = entries_of(case)
    layout = layout_of(entries)
    file = Sparse(layout, {index: each["checksum"] for index, each in enumerate(entries)})
    with zipfile.ZipFile(file) as archive:
        for info, each in zip(archive.infolist(), entries, strict=True):
            assert (info.filename, info.file_size, info.compress_size) == (each["name"], each["size"], each["size"])
            assert each["checksum"] == info.CRC
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (2026, 1, 31, 8, 15, 42), "two seconds is its resolution"
            assert info.external_attr >> 16 == 0o100644
            with archive.open(info):
                pass  # raises unless the local header agrees with the directory


def test_more_than_65535_files_are_counted():
    case = next(case for case in CASES if case.get("files") == 65_535)
    layout = layout_of(entries_of(case))
    with zipfile.ZipFile(Sparse(layout, {})) as archive:
        assert len(archive.namelist()) == 65_535


@pytest.mark.parametrize(("year", "shown"), [(1970, 1980), (2026, 2026), (2200, 2107)])
def test_a_date_that_zip_cannot_hold_is_moved_to_its_limits(year, shown):
    layout = ZipLayout([ZipEntry("a", 0, 0, MOMENT.replace(year=year))])
    with zipfile.ZipFile(Sparse(layout, {})) as archive:
        assert archive.infolist()[0].date_time[0] == shown
