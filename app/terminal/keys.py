"""`caducee keys`: the vault's own purge, a second timer that needs neither database nor sweeper (G1); and accepting a
new vault after the old one was lost, or an older copy.
"""

from __future__ import annotations

from dataclasses import asdict

import typer

from app.actions.accept_vault import VaultInUse, accept_older_vault, accept_vault, in_use, require_new_vault
from app.actions.expire_keys import expire_keys
from app.lifecycle.rollback import VaultRolledBack, require_vault_not_rolled_back
from app.runtime.clock import Clock
from app.runtime.hand_over import hand_over, hand_over_for_vault
from app.runtime.harden import harden_process
from app.runtime.installation import open_database_only, require_vault
from app.runtime.logs import set_up_logs
from app.runtime.resources import connect
from app.runtime.separate_users import require_scheduler_user, umask_of
from app.runtime.settings import Settings
from app.storage.signing_folder import SigningFolder
from app.terminal.console import REFUSED, AsJson, put, put_json, say
from app.terminal.opened import opened, settings_for_vault

tree = typer.Typer(help="The key vault.", no_args_is_help=True)
WORD, OLDER = "lost", "older"


@tree.callback()
def keys() -> None:
    """The key vault."""


@tree.command("expire")
def expire(*, as_json: AsJson = False) -> None:
    """Destroy every key past its expiry. Needs only the vault. Exit 1 if a key could not be destroyed."""
    settings = settings_for_vault()
    set_up_logs(settings.log_format)
    hand_over_for_vault(settings)
    harden_process(umask_of(settings))
    require_scheduler_user(settings)
    report = expire_keys(require_vault(settings), Clock())
    if as_json:
        put_json(asdict(report))
    else:
        put(f"destroyed {report.removed} keys and {report.hours} hour keys, failed {len(report.failed)}")
    if report.failed or report.due_left:
        raise typer.Exit(REFUSED)


@tree.command("accept-vault")
def accept_vault_(*, as_json: AsJson = False) -> None:
    """Accept an empty vault, an older copy, or one that lost its mark: transfers and claims missing from it end."""
    settings = Settings()
    set_up_logs(settings.log_format)
    hand_over(settings)
    harden_process(umask_of(settings))
    require_scheduler_user(settings)
    open_database_only(settings).close()
    resources = connect(settings)
    try:
        if in_use(resources):
            _accept_older(settings, as_json=as_json)
            return
        require_new_vault(resources)
        say(f"the vault would be {resources.vault.place().name}, which is empty. Every transfer that is open ends.")
        say(f"If the old vault is merely unmounted, mount it instead. Type the word '{WORD}' if it is lost for good:")
        if input().strip() != WORD:
            say("nothing was changed")
            raise typer.Exit(REFUSED)
        ended = accept_vault(resources)
    finally:
        resources.close()
    _report("new", ended, "transfers ended; the next sweeps delete their bytes", as_json=as_json)


def _accept_older(settings: Settings, *, as_json: bool) -> None:
    with opened(as_scheduler=True) as resources:
        try:
            require_vault_not_rolled_back(resources.vault, SigningFolder(settings.signing_dir))
        except VaultRolledBack as problem:
            say(str(problem))
        else:
            raise VaultInUse("this vault is in use; nothing is lost")
        say("Transfers and claims that are missing from it end.")
        say(f"If a newer vault exists, mount that instead. Type the word '{OLDER}' to accept this one:")
        if input().strip() != OLDER:
            say("nothing was changed")
            raise typer.Exit(REFUSED)
        ended = accept_older_vault(resources)
    rest = "transfers and shares ended; reconciliation destroys the keys of those that ended before"
    _report("older", ended, rest, as_json=as_json)


def _report(vault: str, ended: int, rest: str, *, as_json: bool) -> None:
    if as_json:
        put_json({"accepted": vault, "ended": ended})
    else:
        say(f"accepted: {ended} {rest}")
