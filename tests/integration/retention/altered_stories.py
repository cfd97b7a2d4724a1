"""Stories in which somebody writes to the database, and what must hold whatever was written.

A story begins at a moment in the life of two transfers, one plain and one sealed, beside a third that nobody touches.
Then rows are altered, and the service runs on until all three are past their expiry. The true expiry is known from the
deposit and never read back. What must hold:

1. Five minutes past the true expiry nothing is readable and the vault holds no shred key; unless something is red, no
   blob is left and no row says that the transfer lives.
2. No share yields bytes to two claim tokens, and no claim the bytes of another transfer.
3. Two sweeps after an alteration something is red, as long as the lie stands (`alterations.CARRIES_NOTHING` lists
   the columns in which none matters).
4. The service attests no deletion while a shred key or a blob of that transfer exists.
5. The untouched transfer is delivered before its expiry and gone after it, or the service refuses and is red.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from app.actions.claim_share import Claimed
from app.actions.create_transfer import CreatedTransfer
from app.crypto.token import new_secret
from app.domain.access_token import Caller
from app.runtime.resources import Resources
from tests.integration.actions.sealed_stories import (
    SealedTransfer,
    a_sealed_transfer,
    ciphertext,
    deposit_sealed,
    let_claim,
    prepare,
)
from tests.integration.actions.stories import a_caller, a_transfer, deposit, issue, run
from tests.integration.conftest import MovableTime
from tests.integration.retention.alterations import (
    CHOSEN_TOKEN,
    Alteration,
    Altered,
    Carries,
    Cell,
    Rows,
    Target,
    alter,
    carried_by,
    rows,
)
from tests.integration.retention.running_service import (
    OpenStream,
    RunningService,
    Start,
    Ticket,
    blobs_on_disk,
    complete,
    copied,
    delete,
    fetched,
    keys_of,
    receipt,
    redeem,
    with_token,
)

LIFETIME, CONTROL_LIFETIME = timedelta(minutes=40), timedelta(minutes=70)
SLACK = timedelta(minutes=5, seconds=2)
STEP = timedelta(minutes=10)
CONTENT = bytes(range(251)) * 6500
"""1.6 MB, so that a download has a second piece to send."""
HEADER_BYTES = 56

T = TypeVar("T")


class Moment(StrEnum):
    """When the rows are altered."""

    BEFORE_DEPOSIT = "before the deposit"
    DEPOSITED = "after the deposit"
    ISSUED = "before the claim"
    DELETING = "before the depositor deletes"
    CLAIMED = "after the claim"
    DOWNLOADING = "in the middle of a download"
    COMPLETED = "after completion"
    ENDED = "after the end"


@dataclass
class Followed:
    """A transfer, and all that its people and this test know of it. `heads`: how its blobs begin, by blob id."""

    name: str
    made: CreatedTransfer | SealedTransfer
    ends: datetime
    heads: dict[str, bytes] = field(default_factory=dict)
    ticket: Ticket | None = None
    claims: list[Claimed] = field(default_factory=list)
    served_to: set[bytes] = field(default_factory=set)

    @property
    def id(self) -> str:
        return self.made.id

    @property
    def sealed(self) -> bool:
        return isinstance(self.made, SealedTransfer)


@dataclass
class Beginning:
    """An installation at a moment, stopped and kept to be copied."""

    folder: Path
    moment: Moment
    at: datetime
    running: float
    caller: Caller
    followed: list[Followed]
    control: Followed


class Story:
    """One installation from a moment on, and the complaints about it."""

    def __init__(self, service: RunningService, time: MovableTime, caller: Caller) -> None:
        """Nothing has happened yet."""
        self.service, self.time, self.caller = service, time, caller
        self.followed: list[Followed] = []
        self.control: Followed | None = None
        self.streams: list[OpenStream] = []
        self.complaints: list[str] = []
        self.altered: Altered | None = None
        self._known_entries: set[tuple[object, object]] = set()

    # --- what people do

    def deposit(self, name: str, lifetime: timedelta, content: bytes = CONTENT) -> Followed:
        """One file, plain or sealed."""
        web, ends = self.service.web, self.time.moment + lifetime
        before = set(blobs_on_disk(self.service.folder))
        made: CreatedTransfer | SealedTransfer
        if name == "sealed":
            made = a_sealed_transfer(web, self.caller, lifetime=lifetime, keep_until_expiry=True)
            run(deposit_sealed(web, self.caller, made, ciphertext(made, content)))
        else:
            made = a_transfer(web, self.caller, lifetime=lifetime, keep_until_expiry=True)
            run(deposit(web, self.caller, made, content))
        followed = Followed(name, made, ends)
        self._date_blobs()
        for blob_id, path in blobs_on_disk(self.service.folder).items():
            if blob_id not in before:
                with path.open("rb") as blob:
                    followed.heads[blob_id] = blob.read(HEADER_BYTES)
        return followed

    def issue(self, followed: Followed) -> None:
        """A share for one recipient."""
        web, made = self.service.web, followed.made
        if isinstance(made, SealedTransfer):
            sealed = run(prepare(web, self.caller, made))
            let_claim(web, self.caller, sealed)
            followed.ticket = Ticket(sealed.id, sealed.link_secret, sealed.password)
        else:
            issued = run(issue(web, self.caller, made))
            followed.ticket = Ticket(issued.id, issued.link_secret, issued.password)

    def claim(self, followed: Followed, *, by_proof: bool | None = None) -> Claimed:
        """The recipient, or another one with the same link, redeems the share with a token of its own."""
        assert followed.ticket is not None
        proof = followed.sealed if by_proof is None else by_proof
        claimed = redeem(self.service.web, followed.ticket, new_secret(), by_proof=proof)
        followed.claims.append(claimed)
        return claimed

    def fetch(self, resources: Resources, followed: Followed, claimed: Claimed, *, decrypted: bool) -> bytes:
        """Fetch with a claim, and note to which token the share has yielded bytes, and whose bytes."""
        received = fetched(resources, claimed, decrypted=decrypted)
        if received:
            followed.served_to.add(claimed.token)
            others = [each for each in self.all_followed() if each is not followed]
            if any(received.startswith(head) for each in others for head in each.heads.values()):
                self.complain(2, f"a claim of the {followed.name} transfer yields bytes of another")
        if len(followed.served_to) > 1:
            self.complain(2, f"the share of the {followed.name} transfer yields bytes to two claim tokens")
        return received

    def all_followed(self) -> list[Followed]:
        """All transfers, the untouched one too."""
        return [*self.followed, *([self.control] if self.control else [])]

    def tokens(self) -> list[bytes]:
        """Every claim token there ever was, and one of the attacker's own."""
        return [CHOSEN_TOKEN, *(claimed.token for each in self.all_followed() for claimed in each.claims)]

    # --- time

    def rounds(self, count: int = 1) -> None:
        """So many seconds, a sweep in each."""
        for _ in range(count):
            self.pass_by(timedelta(seconds=1))

    def pass_by(self, duration: timedelta) -> None:
        """Time passes; then the service cuts what must be cut, sweeps and purges, and is looked at."""
        self.time.pass_by(duration)
        for stream in self.streams:
            stream.check()
        self.service.round()
        self.look_for_false_attestations()
        if self.altered is None:
            for reason in self.service.red():
                self.complain(5, f"red though nothing is altered: {reason}")

    def pass_until(self, moment: datetime) -> None:
        """Time passes in steps."""
        while self.time.moment < moment:
            self.pass_by(min(STEP, moment - self.time.moment))
            self.look_for_lies()

    # --- what must hold

    def complain(self, number: int, what: str) -> None:
        """Note what does not hold, once."""
        complaint = f"({number}) {what}"
        if complaint not in self.complaints:
            self.complaints.append(complaint)

    def alter(self, alteration: Alteration) -> bool:
        """Write to the database; whether that changed anything."""
        now = int(self.time.moment.timestamp() * 1_000_000)
        assert self.control is not None
        target = Target(tuple(each.id for each in self.followed), self.control.id, now)
        altered = alter(self.service.database, alteration, target)
        self._known_entries = _entries(rows(self.service.database))
        if altered.cells:
            self.altered = altered
        return bool(altered.cells)

    def look_for_lies(self) -> None:
        """Property 3, two sweeps after an alteration or later."""
        if self.altered is None:
            return
        current = rows(self.service.database)
        standing = [cell for cell in self.altered.cells if cell.stands(current)]
        over = {each.id for each in self.all_followed() if self._is_over(each, current)}
        names = sorted({str(cell) for cell in standing if _must_be_red(cell, over)})
        log_altered = any(cell.table == "audit_entries" for cell in standing)
        if not (names or log_altered) or self.service.red():  # the last is by far the slowest
            return
        for name in names:
            self.complain(3, f"{name}: the lie stands and nothing is red")
        if log_altered and not self.service.log_problem():
            self.complain(3, "the log is altered, nothing is red, and its verification passes")

    def look_past_the_end(self, followed: Followed) -> None:
        """Property 1, five minutes past the true expiry."""
        name = followed.name
        for stream in self.streams:
            if stream.goes_on():
                self.complain(1, "a download goes on past the expiry")
        self._look_for_readable(self.service.web, followed)
        with self.service.restarted() as other:
            if other is not None:
                self._look_for_readable(other, followed)
        if keys_of(self.service.folder, followed.id):
            self.complain(1, f"a shred key of the {name} transfer is in the vault past the expiry")
        left = "a blob is left" if self._blobs_left(followed) else ""
        lives = "a row says that it lives" if self._lives(followed, rows(self.service.database)) else ""
        if (left or lives) and not self.service.red():
            self.complain(1, f"{left or lives} past the expiry and nothing is red ({name})")

    def deliver_untouched(self) -> None:
        """Property 5: before its expiry the third transfer is delivered, or the service is red."""
        control = self.control
        assert control is not None
        try:
            received = self.fetch(self.service.web, control, self.claim(control), decrypted=True)
        except Exception as error:  # noqa: BLE001 - a refusal or a failure: either must be loud
            if not self.service.red():
                self.complain(5, f"the untouched transfer is refused and nothing is red: {type(error).__name__}")
        else:
            if received != b"untouched":
                self.complain(5, "the untouched transfer is delivered with another content")

    def _look_for_readable(self, resources: Resources, followed: Followed) -> None:
        for by_proof in (False, True):
            if followed.ticket and succeeds(redeem, resources, followed.ticket, new_secret(), by_proof=by_proof):
                self.complain(1, f"the {followed.name} transfer is claimed past the expiry")
        for claimed in followed.claims:
            for token in self.tokens():
                for decrypted, route in ((True, "files"), (False, "blobs")):
                    if succeeds(fetched, resources, with_token(claimed, token), decrypted=decrypted):
                        self.complain(1, f"`{route}` of the {followed.name} transfer yields bytes past the expiry")

    def look_for_false_attestations(self) -> None:
        """Property 4."""
        current = rows(self.service.database)
        new = _entries(current) - self._known_entries
        for followed in self.all_followed():
            if not self._held(followed):
                continue
            says = f'"transfer":"{followed.id}"'
            if any('"event":"transfer.deleted"' in str(text) and says in str(text) for _, text in new):
                self.complain(4, f"the log says that the {followed.name} transfer is deleted, and it is held")
            if receipt(self.service.web, followed.id) is not None:
                self.complain(4, f"a receipt says that the {followed.name} transfer is deleted, and it is held")

    def _blobs_left(self, followed: Followed) -> bool:
        return not followed.heads.keys().isdisjoint(blobs_on_disk(self.service.folder))

    def _held(self, followed: Followed) -> bool:
        return bool(keys_of(self.service.folder, followed.id)) or self._blobs_left(followed)

    def _lives(self, followed: Followed, current: Rows) -> bool:
        row = current.get(("transfers", (followed.id,)))
        return row is not None and row["state"] in {"receiving", "live"}

    def _is_over(self, followed: Followed, current: Rows) -> bool:
        """Whether nothing of it is held, and no row says otherwise: what is told of it then harms nobody."""
        row = current.get(("transfers", (followed.id,)))
        return (row is None or row["state"] == "verified") and not self._held(followed)

    def _date_blobs(self) -> None:
        """Files carry the real time, which is not that of the story."""
        for path in blobs_on_disk(self.service.folder).values():
            if path.stat().st_mtime != self.time.moment.timestamp() and path.name not in self._dated():
                os.utime(path, (self.time.moment.timestamp(),) * 2)

    def _dated(self) -> set[str]:
        return {blob_id for followed in self.all_followed() for blob_id in followed.heads}


