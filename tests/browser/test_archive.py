"""All files as one ZIP that the page writes, and the last page, which says that they are destroyed."""

import io
import os
import re
import zipfile
from urllib.parse import quote

import pytest

from app.client import sealing
from app.client.sealed_transfer import SealedTransfer
from app.crypto.encoding import encode
from app.domain.file_meta import FileMeta
from tests.acceptance.people import Share, add_file, claim, issue, key_header, ok, open_transfer, send
from tests.browser.reader import content, refusing
from tests.marks import first

MIB = 1 << 20
FILES = {
    "résumé.csv": os.urandom(3 * MIB + 17),
    "CON": b"",
    "a:b.csv": b"1",
    "A_b.csv": b"2",
    "Études/CT/1.dcm": b"3",
    "Études/ct/1.dcm": b"4",
}
STORED = ["résumé.csv", "_CON", "a_b.csv", "A_b (2).csv", "Études/CT/1.dcm", "Études/ct (2)/1.dcm"]
FOLDER = {"fr": "Dans le dossier \u2068{}\u2069", "en": "In the folder \u2068{}\u2069"}
NAMED = re.compile(r"caducee-\d{4}-\d\d-\d\d-\d{4}\.zip")


@pytest.fixture(autouse=True)
def free_road(site):
    """Nothing is cut or slowed but where a test says so."""
    site.road.cut_after, site.road.pause_seconds, site.road.held = None, 0.0, b""


def several(site):
    transfer, key = open_transfer(site.staff)
    for path, body in FILES.items():
        above, _, name = path.rpartition("/")
        url = f"/api/v1/transfers/{transfer}/files/{quote(name)}?allow_empty=true"
        ok(site.staff.put(url, content=body, headers=key_header(key) | {"Caducee-File-Path": quote(above)}), 201)
    return issue(site.staff, transfer, key)


def fetch_all(reader):
    with reader.page.expect_download() as download:
        reader.page.click("#fetch-all")
    return download.value


def sees_folders(reader, language="en"):
    shown = reader.page.locator("#files .file-folder:not([hidden])").all_inner_texts()
    assert shown == [FOLDER[language].format(folder) for folder in ("Études/CT", "Études/ct (2)")]


