"""The shared test vectors, read once."""

import json
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[2] / "vectors"


@pytest.fixture(scope="session")
def wrapping_vectors() -> Any:
    return json.loads((VECTORS / "wrapping.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def merkle_vectors() -> Any:
    return json.loads((VECTORS / "merkle-tree.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def note_vector() -> Any:
    return json.loads((VECTORS / "signed-note.json").read_text("utf-8"))
