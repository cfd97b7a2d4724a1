"""The staff's page in Chromium: from sign-in to the list of what was sent, and what goes wrong on the way."""

import base64
import contextlib
import os
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from unicodedata import normalize

import pytest

from tests.acceptance.service import until
from tests.browser.depositor import fetched, laid
from tests.marks import first, in_test_all

MIB = 1 << 20
LANGUAGES = ["fr", "en"]
TITLES = {
    "form": ("Envoyer des fichiers", "Send files"),
    "handover": ("À vous de transmettre les liens", "Now pass on the links"),
    "sent": ("Suivi des envois", "Sent"),
}
LOOKS = {
    "fr": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "en": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
}


@pytest.fixture(autouse=True)
def free_road(site, tmp_path, monkeypatch):
    """Nothing is cut or slowed but where a test says so; and the command line keeps its state here."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    site.road.cut_request_after, site.road.request_bytes_per_second = None, 0


def checked(person, language, view):
    """The state is shown alone, in the language, with the focus on its heading, without a barrier, and fits."""
    shown = person.sees(view)
    heading = shown.locator("h1")
    if view in TITLES:
        assert heading.inner_text() == TITLES[view][LANGUAGES.index(language)]
    assert person.page.evaluate("document.documentElement.lang") == language
    assert heading.evaluate("it => it === document.activeElement"), f"{view}: focus"
    fits(person, view)
    return shown


def fits(person, what):
    assert person.barriers() == [], what
    assert person.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{what}: scrolls sideways"


@pytest.mark.parametrize("language", first(1, LANGUAGES))
def test_the_way_through(site, new_depositor, new_reader, tmp_path, language):
    """Every state that matters, then two recipients by two ways, and the list after that."""
    site.road.seen.clear()
    person = new_depositor(language, **LOOKS[language])
    page = person.page
    checked(person, language, "form")

    # Everything is checked before the first byte.
    person.send("form")
    assert page.inner_text("#files-error")
    assert page.evaluate("document.activeElement.id") == "pick"
    paths = laid(tmp_path, résultats__csv=b"a;b\n" * 300_000, notice__pdf=b"%PDF", vide__txt=b"")
    person.choose(paths)
    person.send("form")
    page.click("#drop-empty")
    assert page.locator("#chosen .file").count() == 2
    person.address(["Agence A", "Agence A"], "x" * 201)
    person.send("form")
    assert page.evaluate("document.activeElement.id") == "recipients"
    assert "Agence A" in page.inner_text("#recipients-error")
    assert page.inner_text("#subject-error")
    fits(person, "refused form")
    assert b"POST /api/v1/transfers" not in site.road.seen

    person.address(["Agence A", "Agence B"], "Semaine 48")
    assert page.inner_text("#recipients-error") == "", "corrected, it is no error any more"
    page.select_option("#language-of-mail", language)
    person.send()
    checked(person, language, "handover")
    first, second = person.shown()
    assert [first.recipient, second.recipient] == ["Agence A", "Agence B"]
    for shown in (first, second):
        assert {"fr": "Objet : Semaine 48", "en": "Subject: Semaine 48"}[language] in shown.mail.replace("\u00a0", " ")
        assert "résultats" not in shown.mail
        assert shown.password not in shown.mail

    # Leaving before copying warns.
    page.click("#done")
    page.wait_for_selector("#confirm[open]")
    fits(person, "dialog")
    page.click("#confirm-no")
    page.locator(".copy-mail").first.click()
    page.wait_for_selector(".copy-mail[data-copied]")
    assert page.evaluate("navigator.clipboard.readText()") == first.mail
    page.locator(".copy-password").first.click()
    page.wait_for_selector(".copy-password[data-copied]")
    assert page.evaluate("navigator.clipboard.readText()") == first.password
    person.hand_over()
    noted = {"fr": "qui a récupéré", "en": "who has fetched"}
    assert noted[language] in page.inner_text("[data-view=form] > [data-status]")

    # One recipient fetches by the page, the other by the command line.
    reader = new_reader(language)
    reader.page.goto(first.link)
    reader.claim(first.password)
    assert reader.fetch(0) == paths[0].read_bytes()
    assert "résultats.csv" in reader.page.inner_text("#files")
    assert fetched(site.installation, second, tmp_path)["résultats.csv"] == paths[0].read_bytes()

    person.list()
    view = checked(person, language, "sent")
    assert "Semaine 48" in view.inner_text()
    assert "résultats.csv, notice.pdf" in view.inner_text()
    states = page.locator(".share-state").all_inner_texts()
    assert {"fr": "Récupéré et confirmé", "en": "Fetched and confirmed"}[language] in states[1]
    assert {"fr": "pas encore confirmé", "en": "not confirmed yet"}[language] in states[0]
    page.click("#language")
    page.wait_for_function("before => document.documentElement.lang !== before", arg=language)
    assert page.locator(".share-state").all_inner_texts()[1] != states[1]
    page.click("#language")

    page.fill("#search", "nobody")
    page.wait_for_function("() => document.querySelectorAll('#transfers .item').length === 0")
    page.fill("#search", "agence b")
    page.select_option("#show", "fetched")
    assert page.locator("#transfers .item").count() == 1

    # Issued again, the earlier link ends; deleted, the certificate follows.
    page.locator(".again:visible").click()
    page.click("#confirm-yes")
    person.sees("handover")
    (again,) = person.shown()
    assert again.link != first.link
    person.hand_over()
    reader.page.goto("about:blank")
    reader.page.goto(again.link)
    reader.sees("ready")
    until(lambda: "withdrawn" in str(site_transfer(person)), what="the first link's end")
    person.list()
    page.select_option("#show", "all")
    page.click("#transfers .delete")
    page.click("#confirm-yes")
    page.wait_for_selector("#transfers .delete", state="hidden")
    site.installation.run("sweep")

    def certified():
        person.list()
        return page.locator(".certificate:visible").count()

    until(certified, what="the certificate")
    address = page.get_attribute(".certificate:visible", "href")
    until(
        lambda: (
            page.evaluate("url => fetch(url, {headers: {Accept: 'text/html'}}).then((it) => it.status)", address) == 200
        )
    )
    assert person.kept_here()["transfers"] == []
    fits(person, "ended")


def site_transfer(person):
    """The newest transfer of a person, as the service lists it."""
    return person.page.evaluate("fetch('/api/v1/transfers?limit=1').then((it) => it.json())")["transfers"][0]


def test_by_keyboard_alone(new_depositor, tmp_path):
    """Tab, Enter, Space and Escape reach everything. The browser's own file dialog is answered for the person."""
    person = new_depositor("fr")
    page = person.page
    (path,) = laid(tmp_path, a__csv=b"a;b\n")

    def reach(selector):
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    page.on("filechooser", lambda chooser: chooser.set_files(str(path)))  # before the key is pressed: it takes a moment
    reach("#pick")
    page.keyboard.press("Enter")
    page.wait_for_selector("#chosen .file")
    reach("#recipients")
    page.keyboard.type("Agence A")
    reach("#deposit button[type=submit]")
    page.keyboard.press("Enter")
    person.sees("handover")
    reach(".copy-mail")
    page.keyboard.press("Space")
    reach("#done")
    page.keyboard.press("Enter")
    page.wait_for_selector("#confirm[open]")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "done"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".copy-password[data-copied]")
    reach("#done")
    page.keyboard.press("Enter")
    person.sees("form")


