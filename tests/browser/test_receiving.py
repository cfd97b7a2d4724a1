"""Files on their way through a real browser: cut, closed, raced for, hostile, and what is kept and sent meanwhile."""

import json
import os
import re
from datetime import datetime
from urllib.parse import quote

import pytest
from playwright.sync_api import APIResponse, Route

from app.client.sealed_transfer import SealedTransfer
from app.crypto.encoding import encode
from app.domain.file_meta import FileMeta
from tests.acceptance.people import Share, add_file, issue, ok, open_transfer, send, wrong_password
from tests.acceptance.service import until
from tests.browser.chromium import ARGUMENTS
from tests.browser.reader import Reader, content, refusing

MIB = 1 << 20


@pytest.fixture(scope="module")
def body() -> bytes:
    """Eight MiB and a bit."""
    return os.urandom(8 * MIB + 12_345)


@pytest.fixture(autouse=True)
def free_road(site):
    """Nothing is cut or slowed but where a test says so."""
    site.road.cut_after, site.road.pause_seconds, site.road.held = None, 0.0, b""


def test_several_files_arrive_as_they_were_deposited(site, reader, body):
    transfer, key = open_transfer(site.staff)
    bodies = [b"", b"x", body[:16_384], body[: MIB + 1], body]
    for number, each in enumerate(bodies):
        ok(add_file(site.staff, transfer, key, each, f"{number}.bin", allow_empty=True), 201)
    share = issue(site.staff, transfer, key)
    reader.open(share)
    reader.claim(share.password.lower().replace("-", " ").replace("0", "o").replace("1", "l"))
    for number, each in enumerate(bodies):
        download = reader.start(number)
        assert download.suggested_filename == f"{number}.bin"
        assert content(download) == each
        reader.received(number)
    reader.finish()
    assert site.staff.get(f"/api/v1/transfers/{transfer}").json()["state"] != "live"


def test_a_cut_download_goes_on_by_itself(site, reader, body):
    """Lesson 15: cut at half, it resumes within the window, from the byte where it was cut (Send #1097, OnionShare)."""
    share = send(site.staff, body)
    reader.open(share)
    reader.claim(share.password)
    before, site.road.cut_after = site.road.passed, len(body) // 2
    assert reader.fetch() == body
    reader.received()
    assert site.road.cuts >= 1
    assert site.road.passed - before < len(body) * 1.3, "it did not begin again"


def test_a_cut_is_told_while_it_lasts(site, reader, body):
    share = send(site.staff, body)
    reader.open(share)
    reader.claim(share.password)
    site.road.pause_seconds, site.road.cut_after = 0.01, 2 * MIB
    download = reader.start()
    reader.page.context.set_offline(True)
    reader.page.locator(".file-told", has_text="connection was cut").wait_for()
    reader.page.locator("[data-view=files] [data-status]", has_text="connection was cut").wait_for(state="attached")
    site.road.pause_seconds = 0
    reader.page.context.set_offline(False)
    assert content(download) == body


def test_what_a_cut_download_set_aside_does_not_end_the_claim(site, reader):
    """Until the service notices the cut, those bytes are not free; a refusal that says so is not for good."""
    share = send(site.staff, b"patience")
    reader.open(share)
    reader.claim(share.password)
    reader.page.route("**/blobs/0", refusing("busy"), times=1)
    assert reader.fetch() == b"patience"


def test_a_closed_tab_can_go_on(site, new_reader, body):
    """Send #1368: what is left is fetched from a new tab, in the same browser, without the password."""
    transfer, key = open_transfer(site.staff)
    for name in ("one.bin", "two.bin"):
        ok(add_file(site.staff, transfer, key, body, name), 201)
    share = issue(site.staff, transfer, key)
    first = new_reader()
    first.open(share)
    first.claim(share.password)
    assert first.fetch(0) == body
    first.received(0)
    site.road.pause_seconds = 0.02
    first.start(1)
    first.page.close(run_before_unload=False)
    site.road.pause_seconds = 0

    second = Reader.in_tab_of(first.page.context, first.axe)
    second.open(share, "files")
    second.received(1)
    marks = second.page.locator("#files .file-received").all_inner_texts()
    assert (marks[0], marks[1].partition(",")[0]) == ("Downloaded", "Begun")
    assert "two.bin" in second.page.inner_text("#files")
    assert second.fetch(1) == body
    second.page.locator("#files .file-received", has_text="Downloaded").nth(1).wait_for()
    assert second.kept()["keys"] == [["secret", False]]
    second.finish()
    assert second.kept()["records"] == []


