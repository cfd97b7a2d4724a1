"""The page's modules against the shared vectors, in the browser that runs them."""

import base64
import json
import random
import zlib
from hashlib import sha256
from pathlib import Path

import pytest

from app.client import sealing
from app.crypto import wrapping
from app.crypto.chunked import Encryptor
from app.crypto.encoding import decode
from app.crypto.password import normalise

VECTORS = Path(__file__).parents[1] / "vectors"
CHUNKED = json.loads((VECTORS / "chunked-encryption.json").read_text("utf-8"))["cases"]
WRAPPING = json.loads((VECTORS / "wrapping.json").read_text("utf-8"))
LEFT_OUT = json.loads((VECTORS / "left-out.json").read_text("utf-8"))
NAMES, LINKS, ZIPS = (
    json.loads((VECTORS / file).read_text("utf-8"))["cases"] for file in ("file-names.json", "links.json", "zip.json")
)

OPEN = """async ({ key, context, sealed, feed }) => {
  const { opened, Damaged } = await import("/s/assets/chunked.js");
  const { fromBase64url } = await import("/s/assets/encoding.js");
  const { TRANSFER_KEY } = await import("/s/assets/wrapping.js");
  const transferKey = await crypto.subtle.importKey("raw", fromBase64url(key), TRANSFER_KEY, false, ["sign"]);
  const bytes = fromBase64url(sealed);
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += feed) yield bytes.subarray(at, at + feed);
  }
  const plain = [];
  try {
    for await (const piece of opened(transferKey, context, pieces())) plain.push(piece);
  } catch (error) {
    return error instanceof Damaged ? `damaged after ${plain.length}` : String(error);
  }
  const whole = await new Blob(plain).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
  return `${whole.byteLength} ${[...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}"""


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def message(case) -> bytes:
    """The plaintext, as the file of vectors says."""
    length = case["message_length"]
    blocks = (sha256(f"{case['message_seed']}/{i}".encode()).digest() for i in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def sealed(case) -> bytes:
    """The ciphertext: given, or made and compared with its digest."""
    if "ciphertext" in case:
        return bytes.fromhex(case["ciphertext"])
    encryptor = Encryptor(bytes.fromhex(case["input_key"]), case["context"].encode(), salt=bytes.fromhex(case["salt"]))
    made = b"".join([*map(bytes, encryptor.update(message(case))), encryptor.finish()])
    assert sha256(made).hexdigest() == case["ciphertext_sha256"]
    return made


@pytest.fixture(scope="module")
def modules(browser, site):
    """A tab that can import the page's modules."""
    page = browser.new_page()
    page.goto(f"{site.road.origin}/s/x")
    yield page
    page.close()


def opened(page, case, data, *, context=None, feed=100_000):
    asked = {"key": text(bytes.fromhex(case["input_key"])), "context": context or case["context"], "feed": feed}
    return page.evaluate(OPEN, asked | {"sealed": text(data)})


@pytest.mark.parametrize("case", CHUNKED, ids=lambda case: str(case["message_length"]))
def test_every_vector_opens_to_its_message(modules, case):
    assert opened(modules, case, sealed(case)) == f"{case['message_length']} {case['message_sha256']}"


@pytest.mark.parametrize("feed", [1_000, 16_400, 5_000_000])
def test_it_does_not_matter_in_what_pieces_a_stream_comes(modules, feed):
    case = CHUNKED[-2]
    assert opened(modules, case, sealed(case), feed=feed).endswith(case["message_sha256"])


SEAL = """async ({ key, context, salt, plain }) => {
  const { sealer, sealedSize, sliceAt, sliceStart, SLICE_BYTES } = await import("/staff/assets/sealing.js");
  const { fromBase64url, joined } = await import("/staff/assets/encoding.js");
  const { TRANSFER_KEY } = await import("/staff/assets/wrapping.js");
  const transferKey = await crypto.subtle.importKey("raw", fromBase64url(key), TRANSFER_KEY, false, ["sign"]);
  const bytes = fromBase64url(plain);
  const seal = await sealer(transferKey, context, fromBase64url(salt));
  const slices = [];
  for (let index = 0; index * SLICE_BYTES <= bytes.length; index += 1) {
    slices.push(await seal(index, bytes.subarray(index * SLICE_BYTES, (index + 1) * SLICE_BYTES)));
  }
  const starts = slices.map((_, index) => slices.slice(0, index).reduce((sum, slice) => sum + slice.length, 0));
  const whole = joined(...slices);
  const fits = starts.every((start, index) => start === sliceStart(index) && sliceAt(start) === index);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
  return [
    [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    fits && sealedSize(bytes.length) === whole.length,
  ];
}"""


@pytest.mark.parametrize("case", CHUNKED, ids=lambda case: str(case["message_length"]))
def test_every_vector_is_sealed_to_its_ciphertext(modules, case):
    """In slices, as the staff's page uploads a file; a slice lies where it says."""
    asked = {"key": text(bytes.fromhex(case["input_key"])), "context": case["context"]}
    asked |= {"salt": text(bytes.fromhex(case["salt"])), "plain": text(message(case))}
    assert modules.evaluate(SEAL, asked) == [sha256(sealed(case)).hexdigest(), True]


def test_keys_are_wrapped_for_owner_and_recipient_as_by_the_clients(modules):
    """The owner's wrap of the vectors opens; the page's own wraps open with the program of `app/client/`."""
    life = WRAPPING["life"]
    names = ("client_key", "owner_part", "wrapped_for_owner", "link_secret", "server_part")
    given = {name: text(bytes.fromhex(life[name])) for name in names}
    for_share, for_owner, other, password = modules.evaluate(
        """async ({ client_key, owner_part, wrapped_for_owner, link_secret, server_part, transferId, shareId }) => {
          const { fromBase64url, toBase64url } = await import("/staff/assets/encoding.js");
          const { unwrapForOwner, wrapForOwner, wrapForShare } = await import("/staff/assets/wrapping.js");
          const { newPassword } = await import("/staff/assets/password.js");
          const owner = { clientKey: fromBase64url(client_key), ownerPart: fromBase64url(owner_part), transferId };
          const wrappedKey = fromBase64url(wrapped_for_owner);
          const key = await unwrapForOwner({ ...owner, wrappedKey });
          const share = { linkSecret: fromBase64url(link_secret), serverPart: fromBase64url(server_part) };
          const other = await unwrapForOwner({ ...owner, wrappedKey, transferId: shareId }).catch(() => "refused");
          return [
            toBase64url(await wrapForShare(key, { ...share, transferId, shareId })),
            toBase64url(await wrapForOwner(key, owner)),
            other,
            newPassword(),
          ];
        }""",
        given | {"transferId": life["transfer_id"], "shareId": life["share_id"]},
    )
    raw = {name: bytes.fromhex(life[name]) for name in names}
    share_key = wrapping.share_key(raw["link_secret"], raw["server_part"], life["share_id"])
    ids = {"transfer_id": life["transfer_id"], "share_id": life["share_id"]}
    key = bytes.fromhex(life["transfer_key"])
    assert wrapping.unwrap_for_share(decode(for_share), share_key=share_key, **ids) == key
    owner = {"client_key": raw["client_key"], "owner_part": raw["owner_part"], "transfer_id": ids["transfer_id"]}
    assert sealing.unwrap_for_owner(decode(for_owner), **owner) == key
    assert other == "refused"
    assert normalise(password) == password.replace("-", "")
    assert len(password) == 19


def damages():
    """Every way in which a stream can be altered (lesson 33), on four chunks and a last, empty one."""
    case = next(case for case in CHUNKED if case["message_length"] == 65_536)
    data, chunk = sealed(case), 16_400
    first, second = data[56 : 56 + chunk], data[56 + chunk : 56 + 2 * chunk]
    flipped = [
        bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]]) for at in (0, 23, 24, 55, 56, 56 + chunk, len(data) - 1)
    ]
    return (
        case,
        [
            *flipped,
            data[:40],
            data[:56],
            data[:-16],  # truncated at the end of a chunk: without its last, shorter one
            data[: -16 - chunk],
            data[:-1],
            data + b"x",
            data + bytes(16),
            data[:56] + second + first + data[56 + 2 * chunk :],
            data[:56] + second + data[56 + 2 * chunk :],
            b"",
        ],
    )


