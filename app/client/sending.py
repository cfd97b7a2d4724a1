"""Sends files as one sealed transfer: goes on by itself after a failure, and when it is started again.

    files = collect([Path("export.csv")])
    with Service(server, token).connect() as http:
        Sending(http, ClientState(), Request(files, recipients=["CPAM 75"])).run(show)

Started again with the same request, it goes on with the transfer that it began. Shares that were issued and never shown
are withdrawn, and issued again: at most one link per recipient is valid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from app.client.collecting import fingerprint
from app.client.earlier_shares import end, require_over, shown_transfer, used_by, withdraw_unused
from app.client.errors import FileChanged, NotSendable, ServiceRefused, ServiceUnavailable
from app.client.http_calls import ask
from app.client.parts import SealedUpload, announce
from app.client.patience import Patience
from app.client.sealed_transfer import SealedShare, SealedTransfer
from app.client.source import SealedSource
from app.client.state import ClientState, PendingFile, PendingSend, SendRecord, SentTransfer
from app.client.watcher import Watcher
from app.crypto.chunked import sealed_size
from app.crypto.encoding import decode, encode
from app.crypto.errors import CryptoError
from app.crypto.password import new_password
from app.crypto.token import new_id, new_secret
from app.domain.file_meta import FileMeta
from app.domain.transfer import tidied


@dataclass(frozen=True, slots=True)
class Request:
    """What to send: files, and for whom; `terms` are members of the transfer (`expires_in`, `label`, ...). With a
    `language`, each share comes with a text to mail. `name` identifies a request of a program that remembers by itself
    what it sends.
    """

    files: Sequence[PendingFile]
    recipients: Sequence[str]
    terms: dict[str, Any] = field(default_factory=dict)
    language: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Name the recipients as the service lists them: an earlier run's shares are found by that name."""
        object.__setattr__(self, "recipients", [tidied(recipient) for recipient in self.recipients])

    @property
    def identity(self) -> dict[str, Any]:
        """What makes a request the same when it is started again."""
        if self.name is not None:
            return {"name": self.name}
        return {
            "files": [file.path for file in self.files],
            "recipients": sorted(self.recipients),
            "terms": self.terms,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Sent:
    """A transfer that was sent, with a share for each recipient, except those who used an earlier one, and so had its
    link and password. Links and passwords are kept nowhere else.
    """

    transfer_id: str
    expires_at: str
    files: list[PendingFile]
    shares: dict[str, SealedShare]


class Sending:
    """One send."""

    def __init__(
        self,
        http: httpx.Client,
        state: ClientState,
        request: Request,
        *,
        patience_seconds: float = 600,
        watcher: Watcher | None = None,
    ) -> None:
        """`http` has the service's URL and the access token."""
        self._http, self._state, self._request = http, state, request
        self._watcher = watcher or Watcher()
        self._patience = Patience(patience_seconds, waiting=self._watcher.waiting)

    def run(self, shown: Callable[[Sent], None]) -> None:
        """Send, and give the result to `shown`; once that returns, the record of the send is removed.

        Raises FileChanged, NotSendable, InUse, ServiceRefused; ServiceUnavailable if a later attempt may succeed.
        """
        self._require_allowed()
        self._watcher.began([(file.shown, file.size) for file in self._request.files])
        with self._state.sending(self._server, self._request.identity) as record:
            if (received := self._received(record)) is not None:
                shown(received)
                record.clear()
                return
            pending, transfer = self._begin_or_go_on(record)
            try:
                for number, file in enumerate(pending.files):
                    if not file.done:
                        self._upload(record, pending, transfer, number)
                shares = self._shares(transfer)
            except FileChanged:
                self._give_up(record, pending)
                raise
            shown(Sent(transfer.id, transfer.expires_at, pending.files, shares))
            record.clear()

    def received(self) -> Sent | None:
        """Return the interrupted send if its recipients used their shares: then nothing of it is left to show.

        Raises InUse, ServiceRefused.
        """
        with self._state.sending(self._server, self._request.identity) as record:
            return self._received(record)

    def give_up(self) -> None:
        """End the interrupted send, with what it has stored; no link of it is valid then. Raises InUse, ServiceRefused,
        and forgets nothing if the service cannot be reached.
        """
        with self._state.sending(self._server, self._request.identity) as record:
            if (pending := record.load()) is not None:
                self._give_up(record, pending)

    @property
    def _server(self) -> str:
        return str(self._http.base_url).rstrip("/")

    def _require_allowed(self) -> None:
        """Refuse before anything is sent what the service would refuse afterwards. Raises NotSendable."""
        if len(set(self._request.recipients)) != len(self._request.recipients):
            raise NotSendable("a recipient is named twice")
        rules = self._patience.call(lambda: ask(self._http, "GET", "/api/v1/me"))
        count, size = len(self._request.files), sum(file.size for file in self._request.files)
        if count > rules.get("max_files", count):
            raise NotSendable(
                f"{count} files are more than the {rules['max_files']} that a transfer may have: send an archive (ZIP)"
            )
        if size > rules.get("max_bytes", size):
            message = f"{size} bytes are more than the {rules['max_bytes']} that a transfer may have"
            raise NotSendable(message, "too_large")

    def _received(self, record: SendRecord) -> Sent | None:
        """Return the interrupted send if every recipient used a share of it, also if its transfer has ended since."""
        pending = record.load()
        if pending is None or pending.transfer_id is None or not self._is_same(pending):
            return None
        transfer = shown_transfer(self._http, pending.transfer_id, self._patience, expires_at=pending.expires_at)
        if transfer is None or not used_by(transfer["shares"]).issuperset(self._request.recipients):
            return None
        return Sent(transfer["id"], transfer["expires_at"], pending.files, {})

    def _begin_or_go_on(self, record: SendRecord) -> tuple[PendingSend, SealedTransfer]:
        """Return the interrupted send with its transfer if it can go on; else end that transfer, and begin another."""
        pending = record.load()
        if pending is not None and not self._is_same(pending):
            self._give_up(record, pending)
            pending = None
        if pending is not None and (transfer := self._reopened(record, pending)) is not None:
            return pending, transfer
        if pending is None or pending.transfer_id is not None:
            pending = PendingSend(self._server, new_id(), list(self._request.files), client_key=encode(new_secret()))
            record.save(pending)
        return pending, self._created(record, pending)

    def _is_same(self, pending: PendingSend) -> bool:
        """Whether the files are still what they were when the send began."""
        was = [(file.path, file.size, file.changed_ns) for file in pending.files]
        return was == [(file.path, file.size, file.changed_ns) for file in self._request.files]

    def _reopened(self, record: SendRecord, pending: PendingSend) -> SealedTransfer | None:
        """Return the transfer that was begun, or None if there is none to go on with."""
        transfer_id, client_key = pending.transfer_id, decode(pending.client_key, length=32)
        if transfer_id is None:
            return None
        try:
            return self._patience.call(lambda: SealedTransfer.reopen(self._http, transfer_id, client_key))
        except ServiceUnavailable:
            raise
        except CryptoError:
            pass
        except ServiceRefused as refusal:
            require_over(refusal, pending.expires_at)  # a token that ended says nothing about the transfer
        self._give_up(record, pending)
        return None

    def _created(self, record: SendRecord, pending: PendingSend) -> SealedTransfer:
        def create() -> SealedTransfer:
            return SealedTransfer.create(
                self._http,
                client_key=decode(pending.client_key, length=32),
                idempotency_key=f"send-{pending.idempotency_key}",
                **self._request.terms,
            )

        try:
            transfer = self._patience.call(create)
        except ServiceRefused as refusal:
            if refusal.code not in {"already_answered", "idempotency_key_reused"}:
                raise
            # That transfer's id never arrived, perhaps with other terms: it has no file, and expires.
            pending.idempotency_key = new_id()
            record.save(pending)
            transfer = self._patience.call(create)
        pending.transfer_id, pending.expires_at = transfer.id, transfer.expires_at
        record.save(pending)
        self._remember(pending, transfer)
        return transfer

    def _remember(self, pending: PendingSend, transfer: SealedTransfer) -> None:
        self._state.remember(
            SentTransfer(
                server=pending.server,
                transfer_id=transfer.id,
                client_key=encode(transfer.client_key),
                sealed=True,
                expires_at=transfer.expires_at,
                files=[file.shown for file in pending.files],
                recipients=list(self._request.recipients),
                fingerprint=fingerprint(self._request.files, self._request.recipients),
            )
        )

    def _upload(self, record: SendRecord, pending: PendingSend, transfer: SealedTransfer, number: int) -> None:
        file = pending.files[number]
        try:
            self._send(record, pending, transfer, number)
        except ServiceRefused as refusal:
            if refusal.status != httpx.codes.NOT_FOUND:
                raise
            file.upload = None  # it expired between two parts, or failed at its end
            self._send(record, pending, transfer, number)
        file.done = True
        record.save(pending)

    def _send(self, record: SendRecord, pending: PendingSend, transfer: SealedTransfer, number: int) -> None:
        file, journal = pending.files[number], record.journal(number)
        meta = FileMeta.checked(file.name, file.media_type, file.folders)
        if file.upload is None:
            journal.unlink(missing_ok=True)  # another upload, another salt
            file.upload = self._patience.call(lambda: announce(transfer, number, meta, sealed_size(file.size)))
            record.save(pending)
        with self._source(file, journal) as source:
            moved = partial(self._watcher.moved, number)
            SealedUpload(transfer, number, meta, source, upload=file.upload, moved=moved).run(self._patience)

    def _source(self, file: PendingFile, journal: Path) -> SealedSource:
        return SealedSource(
            Path(file.path), size=file.size, changed_ns=file.changed_ns, journal=journal, only_link=file.only_link
        )

    def _shares(self, transfer: SealedTransfer) -> dict[str, SealedShare]:
        """Issue a share for each recipient, and withdraw those of an earlier run, which nobody saw."""
        withdraw_unused(self._http, transfer.shares, self._patience)
        had = used_by(transfer.shares)
        return {
            recipient: self._share(transfer, recipient)
            for recipient in self._request.recipients
            if recipient not in had
        }

    def _share(self, transfer: SealedTransfer, recipient: str) -> SealedShare:
        password, attempt = new_password(), new_id()  # a repetition is the same request; another run makes another one
        prepared: list[str] = []

        def issue() -> SealedShare:
            if prepared:  # whether it was opened is unknown, and so is its link
                end(self._http, f"/api/v1/shares/{prepared[-1]}", self._patience)
            return transfer.issue(
                recipient,
                password=password,
                idempotency_key=f"{attempt}-{len(prepared)}",
                language=self._request.language,
                prepared_as=prepared.append,
            )

        return self._patience.call(issue)

    def _give_up(self, record: SendRecord, pending: PendingSend) -> None:
        """End a transfer that cannot go on, with what it has stored. Raises ServiceUnavailable, and forgets nothing."""
        if pending.transfer_id is not None:
            path = f"/api/v1/transfers/{pending.transfer_id}"
            end(self._http, path, self._patience, expires_at=pending.expires_at)
            self._state.forget(pending.transfer_id)
        record.clear()
