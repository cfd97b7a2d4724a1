"""A verifier of checkpoints, exported logs, receipts and consistency proofs, written from `docs/verify-without-us.md`
and the texts that it names, with the standard library and `cryptography` alone. It imports nothing of
Caducée and must not.

    python independent_log_verifier.py PUBLIC_KEY_FILE log EXPORT [CHECKPOINT_THAT_WAS_KEPT]
    python independent_log_verifier.py PUBLIC_KEY_FILE receipt RECEIPT
    python independent_log_verifier.py PUBLIC_KEY_FILE consistency PROOF CHECKPOINT_THAT_WAS_KEPT
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    """What was looked at does not prove what it should."""


def unbase64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Refused("not base64 in its one spelling")
    return data


def sha256(data):
    return hashlib.sha256(data).digest()


# --- the public key (signed-note)


class Key:
    def __init__(self, line):
        self.name, key_id, encoded = line.strip().split("+", 2)
        raw = unbase64(encoded)
        if raw[:1] != b"\x01" or len(raw) != 33:
            raise Refused("not an Ed25519 key")
        self.id = sha256(self.name.encode() + b"\n" + raw)[:4]
        if self.id.hex() != key_id:
            raise Refused("the key does not match its own id")
        self.public = Ed25519PublicKey.from_public_bytes(raw[1:])


# --- a checkpoint (tlog-checkpoint)


def opened(note, key):
    """Origin, size and root of a checkpoint that this key signed."""
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not note.endswith("\n"):
        raise Refused("not a signed note")
    text += "\n"
    verified = False
    for line in signatures.splitlines():
        dash, name, encoded = (*line.split(" "), "", "")[:3]
        if dash != "\u2014":
            raise Refused("not a signature line")
        signature = unbase64(encoded)
        if name == key.name and signature[:4] == key.id:
            try:
                key.public.verify(signature[4:], text.encode())
            except InvalidSignature:
                raise Refused("the signature is wrong") from None
            verified = True
    if not verified:
        raise Refused("not signed by the key")
    lines = text.split("\n")
    origin, size, root = lines[0], lines[1], unbase64(lines[2])
    if origin != key.name or not size.isascii() or str(int(size)) != size or len(root) != 32:
        raise Refused("not a checkpoint of this log")
    return origin, int(size), root


# --- the tree (RFC 6962)


def leaf_hash(entry):
    return sha256(b"\x00" + entry)


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


class Tree:
    def __init__(self):
        self.complete = []  # (leaves, root), largest first
        self.size = 0

    def add(self, leaf):
        leaves, value = 1, leaf
        while self.complete and self.complete[-1][0] == leaves:
            value = node_hash(self.complete.pop()[1], value)
            leaves *= 2
        self.complete.append((leaves, value))
        self.size += 1

    def root(self):
        if not self.complete:
            return sha256(b"")
        value = self.complete[-1][1]
        for _, left in reversed(self.complete[:-1]):
            value = node_hash(left, value)
        return value


def included(leaf, index, size, path, root):
    if not 0 <= index < size:
        raise Refused("the index lies outside the tree")
    last, value = size - 1, leaf
    for other in path:
        if last == 0:
            raise Refused("the path is too long")
        if index % 2 == 1 or index == last:
            value = node_hash(other, value)
            while index % 2 == 0 and index != 0:
                index, last = index // 2, last // 2
        else:
            value = node_hash(value, other)
        index, last = index // 2, last // 2
    if last != 0 or value != root:
        raise Refused("the path does not lead to the root")


# --- an exported log


def check_log(lines, key, kept=None):
    """How many entries and how many checkpoints were right."""
    records = [json.loads(line) for line in lines]
    head, tail = records[0], records[-1]
    if head["kind"] != "log" or head["format"] != "caducee-audit-export/1" or tail["kind"] != "end":
        raise Refused("not a whole export")
    notes = [record["note"] for record in records if record["kind"] == "checkpoint"]
    mine = [note for note in notes if note.split("\n")[0] == key.name]
    expected = [opened(note, key) for note in [*mine, *([kept] if kept else [])]]
    roots, pruned, quoted = walk([record for record in records if record["kind"] == "entry"])
    for _, size, root in expected:
        if size not in roots:
            raise Refused(f"{size} entries were signed, {max(roots)} are there")
        if roots[size] != root:
            raise Refused(f"the first {size} entries are not those that were signed")
    if pruned:
        raise Refused(f"entry {pruned[0]} lacks its content, and no boundary says so")
    if {note.split("\n")[0] for note in notes} - {key.name} - quoted:
        raise Refused("a checkpoint of another log, unexplained")
    if head["size"] != max(roots) or tail["entries"] != max(roots):
        raise Refused("the number of entries is another one than is said")
    return max(roots), len(expected)


def walk(entries):
    """The root at every size; the entries that lack their content without a boundary; the origins given up."""
    tree, roots, bare, below, quoted = Tree(), {}, [], 0, set()
    roots[0] = tree.root()
    for number, record in enumerate(entries):
        if record["sequence"] != number:
            raise Refused(f"entry {number} is not there")
        if "content" in record:
            content = json.loads(record["content"])
            if content["sequence"] != number:
                raise Refused(f"entry {number} is another one's place")
            if content["event"] == "log.pruned":
                below = max(below, content["below"])
            if content["event"] in {"log.renewed", "database.restored"} and "quoted" in content:
                quoted.add(content["quoted"].split("\n")[0])
            tree.add(leaf_hash(record["content"].encode()))
        else:
            bare.append(number)
            tree.add(unbase64(record["hash"]))
        roots[tree.size] = tree.root()
    return roots, [number for number in bare if number >= below], quoted


# --- a receipt (tlog-proof)


def check_receipt(text, key):
    """The entry that the receipt proves."""
    proof, separator, checkpoint = text.partition("\n\n")
    lines = proof.split("\n")
    if not separator or lines[0] != "c2sp.org/tlog-proof@v1" or lines[1][:6] != "extra " or lines[2][:6] != "index ":
        raise Refused("not a proof with its entry")
    entry, index = unbase64(lines[1][6:]), lines[2][6:]
    if not index.isascii() or not index.isdigit() or str(int(index)) != index:
        raise Refused("not an index")
    _, size, root = opened(checkpoint, key)
    included(leaf_hash(entry), int(index), size, [unbase64(line) for line in lines[3:]], root)
    said = json.loads(entry)
    if said["sequence"] != int(index) or said["event"] != "transfer.deleted":
        raise Refused("the entry says something else")
    return said


# --- a proof of consistency (tlog-witness)


def check_growth(text, kept, key):
    """The sizes of the kept log and of the newer one that only appended to it."""
    proof, separator, checkpoint = text.partition("\n\n")
    first, *lines = proof.split("\n")
    _, old_size, old_root = opened(kept, key)
    _, size, root = opened(checkpoint, key)
    if not separator or first != f"old {old_size}":
        raise Refused("not a proof for the kept checkpoint")
    path = [unbase64(line) for line in lines]
    if old_size in (0, size):
        if path or (old_size == size and old_root != root):
            raise Refused("the trees are not the same")
        return old_size, size
    if old_size > size or not path:
        raise Refused("the log did not grow")
    grew(old_size, old_root, size, root, path)
    return old_size, size


def grew(old_size, old_root, size, root, path):
    if old_size & (old_size - 1) == 0:
        path = [old_root, *path]
    index, last = old_size - 1, size - 1
    while index % 2 == 1:
        index, last = index // 2, last // 2
    old = new = path[0]
    for other in path[1:]:
        if last == 0:
            raise Refused("the path is too long")
        if index % 2 == 1 or index == last:
            old, new = node_hash(other, old), node_hash(other, new)
            while index % 2 == 0 and index != 0:
                index, last = index // 2, last // 2
        else:
            new = node_hash(new, other)
        index, last = index // 2, last // 2
    if last != 0 or old != old_root or new != root:
        raise Refused("the path does not lead from the old root to the new one")


def as_printed(file):
    """The text of a file without what editors leave: a byte-order mark, carriage returns, a missing last newline."""
    text = Path(file).read_bytes().decode("utf-8-sig").replace("\r", "")
    return text.rstrip("\n") + "\n"


def arguments():
    parser = argparse.ArgumentParser(description="Verify what Caducée says of its log, without Caducée.")
    parser.add_argument("public_key", metavar="PUBLIC_KEY_FILE", help="the log's public key, as kept elsewhere")
    kinds = parser.add_subparsers(dest="what", required=True)
    log = kinds.add_parser("log", help="an exported log")
    log.add_argument("file", metavar="EXPORT")
    log.add_argument("kept", metavar="CHECKPOINT_THAT_WAS_KEPT", nargs="?")
    receipt = kinds.add_parser("receipt", help="a receipt of deletion")
    receipt.add_argument("file", metavar="RECEIPT")
    consistency = kinds.add_parser("consistency", help="a proof that the log only grew")
    consistency.add_argument("file", metavar="PROOF")
    consistency.add_argument("kept", metavar="CHECKPOINT_THAT_WAS_KEPT")
    return parser


def main():
    parser = arguments()
    given = parser.parse_args()
    try:
        key = Key(as_printed(given.public_key).removeprefix("public key: "))
        text = as_printed(given.file)
        kept = as_printed(given.kept) if getattr(given, "kept", None) else None
    except (OSError, ValueError, Refused) as error:
        parser.error(str(error))
    try:
        if given.what == "log":
            print("verified:", *check_log(text.splitlines(), key, kept))
        elif given.what == "consistency":
            print("verified:", *check_growth(text, kept, key))
        else:
            print("verified:", check_receipt(text, key)["transfer"])
    except Refused as refused:
        print("refused:", refused)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