TAKE_KEYS = """() => {
  window.taken = [];
  const made = crypto.subtle.generateKey.bind(crypto.subtle);
  crypto.subtle.generateKey = async (...given) => {
    const key = await made(...given);
    if (key.extractable) window.taken.push(new Uint8Array(await crypto.subtle.exportKey("raw", key)));
    return key;
  };
  const random = crypto.getRandomValues.bind(crypto);
  crypto.getRandomValues = (array) => {
    random(array);
    if (array.length === 32) window.taken.push(array.slice()); // client key, link secret
    return array;
  };
}"""


def memory_below(pid):
    """The memory of a process and of all that it started, by name. Empty where this may not be read."""
    found, pending = {}, [pid]
    while pending:
        each = pending.pop()
        for task in Path(f"/proc/{each}/task").iterdir():
            pending.extend(int(child) for child in (task / "children").read_text().split())
        found[f"memory of {each}"] = content = bytearray()
        with contextlib.suppress(PermissionError), Path(f"/proc/{each}/mem").open("rb", buffering=0) as memory:
            for line in Path(f"/proc/{each}/maps").read_text().splitlines():
                start, end = (int(edge, 16) for edge in line.split()[0].split("-"))
                if line.split()[1].startswith("rw"):
                    with contextlib.suppress(OSError, ValueError, OverflowError):
                        memory.seek(start)
                        content += memory.read(end - start)
    return found


