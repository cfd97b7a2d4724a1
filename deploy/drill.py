"""`make drill`: restore a backup, and show that the correct link and password open no transfer that has ended.

The scenario: one transfer expires, another is fetched and completed. `caducee audit drill` checks a backup made before
that, and a careless one that contains the vault. Then the database and blobs of the backup are restored, once over the
original installation and once beside it with a new, empty key vault. Nothing is simulated (`own_service.py`).
The last line is `drill passed`, or names the first deviation (exit 1).
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from own_service import Deviation, Installation, expect, free_port, refused, run, step, tell, wait_for

CONTENT = b"nom;resultat\n" * 10_000
SHORT_LIFE = "4s"


@dataclass(frozen=True)
class IssuedShare:
    """The depositor's record of one transfer, including the link and password that a recipient needs."""

    transfer_id: str
    share_id: str
    link: str
    password: str
    client_key: str
    expires_at: datetime

    @property
    def claim_url(self) -> str:
        """The route that claims the share."""
        return f"/api/v1/shares/{self.share_id}/claim"

    @property
    def proof(self) -> dict[str, str]:
        """The correct link secret and password."""
        return {"link_secret": self.link.partition("#")[2], "password": self.password}


def deposit(http: httpx.Client, token: str, *, recipient: str, expires_in: str) -> IssuedShare:
    """Deposit one file for one recipient."""
    url = f"/api/v1/send/export.csv?recipient={recipient}&expires_in={expires_in}"
    answer = http.put(url, content=CONTENT, headers={"Authorization": f"Bearer {token}"})
    expect(answer.status_code == httpx.codes.CREATED, f"the deposit was refused: {answer.text}")
    given = answer.json()
    tell(f"for {recipient}: transfer {given['transfer_id']}, until {given['expires_at']}")
    names = ("transfer_id", "share_id", "link", "password", "client_key")
    return IssuedShare(**{n: given[n] for n in names}, expires_at=datetime.fromisoformat(given["expires_at"]))


def back_up(service: Installation, backup: Path) -> None:
    """Copy database and blobs while the service runs, but not the vault, which must not be backed up."""
    (backup / "db").mkdir(parents=True)
    with closing(sqlite3.connect(service.data / "db" / "caducee.sqlite")) as database:
        database.execute("VACUUM INTO ?", [str(backup / "db" / "caducee.sqlite")])
    shutil.copytree(service.data / "blobs", backup / "blobs")
    tell(f"{len(files_below(backup))} files: database and blobs")


def fetch_and_complete(http: httpx.Client, given: IssuedShare) -> None:
    """Claim, fetch and complete as the rightful recipient, after the backup was made."""
    claim = http.post(given.claim_url, json=given.proof).json()
    expect("claim_id" in claim, f"the claim was refused: {claim}")
    bearer = {"Authorization": f"Bearer {claim['claim_token']}"}
    fetched = http.get(f"/api/v1/claims/{claim['claim_id']}/files/0", headers=bearer)
    expect(fetched.content == CONTENT, "the fetched bytes differ from the deposited ones")
    done = http.post(f"/api/v1/claims/{claim['claim_id']}/complete", headers=bearer)
    expect(done.status_code == httpx.codes.NO_CONTENT, f"complete was refused: {done.text}")
    tell(f"fetched {len(fetched.content):,} bytes and completed; the earlier backup does not record that")


def see_it_gone(http: httpx.Client, token: str, given: IssuedShare) -> None:
    """Wait until its deletion is verified."""

    def state() -> Any:
        own = f"/api/v1/transfers/{given.transfer_id}"
        return http.get(own, headers={"Authorization": f"Bearer {token}"}).json()["state"]

    wait_for("the transfer is verified as deleted", lambda: state() == "verified")
    tell(f"transfer {given.transfer_id}: verified, deleted")


def restore(backup: Path, service: Installation) -> None:
    """Replace the installation's database and blobs by those of the backup. Its vault and keys stay unchanged."""
    for part in ("db", "blobs"):
        shutil.rmtree(service.data / part, ignore_errors=True)
        shutil.copytree(backup / part, service.data / part)


def start_is_refused(service: Installation, reason: str) -> None:
    """Expect `caducee serve` to exit at once, with an error that contains `reason`."""
    try:
        done = service.run("serve", "--port", str(free_port()))
    except subprocess.TimeoutExpired:
        raise Deviation(f"serve started; expected {reason!r}") from None
    expect(done.returncode != 0 and reason in done.stderr, f"expected {reason!r}, not: {done.stderr}")
    tell(f"$ caducee serve   exit {done.returncode}: {done.stderr.strip().splitlines()[-1]}")


def nothing_is_readable(service: Installation, token: str, ended: list[IssuedShare]) -> None:
    """On the restored service, the correct link and password, and the depositor's client key, open nothing."""
    with service.serving() as http:
        for given in ended:
            is_gone(http.post(given.claim_url, json=given.proof))
            another = f"/api/v1/transfers/{given.transfer_id}/shares"
            keys = {"Authorization": f"Bearer {token}", "Caducee-Client-Key": given.client_key}
            is_gone(http.post(another, json={"recipient": "somebody"}, headers=keys))
    expect_no_keys(service, ended)