def read(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return [(info.filename, archive.read(info), info.flag_bits) for info in archive.infolist()]


def expected(flags=0x800):
    return [(name, body, flags) for name, body in zip(STORED, FILES.values(), strict=True)]


@pytest.mark.parametrize("language", first(1, ["fr", "en"]))
def test_all_files_arrive_as_one_zip_although_the_way_is_cut(site, new_reader, language):
    """Lesson 15: it goes on from the byte where it was cut, like a single file."""
    reader = new_reader(language)
    share = several(site)
    reader.open(share)
    reader.claim(share.password)
    assert reader.barriers() == []
    sees_folders(reader, language)
    before, site.road.cut_after = site.road.passed, MIB
    download = fetch_all(reader)
    assert NAMED.fullmatch(download.suggested_filename)
    assert read(content(download)) == expected()
    assert site.road.cuts >= 1
    assert site.road.passed - before < sum(map(len, FILES.values())) * 1.5, "it did not begin again"
    for number in range(len(FILES)):
        reader.page.wait_for_selector(f"#files .file:nth-of-type({number + 1}) .file-received:not([hidden])")
    assert reader.barriers() == []
    reader.page.click("#finish")
    assert reader.page.inner_text("#missing") == "", "nothing is missing"


def test_a_single_file_needs_no_zip(site, reader):
    share = send(site.staff, b"x")
    reader.open(share)
    reader.claim(share.password)
    assert reader.page.is_hidden("#all")


def test_where_workers_are_off_the_service_writes_the_zip(site, new_reader):
    reader = new_reader("en", service_workers="block")
    share = several(site)
    reader.open(share)
    reader.claim(share.password)
    sees_folders(reader)
    reader.page.reload()
    reader.sees("files")
    sees_folders(reader)
    download = fetch_all(reader)
    assert NAMED.fullmatch(download.suggested_filename)
    assert read(content(download)) == expected()
    reader.page.locator("#all .file-received", has_text="Started in the browser").wait_for()


def test_where_nothing_is_kept_the_zip_is_written_in_memory(site, reader):
    reader.page.context.add_init_script("IDBFactory.prototype.open = () => { throw new Error('denied'); };")
    reader.page.context.add_init_script("delete Navigator.prototype.serviceWorker;")
    share = several(site)
    reader.open(share)
    reader.page.locator("#limits", has_text="256 MB").wait_for()
    reader.claim(share.password)
    assert read(content(fetch_all(reader))) == expected()


def sealed(site, **metas):
    transfer = SealedTransfer.create(site.staff, expires_in="1h")
    for (name, crc32), body in zip(metas.items(), FILES.values(), strict=False):
        transfer.add(FileMeta(name, "text/plain", crc32), [body])
    issued = transfer.issue("CPAM 75")
    return Share(transfer.id, encode(transfer.client_key), issued.id, issued.link.text(), issued.password)


def test_a_sealed_file_without_a_checksum_gets_a_descriptor(site, reader):
    """From an older sealing program: what seeks can read it."""
    body = FILES["résumé.csv"]
    share = sealed(site, known=sealing.crc32_of([body]), unknown=None)
    reader.open(share)
    reader.claim(share.password)
    assert read(content(fetch_all(reader))) == [("known", body, 0x800), ("unknown", b"", 0x808)]


def test_a_sealed_checksum_that_is_wrong_fails_the_archive_and_no_file(site, reader, monkeypatch):
    """A program may err in its checksum; the archive would be refused when it is opened, perhaps after the deletion."""
    monkeypatch.setattr(sealing, "unchanged", lambda pieces, _crc32: pieces)
    share = sealed(site, a=1, b=0)
    reader.open(share)
    reader.claim(share.password)
    assert fetch_all(reader).failure() is not None
    reader.page.locator("#all .error", has_text="did not arrive as it was deposited").wait_for()
    assert reader.fetch(0) == FILES["résumé.csv"]


# --- the last page

DESTROYED = {"fr": "ils sont détruits", "en": "they are destroyed"}
ZONE = {"fr": "heure normale d’Europe centrale", "en": "Central European"}


@pytest.mark.parametrize("language", first(1, ["fr", "en"]))
def test_the_last_page_says_that_the_files_are_destroyed_once_they_are(site, new_reader, language):
    reader = new_reader(language, timezone_id="Europe/Paris")
    transfer, key = open_transfer(site.staff)
    ok(add_file(site.staff, transfer, key, b"x"), 201)
    share, other = issue(site.staff, transfer, key), issue(site.staff, transfer, key, "CNAM")
    reader.open(share)
    reader.claim(share.password)
    reader.page.reload()  # the link is no longer in hand
    reader.sees("files")
    assert reader.fetch() == b"x"
    with reader.page.expect_response("**/look"):
        reader.finish()
    view = reader.sees("done")
    assert view.locator(".proof").is_hidden(), "somebody else is still waiting"
    assert view.locator("[data-certificate]").is_hidden()
    assert view.locator("[data-pending]").is_visible()
    ok(claim(site.staff, other).complete(), 204)
    view.locator(".proof", has_text=DESTROYED[language]).wait_for(timeout=60_000)  # it asks ever less often
    assert "UTC" not in view.inner_text()
    assert "GMT" not in view.inner_text()
    assert ZONE[language] in view.inner_text() or "été" in view.inner_text()
    assert view.locator("[data-pending]").is_hidden()
    assert reader.barriers() == []

    button = view.locator("[data-certificate] button")
    reader.page.route("**/receipt?*", refusing("receipt_not_signed", 409))
    button.click()
    view.locator("[data-certificate] .error").filter(has_text={"fr": "signé", "en": "signed"}[language]).wait_for()
    reader.page.unroute("**/receipt?*")
    asked = []

    def certify(route):
        asked.append(route.request.headers)
        route.fulfill(status=200, content_type="text/html; charset=utf-8", body="<h1>Certificate</h1>")

    reader.page.route(f"**/shares/{share.id}/receipt?lang={language}", certify)
    with reader.page.expect_download() as download:
        button.click()
    assert content(download.value) == b"<h1>Certificate</h1>"
    assert download.value.suggested_filename.endswith(f"-{share.id}.html")
    assert (asked[0]["caducee-link-proof"], asked[0]["accept"]) == (share.proof, "text/html")


def test_a_link_opened_after_the_end_says_when_the_files_were_destroyed(site, new_reader):
    share = send(site.staff, b"x")
    ok(claim(site.staff, share).complete(), 204)
    reader = new_reader("en")
    reader.open(share, "completed")
    for _ in range(20):
        if reader.page.locator("[data-view=completed] .proof").is_visible():
            break
        reader.page.wait_for_timeout(500)
        reader.page.goto("about:blank")
        reader.open(share, "completed")
    assert DESTROYED["en"] in reader.page.inner_text("[data-view=completed]")
    assert reader.page.locator("[data-view=completed] [data-certificate]").is_visible()
    assert reader.barriers() == []