def test_no_key_leaves_the_browser(site, new_depositor, tmp_path):
    """G4: neither the transfer key nor the client key nor the link's secret is in what the browser sent, in what the
    service keeps or holds in memory, or in what the browser keeps; nor are name and content.
    """
    person = new_depositor()
    page = person.page
    page.evaluate(TAKE_KEYS)
    person.choose(laid(tmp_path, nom_du_patient__csv=b"Capucine Delatour;" * 1000))
    person.address(["Agence A"])
    site.road.seen.clear()
    person.send()
    taken = [bytes(each.values()) for each in page.evaluate("window.taken.map((each) => ({...each}))")]
    link_secret = person.shown()[0].link.rpartition(".")[2]
    secrets = {link_secret.encode(), b"nom_du_patient", b"Capucine Delatour"}
    secrets |= {each for key in taken for each in (key, base64.urlsafe_b64encode(key).rstrip(b"="), key.hex().encode())}
    assert len(secrets) == 2 + 3 * len(taken) == 2 + 3 * 3
    at_rest = site.installation.bytes_at_rest()
    places = {"sent": bytes(site.road.seen), **{str(path): data for path, data in at_rest.items()}}
    memory = memory_below(site.server.process.pid)
    assert os.geteuid() != 0 or all(memory.values())
    places |= memory
    places["kept here"] = str(person.kept_here()).encode()
    assert [(place, secret) for place, data in places.items() for secret in secrets if secret in data] == []
    assert person.kept_here()["keys"] == [[False, ["encrypt", "decrypt"]]]
    assert len(person.kept_here()["transfers"]) == 1


def uploading(person, site, size):
    """Wait until so many bytes have left."""
    until(lambda: len(site.road.seen) > size, what="the upload")
    return person


RECORD = """() => {
  const record = (window.record = { stored: 0, early: [], sent: 0, texts: {}, twice: [] });
  const HEADER = 56, SLICE = 64 * 16400;
  const put = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = function (value, key) {
    if (this.name !== "digests") return put.call(this, value, key);
    const slices = (value.length - 12 - 16) / 32; // nonce and tag
    this.transaction.addEventListener("complete", () => (record.stored = Math.max(record.stored, key[2] + slices)));
    return put.call(this, value, key);
  };
  const fetched = window.fetch;
  window.fetch = (path, options) => {
    if (options?.method !== "PATCH") return fetched(path, options);
    const end = Number(options.headers.get("Upload-Offset")) + options.body.size;
    record.sent = Math.max(record.sent, end);
    if (end > HEADER + record.stored * SLICE) record.early.push([end, record.stored]);
    return fetched(path, options);
  };
  const encrypt = crypto.subtle.encrypt.bind(crypto.subtle);
  crypto.subtle.encrypt = async (how, key, plain) => {
    if (!how.additionalData) {
      const digest = String(new Uint8Array(await crypto.subtle.digest("SHA-256", plain)));
      if ((record.texts[String(how.iv)] ??= digest) !== digest) record.twice.push(String(how.iv));
    }
    return encrypt(how, key, plain);
  };
}"""


