"""Lesson 32: files come back as `attachment` with `nosniff` and a sandboxing CSP; an HTML or SVG upload never runs
(transfer.sh GHSA-cf55-rq8x-hm6f, PrivateBin CVE-2025-64711).
"""

import pytest

from tests.acceptance.people import add_file, claim, issue, key_header, ok, open_transfer

ACTIVE = {
    "page.html": ("text/html; charset=utf-8", b"<script>alert(document.domain)</script>"),
    "image.svg": ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
    "page.xhtml": ("application/xhtml+xml", b"<html xmlns='http://www.w3.org/1999/xhtml'><script>1</script></html>"),
    "data.xml": ("text/xml", b"<?xml-stylesheet href='x.xsl'?><x/>"),
    "worker.js": ("text/javascript", b"self.addEventListener('fetch', () => {})"),
    "form.pdf": ("application/pdf", b"%PDF-1.7 /JavaScript"),
    "macro.hta": ("application/hta", b"<script language=vbscript>"),
    "cache.appcache": ("text/cache-manifest", b"CACHE MANIFEST"),
    "odd": ('text/html\tx; x="><script>', b"<b>"),
}


@pytest.mark.parametrize("name", ACTIVE)
@pytest.mark.parametrize("path", ["files/0", "blobs/0", "content"])
def test_what_was_uploaded_is_never_rendered(staff, anyone, name, path):
    kind, content = ACTIVE[name]
    transfer, key = open_transfer(staff)
    ok(
        staff.put(
            f"/api/v1/transfers/{transfer}/files/{name}",
            content=content,
            headers=key_header(key) | {"Content-Type": kind},
        ),
        201,
    )
    share = issue(staff, transfer, key)
    if path == "content":
        answer = anyone.post(f"/api/v1/shares/{share.id}/content", auth=share.basic)
    else:
        answer = claim(anyone, share).get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert path == "blobs/0" or answer.content == content


def test_the_type_is_a_bare_media_type_or_nothing(staff, anyone):
    """What a depositor sends as Content-Type is told to the recipient, never used as a header."""
    transfer, key = open_transfer(staff)
    for kind in ("text/html; charset=utf-8", "x", "a/b/c", "text/html\tx", "T" * 100 + "/x", "*/*"):
        headers = key_header(key) | {"Content-Type": kind}
        ok(staff.put(f"/api/v1/transfers/{transfer}/files/a", content=b"x", headers=headers), 201)
    told = [file["type"] for file in claim(anyone, issue(staff, transfer, key)).answer["files"]]
    assert told[0] == "text/html"
    assert set(told[1:5]) == {"application/octet-stream"}


def test_an_archive_is_an_attachment_too(staff, anyone):
    transfer, key = open_transfer(staff)
    for name in ("a.html", "b.html"):
        ok(add_file(staff, transfer, key, b"<script>", name), 201)
    share = issue(staff, transfer, key)
    answer = anyone.post(f"/api/v1/shares/{share.id}/content", auth=share.basic)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith('attachment; filename="caducee-20')


def test_no_string_of_a_user_stands_in_the_page(staff, anyone):
    """The recipient's page holds nothing of a transfer: what its script shows, it asks for and sets as text."""
    transfer, key = open_transfer(staff, label="<img src=x onerror=alert(1)>")
    ok(add_file(staff, transfer, key, b"x", "CANARY.html"), 201)
    share = issue(staff, transfer, key, "Marker Recipient")
    page = anyone.get(f"/s/{share.id}").text
    for text in ("onerror", "CANARY", "Marker", share.id, transfer):
        assert text not in page