def _must_be_red(cell: Cell, over: set[str]) -> bool:
    """Whether a lie in this cell must be noticed by more than the verification of the log. Entries that are not of a
    living transfer are the verification's alone, and what is over is over.
    """
    if carried_by(cell.table, cell.column) is not Carries.PROMISE or cell.owner in over:
        return False
    return cell.table != "audit_entries" or cell.owner is not None


def _entries(current: Rows) -> set[tuple[object, object]]:
    return {(key, row["content"]) for (table, key), row in current.items() if table == "audit_entries"}


def succeeds(call: Callable[..., T], *args: object, **named: object) -> bool:
    """Whether this is not refused and yields something."""
    try:
        return bool(call(*args, **named))
    except Exception:  # noqa: BLE001 - whatever stops it, nothing came out
        return False


# --- how a story begins


def begin(start: Start, time: MovableTime, folder: Path, moment: Moment) -> Beginning:
    """Bring an installation to a moment, with nothing altered and everything green, and stop it."""
    service = RunningService(start, folder)
    try:
        story = Story(service, time, a_caller(service.web))
        story.rounds()
        _come_to(story, moment)
        service.reconcile()
        assert story.complaints == []
        assert story.control is not None
        return Beginning(folder, moment, time.moment, time.running, story.caller, story.followed, story.control)
    finally:
        service.close()


