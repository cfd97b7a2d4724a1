"""The recipient's way in the Firefox that a distribution ships: altered link, password, ZIP, deletion."""

import os
import zipfile

import pytest

from tests.acceptance.people import add_file, issue, ok, open_transfer
from tests.acceptance.service import until
from tests.browser.firefox import firefox

ENTER = "\ue007"
SIZES = [(1366, 650), (1280, 600), (500, 667)]  # its window is never narrower than 500 pixels
ZONES = {"fr": "heure normale d’Europe centrale|heure d’été d’Europe centrale", "en": "Central European"}


@pytest.mark.external
@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_way_through_in_firefox(site, tmp_path, language):
    transfer, key = open_transfer(site.staff, label="Résultats")
    body = os.urandom(3_000_000)
    for name, content in (("a.csv", body), ("CON", b"1")):
        ok(add_file(site.staff, transfer, key, content, name), 201)
    share = issue(site.staff, transfer, key)
    with firefox(tmp_path, language) as reader:
        for width, height in SIZES:
            frame = reader.run("[outerWidth - innerWidth, outerHeight - innerHeight]")
            reader.ask("WebDriver:SetWindowRect", width=width + frame[0], height=height + frame[1])
            reader.open(share.link.replace("#", "%23"))
            reader.sees("ready")
            assert reader.run("document.getElementById('password').getBoundingClientRect().bottom < innerHeight")
            assert reader.run("location.href") == share.link.partition("#")[0]
            reader.open("about:blank")

        reader.open(f"{site.road.origin}/")
        reader.sees("home")
        reader.type("[data-view=home] textarea", share.link[:50])
        reader.run("document.activeElement.value += arguments[0]", f"\n> {share.link[50:]}\n> .")
        reader.click("[data-view=home] button")
        reader.sees("ready")
        reader.type("#password", share.password + ENTER)
        reader.sees("files")
        reader.click("#fetch-all")
        reader.wait("!document.querySelector('#all .file-received').hidden")
        (file,) = until(lambda: list(reader.downloads.glob("caducee-*.zip")), what="the ZIP")
        until(lambda: file.stat().st_size > len(body), what="all of it")
        with zipfile.ZipFile(file) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["a.csv", "_CON"]
            assert archive.read("a.csv") == body

        reader.click("#finish")
        reader.click("#confirm-yes")
        reader.sees("done")
        reader.wait("!document.querySelector('[data-view=done] .proof').hidden")
        said = reader.run("document.querySelector('[data-view=done] .proof').textContent")
        assert any(zone in said for zone in ZONES[language].split("|")), said
