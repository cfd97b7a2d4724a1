"""The ZIP of several files: other programs read it, a part of it can be fetched, and the claim counts what was sent."""

import io
import json
import re
import shutil
import subprocess
import zipfile
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote, unquote

import httpx
import pytest

from app.client import sealing
from app.client.errors import FileChanged, ServiceRefused
from app.client.sealed_transfer import SealedTransfer
from app.domain.file_meta import FileMeta
from tests.acceptance.people import add_file, bearer, claim, issue, key_header, ok, open_transfer
from tests.acceptance.service import until
from tests.acceptance.tus import announce, patch

FILES = {
    "résumé 😀.csv": b"a;b\n" * 50_000,
    "vide.txt": b"",
    "AUX.csv": b"1",
    "2026-01-31T08:15:00.hl7": b"MSH|",
    "big.bin": bytes(range(256)) * 10_000,
}
STORED = ["résumé 😀.csv", "vide.txt", "_AUX.csv", "2026-01-31T08_15_00.hl7", "big.bin"]


@pytest.fixture
def share(staff):
    """Several files under one link."""
    transfer, key = open_transfer(staff)
    for name, content in FILES.items():
        ok(add_file(staff, transfer, key, content, quote(name, safe=""), allow_empty=True), 201)
    return issue(staff, transfer, key)


def test_its_headers_state_every_checksum_so_that_streams_can_be_read(anyone, share):
    """Lesson 47: stored members with a data descriptor do not open in streaming readers (spark PR #56784)."""
    archive = anyone.post(f"/api/v1/shares/{share.id}/content", auth=share.basic).content
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == STORED
        assert [opened.read(name) for name in STORED] == list(FILES.values())
        assert {(info.flag_bits, info.compress_type) for info in opened.infolist()} == {(0x800, zipfile.ZIP_STORED)}


def test_folders_are_kept_and_shown_whichever_way_a_file_came_in(staff, anyone):
    """Their names are patient data like a file's: never in a URL, nor in the archive's own name."""
    transfer, key = open_transfer(staff)
    above = key_header(key) | {"Caducee-File-Path": "Dupont%20Zo%C3%A9/CT%2F1"}
    assert ok(staff.put("/api/v1/send/a?recipient=x", content=b"1", headers=above), 201)["path"] == "Dupont Zoé/CT/1"
    text = staff.put("/api/v1/send/a?recipient=x", content=b"1", headers=above | {"Accept": "text/plain"}).text
    assert text.count("Dupont") == 1, "not in what is mailed or told by telephone"
    assert "\nFile: Dupont Zoé/CT/1/a\n" in text
    kept = ok(staff.put(f"/api/v1/transfers/{transfer}/files/a.dcm", content=b"1", headers=above), 201)
    assert (kept["name"], kept["path"]) == ("a.dcm", "Dupont Zoé/CT/1")
    upload = announce(staff, (transfer, key), 1, filename="a.dcm", path="Dupont Zoé/ct").headers["Location"]
    assert patch(staff, upload, key, 0, b"2").status_code == httpx.codes.NO_CONTENT
    longest = {"Caducee-File-Name": "%C3%A9" * 127, "Caducee-File-Path": "/".join(["%C3%A9" * 127, "%C3%A9" * 128])}
    assert ok(staff.put(f"/api/v1/transfers/{transfer}/files", content=b"", headers=above | longest), 400)
    longest["Caducee-File-Path"] = "/".join(["%C3%A9" * 127, "%C3%A9" * 127])
    ok(staff.put(f"/api/v1/transfers/{transfer}/files", content=b"3", headers=above | longest), 201)
    ok(add_file(staff, transfer, key, b"4", "Dupont Zoé"), 201)

    held = claim(anyone, issue(staff, transfer, key))
    shown = [(file.get("path"), file["name"]) for file in held.answer["files"]]
    assert shown[:2] == [("Dupont Zoé/CT/1", "a.dcm"), ("Dupont Zoé/ct", "a.dcm")]
    assert shown[3] == (None, "Dupont Zoé")
    head = held.get("files/2", "HEAD")
    assert unquote(head.headers["caducee-file-path"]) == shown[2][0]
    assert "caducee-file-path" not in held.get("files/3", "HEAD").headers
    assert sum(len(name) + len(value) + 4 for name, value in head.headers.raw) < 4_096 - 200, "nginx buffers one page"
    archive = held.get("zip")
    assert held.answer["archive"] in archive.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        names = opened.namelist()
        assert names[:2] + names[3:] == ["Dupont Zoé/CT/1/a.dcm", "Dupont Zoé/ct (2)/a.dcm", "Dupont Zoé (2)"]
        assert [opened.read(name) for name in names] == [b"1", b"2", b"3", b"4"]


JAVA = """
import java.io.*; import java.util.*; import java.util.zip.*;
public class Read { public static void main(String[] a) throws Exception {
  List<String> names = new ArrayList<>();
  try (ZipInputStream zip = new ZipInputStream(new FileInputStream(a[0]))) {
    for (ZipEntry e; (e = zip.getNextEntry()) != null; )
      names.add(e.getName().length() + ":" + zip.readAllBytes().length);
  }
  System.out.println(String.join(" ", names)); } }
"""
READERS = {
    "7z": ["7z", "t", "FILE"],
    "unzip": ["unzip", "-t", "FILE"],
    "bsdtar, as a stream": ["sh", "-c", "bsdtar -xOf - < FILE | wc -c"],
    "java, as a stream": ["java", "Read.java", "FILE"],
}


