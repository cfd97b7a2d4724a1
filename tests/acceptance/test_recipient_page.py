"""The recipient's page as it is served: what its hashes are of, how it is rebranded. In browsers: tests/browser/."""

import re
from hashlib import sha256

from tests.acceptance.people import ok


def test_doctor_prints_the_hashes_of_what_is_served(house, anyone):
    """An agency compares them with what it gets, compressed or not."""
    printed = house.installation.run("doctor", "--assets", "--json", PUBLIC_URL=house.server.origin).json["assets"]
    assert {it["address"] for it in printed} >= {"/s/*?lang=fr", "/s/*?lang=en", "/s/assets/sw.js", "/s/assets/fr.json"}
    for it in printed:
        for encoding in ("gzip", "identity"):
            answer = anyone.get(it["address"].replace("*", "A" * 22), headers={"Accept-Encoding": encoding})
            assert sha256(answer.content).hexdigest() == it["sha256"], it["address"]
            assert answer.headers.get("content-encoding") == (None if encoding == "identity" else encoding)


def test_everything_the_page_loads_is_hashed(house, anyone):
    printed = house.installation.run("doctor", "--assets", PUBLIC_URL=house.server.origin).out
    page = anyone.get("/s/x").text
    loaded = set(re.findall(r'<(?:link|script|img)\b[^>]* (?:href|src)="(/[^"]*)"', page))
    assert loaded
    assert {address for address in loaded if f"  {address}\n" not in printed} == set()


def test_browsers_keep_what_the_page_loads_and_nothing_else(anyone):
    """Under names of this version, which another version does not serve; imports between scripts name it too."""
    page = anyone.get("/s/x").text
    lasting = set(re.findall(r'"(/s/assets/[\w-]+\.(\w{16})\.(?:js|css|svg))"', page))
    assert len({version for _, version in lasting}) == 1
    assert len(lasting) > 10
    for address, version in lasting:
        kept = anyone.get(address)
        assert kept.headers["cache-control"] == "public, max-age=31536000, immutable", address
        assert kept.headers["vary"] == "Accept-Encoding", address
        assert kept.headers["x-content-type-options"] == "nosniff"
        imported = re.findall(r'^import .*"\./(.*)";$', kept.text, re.MULTILINE)
        assert {f"/s/assets/{name}" for name in imported} <= {each for each, _ in lasting}, address
        assert ok(anyone.get(address.replace(version, "0" * 16)), 404)["code"] == "not_found"
    loaded = set(re.findall(r'"(/s/assets/[^"]+)"', page)) - {address for address, _ in lasting}
    assert loaded == {"/s/assets/en.json"}
    for address in (*loaded, "/s/x", "/s/assets/sw.js", "/s/assets/receive.js", "/s/assets/none.js", "/livez"):
        assert anyone.get(address).headers["cache-control"] == "no-store", address


def test_the_language_is_asked_for_by_header_or_by_the_switch(anyone):
    for query, header, language in (
        ("", "fr-CH, en;q=0.5", "fr"),
        ("", "de", "en"),
        ("?lang=fr", "en", "fr"),
        ("?lang=x", "fr", "fr"),
    ):
        answer = anyone.get(f"/s/x{query}", headers={"Accept-Language": header})
        assert answer.headers["content-language"] == language
        assert f'<html lang="{language}">' in answer.text


def test_a_house_shows_its_own_colour_and_logo(installation):
    logo = installation.folder / "logo.svg"
    logo.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    settings = {"BRAND_COLOUR": "#8a1c7c", "BRAND_LOGO": str(logo), "ORGANISATION": "Hôpital des Essais"}
    with installation.serving(**settings) as server, server.http() as anyone:
        page = anyone.get("/s/x").text
        assert re.search(r'src="/s/assets/logo\.\w+\.svg"', page)
        assert "Hôpital des Essais" in page
        assert "style=" not in page
        assert "--accent: #8a1c7c" in anyone.get("/s/assets/brand.css").text
        assert anyone.get("/s/assets/logo.svg").text == logo.read_text()
        assert "sandbox" in anyone.get("/s/assets/logo.svg").headers["content-security-policy"]
        assert ok(anyone.get("/s/assets/logo.png"), 404)["code"] == "not_found"
