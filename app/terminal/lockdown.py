"""`caducee lockdown`: stop everything at once; or destroy every key."""

from __future__ import annotations

from contextlib import closing

import typer

from app.actions.end_all_transfers import end_all_transfers
from app.actions.lock_down import lift_lockdown, lock_down, lockdown_since
from app.db.errors import DatabaseUnavailable
from app.resources import InstallationMismatch, connect
from app.settings import Settings
from app.storage.errors import StorageError
from app.storage.vault_folder import VaultFolder
from app.terminal.console import CANNOT, REFUSED, AsJson, put, put_json, say
from app.terminal.opened import opened

tree = typer.Typer(help="Refuse every deposit, claim and fetch at once.", no_args_is_help=True)
WORD = "destroy"


@tree.command("on")
def on() -> None:
    """Begin: deposits, claims and fetches are refused, running ones are cut within a second."""
    with opened() as resources:
        since = lock_down(resources)
    say(f"locked down since {since:%Y-%m-%dT%H:%M:%SZ}")


@tree.command("off")
def off() -> None:
    """End the lockdown."""
    with opened() as resources:
        lift_lockdown(resources)
    say("lockdown lifted")


@tree.command("status")
def status(*, as_json: AsJson = False) -> None:
    """Whether a lockdown is on."""
    with opened() as resources:
        since = lockdown_since(resources)
    if as_json:
        put_json({"locked_down": since is not None, "since": since})
    else:
        put(f"locked down since {since:%Y-%m-%dT%H:%M:%SZ}" if since else "not locked down")


@tree.command("destroy-all-keys")
def destroy_everything() -> None:
    """Destroy every key in the vault, with the service up or down. Nothing held can ever be read again."""
    say(f"This makes everything that is held unreadable for ever. Type the word '{WORD}' to do it:")
    if input().strip() != WORD:
        say("nothing was destroyed")
        raise typer.Exit(REFUSED)
    settings = Settings()
    destroyed = VaultFolder(settings.vault_dir).destroy_everything()  # needs nothing but the vault
    try:
        with closing(connect(settings)) as resources:
            end_all_transfers(resources, destroyed=destroyed)
    except (DatabaseUnavailable, InstallationMismatch, StorageError) as error:
        say(f"all keys are destroyed; database and log know nothing of it: {error}")
        raise typer.Exit(CANNOT) from None
    say(f"destroyed {destroyed} keys; the next sweeps delete the bytes")