def _come_to(story: Story, moment: Moment) -> None:
    order = list(Moment)
    reached = order.index(moment)
    story.control = story.deposit("untouched", CONTROL_LIFETIME, b"untouched")
    story.issue(story.control)
    story.pass_by(timedelta(minutes=2))
    if reached >= order.index(Moment.DEPOSITED):
        story.followed = [story.deposit(name, LIFETIME) for name in ("plain", "sealed")]
        story.pass_by(timedelta(minutes=2))
    if reached >= order.index(Moment.ISSUED):
        for followed in story.followed:
            story.issue(followed)
        story.rounds()
    if reached >= order.index(Moment.CLAIMED):
        for followed in story.followed:
            story.fetch(story.service.web, followed, story.claim(followed), decrypted=not followed.sealed)
        story.rounds()
    if reached >= order.index(Moment.COMPLETED):
        for followed in story.followed:
            complete(story.service.web, followed.claims[0])
        story.rounds()
    if reached >= order.index(Moment.ENDED):
        story.pass_until(story.followed[0].ends + timedelta(seconds=10))
        story.rounds(2)


@contextmanager
def from_here(beginning: Beginning, start: Start, time: MovableTime, folder: Path) -> Iterator[Story]:
    """A story that begins with a copy of an installation, running."""
    time.moment, time.running = beginning.at, beginning.running
    service = RunningService(start, copied(beginning.folder, folder))
    try:
        story = Story(service, time, beginning.caller)
        story.followed, story.control = deepcopy((beginning.followed, beginning.control))
        story.rounds(2)
        if beginning.moment == Moment.DOWNLOADING:
            for followed in story.followed:
                stream = OpenStream(service.web, followed.claims[0], decrypted=not followed.sealed)
                story.streams.append(stream)
        yield story
    finally:
        for stream in story.streams:
            stream.close()
        service.close()


