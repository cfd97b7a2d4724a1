"""A hospital's colour stays readable whatever it is (WCAG 2.2, 1.4.3); what is no colour stops the start."""

import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import ValidationError

from app.runtime.settings import LOGO_MAX_BYTES, Settings
from app.web.pages.assets import assets
from app.web.pages.brand import CONTRAST, SURFACE_DARK, SURFACE_LIGHT, _parsed, brand_css, contrast
from app.web.pages.page_files import RECIPIENT

COLOURS = some.from_regex(r"#[0-9a-f]{6}", fullmatch=True)


@given(COLOURS)
def test_whatever_the_colour_it_can_be_read(colour):
    found = re.findall(r"--(accent|accent-strong|on-accent): (#[0-9a-f]{6});", brand_css(colour))
    for surface, tokens in ((SURFACE_LIGHT, dict(found[:3])), (SURFACE_DARK, dict(found[3:]))):
        accent, ink = _parsed(tokens["accent"]), _parsed(tokens["on-accent"])
        # Written with eight bits a channel, so a hair below the limit is possible.
        assert contrast(accent, _parsed(surface)) >= CONTRAST - 0.05
        assert contrast(accent, ink) >= CONTRAST
        assert contrast(_parsed(tokens["accent-strong"]), ink) >= CONTRAST


def test_a_colour_that_can_be_read_is_kept():
    assert "--accent: #17605b" in brand_css("#17605b")


def test_the_surfaces_are_those_of_the_page():
    css = files("app.web").joinpath("static", "page.css").read_text("utf-8")
    assert re.findall(r"--surface: (#[0-9a-f]{6})", css) == [SURFACE_LIGHT, SURFACE_DARK]


@pytest.mark.parametrize("colour", ["red", "#fff", "#12345g", "#123456;}", "#1234567", "url(x)"])
def test_what_is_no_colour_is_refused(colour):
    with pytest.raises(ValidationError):
        Settings(brand_colour=colour)


def test_a_logo_is_a_small_image_that_exists(tmp_path):
    logo = tmp_path / "logo.svg"
    with pytest.raises(ValidationError):
        Settings(brand_logo=logo)
    logo.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    served = assets(Settings(brand_logo=logo), RECIPIENT)["logo.svg"]
    assert (served.media_type, served.content) == ("image/svg+xml", logo.read_bytes())
    logo.write_bytes(bytes(LOGO_MAX_BYTES + 1))
    with pytest.raises(ValidationError):
        Settings(brand_logo=logo)
    with pytest.raises(ValidationError):
        Settings(brand_logo=logo.rename(tmp_path / "logo.html"))