def test_what_the_browser_keeps_opens_nothing_by_itself(site, reader):
    """Neither link secret, nor password, nor a name in clear; the key cannot be read out, and the end removes all."""
    share = send(site.staff, b"x", name="DUPONT_Marie.csv")
    reader.open(share)
    assert share.secret not in reader.page.url
    reader.claim(share.password)
    reader.fetch()
    kept = reader.kept()
    assert len(kept["records"]) == 1
    assert kept["keys"] == [["secret", False]]
    assert kept["caches"] == []
    for text in (share.secret, share.password, share.password.replace("-", ""), "DUPONT"):
        assert text not in str(kept)
    reader.finish()
    assert reader.kept()["records"] == []


def test_nothing_is_kept_past_the_expiry(site, reader):
    """However long the window: what is kept says when it goes."""
    share = send(site.staff, expires_in="10m")
    reader.open(share)
    reader.claim(share.password)
    (record,) = map(json.loads, reader.kept()["records"])
    expires = datetime.fromisoformat(record["claim"]["expiresAt"])
    assert record["until"] <= expires.timestamp() * 1000


SKEWED = "const now = Date.now; Date.now = () => now() + {days} * 86_400_000;"


def test_a_clock_that_runs_ahead_burns_nothing(site, reader):
    """What is kept ends by the service's clock: the reader's may be a month ahead."""
    share = send(site.staff, b"in good time")
    reader.page.context.add_init_script(SKEWED.format(days=30))
    reader.open(share)
    reader.claim(share.password)
    reader.page.goto("about:blank")
    reader.open(share, "files")
    assert reader.fetch() == b"in good time"


def test_what_is_kept_goes_at_the_expiry_whatever_the_readers_clock(site, reader):
    """It goes when the page is next opened, by whatever link: here one without its secret, a month behind."""
    reader.page.context.add_init_script(SKEWED.format(days=-30))
    share = send(site.staff, expires_in="4s")
    reader.open(share)
    reader.claim(share.password)
    assert len(reader.kept()["records"]) == 1
    until(lambda: site.staff.get(f"/api/v1/transfers/{share.transfer_id}").json()["state"] == "verified")
    reader.page.wait_for_timeout(1_000)  # the service's clock is read from a header in whole seconds
    reader.page.goto(f"{site.road.origin}/s/{'A' * 22}")
    reader.sees("incomplete")
    until(lambda: reader.kept()["records"] == [], seconds=5)


def test_a_proxys_clock_that_runs_ahead_burns_nothing(site, reader):
    """Many proxies write the Date themselves: a claim that the service still holds is kept, whatever the hour."""
    share = send(site.staff, b"in good time")
    reader.open(share)
    reader.claim(share.password)

    def ahead(route):
        answer = route.fetch()
        route.fulfill(response=answer, headers=answer.headers | {"date": "Fri, 01 Jan 2100 00:00:00 GMT"})

    reader.page.route(f"{site.road.origin}/**", ahead)
    with reader.page.expect_response("**/blobs/0"):
        reader.page.goto(f"{site.road.origin}/s/{'A' * 22}")
    reader.page.wait_for_timeout(300)
    assert len(reader.kept()["records"]) == 1


def test_the_service_is_asked_before_the_time_is_called_over(site, reader):
    """A browser's own download moves the window unseen by the page; what the service says counts."""
    share = send(site.staff, b"long")
    reader.page.clock.install()
    reader.open(share)
    reader.claim(share.password)
    with reader.page.expect_response("**/blobs/0"):
        reader.page.clock.fast_forward("02:00:00")
    assert reader.fetch() == b"long"
    ok(site.staff.delete(f"/api/v1/shares/{share.id}"), 204)
    reader.page.clock.fast_forward("02:00:00")
    reader.sees("withdrawn")
    assert reader.kept()["records"] == []