def test_a_cut_and_a_pause_lose_nothing_and_send_nothing_twice(site, new_depositor, tmp_path):
    """The connection is cut in the middle of a part, then the person pauses and goes on. The digests of each part are
    on the disk before the part is sent, and no nonce serves for two plaintexts.
    """
    person = new_depositor()
    person.page.evaluate(RECORD)
    content = os.urandom(12 * MIB + 12_345)
    person.choose(laid(tmp_path, groß__bin=content))
    person.address(["Agence A"])
    site.road.seen.clear()
    before, site.road.cut_request_after = site.road.cuts, 2 * MIB
    site.road.request_bytes_per_second = 4 * MIB
    person.send("sending")
    until(lambda: site.road.cuts > before, what="the cut")
    person.page.click("#pause")
    person.page.wait_for_function("() => document.getElementById('waiting').textContent")
    assert person.barriers() == []
    at_pause = len(site.road.seen)
    person.page.wait_for_timeout(1_000)
    assert len(site.road.seen) < at_pause + 4 * MIB
    person.page.click("#pause")
    site.road.request_bytes_per_second = 0
    person.sees("handover")
    assert len(site.road.seen) < len(content) + 10 * MIB
    record = person.page.evaluate("window.record")
    assert record["sent"] > len(content)
    assert (record["early"], record["twice"]) == ([], [])
    assert len(record["texts"]) >= len(content) // 16_384
    assert fetched(site.installation, person.shown()[0], tmp_path) == {"groß.bin": content}


def test_a_closed_tab_goes_on_with_the_same_file_only(site, new_depositor, tmp_path):
    """The same bytes under the same salt, or none: a file of equal size and time with other bytes is refused, and what
    was encrypted is not encrypted again.
    """
    person = new_depositor()
    content = os.urandom(12 * MIB)
    (path,) = laid(tmp_path, a__bin=content)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    site.road.request_bytes_per_second = 4 * MIB
    for same in (False, True):
        site.road.seen.clear()
        person.choose([path])
        person.address(["Agence A"])
        person.send("sending")
        uploading(person, site, 5 * MIB)
        person.page.close(run_before_unload=False)
        person = new_depositor(token=person.token, context=person.page.context)
        assert person.page.locator("#interrupted .item").count() == 1
        assert person.barriers() == []
        if not same:
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
            os.utime(path, (1_700_000_000, 1_700_000_000))
        sent, site.road.request_bytes_per_second = len(site.road.seen), 0
        with person.page.expect_file_chooser() as chooser:
            person.page.click("#interrupted .go-on")
        chooser.value.set_files(str(path))
        if not same:
            person.page.locator("[data-view=form] > [data-notice]", has_text="a.bin").wait_for()
            path.write_bytes(content)
            os.utime(path, (1_700_000_000, 1_700_000_000))
            assert person.page.locator("#interrupted .item").count() == 0
            site.road.request_bytes_per_second = 4 * MIB
    person.sees("handover")
    assert len(site.road.seen) - sent < len(content) - MIB, "what had arrived is not sent again"
    assert fetched(site.installation, person.shown()[0], tmp_path) == {"a.bin": content}
    assert person.kept_here()["digests"] != []