def is_gone(answer: httpx.Response) -> None:
    """Expect 410, with any code."""
    refused(answer, httpx.codes.GONE, answer.json().get("code"))


def expect_no_keys(service: Installation, ended: list[IssuedShare]) -> None:
    """Expect that the vault's folder has no key of these transfers."""
    left = [path for path in files_below(service.vault) if any(g.transfer_id in path.name for g in ended)]
    expect(not left, f"the vault holds keys of transfers that have ended: {left}")
    tell("in the vault: no key of any of them")


def audit_drill(service: Installation, backup: Path, *, passes: bool) -> None:
    """Run the command that operators run each month, and expect it to pass or fail."""
    done = service.run("audit", "drill", "--restored", str(backup))
    tell(f"$ caducee audit drill --restored {backup.name}   exit {done.returncode}")
    for line in done.stdout.splitlines():
        tell(f"  {line}")
    promised = "drill passed" if passes else "drill FAILED"
    expect(done.returncode == (0 if passes else 1), f"expected {promised!r}: {done.stdout}{done.stderr}")
    expect(promised in done.stdout, f"expected {promised!r}, not: {done.stdout}")


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, recursively."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --- the drill


def live_and_end(service: Installation, backup: Path) -> tuple[str, list[IssuedShare]]:
    """Make two transfers, back them up, and end both. Return the depositor's token and the two transfers."""
    with service.serving() as http:
        step("Two transfers: one that nobody fetches, one that is fetched")
        token = json.loads(service.command("token", "create", "laboratory", "--role", "staff", "--json"))["token"]
        fetched = deposit(http, token, recipient="insurer", expires_in="1h")
        lapsing = deposit(http, token, recipient="agency", expires_in=SHORT_LIFE)
        step("A backup while both live")
        back_up(service, backup)
        shutil.copytree(service.vault, backup.with_name("careless-backup") / "vault")
        expect(
            datetime.now(UTC) < lapsing.expires_at,
            "the backup took longer than the transfer lived: is the machine slow?",
        )
        step("Afterwards: one is fetched, one expires")
        fetch_and_complete(http, fetched)
        time.sleep(max(0.0, (lapsing.expires_at - datetime.now(UTC)).total_seconds()))
        refused(http.post(lapsing.claim_url, json=lapsing.proof), httpx.codes.GONE, "share_expired")
        for given in (fetched, lapsing):
            see_it_gone(http, token, given)
    expect_no_keys(service, [fetched, lapsing])
    return token, [fetched, lapsing]


def ask_the_command(service: Installation, backup: Path) -> None:
    """`caducee audit drill` passes for the backup, and fails for one that contains the vault, archived or not."""
    step("The monthly routine: caducee audit drill")
    audit_drill(service, backup, passes=True)
    careless = backup.with_name("careless-backup")
    shutil.copytree(backup, careless, dirs_exist_ok=True)
    audit_drill(service, careless, passes=False)
    shutil.make_archive(str(careless / "vault"), "gztar", careless / "vault")
    shutil.rmtree(careless / "vault")
    audit_drill(service, careless, passes=False)


def restore_over(service: Installation, backup: Path, token: str, ended: list[IssuedShare]) -> None:
    """Restore over the original installation: the vault remembers a longer log than the restored database has."""
    step("The backup restored over the installation it came from")
    restore(backup, service)
    start_is_refused(service, "database_rolled_back")
    tell("$ caducee db accept-restore")
    service.command("db", "accept-restore")
    tell("$ caducee lockdown off")
    service.command("lockdown", "off")
    nothing_is_readable(service, token, ended)
    tell(f"$ caducee audit verify   {service.command('audit', 'verify').strip()}")


def restore_beside(place: Installation, backup: Path, token: str, ended: list[IssuedShare]) -> None:
    """Restore into another folder with a new, empty vault. The service refuses that vault. With the installation's id
    copied into it, it counts as a vault that lost its mark until an operator accepts it; then there is nothing to open.
    """
    step("The backup restored beside it, with a fresh, empty vault")
    place.vault.mkdir(parents=True, mode=0o700)
    restore(backup, place)
    start_is_refused(place, "the vault carries no installation id")
    shutil.copy(place.data / "blobs" / "installation", place.vault / "installation")
    tell("$ cp blobs/installation vault/installation")
    unproved = place.run("audit", "retention")
    expect("vault_rolled_back" in unproved.stdout, f"a vault without its mark was accepted: {unproved.stdout}")
    tell(f"$ caducee audit retention   exit {unproved.returncode}: vault_rolled_back")
    place.command("keys", "accept-vault", typed="older\n")
    tell("$ caducee keys accept-vault")
    nothing_is_readable(place, token, ended)


def play(scratch: Path) -> None:
    """Run all steps in order."""
    service, backup = Installation(scratch / "installation"), scratch / "backup"
    token, ended = live_and_end(service, backup)
    ask_the_command(service, backup)
    restore_over(service, backup, token, ended)
    restore_beside(Installation(scratch / "elsewhere"), backup, token, ended)


if __name__ == "__main__":
    sys.exit(run(play, name="drill", verdict="drill passed"))