@pytest.mark.external
@pytest.mark.parametrize("reader", READERS)
def test_other_programs_read_it(anyone, share, reader, tmp_path):
    command = [part.replace("FILE", "x.zip") for part in READERS[reader]]
    if shutil.which(reader.partition(",")[0]) is None:
        pytest.skip(f"{command[0]} is missing")
    (tmp_path / "x.zip").write_bytes(anyone.post(f"/api/v1/shares/{share.id}/content", auth=share.basic).content)
    (tmp_path / "Read.java").write_text(JAVA)
    read = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    if reader.startswith("java"):
        assert read.stdout.split() == [
            f"{len(name.encode('utf-16-le')) // 2}:{len(content)}"
            for name, content in zip(STORED, FILES.values(), strict=True)
        ]
    if reader.startswith("bsdtar"):
        assert int(read.stdout) == sum(map(len, FILES.values()))


def test_a_cut_archive_is_resumed_from_any_byte(anyone, share):
    """Lesson 15, for all files at once: the parts of several requests are the archive that one request returns."""
    held = claim(anyone, share)
    whole = held.get("zip")
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
    named = re.compile(r'attachment; filename="(caducee-\d{4}-\d\d-\d\d-\d{4}\.zip)"')
    assert (found := named.match(whole.headers["content-disposition"]))
    assert found[1] == held.answer["archive"]
    head, etag, size = held.get("zip", "HEAD"), whole.headers["etag"], len(whole.content)
    assert (head.headers["content-length"], head.headers["etag"]) == (str(size), etag)
    for start, stop in ((0, 1), (29, 61), (50, 200_150), (size - 40, size), (size - 1, size)):
        part = held.get("zip", range=f"bytes={start}-{stop - 1}", if_range=etag)
        assert (part.status_code, part.headers["content-range"]) == (206, f"bytes {start}-{stop - 1}/{size}")
        assert part.content == whole.content[start:stop]
    assert held.get("zip", range="bytes=5-", if_range='"another"').status_code == 200
    assert ok(held.get("zip", range=f"bytes={size}-"), 416)["code"] == "range_not_satisfiable"


def test_the_one_line_route_resumes_an_archive_and_its_last_part_delivers(house, anyone, share):
    token = {"Caducee-Claim-Token": "A" * 43}
    path = f"/api/v1/shares/{share.id}/content"
    whole = anyone.post(path, auth=share.basic, headers=token)
    part = anyone.post(path, auth=share.basic, headers=token | {"Range": "bytes=100-199"})
    rest = anyone.post(path, auth=share.basic, headers=token | {"Range": "bytes=200-"})
    assert whole.content[:100] + part.content + rest.content == whole.content
    claim_id = rest.headers["caducee-claim"].partition(".")[0]
    assert house.installation.rows("SELECT delivered_at FROM claims WHERE id = ?", claim_id)[0][0] is not None


def test_archives_count_against_the_allowance_like_files(anyone, share):
    """Three times at most, whatever the way; HEAD and a refused range cost nothing."""
    held = claim(anyone, share)
    for _ in range(3):
        held.get("zip", "HEAD")
        assert held.get("zip").status_code == 200
    assert ok(held.get("zip"), 410)["code"] == "claim_exhausted"


def test_the_log_counts_an_archive_with_its_files(house, anyone, share):
    held = claim(anyone, share)
    size = len(held.get("zip").content)

    def fetched():
        entries = [json.loads(line[0]) for line in house.installation.rows("SELECT content FROM audit_entries")]
        return [entry for entry in entries if entry["event"] == "file.fetched" and entry["share"] == share.id]

    assert [(entry["files"], entry["size"]) for entry in until(fetched, what="the entry")] == [(len(FILES), size)]


def test_a_claim_by_proof_gets_no_archive(anyone, share):
    """The service cannot decrypt for it; the recipient's page writes the archive itself."""
    held = claim(anyone, share, link_secret=None, link_proof=share.proof)
    assert ok(held.get("zip"), 409)["code"] == "claimed_by_proof"
    wrong = anyone.get(f"/api/v1/claims/{held.id}/zip", headers=bearer("A" * 43))
    assert ok(wrong, 404)["code"] == "claim_not_found"


def test_a_sealed_file_states_the_checksum_of_what_was_uploaded(staff):
    """A file that changed between the two readings is refused before its end, so nothing of it is stored."""
    transfer = SealedTransfer.create(staff, expires_in="1h")
    meta = FileMeta("a.txt", "text/plain", sealing.crc32_of([b"before"]))
    with pytest.raises(FileChanged):
        transfer.add(meta, [b"be", b"hind"])

    def added():
        with suppress(ServiceRefused):  # until the service has noticed that the first attempt broke off
            return [transfer.add(meta, [b"bef", b"", b"ore"])]

    assert until(added, what="the second attempt") == [0]
    assert transfer.add(replace(meta, name="b.txt", crc32=0), [b""]) == 1
