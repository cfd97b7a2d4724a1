"""`caducee doctor`: examine an installation and report errors and weaknesses."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated

import typer

from app.actions.examine import Finding, Level, examine
from app.actions.reconcile import PassResult, reconcile
from app.runtime.settings import Settings
from app.terminal.console import REFUSED, AsJson, put, put_json, put_table
from app.terminal.opened import opened


def doctor(
    *,
    reconcile_: Annotated[
        bool, typer.Option("--reconcile", help="Destroy blobs, keys and rows that belong to nothing.")
    ] = False,
    assets: Annotated[
        bool, typer.Option("--assets", help="Print the SHA-256 of every file of the recipient's page.")
    ] = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="Destroy the orphans even if there are many.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examine the installation. Exit 1 if something is wrong; advice alone exits 0."""
    if assets:
        _put_hashes(Settings(), as_json=as_json)
        return
    with opened(as_scheduler=reconcile_ or confirm) as resources:
        findings = examine(resources)
        if reconcile_ or confirm:
            findings += [_orphans(result) for result in reconcile(resources, confirmed=confirm)]
    if as_json:
        put_json({"findings": [{"level": f.level, "check": f.check, "said": f.detail} for f in findings]})
    else:
        put_table(("", "CHECK", "FOUND"), (_row(finding) for finding in findings))
    if any(finding.level is Level.WRONG for finding in findings):
        raise typer.Exit(REFUSED)


def _orphans(result: PassResult) -> Finding:
    said = f"{result.held} held, {result.orphans} belong to nothing, {result.destroyed} destroyed"
    if result.needs_confirmation:
        return Finding(Level.WRONG, result.what, f"{said}: destroying this many requires --reconcile --confirm")
    return Finding(Level.WRONG if result.failed else Level.GOOD, result.what, said)


def _row(finding: Finding) -> tuple[str, str, str]:
    return (finding.level.value, finding.check, finding.detail)


def _put_hashes(settings: Settings, *, as_json: bool) -> None:
    """Print the hashes that an agency compares with the page it receives, in the format of `sha256sum`."""
    from app.web.pages.assets import everything_served  # no other command needs the page

    hashes = {address: sha256(content).hexdigest() for address, content in everything_served(settings)}
    if as_json:
        put_json({"assets": [{"address": address, "sha256": digest} for address, digest in hashes.items()]})
    else:
        for address, digest in hashes.items():
            put(f"{digest}  {address}")
