"""`caducee lockdown`: refuse all requests at once, or destroy every key.

Each control needs one store: the lockdown only the database, the destruction of keys only the vault.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime

import typer

from app.actions.end_all_transfers import end_all_transfers, log_destroyed_keys
from app.actions.lock_down import lift_lockdown, lock_down, lockdown_since
from app.db.engine import Database
from app.db.errors import ChangeUndone, DatabaseUnavailable, SchemaOutdated
from app.domain.audit_events import Reason
from app.runtime.clock import Clock
from app.runtime.hand_over import hand_over_for_vault
from app.runtime.installation import (
    InstallationMismatch,
    NoInstallation,
    holds_nothing,
    no_database,
    require_vault_not_foreign,
)
from app.runtime.settings import Settings
from app.runtime.stores import key_vault_of
from app.storage.errors import StorageError
from app.storage.key_vault import KeyVault
from app.terminal.console import CANNOT, REFUSED, AsJson, Why, one_line, put, put_json, say
from app.terminal.opened import database_only, settings_for_vault

tree = typer.Typer(help="Refuse all deposits, claims and downloads at once.", no_args_is_help=True)
WORD = "destroy"
UNDER_WAY_SECONDS = 1.0
"""How long requests admitted before the lockdown may still store a key: each does so within milliseconds of its row."""
_NO_DATABASE = (
    ChangeUndone,
    DatabaseUnavailable,
    SchemaOutdated,
    NoInstallation,
    InstallationMismatch,
    OSError,
    ValueError,  # like TypeError: raised for an unreadable row
    TypeError,
)


@tree.command("on")
def on(*, reason: Why = None, as_json: AsJson = False) -> None:
    """Refuse deposits, claims and downloads, and abort running ones within a second. Needs only the database."""
    with database_only() as database:
        since = lock_down(database, Clock(), reason)
    if as_json:
        put_json(_document(since))
    else:
        say(f"locked down since {since:%Y-%m-%dT%H:%M:%SZ}")


@tree.command("off")
def off(*, reason: Why = None, as_json: AsJson = False) -> None:
    """Lift the lockdown. Needs only the database."""
    with database_only() as database:
        since = lockdown_since(database)
        if since is not None:
            lift_lockdown(database, Clock(), reason)
    if as_json:
        put_json(_document(None))
    else:
        say("lockdown lifted" if since is not None else "there was no lockdown; nothing was changed")


@tree.command("status")
def status(*, as_json: AsJson = False) -> None:
    """Show whether a lockdown is on. Needs only the database."""
    with database_only() as database:
        since = lockdown_since(database)
    if as_json:
        put_json(_document(since))
    else:
        put(f"locked down since {since:%Y-%m-%dT%H:%M:%SZ}" if since else "not locked down")


def _document(since: datetime | None) -> dict[str, object]:
    return {"locked_down": since is not None, "since": since}


@tree.command("destroy-all-keys")
def destroy_everything(*, reason: Why = None, as_json: AsJson = False) -> None:
    """Lock down and destroy every key in the vault: no held data is ever readable again. Exit 2 without a database."""
    settings = settings_for_vault()
    hand_over_for_vault(settings)
    vault = key_vault_of(settings)
    _require_something(settings, vault)
    say(f"This makes all held data permanently unreadable. Type the word '{WORD}' to do it:")
    if input().strip() != WORD:
        say("nothing was destroyed")
        raise typer.Exit(REFUSED)
    destroyed = _destroy_at_once(vault)
    try:
        with database_only() as database:
            since = _lock_down(database, vault, reason)
            gone, ended = _destroy_and_end(database, vault, destroyed, reason)
    except _NO_DATABASE as error:
        _report_without_database(vault, error)
        raise typer.Exit(CANNOT) from None
    if next(vault.names(), None) is not None:
        say("keys have been stored since: stop the service and run this command again")
        raise typer.Exit(CANNOT)
    if as_json:
        put_json({**_document(since), "keys_destroyed": gone, "transfers_ended": ended})


def _require_something(settings: Settings, vault: KeyVault) -> None:
    """Raise NoInstallation if there is neither a vault nor a database. Either may be out of reach."""
    with suppress(StorageError, DatabaseUnavailable):
        if vault.content() is None and holds_nothing(settings):
            raise NoInstallation(f"there is no vault in {vault.place().name}, and {no_database(settings)}")


def _destroy_at_once(vault: KeyVault) -> int:
    """Destroy the keys that exist now, before any database access: a database under an attacker's control might not
    respond. Return the number of destroyed keys.
    """
    try:
        return vault.destroy_everything()
    except StorageError as error:  # retried under the lockdown, which must begin even if the vault fails
        say(f"not every key was destroyed: {error}")
        return 0


def _lock_down(database: Database, vault: KeyVault, reason: Reason | None) -> datetime:
    require_vault_not_foreign(database, vault)
    since = lock_down(database, Clock(), reason)
    say(f"locked down since {since:%Y-%m-%dT%H:%M:%SZ}; it stays on: `caducee lockdown off` lifts it")
    return since


def _destroy_and_end(database: Database, vault: KeyVault, destroyed: int, reason: Reason | None) -> tuple[int, int]:
    """Under the lockdown: destroy the keys stored before it began, end all transfers, then destroy the keys stored
    meanwhile by requests in progress. Return how many keys were destroyed and how many transfers ended. Raises
    StorageError, before any transfer ends, if a key cannot be destroyed.
    """
    clock = Clock()
    destroyed += vault.destroy_everything()
    ended = end_all_transfers(database, clock, destroyed=destroyed, reason=reason)
    time.sleep(UNDER_WAY_SECONDS)
    late = vault.destroy_everything()
    if late:
        log_destroyed_keys(database, clock, destroyed=late, reason=reason)
    say(f"destroyed {destroyed + late} keys, ended {ended} transfers; the next sweeps delete the bytes")
    return destroyed + late, ended


def _report_without_database(vault: KeyVault, error: Exception) -> None:
    """Destroy the keys stored since, and report what is known. Raises StorageError."""
    say(f"the database could not be brought up to date: {one_line(error)}")
    vault.destroy_everything()
    say("all keys are destroyed. The database records only the steps reported above: unless it is locked down, a")
    say("running service still accepts deposits. Stop it, and run `caducee lockdown on` once the database is reachable")