@pytest.mark.parametrize("status", [404, 410])
def test_a_proxys_bare_refusal_ends_nothing(site, reader, status):
    """Only the service's own words end a claim: not an error page of whatever stands before it."""
    share = send(site.staff, b"behind a proxy")
    reader.open(share)
    reader.claim(share.password)
    reader.page.route("**/blobs/0", lambda route: route.fulfill(status=status, body="<h1>Not here</h1>"))
    reader.page.reload()
    reader.sees("busy")
    assert len(reader.kept()["records"]) == 1
    reader.page.unroute("**/blobs/0")
    reader.page.click("[data-view=busy] [data-retry]")
    reader.sees("files")
    reader.page.route("**/blobs/0", lambda route: route.fulfill(status=status), times=1)
    assert reader.fetch() == b"behind a proxy"


def test_the_secret_leaves_the_address_bar_and_the_tabs_session(site, reader):
    """No page can do more: the browser's own history keeps what was visited (docs/recipient-page.md)."""
    share = send(site.staff)
    reader.open(share)
    assert reader.page.url == share.link.partition("#")[0]
    assert reader.page.evaluate("history.length") <= 2
    reader.page.goto("about:blank")
    reader.page.go_back()
    assert reader.page.url == share.link.partition("#")[0], "there is no entry with the secret to go back to"


def test_the_service_is_never_told_the_secret_or_sent_for_plaintext(site, reader):
    """Everything that went out of the browser, byte for byte: the page decrypts by itself, sealed or not."""
    site.road.seen.clear()
    share = send(site.staff, b"x" * 1000)
    reader.open(share)
    reader.claim(share.password)
    assert reader.fetch() == b"x" * 1000
    reader.finish()
    sent = bytes(site.road.seen)
    assert b"/complete" in sent
    assert share.secret.encode() not in sent
    assert b"/files/" not in sent
    requests = {line.split(b" ")[1] for line in re.findall(rb"(?:GET|HEAD|POST) /[^ ]+ HTTP", sent)}
    assert not any(share.password.encode() in path or b"?" in path for path in requests)


def test_two_browsers_race_for_one_share(site, new_reader):
    """Lesson 13: one has the files; the other is told that the link was used, and when."""
    share = send(site.staff, b"raced for")
    racers = [new_reader("en"), new_reader("en")]
    for racer in racers:
        racer.open(share)
        racer.page.fill("#password", share.password)
    for racer in racers:
        racer.page.evaluate("document.querySelector('#claim button').click()")
    for racer in racers:
        racer.page.wait_for_selector('[data-view="files"]:not([hidden]), [data-view="used"]:not([hidden])')
    winners = [racer for racer in racers if racer.page.is_visible('[data-view="files"]')]
    losers = [racer for racer in racers if racer not in winners]
    assert (len(winners), len(losers)) == (1, 1)
    assert winners[0].fetch() == b"raced for"
    assert "This link was opened on" in losers[0].page.inner_text('[data-view="used"]')
    assert losers[0].kept()["records"] == []


def test_two_tabs_of_one_browser_are_one_reader(site, new_reader):
    share = send(site.staff, b"twice open")
    one = new_reader()
    two = Reader.in_tab_of(one.page.context)
    one.open(share)
    two.open(share)
    one.claim(share.password)
    two.claim(share.password)
    assert one.fetch() == two.fetch() == b"twice open"
    two.finish()
    one.page.click("#fetch-0")
    one.page.locator(".file .error", has_text="can no longer be downloaded").wait_for()


def test_what_one_tab_deletes_another_does_not_put_back(site, new_reader):
    """Key and token are gone for good, whatever the other tab still believes to hold."""
    share = send(site.staff, b"once deleted")
    one = new_reader()
    two = Reader.in_tab_of(one.page.context)
    one.open(share)
    one.claim(share.password)
    two.open(share, "files")
    on_the_way: list[tuple[Route, APIResponse]] = []
    two.page.route("**/blobs/0", lambda route: on_the_way.append((route, route.fetch())))
    two.page.click("#fetch-0")
    while not on_the_way:
        two.page.wait_for_timeout(50)
    one.finish()
    route, answer = on_the_way[0]
    route.fulfill(response=answer)
    two.received()
    assert one.kept()["records"] == []


HOSTILE = ["<img src=x onerror=alert(1)>.html", "« d’été ».csv", "a" * 240 + ".csv", "CON", "100%.txt", "';--.js"]
HOSTILE_SEALED = ["../../up", "\u202etxt.exe", "NUL", "", "x" * 255]
HTML = b"<script>alert(document.domain)</script>"


