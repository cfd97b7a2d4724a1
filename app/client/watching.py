"""Sends what appears in a folder, each file once, and hands link and password to two commands.

    journal: begun -> sent (app/client/sending.py) -> link and password handed over -> journal: handed over
    -> the file moves to `sent` -> journal: empty

A process that ends at any step goes on there when it is started again. As long as the journal does not say "handed
over", a share that nobody used is withdrawn and another one issued: at most one link per file is valid.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.client.errors import FileChanged, HookFailed, NotConfigured, NotSendable, ServiceRefused
from app.client.hooks import Hook
from app.client.http_calls import ask
from app.client.patience import Patience
from app.client.sending import Request, Sending, Sent
from app.client.state import ClientState, PendingFile
from app.client.watch_journal import Batch, WatchJournal
from app.client.watch_report import Problem, Report, now
from app.client.watched_folder import ReadyFile, WatchedFolder, free
from app.client.watcher import Watcher

POLL_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 300.0

_FILE_REFUSED = frozenset({"too_large", "too_many_files"})
"""Codes of refusals that concern the file; any other one would meet the next file as well."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to do with the files: for whom, under which `terms` (members of the transfer), and who hands link and
    password over. With `batch`, all files that are ready go as one transfer.
    """

    recipient: str
    on_link: Hook
    on_password: Hook
    terms: dict[str, Any] = field(default_factory=dict)
    batch: bool = False
    patience_seconds: float = 600


class Watch:
    """One folder that is watched by this process, which holds its journal."""

    def __init__(
        self,
        http: httpx.Client,
        state: ClientState,
        watched: tuple[WatchedFolder, WatchJournal],
        order: Order,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`http` has the service's URL and the access token; `tell` gets messages for people, without file names."""
        self._http, self._state, self._order, self._tell = http, state, order, tell
        self._folder, self._journal = watched
        self._server = str(http.base_url).rstrip("/")
        self._token_expires_at: str | None = None
        self._waits = False
        http.event_hooks["response"] = [*http.event_hooks["response"], self._note_token]

    def once(self, settle_seconds: float) -> Report:
        """Send what is ready, and what becomes ready within the settle time. Raises NotConfigured, InUse."""
        report = self._report()
        unsettled = self._turn(report)
        if unsettled and report.problem is None:
            time.sleep(settle_seconds)
            self._turn(report)
        _close(report)
        return report

    def turns(self) -> Iterator[Report]:
        """Send what becomes ready, for ever; yield the report of each turn in which something happened. The last one,
        after a refusal that needs a person, has a final problem. Raises NotConfigured, InUse.
        """
        pause, before = POLL_SECONDS, None
        while True:
            report = self._report()
            self._turn(report)
            if report.sent or report.failed or report.problem != before:
                _close(report)
                yield report
            before = report.problem
            if before is not None and before.is_final:
                return
            pause = POLL_SECONDS if before is None else min(LONGEST_PAUSE_SECONDS, pause * 2)
            time.sleep(pause)

    def _report(self) -> Report:
        return Report(self._folder.reports, self._order.recipient)

    def _turn(self, report: Report) -> int:
        """Send what is ready; return how many files may become ready."""
        report.waiting = unsettled = 0
        try:
            self._go_on(report)
            finding = self._folder.look(time.monotonic())
            report.waiting, unsettled = len(finding.ready) + finding.unsettled, finding.unsettled
            stuck = self._reject_all(report, finding.unsendable)
            for files in self._batches(finding.ready):
                self._begin(report, files)
            if stuck is not None:
                raise stuck
        except (ServiceRefused, HookFailed, OSError) as error:
            report.problem = Problem.of(error)
            self._tell(f"{report.problem.detail}; what is not sent stays in out/")
        report.token_expires_at = self._token_expires_at
        return unsettled

    def _batches(self, ready: list[ReadyFile]) -> Iterator[list[ReadyFile]]:
        """Yield the files of one transfer at a time, as many as the service allows."""
        if not self._order.batch:
            yield from ([file] for file in ready)
            return
        patience = Patience(self._order.patience_seconds, waiting=self._waiting)
        rules = patience.call(lambda: ask(self._http, "GET", "/api/v1/me")) if ready else {}
        batch, size = list[ReadyFile](), 0
        for file in ready:
            total = size + file.identity.size
            if batch and (len(batch) >= rules.get("max_files", len(ready)) or total > rules.get("max_bytes", total)):
                yield batch
                batch, size = [], 0
            batch.append(file)
            size += file.identity.size
        if batch:
            yield batch

    # --- one batch

    def _begin(self, report: Report, files: list[ReadyFile]) -> None:
        there = [file for file in files if self._folder.holds(file.name, file.identity)]
        if there:
            pending = [self._pending(file) for file in there]
            identities = [file.identity for file in there]
            batch = Batch(self._server, self._order.recipient, self._order.terms, pending, identities)
            self._journal.save(batch)
            self._send(report, batch)

    def _go_on(self, report: Report) -> None:
        """Bring the batch to its end that an earlier run began. Raises NotConfigured for one of another service."""
        batch = self._journal.load()
        if batch is None:
            return
        if batch.transfer_id is None and batch.server != self._server:
            self._leave(batch)
            return
        if batch.transfer_id is None:
            ordered = (batch.recipient, batch.terms) == (self._order.recipient, self._order.terms)
            if ordered and all(self._folder.holds(name, identity) for name, identity in _names(batch)):
                self._send(report, batch)
                return
            sending = self._sending(batch)
            received = sending.received()
            if received is None:
                sending.give_up()
                self._journal.clear()
                return
            self._hand_over(batch, received)
        with self._state.sending(batch.server, self._request(batch).identity) as record:
            record.clear()
        self._finish(report, batch)

    def _leave(self, batch: Batch) -> None:
        """Forget a batch of another service if nothing of it was sent. Raises NotConfigured."""
        with self._state.sending(batch.server, self._request(batch).identity) as record:
            pending = record.load()
            if pending is not None and pending.transfer_id is not None:
                raise NotConfigured(
                    f"a file is half sent to {batch.server}: run once with CADUCEE_SERVER={batch.server}"
                )
            record.clear()
        self._journal.clear()

    def _send(self, report: Report, batch: Batch) -> None:
        sending = self._sending(batch)
        try:
            sending.run(lambda sent: self._hand_over(batch, sent))
        except FileChanged:
            self._journal.clear()  # the transfer has ended; the file is looked at anew
            return
        except NotSendable as reason:
            self._fail(report, batch, sending, reason)
            return
        except ServiceRefused as refusal:
            if refusal.code not in _FILE_REFUSED:
                raise
            self._fail(report, batch, sending, NotSendable(str(refusal), str(refusal.code)))
            return
        self._finish(report, batch)

    def _hand_over(self, batch: Batch, sent: Sent) -> None:
        """Give link and password to the commands, and note that both have succeeded. Raises HookFailed."""
        for recipient, share in sent.shares.items():
            about = {"transfer_id": sent.transfer_id, "share_id": share.id, "recipient": recipient}
            about["expires_at"] = sent.expires_at
            self._order.on_link.run(about | {"link": share.link.text()})
            self._order.on_password.run(about | {"password": share.password})
        batch.placed = [free(self._folder.sent / name).name for name, _ in _names(batch)]
        batch.transfer_id, batch.expires_at = sent.transfer_id, sent.expires_at
        self._journal.save(batch)

    def _finish(self, report: Report, batch: Batch) -> None:
        for (name, identity), place in zip(_names(batch), batch.placed, strict=True):
            moved = self._folder.place(name, identity, self._folder.sent / place)
            about = {"name": name, "size": identity.size, "transfer_id": batch.transfer_id}
            report.sent.append(about | {"expires_at": batch.expires_at, "moved": moved})
        report.waiting = max(0, report.waiting - len(batch.files))
        report.write()
        self._journal.clear()
        self._waits = False
        self._tell(f"sent {len(batch.files)} file(s) as transfer {batch.transfer_id}")

    def _fail(self, report: Report, batch: Batch, sending: Sending, reason: NotSendable) -> None:
        """End the transfer of a batch, and move its files to `failed`. Raises ServiceRefused."""
        sending.give_up()
        for file, identity in zip(batch.files, batch.identities, strict=True):
            self._reject(report, ReadyFile(file.name, file.media_type, identity), reason)
        report.waiting = max(0, report.waiting - len(batch.files))
        self._journal.clear()

    def _reject(self, report: Report, file: ReadyFile, reason: NotSendable) -> None:
        if self._folder.reject(file, reason, now()):
            report.failed_because(file, reason)
            self._tell(f"moved a file to failed/ ({reason.code})")

    def _reject_all(self, report: Report, unsendable: list[tuple[ReadyFile, NotSendable]]) -> OSError | None:
        """Move all that can never be sent to `failed`; return why one stays in `out`, such as another user's folder."""
        stuck = None
        for file, reason in unsendable:
            try:
                self._reject(report, file, reason)
            except OSError as error:
                stuck = error
        return stuck

    def _sending(self, batch: Batch) -> Sending:
        watcher, patience = Watcher(waiting=self._waiting), self._order.patience_seconds
        return Sending(self._http, self._state, self._request(batch), patience_seconds=patience, watcher=watcher)

    def _request(self, batch: Batch) -> Request:
        """Return the request of a batch. There is one at a time, so the folder's id names it."""
        return Request(batch.files, [batch.recipient], batch.terms, name=f"watch {self._journal.watch_id}")

    def _pending(self, file: ReadyFile) -> PendingFile:
        path, identity = self._folder.out / file.name, file.identity
        return PendingFile(str(path), file.name, file.media_type, identity.size, identity.changed_ns, only_link=True)

    # --- messages

    def _waiting(self, _seconds: float) -> None:
        if not self._waits:
            self._waits = True
            self._tell("the service cannot be reached; trying again")

    def _note_token(self, response: httpx.Response) -> None:
        expires_at = response.headers.get("Caducee-Token-Expires")
        if expires_at and expires_at != self._token_expires_at:
            self._tell(f"the access token ends at {expires_at}: ask for another one")
        self._token_expires_at = expires_at or self._token_expires_at


def _close(report: Report) -> None:
    report.ended_at = now()
    try:
        report.write()
    except OSError as error:  # a full disk must not hide what was done
        report.problem = report.problem or Problem.of(error)


def _names(batch: Batch) -> Iterable[tuple[str, Any]]:
    return zip((file.name for file in batch.files), batch.identities, strict=True)
