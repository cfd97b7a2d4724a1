"""`caducee doctor`: look at an installation the way a careful engineer would, and say what is wrong or weak."""

from __future__ import annotations

from typing import Annotated

import typer

from app.actions.examine import Finding, Level, examine
from app.actions.reconcile import Look, reconcile
from app.terminal.console import REFUSED, AsJson, put_json, put_table
from app.terminal.opened import opened


def doctor(
    *,
    reconcile_: Annotated[bool, typer.Option("--reconcile", help="Destroy what belongs to nothing.")] = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="So many orphans are right: destroy them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examine the installation. Exit 1 when something is wrong; advice alone exits 0."""
    with opened() as resources:
        findings = examine(resources)
        if reconcile_ or confirm:
            findings += [_orphans(look) for look in reconcile(resources, confirmed=confirm)]
    if as_json:
        put_json([{"level": f.level, "check": f.check, "said": f.said} for f in findings])
    else:
        put_table(("", "CHECK", "FOUND"), (_row(finding) for finding in findings))
    if any(finding.level is Level.WRONG for finding in findings):
        raise typer.Exit(REFUSED)


def _orphans(look: Look) -> Finding:
    said = f"{look.held} held, {look.orphans} belong to nothing, {look.destroyed} destroyed"
    if look.needs_word:
        return Finding(Level.WRONG, look.what, f"{said}: so many need your word: --reconcile --confirm")
    return Finding(Level.WRONG if look.failed else Level.GOOD, look.what, said)


def _row(finding: Finding) -> tuple[str, str, str]:
    return (finding.level.value, finding.check, finding.said)
