"""Lesson 26: no string a user sends reaches a path, a header unescaped, a template, a shell or an SQL text
(CrushFTP CVE-2024-4040, Wing FTP CVE-2025-47812, SysAid CVE-2023-47246; uploads of Cleo 2024 landed where they ran).
"""

import io
import json
import re
import zipfile
from urllib.parse import quote, unquote

import pytest

from app.domain.portable_names import portable_name
from tests.acceptance.people import add_file, claim, issue, key_header, ok, open_transfer, send
from tests.acceptance.tus import announce
from tests.attacks.raw import exchange, head

REFUSED = {
    "NUL": b"a\0b",
    "NUL at the end": b"a.pdf\0.exe",
    "CR": b"a\rb",
    "LF": b"a\nb",
    "a header": b"a\r\nSet-Cookie: x=1",
    "tab": b"a\tb",
    "escape": b"\x1b[2J",
    "C1 control": "a\x85b".encode(),
    "a folder up": b"../../etc/passwd",
    "only up": b"..",
    "here": b".",
    "dots and spaces": b" . . ",
    "a folder": b"folder/file",
    "an absolute path": b"/etc/passwd",
    "a backslash": b"..\\..\\windows",
    "a drive": b"C:\\x",
    "nothing but a space": b" ",
    "invalid UTF-8": b"\xff\xfe",
    "half a character": "é".encode()[:1],
    "overlong slash": b"a\xc0\xafb",
    "a surrogate": b"\xed\xa0\x80",
    "300 characters": b"a" * 300,
    "256 bytes in two-byte characters": ("é" * 128).encode(),
    "right to left": "a\u202efdp.exe".encode(),
    "isolate": "a\u2066b\u2069".encode(),
    "mark": "a\u200fb".encode(),
    "Arabic mark": "a\u061cb".encode(),
    "line separator": "a\u2028b".encode(),
    "replacement character": "a\ufffdb".encode(),
}
TAKEN = {
    "255 bytes of four-byte characters": "😀" * 63 + "abc",
    "a device": "CON",
    "another device": "nul.txt",
    "a quote": 'a";filename="evil.exe',
    "a semicolon": "a;b=c",
    "a percent sign": "100%25.csv",
    "a template": "{{7*7}} ${7*7} <%= 7*7 %> #{7}",
    "a shell": "$(reboot) `id` | cat & ;.sh",
    "SQL": "'; DROP TABLE files; --",
    "HTML": "<img src=x onerror=alert(1)>.html",
    "a format": "{0.__class__} %s %n",
    "decomposed": "e\u0301.csv",
    "a leading dash": "-rf",
    "a hidden file": ".htaccess",
    "a question": "a?b#c",
}


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_a_name_that_no_file_may_have_is_refused_on_every_way_in(house, server, staff, name):
    """Lesson 26."""
    blobs = house.installation.files("blobs")
    transfer, key = open_transfer(staff)
    written = quote(name, safe="")
    token = f"Authorization: Bearer {house.tokens['staff']}"
    with_key = f"Caducee-Client-Key: {key}"
    length = "Content-Length: 1"
    path = f"/api/v1/transfers/{transfer}/files"
    requests = [
        head("PUT", f"/api/v1/send/{written}?recipient=x", server.port, token, length),
        head("PUT", "/api/v1/send?recipient=x", server.port, token, length, f"Caducee-File-Name: {written}"),
        head("PUT", f"{path}/{written}", server.port, token, length, with_key),
        head("PUT", path, server.port, token, length, with_key, f"Caducee-File-Name: {written}"),
    ]
    for request in requests:
        answer = exchange(server.port, request + b"x")
        assert answer.json["code"] in {"invalid_file_name", "not_found"}, answer.received
        assert "set-cookie" not in answer.headers
    assert ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)["files"] == []
    assert len(house.installation.files("blobs")) <= len(blobs), "nothing was stored"


@pytest.mark.parametrize("target", ["/api/v1/send/../../etc/passwd", "/api/v1/send/%2e%2e/%2e%2e/x", "/api/v1/send//x"])
def test_dots_and_slashes_that_are_not_encoded_are_part_of_the_name_and_refused(house, server, target):
    token = f"Authorization: Bearer {house.tokens['staff']}"
    request = head("PUT", f"{target}?recipient=x", server.port, token, "Content-Length: 1")
    assert exchange(server.port, request + b"x").json["code"] == "invalid_file_name"


NAMED = {"Caducee-File-Name": "a"}
PATHS = {
    "a folder up": "../../etc",
    "up and down": "a/../b",
    "here": "./a",
    "an absolute path": "/etc",
    "a trailing slash": "a/",
    "an empty folder": "a//b",
    "a backslash": "a\\..\\b",
    "a drive": "C:/Windows",
    "NUL": "a\0b",
    "a header": "a\r\nSet-Cookie: x=1",
    "right to left": "a/\u202efdp",
    "a folder of 256 bytes": "a/" + "x" * 256,
    "1,000 folders": "/".join("a" * 1_000),
}


