"""The verdict on a log: combines the reports of its stretches and compares them with every checkpoint.

    1. read every note that the trusted key signed, whether stored with the log or kept elsewhere;
    2. process the stretches in order: the first failure ends the check;
    3. at each signed size, the root must equal the signed root;
    4. at the end, the log must be as long as every checkpoint requires, and an entry must explain every gap.

Kinds of tampering: an entry, node or note was changed, removed, or moved (reordered); the log is shorter than its
stored nodes and checkpoints require (truncated), or than a checkpoint kept elsewhere requires (rolled_back); two signed
histories exist (forked). `app.crypto.log_check` does the hashing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.crypto import merkle
from app.crypto.errors import NoteInvalid
from app.crypto.log_check import STRETCH, STRETCH_LEVEL, GrowingTree, StoredNodes, StretchReport, fields_of
from app.crypto.signed_note import Checkpoint, Verifier
from app.domain.audit_events import Event
from app.domain.log_verdict import Kind, LogVerdict, Renewal, Tampered

RENEWALS = {Event.LOG_RENEWED.value, Event.DATABASE_RESTORED.value}


@dataclass(frozen=True, slots=True)
class HeldNote:
    """A checkpoint to compare the log with. `size` is the size under which it is stored with the log, None for one kept
    elsewhere. `requested`: the caller requires it to match, whatever its origin.
    """

    note: str
    size: int | None = None
    requested: bool = False


@dataclass(frozen=True, slots=True)
class LogHead:
    """What is known of a log before it is read: its number of entries, its origin, the notes, the boundary below which
    it was pruned, the number of entries covered by stored tree nodes (`stored_size`), and the sequence number of a row
    before the first entry or after a gap beyond the last (`stray`).
    """

    size: int
    origin: str
    notes: Sequence[HeldNote]
    pruned_below: int = 0
    stored_size: int = 0
    stray: int | None = None


@dataclass(frozen=True, slots=True)
class _SignedCheckpoint:
    checkpoint: Checkpoint
    held: HeldNote


class LogVerifier:
    """One verification of one log."""

    def __init__(self, head: LogHead, key: Verifier | None, stored: StoredNodes | None = None) -> None:
        """`key` is the log's public key, under any name; `stored` reads the nodes above the stretches."""
        self.head = head
        self._key, self._stored = key, stored
        self._upper = GrowingTree(level=STRETCH_LEVEL)
        self._signed: dict[int, list[_SignedCheckpoint]] = {}
        self._earlier: list[_SignedCheckpoint] = []
        self._strange: dict[str, str] = {}
        self._roots: dict[int, bytes] = {0: merkle.EMPTY_ROOT}
        self._matched = 0
        self._contradicted: Tampered | None = None
        self._renewals: list[Renewal] = []
        self._boundaries = [0]
        self._bare: list[tuple[int, int]] = []

    def verify(self, stretches: Callable[[Sequence[int]], Iterable[StretchReport]]) -> LogVerdict:
        """Return the verdict. `stretches` is called with the sizes at which a root is needed, and yields the reports of
        all stretches in order; after a failure, it is not read any further.
        """
        try:
            self._read_notes()
            for report in stretches(sorted({*self._signed, *(each.checkpoint.size for each in self._earlier)})):
                self._take(report)
            self._require_whole()
        except Tampered as tampered:
            return self._verdict(self._contradicted or tampered)
        return self._verdict(None)

    # 1. the notes

    def _read_notes(self) -> None:
        if self.head.stray is not None and self.head.stray < 0:
            raise Tampered(Kind.CHANGED, "an entry stands before the first")
        for held in self.head.notes:
            self._read(held)
        for size, signed in sorted(self._signed.items()):
            if len({each.checkpoint.root for each in signed}) > 1:
                raise Tampered(
                    Kind.FORKED, f"two checkpoints over {size} entries contradict each other: the log was forked"
                )
        self._compare(0)

    def _read(self, held: HeldNote) -> None:
        origin = held.note.partition("\n")[0]
        which = f"the checkpoint over {held.size} entries" if held.size is not None else "the checkpoint kept elsewhere"
        try:
            checkpoint = self._opened(held.note, origin)
        except (NoteInvalid, ValueError) as error:
            if origin != self.head.origin and not held.requested:
                self._strange[origin] = which  # may be signed with an earlier key
                return
            raise Tampered(Kind.CHANGED, f"{which} is not what was signed: {error}") from None
        if held.size is not None and checkpoint.size != held.size:
            raise Tampered(Kind.CHANGED, f"{which} belongs to another log or size")
        signed = _SignedCheckpoint(checkpoint, held)
        if origin == self.head.origin or held.requested:
            self._signed.setdefault(checkpoint.size, []).append(signed)
        else:
            self._earlier.append(signed)
        if origin != self.head.origin:
            self._strange[origin] = which

    def _opened(self, note: str, origin: str) -> Checkpoint:
        if self._key is None:
            raise NoteInvalid("there is no public key to verify it with")
        return Checkpoint.parse(self._key.under_name(origin).verify(note))

    # 2. and 3. the stretches

    def _take(self, report: StretchReport) -> None:
        left = self._upper.peaks()
        for size in sorted(report.peaks_at):
            self._roots[size] = merkle.fold([*left, *report.peaks_at[size]])
            self._compare(size)
        for sequence, content in report.statements:
            self._note_statement(sequence, content)
        self._bare += report.bare
        if report.finding is not None:
            found = report.finding
            raise Tampered(found.kind, found.problem, found.sequence)
        if report.stop - report.start == STRETCH:
            self._upper.add(report.peaks, self._stored)

    def _compare(self, size: int) -> None:
        """Compare the root with the checkpoints of this size.

        A contradiction is stored instead of raised: if a later checkpoint matches, the log was forked, not changed.
        """
        for signed in self._signed.get(size, ()):
            if signed.checkpoint.root != self._roots[size]:
                self._contradicted = self._contradicted or self._contradiction(size)
            elif self._contradicted is not None:
                problem, first = str(self._contradicted), self._contradicted.finding.sequence
                self._contradicted = Tampered(Kind.FORKED, f"{problem}, yet later ones are: the log was forked", first)
                raise self._contradicted
            else:
                self._matched = size

    def _contradiction(self, size: int) -> Tampered:
        if size == 0:
            return Tampered(Kind.CHANGED, "the checkpoint over no entries has another root than the empty log")
        since = self._matched
        return Tampered(Kind.CHANGED, f"entries {since} to {size - 1} are not those that were signed", since)

    def _note_statement(self, sequence: int, content: str) -> None:
        fields = fields_of(content)
        event, below = fields.get("event"), fields.get("below")
        if event == Event.LOG_PRUNED and isinstance(below, int) and below <= sequence:
            self._boundaries.append(below)
        if event in RENEWALS:
            self._renewals.append(renewal_in(sequence, fields))

    # 4. the end

    def _require_whole(self) -> None:
        if self._contradicted is not None:
            raise self._contradicted
        self._require_length()
        boundary = max(self._boundaries)
        for start, stop in self._bare:
            if stop > boundary:
                first = max(start, boundary)
                raise Tampered(Kind.REMOVED, "an entry's content was removed without being pruned", first)
        self._require_explained()

    def _require_length(self) -> None:
        if self.head.stray is not None:
            raise Tampered(Kind.CHANGED, "an entry stands beyond the last, after a gap", self.head.stray)
        size = self.head.size
        beside = [held.checkpoint.size for signed in self._signed.values() for held in signed if held.held.size]
        existed = max([size, self.head.stored_size, *beside])
        if existed > size:
            raise Tampered(Kind.TRUNCATED, f"the log was cut: {existed} entries existed, {size} are left", size)
        signed_over = max([size, *self._signed])
        if signed_over > size:
            raise Tampered(
                Kind.ROLLED_BACK, f"the log was rolled back: {signed_over} entries were signed, {size} are there", size
            )

    def _require_explained(self) -> None:
        """Check checkpoints of other origins: an entry of the log must record that the origin was abandoned."""
        given_up = {renewal.origin: renewal for renewal in self._renewals}
        for origin, which in self._strange.items():
            if origin not in given_up:
                raise Tampered(Kind.FORKED, f"{which} belongs to another log, and no entry explains it")
        for signed in self._earlier:
            size, renewal = signed.checkpoint.size, given_up[signed.checkpoint.origin]
            if size <= renewal.sequence and self._roots.get(size) != signed.checkpoint.root:
                raise Tampered(Kind.CHANGED, f"entries 0 to {size - 1} are not those that were signed", 0)

    def _verdict(self, tampered: Tampered | None) -> LogVerdict:
        found = tampered.finding if tampered is not None else None
        return LogVerdict(
            entries=self.head.size,
            checkpoints=sum(held.size is not None for held in self.head.notes),
            problem=found.problem if found is not None else None,
            sequence=found.sequence if found is not None else None,
            kind=found.kind if found is not None else None,
            origin=self.head.origin,
            pruned_below=max(self._boundaries),
            renewals=tuple(self._renewals),
        )


def renewal_in(sequence: int, fields: Mapping[str, object]) -> Renewal:
    """Parse a renewal. The quoted note is not verified here: its holders can verify it. Entries of earlier versions do
    not state how many entries are lost; at least those between the quoted size and the renewal are.
    """
    quoted, reason, lost = fields.get("quoted"), fields.get("outcome"), fields.get("lost")
    lines = quoted.split("\n") if isinstance(quoted, str) else [""]
    signed_size = int(lines[1]) if len(lines) > 1 and lines[1].isascii() and lines[1].isdecimal() else None
    return Renewal(
        sequence=sequence,
        event=str(fields["event"]),
        reason=reason if isinstance(reason, str) else None,
        origin=lines[0] or None,
        signed_size=signed_size,
        lost=lost if isinstance(lost, int) else max(0, (signed_size or 0) - sequence),
    )
