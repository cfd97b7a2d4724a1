"""docs/protocol.md: its values are right, its requests are those of the service, and its program agrees with it."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import zlib
from hashlib import sha256

import pytest
from cryptography.exceptions import InvalidTag

from app.client import http_calls, sealing
from app.client.link import Link
from app.crypto import chunked, wrapping
from app.crypto.chunked import Encryptor
from app.crypto.encoding import decode
from app.domain.errors import every_refusal
from app.domain.file_meta import FileMeta
from app.web.problems import STATUS
from app.web.schemas import Me
from tests.unit.docs_tables import ROOT, page, rows
from tests.unit.test_docs_tables import routes

PAGE = "docs/protocol.md"


@pytest.fixture(scope="module")
def program():
    """The client that was written from the page."""
    spec = importlib.util.spec_from_file_location("protocol_client", ROOT / "examples" / "protocol_client.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shown():
    """The worked example, as the page shows it."""
    return {name: value.replace("↵", "\n") for name, value in rows(PAGE, "name")}


class Example:
    """Its binary values as bytes, the others as text."""

    TEXTS = frozenset({"transfer_id", "share_id", "meta", "content", "file_context", "link"})

    def __init__(self, shown):
        for name, value in shown.items():
            setattr(self, name, value if name in self.TEXTS else decode(value))


@pytest.fixture
def example(shown):
    return Example(shown)


def test_docs_example_is_that_of_the_vectors(shown):
    """Which a script computes without the application."""
    assert shown == json.loads(page("tests/vectors/wrapping.json"))["example"]


def test_docs_example_is_what_the_service_and_its_client_compute(example):
    of, ids = example, {"transfer_id": example.transfer_id, "share_id": example.share_id}
    assert wrapping.owner_key(of.client_key, of.owner_part, of.transfer_id) == of.owner_key
    owner = {"client_key": of.client_key, "owner_part": of.owner_part, "transfer_id": of.transfer_id}
    assert sealing.unwrap_for_owner(of.wrapped_for_owner, **owner) == of.transfer_key
    assert wrapping.link_proof(of.link_secret) == of.link_proof
    assert wrapping.share_key(of.link_secret, of.server_part, of.share_id) == of.share_key
    share = {"link_secret": of.link_secret, "server_part": of.server_part}
    assert sealing.unwrap_for_share(of.wrapped_for_share, **share, **ids) == of.transfer_key
    link = Link.parse(of.link)
    assert (link.share_id, link.secret, link.sealed) == (of.share_id, of.link_secret, True)

    assert chunked.file_context(of.transfer_id, 0) == of.file_context.encode()
    assert encrypted(of, of.content.encode()) == of.sealed_file
    assert b"".join(sealing.open_file(of.transfer_key, of.transfer_id, 0, [of.sealed_file])) == of.content.encode()
    full = encrypted(of, b"a" * 16_384)
    assert (len(full), sha256(full).digest()) == (16_472, of.sha256_of_sealed_full_chunk)
    checksum = zlib.crc32(of.content.encode())
    assert sealing.open_meta(of.transfer_key, of.transfer_id, 0, of.sealed_meta) == FileMeta(
        "dépistage.csv", "text/csv", checksum
    )


def encrypted(of, content):
    encryptor = Encryptor(of.transfer_key, of.file_context.encode(), salt=of.file_salt)
    return b"".join([*map(bytes, encryptor.update(content)), bytes(encryptor.finish())])


def test_docs_example_is_what_the_program_of_the_page_computes(program, example):
    of = example
    assert program.hkdf(of.client_key + of.owner_part, of.transfer_id, "caducee/v1 owner key") == of.owner_key
    assert program.hkdf(of.link_secret, "", "caducee/v1 link proof") == of.link_proof
    share_key = program.hkdf(of.link_secret + of.server_part, of.share_id, "caducee/v1 share key")
    label = f"caducee/v1 share {of.transfer_id} {of.share_id}"
    assert program.unwrap(share_key, of.wrapped_for_share, label) == of.transfer_key
    meta = program.seal_bytes(of.transfer_key, f"caducee/v1 meta {of.transfer_id} 0", of.meta.encode(), of.meta_salt)
    assert meta == of.sealed_meta
    out = io.BytesIO()
    program.seal(of.transfer_key, of.file_context, io.BytesIO(of.content.encode()), out, of.file_salt)
    assert out.getvalue() == of.sealed_file
    chunks = program.Chunks(of.transfer_key, of.file_context, of.file_salt)
    assert chunks.header == of.file_salt + of.file_commitment
    assert program.LINK.fullmatch(of.link)[3] == program.to_text(of.link_secret)


def test_docs_program_refuses_what_the_page_says_is_cut_or_altered(program, example):
    of, out = example, io.BytesIO()
    program.seal(of.transfer_key, of.file_context, io.BytesIO(bytes(40_000)), out)
    sealed = out.getvalue()

    def opened(body, header=sealed[:56]):
        return b"".join(program.opened(of.transfer_key, of.file_context, header, iter([body]), 0))

    assert opened(sealed[56:]) == bytes(40_000)
    for refused in (b"", sealed[56 : 56 + 16_400], sealed[56 : 56 + 2 * 16_400], sealed[56:-1], sealed[56:] + b"\0"):
        with pytest.raises(InvalidTag):
            opened(refused)
    with pytest.raises(InvalidTag):
        opened(sealed[56:], sealed[:55] + b"\0")


@pytest.mark.parametrize(
    ("path", "name", "place"),
    [
        ("", "a.csv", "a.csv"),
        ("b/c", "a.csv", "b/c/a.csv"),
        ("../../c", "..\\..\\a.csv", "folder/folder/c/_.._a.csv"),
        ("/etc", "/etc/passwd", "folder/etc/_etc_passwd"),
        ("", "..", "file-1"),
        ("", "a\nb\u202ecsv", "a_b_csv"),
    ],
)
def test_docs_program_leaves_no_folder_whatever_a_depositor_names(program, tmp_path, path, name, place):
    assert program.place_of(tmp_path, {"name": name, "path": path}, 0) == tmp_path / place


# --- what the page says of the service


OF_STAFF = {"provider_out_of_reach", "provider_answer_unusable", "change_not_confirmed"}
"""Only a browser that signs in, and administrators, see these."""


def test_docs_protocol_names_refusals_that_exist_each_once():
    """Those after which its readers wait are those after which the client waits."""
    codes = {action: re.findall(r"`([a-z]+_[a-z_]+|busy)`", text) for action, text in rows(PAGE, "action")}
    names = {kind.code for kind in every_refusal()}
    listed = [code for found in codes.values() for code in found if code in names]
    assert sorted(listed) == sorted(set(listed))
    members = {"transfer_id", "share_id"}
    assert {code for found in codes.values() for code in found} - names == members
    passing = {kind.code for kind, status in STATUS.items() if status in http_calls._PASSING}
    assert set(codes["wait and repeat"]) == passing - OF_STAFF


def test_docs_protocol_lists_the_rules_of_the_service():
    listed = {name for cell, _ in members() for name in re.findall(r"`(\w+)`", f"`{cell}`")}
    assert listed >= set(Me.model_fields) - {"id", "name", "session"}


def members():
    return [row for row in rows(PAGE, "member") if "meaning" not in row]


def test_docs_protocol_requests_exist():
    """Each `METHOD /path`, ids as such."""
    known = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path, _ in routes()}
    text = re.sub(r"\s+", " ", page(PAGE))
    called = re.findall(r"\b(GET|HEAD|PUT|POST|PATCH|DELETE) +(/[\w/{} .]*)", text)
    paths = {(method, as_route(path)) for method, path in called}
    assert len(paths) > 15
    assert paths - known == set()


def as_route(path):
    path = re.sub(r"\{[^}]*\}", "{}", path.partition(' {"')[0]).strip(" .").partition(" ")[0]
    path = path.removeprefix("/api/v1").replace("...", "").rstrip(".")
    return "/api/v1" + re.sub(r"/blobs/\d$", "/blobs/{}", path)