# --- how it goes on


def go_on(story: Story, moment: Moment) -> None:
    """From just after the alteration (or without one) until everything is past its expiry. The hourly reconciliation
    comes after the look past the end: no promise may wait for it.
    """
    story.rounds(2)
    story.look_for_lies()
    _act(story, moment)
    story.rounds(2)
    story.look_for_lies()
    for number, followed in enumerate(story.followed):
        story.pass_until(followed.ends + SLACK)
        story.rounds(2 if number == 0 else 0)
    for followed in story.followed:
        story.look_past_the_end(followed)
    story.deliver_untouched()
    story.service.reconcile()
    control = story.control
    assert control is not None
    story.pass_until(control.ends + SLACK)
    story.rounds(2)
    story.look_past_the_end(control)


def _act(story: Story, moment: Moment) -> None:
    """What people do next: those whom the story follows, a second recipient with the same link, and the attacker."""
    if moment == Moment.BEFORE_DEPOSIT:
        _deposit(story)
    for followed in story.followed:
        if moment == Moment.DELETING:
            succeeds(delete, story.service.web, followed.id, story.caller)
            continue
        if followed.ticket is None:
            succeeds(story.issue, followed)
        if not followed.claims:
            _redeem(story, followed, by_proof=followed.sealed)
        for by_proof in (True, False):
            _redeem(story, followed, by_proof=by_proof)
        _steal(story, followed)


def _steal(story: Story, followed: Followed) -> None:
    """Fetch with every other token."""
    for claimed in followed.claims:
        for token in story.tokens():
            if token == claimed.token:
                continue
            for decrypted in (True, False):
                succeeds(story.fetch, story.service.web, followed, with_token(claimed, token), decrypted=decrypted)


def _deposit(story: Story) -> None:
    """Both kinds of transfer; where that is refused, loudly."""
    for name in ("plain", "sealed"):
        try:
            story.followed.append(story.deposit(name, LIFETIME))
        except Exception as error:  # noqa: BLE001 - a refusal or a failure: either must be loud
            if not story.service.red():
                story.complain(5, f"a deposit is refused and nothing is red: {type(error).__name__}")


def _redeem(story: Story, followed: Followed, *, by_proof: bool) -> None:
    """Claim with a token of one's own, and fetch what that gives."""
    if followed.ticket is None or not succeeds(story.claim, followed, by_proof=by_proof):
        return
    succeeds(story.fetch, story.service.web, followed, followed.claims[-1], decrypted=not by_proof)
