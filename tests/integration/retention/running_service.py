"""One installation as it runs: a process that faces the network, and a scheduler, on the same folder.

The stories of `altered_stories.py` call the service through this module alone.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from app.actions.check_readiness import check_readiness
from app.actions.claim_share import Claimed, claim_share
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.give_receipt import give_receipt
from app.actions.reconcile import count_orphans
from app.actions.report_retention import report_retention
from app.actions.verify_log import verify_log
from app.crypto.wrapping import link_proof
from app.domain.access_token import Caller
from app.lifecycle.claimable_share import LinkAndPassword
from app.lifecycle.download import Download
from app.runtime.installation import InstallationMismatch, open_read_only
from app.runtime.resources import Resources
from app.storage.errors import StorageError
from app.storage.signing_folder import SigningFolder
from scheduler.timetable import Timetable
from tests.integration.actions.stories import (
    ADDRESS,
    fetch,
    open_claim,
    run,
)

Start = Callable[..., Resources]
FETCH_SECONDS = 20.0


class RunningService:
    """The processes of one installation in `folder`; `close` ends them."""

    def __init__(self, start: Start, folder: Path) -> None:
        """Start them. Raises what keeps a process from starting."""
        self._start, self.folder = start, folder
        self.web = start(data_dir=folder, database_url=None, orphan_grace="60s")
        self._scheduler = Timetable(self.web.settings)

    @property
    def database(self) -> Path:
        """The file that an attacker writes to."""
        return self.folder / "db" / "caducee.sqlite"

    def round(self) -> None:
        """What the timetable runs each second: the sweep, and the purge as a command of its own. A job that fails is
        logged, and runs again at its next time.
        """
        _in_any_case(self._scheduler.sweep)
        _in_any_case(Timetable(self.web.settings).purge)

    def reconcile(self) -> None:
        """What the timetable runs each hour, and the signing of each five minutes."""
        _in_any_case(self._scheduler.reconcile)
        _in_any_case(self._scheduler.sign)

    def red(self) -> list[str]:
        """What an operator sees: the reasons of `/readyz`, and of the exit code of `audit retention`."""
        try:
            reasons = list(check_readiness(self.web))
        except Exception as error:  # noqa: BLE001 - a probe that fails is red
            reasons = [f"readyz fails: {type(error).__name__}"]
        try:
            code = self._retention()
        except Exception as error:  # noqa: BLE001 - so is a report that cannot be made
            return [*reasons, f"audit retention fails: {type(error).__name__}"]
        return [*reasons, f"audit retention exits {code}"] if code else reasons

    def _retention(self) -> int:
        """`caducee audit retention`: a process of its own, which only reads."""
        resources = open_read_only(self.web.settings)
        try:
            return report_retention(resources, orphans=_orphans(resources)).exit_code
        finally:
            _end(resources)

    def log_problem(self) -> str | None:
        """`caducee audit verify`: what is wrong with the log, None if nothing is."""
        try:
            return verify_log(self.web, SigningFolder(self.web.settings.signing_dir)).problem
        except Exception as error:  # noqa: BLE001 - a log that cannot be verified is not fine
            return type(error).__name__

    @contextmanager
    def restarted(self) -> Iterator[Resources | None]:
        """Another process that faces the network, started now; None when it refuses to start."""
        try:
            resources = self._start(
                **self.web.settings.model_dump(include={"data_dir", "orphan_grace"}), database_url=None
            )
        except Exception:  # noqa: BLE001 - it does not serve: nothing can be read through it
            yield None
            return
        try:
            yield resources
        finally:
            _end(resources)

    def close(self) -> None:
        """End all processes."""
        for resources in (self.web, self._scheduler._opened):
            if resources is not None:
                _end(resources)


def _in_any_case(job: Callable[[], None]) -> None:
    """As the timetable does. What fails is logged; only what `red` reports counts here."""
    with suppress(Exception):
        job()


def _orphans(resources: Resources) -> int | None:
    try:
        return sum(look.orphans for look in count_orphans(resources))
    except (StorageError, InstallationMismatch):
        return None


def _end(resources: Resources) -> None:
    resources.threads.shutdown(cancel_futures=True)
    resources.close()


# --- what people do


@dataclass(frozen=True)
class Ticket:
    """What a recipient holds of a share: the link and the password."""

    share_id: str
    link_secret: bytes
    password: str


def redeem(resources: Resources, ticket: Ticket, token: bytes | None, *, by_proof: bool) -> Claimed:
    """Claim a share, with the link secret or with its proof. Raises what refuses it."""
    secret = None if by_proof else ticket.link_secret
    presented = LinkAndPassword(link_proof(ticket.link_secret), secret, ticket.password, token, ADDRESS)
    return run(claim_share(resources, ticket.share_id, presented))


def with_token(claimed: Claimed, token: bytes) -> Claimed:
    """The same claim, asked for by somebody else."""
    return replace(claimed, token=token)


def fetched(resources: Resources, claimed: Claimed, *, decrypted: bool) -> bytes:
    """The claim's file through `files` or `blobs`. Raises what refuses it, TimeoutError after 20 seconds."""

    async def bounded() -> bytes:
        async with asyncio.timeout(FETCH_SECONDS):
            return await fetch(resources, claimed, decrypted=decrypted)

    return run(bounded())


