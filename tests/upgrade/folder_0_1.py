"""The data folder of version 0.1 that `make_data_folder_0_1.py` made: what is in it, and how to unpack it."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ARCHIVE, KNOWN = HERE / "data_folder_0_1.tar.gz", HERE / "data_folder_0_1.json"

SCHEMA = "0003"
BOOT_ID = "00000000-0000-4000-8000-000000000001"
CONTENT = bytes(range(256)) * 20
FETCHED = 2000
"""Bytes of each claimed file that its recipient had fetched."""

SETTINGS = {
    "CADUCEE_MAX_LIFETIME": "31d",
    "CADUCEE_MIN_LIFETIME": "1s",
    "CADUCEE_MIN_FREE_BYTES": "0",
    "CADUCEE_ARGON2_TIME": "1",
    "CADUCEE_ARGON2_MEMORY_KIB": "64",
    "CADUCEE_ARGON2_LANES": "1",
}
"""The settings of that installation."""


@dataclass(frozen=True)
class Known:
    """What its people kept: the moment it was killed, their token, their transfers, an auditor's checkpoint."""

    made_at: datetime
    token: str
    transfers: dict[str, dict[str, Any]]
    checkpoint: dict[str, Any]


def known() -> Known:
    """Read it."""
    kept = json.loads(KNOWN.read_text(encoding="utf-8"))
    return Known(**(kept | {"made_at": datetime.fromisoformat(kept["made_at"])}))


def unpack(folder: Path) -> Path:
    """Unpack the data folder below `folder`; return its path."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    data = folder / "data"
    for path in (data, *data.rglob("*")):  # the filter makes them readable to others
        path.chmod(0o700 if path.is_dir() else 0o600)
    return data
