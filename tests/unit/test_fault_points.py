"""The points at which tests interrupt the service."""

import re
from pathlib import Path

import pytest

from app.runtime.fault_points import POINTS, on_reach, reach

ROOT = Path(__file__).parents[2]


def test_a_callback_is_called_at_its_point_alone_and_only_inside_the_block():
    reached = []
    with on_reach("claim.won", lambda: reached.append("won")):
        reach("claim.won")
        reach("claim.recorded")
    reach("claim.won")
    assert reached == ["won"]


def test_what_a_callback_raises_is_raised_where_the_point_is_and_the_callback_goes():
    def fail():
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"), on_reach("claim.won", fail):
        reach("claim.won")
    reach("claim.won")


def test_an_unknown_point_is_refused():
    """A test with a misspelt point would interrupt nothing, and pass."""
    with pytest.raises(ValueError, match="no fault point"), on_reach("claim.one", list):
        pass


def test_every_point_is_reached_from_one_place_and_no_other_is():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py")]
    reached = [point for source in sources for point in re.findall(r'\breach\("([^"]+)"\)', source)]
    assert sorted(reached) == sorted(POINTS)
