"""What each page loads, found in its scripts."""

from importlib.resources import files

import pytest

from app.runtime.settings import Settings
from app.web.pages.assets import assets, staff_page_asset
from app.web.pages.catalogues import languages
from app.web.pages.page_files import HOUSE, RECIPIENT, STAFF, modules_in_advance, names_served


def test_every_file_belongs_to_a_page():
    """A module that no page imports would be served to nobody."""
    found = {place.name for place in files("app.web").joinpath("static").iterdir()}
    assert found == {*names_served(RECIPIENT), *names_served(STAFF), *names_served(HOUSE)}


def test_modules_are_found_over_several_steps_and_lines():
    """Also those of imports over several lines; not those that a page loads later."""
    assert {"wrapping.js", "zip.js", "encoding.js", "clock.js"} <= set(modules_in_advance(STAFF))
    assert "zip.js" not in modules_in_advance(RECIPIENT)
    assert "zip.js" in names_served(RECIPIENT)
    assert "sw.js" not in names_served(STAFF)


@pytest.mark.parametrize("language", languages())
def test_the_staff_page_is_small(language):
    """With all assets, compressed, below 90 kB (docs/staff-page.md)."""
    loaded = [
        asset for name, asset in assets(Settings(), STAFF).items() if name == f"{language}.json" or "json" not in name
    ]
    assert sum(len(asset.zipped) for asset in [*loaded, staff_page_asset(Settings(), language)]) < 90_000