def all_are_harmless(reader, count):
    """Every name is text, every file an attachment under a name that any disk takes."""
    reader.page.on("dialog", lambda dialog: reader.faults.append(dialog.message))
    assert reader.page.locator("#files img").count() == 0
    for number in range(count):
        download = reader.start(number)
        assert content(download) == HTML
        assert download.suggested_filename.strip(".")
        assert not set('/\\<>:"|?*\u202e') & set(download.suggested_filename)
    assert len(reader.page.context.pages) == 1


def test_names_are_text_and_files_are_attachments(site, reader):
    """Lesson 26 and 32: a name never becomes markup or a header, and HTML never runs."""
    transfer, key = open_transfer(site.staff)
    for name in HOSTILE:
        ok(add_file(site.staff, transfer, key, HTML, quote(name, safe="")), 201)
    share = issue(site.staff, transfer, key)
    reader.open(share)
    reader.claim(share.password)
    all_are_harmless(reader, len(HOSTILE))


def test_where_workers_are_off_the_browser_downloads_by_itself(site, new_reader, body):
    """By the claim's cookie: for transfers that are not sealed, as in some private windows."""
    transfer, key = open_transfer(site.staff)
    for name in ("un.bin", "deux.bin"):
        ok(add_file(site.staff, transfer, key, body[:MIB], name), 201)
    share = issue(site.staff, transfer, key)
    reader = new_reader("en", service_workers="block")
    reader.open(share)
    reader.claim(share.password)
    assert reader.fetch(0) == body[:MIB]
    reader.page.reload()
    reader.sees("files")
    assert "deux.bin" in reader.page.inner_text("#files")
    assert reader.fetch(1) == body[:MIB]
    kept = reader.kept()
    assert "deux" not in str(kept)
    assert '"token":""' in kept["records"][0], "the cookie, which no script can read, is the only right"
    reader.finish()


def test_a_download_that_was_only_started_is_not_called_received(site, new_reader, body):
    """The page does not see how a browser's own download ends; deleting meanwhile would cut it."""
    share = send(site.staff, body)
    reader = new_reader("en", service_workers="block")
    reader.open(share)
    reader.claim(share.password)
    assert reader.fetch() == body
    reader.received()
    assert reader.page.inner_text(".file-received") == "Started in the browser"
    assert "secondary" in reader.page.get_attribute("#finish", "class")
    reader.page.click("#finish")
    assert "check that it has ended" in reader.page.inner_text("#confirm")
    assert reader.barriers() == []
    reader.page.click("#confirm-no")
    reader.page.reload()
    reader.sees("files")
    reader.page.click("#finish")
    assert "check that it has ended" in reader.page.inner_text("#confirm")


def test_where_cookies_are_blocked_files_open_in_memory(site, browser, executable, axe, tmp_path, body):
    """Chromium's own setting: it calls cookies enabled, but keeps none, starts no worker and denies IndexedDB."""
    settings = tmp_path / "Default" / "Preferences"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"profile": {"default_content_setting_values": {"cookies": 2}}}))
    share = send(site.staff, body)
    site.road.seen.clear()
    with browser.browser_type.launch_persistent_context(
        tmp_path, executable_path=executable, args=ARGUMENTS, locale="en-GB"
    ) as context:
        reader = Reader.in_tab_of(context, axe)
        reader.open(share)
        reader.page.locator("#limits", has_text="does not let this site store anything").wait_for()
        assert reader.barriers() == []
        reader.claim(share.password)
        assert "close this tab" not in reader.page.inner_text("[data-view=files]")
        assert reader.fetch() == body
        reader.finish()
        assert reader.faults == []
    assert share.secret.encode() not in bytes(site.road.seen)


def test_an_altered_file_is_refused_and_never_called_received(site, reader, body):
    """Lesson 33, from the disk to the browser: one bit of the blob."""
    share = send(site.staff, body)
    blob = max(site.installation.files("blobs"), key=lambda path: path.stat().st_mtime)
    with blob.open("r+b") as file:
        file.seek(5 * MIB)
        byte = file.read(1)
        file.seek(5 * MIB)
        file.write(bytes([byte[0] ^ 1]))
    reader.open(share)
    reader.claim(share.password)
    download = reader.start()
    assert download.failure() is not None
    reader.page.locator(".file .error", has_text="did not arrive as it was deposited").wait_for()
    assert reader.page.is_hidden(".file-received")