def test_a_session_that_ends_during_an_upload_goes_on_after_sign_in(site, new_depositor, tmp_path):
    """In another tab: the cookie is shared, the header's value is fetched anew. Nothing is chosen or typed again."""
    person = new_depositor()
    content = os.urandom(8 * MIB)
    person.choose(laid(tmp_path, a__bin=content))
    person.address(["Agence A"])
    site.road.seen.clear()
    site.road.request_bytes_per_second = MIB
    person.send("sending")
    uploading(person, site, MIB + MIB // 2)
    sessions = site.installation.run("session", "list", "--json").json["sessions"]
    me = person.page.evaluate("fetch('/api/v1/me').then((it) => it.json())")
    assert me["session"]["id"] in {each["id"] for each in sessions}
    site.installation.run("session", "revoke", me["session"]["id"])
    person.page.wait_for_selector("#signed-out:not([hidden])")
    assert person.barriers() == []
    site.road.request_bytes_per_second = 0
    new_depositor(token=person.token, context=person.page.context).page.close()
    person.page.bring_to_front()
    person.page.click("#signed-again")
    person.sees("handover")
    person.page.wait_for_selector("#signed-out", state="hidden")
    assert fetched(site.installation, person.shown()[0], tmp_path) == {"a.bin": content}


def test_what_is_cancelled_leaves_nothing_and_the_choice_stays(site, new_depositor, tmp_path):
    """While the person looks at the list: they are led back. Out of reach, it says so and offers to discard later."""
    person = new_depositor()
    page = person.page
    person.choose(laid(tmp_path, a__bin=os.urandom(8 * MIB)))
    person.address(["Agence A"])
    for reachable in (False, True):
        site.road.seen.clear()
        site.road.request_bytes_per_second = MIB
        person.send("sending")
        uploading(person, site, MIB + MIB // 2)
        page.click("#nav-sent")
        page.wait_for_selector("#transfers .item")
        assert "no link exists yet" in page.locator("#transfers .sent-at").first.inner_text()
        page.click("#nav-send")
        if not reachable:
            page.route("**/api/v1/transfers/*?reason=mistake", lambda route: route.abort())
        page.click("#cancel")
        page.click("#confirm-yes")
        person.sees("form")
        page.locator("[data-view=form] > [data-status]", has_text="cancelled").wait_for()
        assert page.locator("#chosen .file").count() == 1
        page.unroute("**/api/v1/transfers/*?reason=mistake")
        assert page.locator("#interrupted .item").count() == (0 if reachable else 1)
        if not reachable:
            assert site_transfer(person)["state"] == "receiving"
            page.click("#interrupted .discard")
            page.click("#confirm-no")
            assert page.locator("#interrupted .item").count() == 1, "discarded only after a question"
            page.click("#interrupted .discard")
            page.click("#confirm-yes")
            page.wait_for_function("() => document.querySelectorAll('#interrupted .item').length === 0")
        assert site_transfer(person)["ending"]
    assert person.kept_here()["transfers"] == []


def test_folders_keep_their_structure_and_leave_leftovers_out(site, new_depositor, tmp_path):
    person = new_depositor()
    root = tmp_path / "semaine"
    (root / "labo").mkdir(parents=True)
    (root / "labo" / "a.csv").write_bytes(b"one")
    (root / "a.csv").write_bytes(b"two")
    for name in (".DS_Store", "~$a.csv", "labo/b.csv.part"):
        (root / name).write_bytes(b"x")
    person.page.set_input_files("#pick-folders", str(root))
    person.address(["Agence A"])
    person.send()
    assert fetched(site.installation, person.shown()[0], tmp_path) == {
        "semaine/labo/a.csv": b"one",
        "semaine/a.csv": b"two",
    }


def test_a_file_picked_by_name_is_sent_whatever_its_name(site, new_depositor, tmp_path):
    person = new_depositor()
    person.choose(laid(tmp_path, __DS_Store=b"x", a__tmp=b"y"))
    assert person.page.locator("#chosen .file").count() == 2


def test_only_the_file_that_changed_leaves_the_choice(site, new_depositor, tmp_path):
    """Not its namesake in another folder."""
    person = new_depositor()
    page, root = person.page, tmp_path / "semaine"
    (root / "labo").mkdir(parents=True)
    (root / "a.csv").write_bytes(b"one")
    (root / "labo" / "a.csv").write_bytes(b"two")
    page.set_input_files("#pick-folders", str(root))
    person.address(["Agence A"])
    (root / "labo" / "a.csv").write_bytes(b"changed")
    os.utime(root / "labo" / "a.csv", (1, 1))
    page.click("#deposit button[type=submit]")
    page.locator("[data-view=form] > [data-notice]", has_text="semaine/labo/a.csv").wait_for()
    assert page.locator("#chosen .file-name").all_inner_texts() == ["semaine/a.csv"]


def test_what_has_expired_is_forgotten_whoever_it_belongs_to(new_depositor, tmp_path):
    """Somebody who never signs in again leaves nothing, once the service's clock says that the transfer is over."""
    person = new_depositor()
    person.choose(laid(tmp_path, a__csv=b"a"))
    person.address(["Agence A"])
    person.send()
    person.hand_over()
    person.page.click("#sign-out")
    person.page.click("#confirm-yes")
    person.page.wait_for_url("**/sign-in")
    other = new_depositor(context=person.page.context)
    kept = other.kept_here()
    assert [len(kept[what]) for what in ("transfers", "digests", "keys")] == [1, 1, 2]

    def later(route):
        response = route.fetch()
        date = parsedate_to_datetime(response.headers["date"]) + timedelta(days=4)
        route.fulfill(response=response, headers={**response.headers, "date": format_datetime(date, usegmt=True)})

    other.page.route("**/api/v1/me", later)
    other.page.reload()

    def left():
        kept = other.kept_here()
        return [len(kept[what]) for what in ("transfers", "digests", "keys")]

    until(lambda: left() == [0, 0, 1], what="forgetting")


SCRIPTS = (
    "données",
    "数据",
    "データ",
    "자료",
    "данные",
    "ملف",
    "קובץ",
    "हिन्दी",
    "ไทย",
    "e\u0301",
    "🩺",
    "a'b%20&#c",
)


def test_what_is_dropped_keeps_its_folders_and_its_names_in_every_script(site, new_depositor, tmp_path):
    """Files and a folder together; sent at once, while the page still reads the folder."""
    person = new_depositor()
    root = tmp_path / "semaine"
    files = {f"semaine/{name}/{name}.csv": name.encode() for name in SCRIPTS} | {"seul.txt": b"x"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (root / "Thumbs.db").write_bytes(b"x")
    person.address(["Agence A"])
    person.drop([root, tmp_path / "seul.txt"])
    person.send()
    assert fetched(site.installation, person.shown()[0], tmp_path) == {
        normalize("NFC", name): it for name, it in files.items()
    }


WATCH = """() => {
  window.watched = { sizes: 0, gap: 0 };
  const { get } = Object.getOwnPropertyDescriptor(Blob.prototype, "size");
  Object.defineProperty(Blob.prototype, "size", { get() { window.watched.sizes += 1; return get.call(this); } });
  let last = performance.now();
  const frame = (now) => {
    window.watched.gap = Math.max(window.watched.gap, now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""


@pytest.mark.parametrize(("count", "said"), [(1_001, "1,001"), in_test_all(10_200, "More than 10,000")])
def test_a_folder_of_too_many_files_is_refused_at_once_and_the_page_stays_responsive(
    site, new_depositor, tmp_path, count, said
):
    """Frames go on while it is read, and no size is looked up, which would stop them. Nothing is sent."""
    person = new_depositor()
    page, root = person.page, tmp_path / "semaine"
    root.mkdir()
    for number in range(count):
        (root / f"{number}.txt").write_bytes(b"x")
    person.address(["Agence A"])
    page.evaluate(WATCH)
    site.road.seen.clear()
    person.drop([root])
    page.locator("#files-error", has_text=said).wait_for(timeout=120_000)
    assert page.locator("#chosen .file").count() == 100
    watched = page.evaluate("window.watched")
    assert watched["sizes"] <= 100, "only of the rows that are shown"
    assert watched["gap"] < 2_000
    person.send("form")
    assert page.evaluate("document.activeElement.id") == "pick"
    assert b"POST /api/v1/transfers" not in site.road.seen


def test_keys_are_forgotten_on_request(new_depositor):
    """Signed out with the box ticked, nothing is kept."""
    person = new_depositor()
    page = person.page
    assert person.kept_here()["keys"] != []
    page.click("#sign-out")
    page.check("#confirm-option")
    page.click("#confirm-yes")
    page.wait_for_url("**/sign-in")
    assert person.kept_here()["keys"] == []


def test_a_file_that_changes_while_it_is_sent_ends_the_transfer(site, new_depositor, tmp_path):
    """Nobody gets half of one version and half of another."""
    person = new_depositor()
    (path,) = laid(tmp_path, a__bin=os.urandom(24 * MIB))
    person.choose([path])
    person.address(["Agence A"])
    site.road.seen.clear()
    site.road.request_bytes_per_second = 4 * MIB
    person.send("sending")
    uploading(person, site, MIB)
    with path.open("r+b") as file:
        file.truncate(23 * MIB)
    site.road.request_bytes_per_second = 0
    person.page.locator("[data-view=form] > [data-notice]", has_text="a.bin").wait_for()
    assert site_transfer(person)["ending"]
    assert person.kept_here()["transfers"] == []


def test_a_second_tab_neither_continues_nor_discards_what_the_first_sends(site, new_depositor, tmp_path):
    """It is not offered as interrupted there; and where it was offered before, it is refused."""
    first = new_depositor()
    (path,) = laid(tmp_path, a__bin=os.urandom(12 * MIB))
    first.choose([path])
    first.address(["Agence A"])
    site.road.seen.clear()
    site.road.request_bytes_per_second = MIB
    first.send("sending")
    uploading(first, site, MIB)
    second = new_depositor(token=first.token, context=first.page.context)
    assert second.page.locator("#interrupted .item").count() == 0
    first.page.close(run_before_unload=False)

    def offered():
        second.page.reload()
        second.sees("form")
        return second.page.locator("#interrupted .item").count()

    until(offered, what="the offer")
    third = new_depositor(token=first.token, context=first.page.context)
    with third.page.expect_file_chooser() as chooser:
        third.page.click("#interrupted .go-on")
    chooser.value.set_files(str(path))
    third.sees("sending")
    second.page.click("#interrupted .discard")
    second.page.click("#confirm-yes")
    second.page.locator("[data-view=form] > [data-notice]", has_text="another tab").wait_for()
    site.road.request_bytes_per_second = 0
    third.sees("handover")


def test_the_back_button_loses_no_upload_and_no_link(site, new_depositor, tmp_path):
    """From the list it leads back to what is running; off the page, it asks first."""
    person = new_depositor()
    page, asked = person.page, []

    def stay(dialog):
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    person.choose(laid(tmp_path, a__bin=os.urandom(4 * MIB)))
    person.address(["Agence A"])
    site.road.request_bytes_per_second = MIB
    person.send("sending")
    page.click("#nav-sent")
    person.sees("sent")
    page.go_back()
    person.sees("sending")
    page.evaluate("history.go(-1)")
    until(lambda: asked or page.wait_for_timeout(50), what="the question")
    site.road.request_bytes_per_second = 0
    person.sees("handover")
    links = [shown.link for shown in person.shown()]
    page.evaluate("history.go(-1)")
    until(lambda: len(asked) == 2 or page.wait_for_timeout(50), what="the question")
    assert [shown.link for shown in person.shown()] == links
    assert asked == ["beforeunload", "beforeunload"]


def test_size_and_lifetime_are_refused_before_the_first_byte(site, new_depositor, tmp_path):
    """By the page, as the house's rules say; and by the service where they have changed meanwhile. The choice stays."""
    person = new_depositor()
    page = person.page

    def other_rules(route):
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | {"max_bytes": 5, "max_lifetime": "60d"})

    page.route("**/api/v1/me", other_rules)
    page.reload()
    person.sees("form")
    person.address(["Agence A"])
    site.road.seen.clear()
    person.choose(laid(tmp_path, large__bin=b"123456"))
    person.send("form")
    assert "5 bytes" in page.inner_text("#files-error")
    assert b"POST /api/v1/transfers" not in site.road.seen
    page.click("#chosen .file button")
    person.choose(laid(tmp_path, small__bin=b"12345"))
    page.select_option("#lifetime", "60d")
    page.click("#deposit button[type=submit]")
    page.wait_for_function("() => document.querySelector('[data-view=form] > [data-notice]').textContent")
    person.sees("form")
    assert page.locator("#chosen .file").count() == 1
    assert b"PATCH" not in site.road.seen
