"""`caducee keys`: the vault's own purge, as a second timer that needs neither database nor sweeper (G1)."""

from __future__ import annotations

from dataclasses import asdict

import typer

from app.actions.expire_keys import expire_keys
from app.domain.clock import Clock
from app.logs import set_up_logs
from app.settings import Settings
from app.storage.vault_folder import VaultFolder
from app.terminal.console import REFUSED, AsJson, put, put_json

tree = typer.Typer(help="The key vault.", no_args_is_help=True)


@tree.callback()
def keys() -> None:
    """The key vault."""


@tree.command("expire")
def expire(*, as_json: AsJson = False) -> None:
    """Destroy every key past its expiry. Touches nothing but the vault. Exit 1 when one could not be destroyed."""
    settings = Settings()
    set_up_logs(settings.log_format)
    report = expire_keys(VaultFolder(settings.vault_dir), Clock())
    if as_json:
        put_json(asdict(report))
    else:
        put(f"destroyed {report.removed} keys and {report.hours} hour keys, failed {len(report.failed)}")
    if report.failed or report.due_left:
        raise typer.Exit(REFUSED)