def test_a_cancelled_download_can_be_started_again(site, reader, body):
    share = send(site.staff, body)
    reader.open(share)
    reader.claim(share.password)
    site.road.pause_seconds = 0.02
    reader.start().cancel()
    reader.page.locator(".file .error", has_text="cancelled").wait_for()
    site.road.pause_seconds = 0
    assert reader.fetch() == body


def test_what_is_left_of_the_allowance_is_shown_and_its_end_is_named(site, new_reader):
    """With the page's own decryption and with the browser's download, which a refusal would turn into a file."""
    for workers in ("allow", "block"):
        reader = new_reader("en", service_workers=workers)
        share = send(site.staff, b"three times" * 1000)
        reader.open(share)
        reader.claim(share.password)
        for left in ("three times at most", "2 more times", "1 more time."):
            reader.page.locator("#left", has_text=left).wait_for()
            assert reader.fetch() == b"three times" * 1000
        reader.page.locator("#left", has_text="can no longer be downloaded").wait_for()
        assert reader.page.is_hidden("#fetch-0")
        assert reader.page.is_hidden("#window"), "nothing invites the reader to come back"
        assert reader.barriers() == []


def test_what_the_depositor_ends_meanwhile_is_told(site, reader):
    share = send(site.staff, b"x")
    reader.open(share)
    reader.claim(share.password)
    ok(site.staff.delete(f"/api/v1/shares/{share.id}"), 204)
    reader.page.click("#fetch-0")
    reader.page.locator(".file .error", has_text="The sender cancelled this link").wait_for()
    reader.page.reload()
    reader.sees("withdrawn")
    assert reader.kept()["records"] == []


def test_the_link_opened_again_does_not_drop_a_download(site, reader, body):
    """In the same tab, as a second click in a mail program does: the row, its progress and the guard stay."""
    share = send(site.staff, body)
    reader.open(share)
    reader.claim(share.password)
    site.road.pause_seconds = 0.03
    download = reader.start()
    reader.page.evaluate("hash => (location.hash = hash)", share.secret)
    reader.page.wait_for_timeout(500)
    assert share.secret not in reader.page.url
    assert reader.page.is_visible(".file-progress")
    site.road.pause_seconds = 0
    assert content(download) == body
    reader.received()


def test_a_page_that_is_left_ends_its_download(site, reader, body):
    """As a failed one, at once: the browser does not wait for ever for bytes of a page that is gone."""
    share = send(site.staff, body)
    reader.open(share)
    reader.claim(share.password)
    site.road.pause_seconds = 0.03
    download = reader.start()
    reader.page.on("dialog", lambda dialog: dialog.accept())
    reader.page.goto("about:blank")
    assert download.failure() is not None


# --- sealed transfers


def seal(site, **files: bytes) -> Share:
    """Deposit as a sealing program does, and issue a share."""
    transfer = SealedTransfer.create(site.staff, expires_in="1h", label="Scellé")
    for name, each in files.items():
        transfer.add(FileMeta(name, "text/plain"), [each[at : at + MIB] for at in range(0, len(each), MIB)] or [b""])
    share = transfer.issue("CPAM 75")
    return Share(transfer.id, encode(transfer.client_key), share.id, share.link.text(), share.password)


def test_sealed_files_are_opened_by_the_browser_alone(site, reader, body):
    """In sealed mode the server sees neither secret nor plaintext: its traffic, its log, its whole data folder."""
    marker = b"PATIENT DUPONT 1 85 05 78 006 084"
    site.road.seen.clear()
    share = seal(site, secret_name=marker * 1000, big=body)
    reader.open(share)
    assert reader.page.url == share.link.partition("#")[0]
    assert "Scellé" in reader.page.inner_text("main")
    reader.claim(share.password)
    assert "secret_name" in reader.page.inner_text("#files")
    assert reader.fetch(0) == marker * 1000
    assert reader.fetch(1) == body
    reader.received(1)
    secret = share.secret.removeprefix("sealed.").encode()
    seen = {"traffic": bytes(site.road.seen), "log": site.server.log.encode()}
    seen |= {path.name: data for path, data in site.installation.bytes_at_rest().items()}
    for where, data in seen.items():
        assert secret not in data, where
        assert marker not in data, where
        assert b"secret_name" not in data, where
    assert b"link_secret" not in seen["traffic"]
    reader.finish()


