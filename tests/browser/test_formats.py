"""The page's modules against the shared vectors, in the browser that runs them."""

import base64
import json
from hashlib import sha256
from pathlib import Path

import pytest

from app.crypto.chunked import Encryptor

VECTORS = Path(__file__).parents[1] / "vectors"
CHUNKED = json.loads((VECTORS / "chunked-encryption.json").read_text("utf-8"))["cases"]
WRAPPING = json.loads((VECTORS / "wrapping.json").read_text("utf-8"))

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


def test_hostile_names_become_harmless_ones(modules):
    """Lesson 26: NUL, CR/LF, ../, RTL marks, 300-character names, names of devices."""
    given = [
        "../../etc/passwd",
        "a\0b\r\nc.txt",
        "\u202egnp.exe",
        "x" * 300 + ".csv",
        "CON",
        "lpt1.txt",
        " . ",
        "",
        None,
        "HALF.txt",
        "C:\\Users\\x",
        ".bashrc",
        "résultats d’été (2).csv",
        '<img src=x onerror="alert(1)">',
    ]
    safe = modules.evaluate(
        """async (names) => {
          delete String.prototype.toWellFormed; // as in Firefox before 119 and Safari before 16.4
          const { safeName } = await import("/s/assets/names.js");
          return names.map((name) => safeName(name?.replace("HALF", "\\ud800"), 6));
        }""",
        given,
    )
    assert safe[0] == "_.._etc_passwd"
    assert safe[1] == "a_b__c.txt"
    assert safe[2] == "_gnp.exe"
    assert len(safe[3]) == 180
    assert safe[3].endswith(".csv")
    assert safe[4:9] == ["_CON", "_lpt1.txt", "file-7", "file-7", "file-7"]
    assert safe[10:13] == ["C__Users_x", "bashrc", "résultats d’été (2).csv"]
    assert not any(set('/\\<>:"|?*\0\r\n\u202e') & set(name) for name in safe)