def test_a_path_that_could_lead_elsewhere_is_refused_on_every_way_in(staff):
    """Lesson 26, for the folders above a file (zip slip)."""
    transfer, key = open_transfer(staff)
    files = f"/api/v1/transfers/{transfer}/files"
    ways_in = {"/api/v1/send/a?recipient=x": {}, f"{files}/a": {}, "/api/v1/send?recipient=x": NAMED, files: NAMED}
    for what, path in PATHS.items():
        for url, named in ways_in.items():
            headers = key_header(key) | {"Caducee-File-Path": quote(path)} | named
            assert ok(staff.put(url, content=b"x", headers=headers), 400)["code"] == "invalid_file_path", (what, url)
        announced = announce(staff, (transfer, key), 1, path=path)
        assert ok(announced, 400)["code"] == "invalid_file_path", what
    for header in ("%FF", "%25C3%25A9", "%zz"):
        headers = key_header(key) | {"Caducee-File-Path": header}
        code = ok(staff.put(f"{files}/a", content=b"x", headers=headers), 400)["code"]
        assert code == "invalid_file_path", header
    twice = [*key_header(key).items(), ("Caducee-File-Path", "a"), ("Caducee-File-Path", "b")]
    assert ok(staff.put(f"{files}/a", content=b"x", headers=twice), 400)["code"] == "invalid_request"
    assert ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)["files"] == []


def test_a_path_of_a_sealed_file_in_plaintext_is_refused(staff):
    """Nothing of it would be sealed."""
    sealed = ok(staff.post("/api/v1/transfers", json={"sealed": True, "expires_in": "1h"}), 201)["id"]
    headers = {"Caducee-Sealed-Meta": "AAAA", "Caducee-File-Path": "Dupont"}
    answer = staff.put(f"/api/v1/transfers/{sealed}/blobs/0", content=b"x", headers=headers)
    assert ok(answer, 409)["code"] == "transfer_is_sealed"
    announced = announce(staff, (sealed, None), 1, number="0", sealed_meta="AAAA", path="Dupont")
    assert ok(announced, 400)["code"] == "invalid_request"


def test_a_missing_name_and_a_raw_non_ascii_header_are_refused(house, server, staff):
    for path in ("/api/v1/send?recipient=x", "/api/v1/send/?recipient=x"):
        assert ok(staff.put(path, content=b"x"), 400)["code"] == "invalid_file_name"
    token = f"Authorization: Bearer {house.tokens['staff']}"
    request = head("PUT", "/api/v1/send?recipient=x", server.port, token, "Content-Length: 1", "Caducee-File-Name: @")
    for raw in (b"\xff", "é".encode(), b"\x80"):
        assert exchange(server.port, request.replace(b"@", raw) + b"x").json["code"] == "invalid_file_name"


@pytest.mark.parametrize("name", TAKEN.values(), ids=TAKEN)
def test_an_odd_name_arrives_as_it_is_and_harms_nothing(house, staff, anyone, name):
    """Lesson 26: the path is a function of a random id; nothing breaks out of the header that carries the name back."""
    share = send(staff, b"content", quote(name, safe=""))
    held = claim(anyone, share)
    assert held.answer["files"][0]["name"] == name
    answer = held.get()
    assert answer.content == b"content"
    header = answer.headers["content-disposition"]
    form = r"attachment; filename=\"[A-Za-z0-9 ._()-]*\"; filename\*=UTF-8''([A-Za-z0-9._~%-]+)"
    parsed = re.fullmatch(form, header)
    assert parsed, header
    assert unquote(parsed[1]) == portable_name(name, 0), "as the recipient's system can store it"
    paths = [str(path.relative_to(house.installation.data)) for path in house.installation.data.rglob("*")]
    parts = {part for path in paths for part in path.split("/")}
    assert name not in parts
    assert len(name) < 8 or not any(name in part for part in parts), "a short one may stand in a random id"
    assert all(re.fullmatch(r"[A-Za-z0-9_.:-]+", part) for part in parts)


def test_a_zip_never_holds_a_path_that_leads_out_of_its_folder(staff, anyone):
    """Zip slip: what is refused as a name cannot reach an archive; what is taken stays one plain name, also if it is
    that of a folder.
    """
    transfer, key = open_transfer(staff)
    for name in TAKEN.values():
        headers = key_header(key) | {"Caducee-File-Path": quote(f"{name}/{name}", safe="")}
        path = f"/api/v1/transfers/{transfer}/files/{quote(name, safe='')}"
        ok(staff.put(path, content=b"x", headers=headers), 201)
    share = issue(staff, transfer, key)
    archive = anyone.post(f"/api/v1/shares/{share.id}/content", auth=share.basic).content
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert len(opened.namelist()) == len(TAKEN)
        for path in opened.namelist():
            folders = path.split("/")
            assert len(folders) == 3
            assert "\\" not in path
            assert {"", ".", ".."}.isdisjoint(folders)


def test_free_text_is_one_line_and_stays_text(staff, anyone):
    """Label and recipient are shown to people: no control characters, no marks that reorder, never interpreted."""
    transfer, key = open_transfer(staff, label="<script>alert(1)</script> {{7*7}}")
    ok(add_file(staff, transfer, key, b"x"), 201)
    share = issue(staff, transfer, key, "'; DROP TABLE shares; --")
    shown = ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)
    assert shown["label"] == "<script>alert(1)</script> {{7*7}}"
    assert shown["shares"][0]["recipient"] == "'; DROP TABLE shares; --"
    looked = anyone.post(f"/api/v1/shares/{share.id}/look", json={"link_proof": share.proof})
    assert looked.headers["content-type"] == "application/json"
    for text in ("a\0b", "a\nb", "a\r\nb", "a\x1b[31m", "\ud800", "x" * 201, "a\u2028b"):
        body = json.dumps({"recipient": text})
        headers = key_header(key) | {"Content-Type": "application/json"}
        answer = staff.post(f"/api/v1/transfers/{transfer}/shares", content=body, headers=headers)
        assert ok(answer, 400)["code"] == "invalid_request", repr(text)
        label = body.replace("recipient", "label")
        refused = staff.post("/api/v1/transfers", content=label, headers={"Content-Type": "application/json"})
        assert ok(refused, 400)["code"] == "invalid_request", repr(text)