def test_whatever_is_altered_truncated_extended_or_swapped_fails(modules):
    case, altered = damages()
    assert {opened(modules, case, data).split(" after")[0] for data in altered} == {"damaged"}
    assert opened(modules, case, sealed(case), context="caducee/v1 file open-65536 1") == "damaged after 0"


def test_link_proof_and_share_key_are_those_of_the_vectors(modules):
    life = WRAPPING["life"]
    given = {name: text(bytes.fromhex(life[name])) for name in ("link_secret", "server_part", "wrapped_for_share")}
    made = modules.evaluate(
        """async ({ link_secret, server_part, wrapped_for_share, transferId, shareId }) => {
          const { fromBase64url, toBase64url } = await import("/s/assets/encoding.js");
          const { linkProof, openShare } = await import("/s/assets/wrapping.js");
          const linkSecret = fromBase64url(link_secret);
          const share = { linkSecret, serverPart: fromBase64url(server_part), transferId, shareId };
          const wrappedKey = fromBase64url(wrapped_for_share);
          const key = await openShare({ ...share, wrappedKey });
          const mark = await crypto.subtle.sign("HMAC", key, new Uint8Array(1));
          const readOut = await crypto.subtle.exportKey("raw", key).catch(() => "refused");
          wrappedKey[20] ^= 1;
          const altered = await openShare({ ...share, wrappedKey }).catch(() => "refused");
          const other = await openShare({ ...share, wrappedKey: fromBase64url(wrapped_for_share), shareId: transferId })
            .catch(() => "refused");
          return [await linkProof(linkSecret), toBase64url(new Uint8Array(mark)), readOut, altered, other];
        }""",
        given | {"transferId": life["transfer_id"], "shareId": life["share_id"]},
    )
    import hmac

    mark = hmac.digest(bytes.fromhex(life["transfer_key"]), bytes(1), "sha512")
    assert made == [text(bytes.fromhex(life["link_proof"])), text(mark), "refused", "refused", "refused"]