def delete(resources: Resources, transfer_id: str, caller: Caller) -> None:
    """The depositor deletes. Raises what refuses it."""
    delete_transfer(resources, transfer_id, caller=caller)


def complete(resources: Resources, claimed: Claimed) -> None:
    """The recipient has everything. Raises what refuses it."""
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)


def receipt(resources: Resources, transfer_id: str) -> str | None:
    """The receipt of deletion; None while none is given."""
    try:
        return give_receipt(resources, transfer_id)
    except Exception:  # noqa: BLE001 - whatever the reason, nothing is attested
        return None


class OpenStream:
    """A download that has sent its first piece and waits for its client."""

    def __init__(self, resources: Resources, claimed: Claimed, *, decrypted: bool) -> None:
        """Open it and take the first piece. Raises what refuses it."""
        files = run(open_claim(resources, claimed, numbers=[0], decrypted=decrypted))
        file = files.files[0]
        size = file.size if decrypted else file.sealed_size
        self._download = (files.plaintext if decrypted else files.ciphertext)(file, 0, size)
        run(self._download.__aenter__())
        self.cut = False
        assert self.goes_on()

    def goes_on(self) -> bool:
        """Check as each second, and send the next piece: whether there was one."""
        piece: bytes | memoryview | None = None
        if self.check():
            with suppress(Exception):  # whatever stops it, it is cut
                piece = run(_next(self._download))
        if not piece:
            self.close()
            return False
        return True

    def check(self) -> bool:
        """What the service does each second while a stream is open: cut it if it must end. Whether it stays open."""
        if not self.cut:
            try:
                run(self._download.check())
            except Exception:  # noqa: BLE001 - whatever stops it, it is cut
                self.close()
        return not self.cut

    def close(self) -> None:
        """Let go of the file."""
        if not self.cut:
            self.cut = True
            _in_any_case(lambda: run(self._download.__aexit__(None, None, None)))


async def _next(pieces: Download) -> bytes | memoryview | None:
    return await anext(pieces, None)


# --- what lies on disk


def keys_of(folder: Path, transfer_id: str) -> list[str]:
    """The files in the vault that hold a shred key of a transfer or of its shares."""
    found = (folder / "vault").glob(f"*/*{transfer_id}*")
    return sorted(path.name for path in found if not path.name.endswith(".claimed"))


def blobs_on_disk(folder: Path) -> dict[str, Path]:
    """The blobs, by id."""
    return {path.name: path for path in (folder / "blobs").glob("??/*")}


def copied(folder: Path, to: Path) -> Path:
    """A copy of a whole installation; none of its processes may be running."""
    shutil.copytree(folder, to)
    return to