def test_hostile_names_of_a_sealed_transfer_are_made_harmless(site, reader):
    """The service cannot refuse what it cannot read; the page does not trust it (lesson 26)."""
    transfer = SealedTransfer.create(site.staff, expires_in="1h")
    for name in HOSTILE_SEALED:
        transfer.add(FileMeta(name, "text/html"), [HTML])
    issued = transfer.issue("CPAM 75")
    share = Share(transfer.id, "", issued.id, issued.link.text(), issued.password)
    reader.open(share)
    reader.claim(share.password)
    all_are_harmless(reader, len(HOSTILE_SEALED))


def test_sealed_files_open_in_memory_where_workers_are_off(site, new_reader, body):
    reader = new_reader("en", service_workers="block")
    share = seal(site, a=body)
    reader.open(share)
    limits = reader.page.locator("#limits", has_text="less than 256 MB")
    limits.wait_for()
    reader.claim(wrong_password(), "ready")
    reader.page.locator("#password-error", has_text="4 attempts").wait_for()
    assert limits.is_visible(), "an error of the password takes no other warning away"
    assert reader.barriers() == []
    reader.claim(share.password)
    assert reader.fetch() == body
    reader.received()


def test_a_worker_that_does_not_come_is_not_waited_for(site, reader):
    """A slow script of the service worker held the page for ever, after a sealed link had been used."""
    share = seal(site, a=b"without a worker")
    site.road.held = b"GET /s/assets/sw.js"
    reader.open(share)
    reader.claim(share.password, "ready")
    reader.page.locator("#limits", has_text="less than 256 MB").wait_for()
    assert site.staff.get(f"/api/v1/transfers/{share.transfer_id}").json()["shares"][0]["state"] == "issued"
    reader.claim(share.password)
    assert reader.fetch() == b"without a worker"


def test_a_service_that_denies_the_seal_is_not_believed(site, new_reader):
    """`#sealed.` is the link's own word: the secret stays here, whatever the answer to the look says."""
    reader = new_reader("en", service_workers="block")
    share = seal(site, a=b"x")

    def lie(route):
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"sealed": False})

    reader.page.route("**/look", lie)
    site.road.seen.clear()
    reader.open(share)
    reader.claim(share.password)
    assert share.secret.removeprefix("sealed.").encode() not in bytes(site.road.seen)


def test_what_was_begun_in_the_open_does_not_send_a_sealed_secret(site, reader):
    """A try that was kept says how to repeat it; the link's own word is stronger."""
    share = seal(site, a=b"x")
    reader.open(share)
    reader.page.evaluate(BEGUN_IN_THE_OPEN, share.id)
    site.road.seen.clear()
    reader.claim(share.password)
    assert share.secret.removeprefix("sealed.").encode() not in bytes(site.road.seen)


BEGUN_IN_THE_OPEN = """async (shareId) => {
  const opening = indexedDB.open("caducee");
  const database = await new Promise((resolve) => (opening.onsuccess = () => resolve(opening.result)));
  const store = database.transaction("claims", "readwrite").objectStore("claims");
  const kept = { shareId, token: "A".repeat(43), byProof: false, until: Date.now() + 600_000, claim: null };
  await new Promise((resolve) => (store.put(kept).onsuccess = resolve));
  database.close();
}"""


def test_a_sealed_share_whose_key_was_swapped_says_so(site, reader):
    """A server that hands out another wrapped key is found out by the browser; nothing is called downloaded."""
    share = seal(site, a=b"x")

    def swap(route):
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"wrapped_key": encode(bytes(60))})

    reader.open(share)
    reader.page.route("**/claim", swap)
    reader.claim(share.password, "damaged")


# --- how little is sent


def test_the_page_is_small_until_the_download_starts(site, reader):
    """Below 62 kB from the first byte until a download starts (docs/performance.md)."""
    share = send(site.staff, b"", allow_empty=True)
    before = site.road.passed
    reader.open(share)
    reader.claim(share.password)
    reader.page.wait_for_timeout(200)
    assert site.road.passed - before < 62_000