def test_passwords_are_read_as_the_service_reads_them(modules):
    read = modules.evaluate(
        """async (typed) => {
          const { readPassword } = await import("/s/assets/password.js");
          return typed.map((text) => readPassword(text).password ?? null);
        }""",
        [case["typed"] for case in WRAPPING["passwords"]],
    )
    assert read == [case["normalised"] for case in WRAPPING["passwords"]]


def test_names_are_made_portable_as_by_the_service(modules):
    """Lesson 26."""
    made = modules.evaluate(
        """async (transfers) => {
          const { distinctPaths } = await import("/s/assets/names.js");
          const given = (name) => name?.replace("HALF", "\\ud800");
          return transfers.map(([names, folders]) =>
            distinctPaths(names.map((name, index) => ({ name: given(name), path: folders?.[index] }))));
        }""",
        [[[name and name.replace("\ud800", "HALF") for name in case["given"]], case.get("folders")] for case in NAMES],
    )
    assert made == [case["portable"] for case in NAMES]


def test_what_is_left_out_of_a_folder_is_what_the_client_leaves_out(modules):
    left_out, sent = modules.evaluate(
        """async ({ left_out, sent }) => {
          const { isLeftOut } = await import("/staff/assets/rules.js");
          return [left_out.map(isLeftOut), sent.map(isLeftOut)];
        }""",
        LEFT_OUT,
    )
    assert left_out == [True] * len(LEFT_OUT["left_out"])
    assert sent == [False] * len(LEFT_OUT["sent"])


def test_links_are_read_as_by_the_client(modules):
    """From one table of examples."""
    read = modules.evaluate(
        """async (texts) => {
          const { damagedPart, readLink } = await import("/s/assets/link.js");
          const written = ({ origin, shareId, sealed, secret }) =>
            `${origin}/s/${shareId}#${sealed ? "sealed." : ""}${secret}`;
          const seen = (text, found) => (found ? written(found) : damagedPart(text));
          return texts.map((text) => seen(text, readLink(text)));
        }""",
        [case["text"] for case in LINKS],
    )
    assert read == [case["link"] or case["damaged"] for case in LINKS]


def test_archives_are_laid_out_as_by_the_service(modules):
    """Every byte around the contents, at the limits of ZIP64, too; the consumer takes each piece's buffer away."""
    made = modules.evaluate(
        """async (cases) => {
          const { parts, zipSize } = await import("/s/assets/zip.js");
          const moment = new Date(2026, 0, 31, 8, 15, 43);
          const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
          const empty = (_, index) => ({ name: String(index), size: 0, crc32: 0, checksum: 0 });
          return Promise.all(cases.map(async ({ entries: given, files }) => {
            const entries = given ?? Array.from({ length: files }, empty);
            const kept = [];
            for (const part of parts(entries, entries.map(({ checksum }) => checksum), moment)) {
              if (typeof part !== "number") kept.push(structuredClone(part, { transfer: [part.buffer] }));
            }
            const around = await new Blob(kept).arrayBuffer();
            return [zipSize(entries), hex(new Uint8Array(await crypto.subtle.digest("SHA-256", around)))];
          }));
        }""",
        ZIPS,
    )
    assert made == [[case["size"], case["around_sha256"]] for case in ZIPS]


def test_checksums_are_those_of_zlib(modules):
    lengths = [0, 1, 7, 8, 9, 15, 16, 100_003]
    data = random.Random(47).randbytes(max(lengths))
    made = modules.evaluate(
        """async ({ data, lengths }) => {
          const { crc32 } = await import("/s/assets/zip.js");
          const { fromBase64url } = await import("/s/assets/encoding.js");
          const bytes = fromBase64url(data);
          const twice = (length) => crc32(bytes.subarray(3, length), crc32(bytes.subarray(0, Math.min(3, length)), 0));
          return lengths.map((length) => [crc32(bytes.subarray(0, length), 0), twice(length)]);
        }""",
        {"data": text(data), "lengths": lengths},
    )
    assert made == [[zlib.crc32(data[:length])] * 2 for length in lengths]


def test_a_time_left_is_in_whole_hours_unless_they_are_few(modules):
    """Whoever chose 3 days reads "72 hours" right afterwards, not "71.9 hours"."""
    script = """async (times) => {
      const { formatted } = await import("/s/assets/language.js");
      return times.map((seconds) => formatted({ seconds }));
    }"""
    written = modules.evaluate(script, [5_400, 258_900, 360_000])
    assert [text.split()[0] for text in written] == ["1.5", "72", "100"]
