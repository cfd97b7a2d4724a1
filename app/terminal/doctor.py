"""`caducee doctor`: look at an installation the way a careful engineer would, and say what is wrong or weak."""

from __future__ import annotations

import typer

from app.actions.examine import Finding, Level, examine
from app.terminal.console import REFUSED, AsJson, put_json, put_table
from app.terminal.opened import opened


def doctor(*, as_json: AsJson = False) -> None:
    """Examine the installation. Exit 1 when something is wrong; advice alone exits 0."""
    with opened() as resources:
        findings = examine(resources)
    if as_json:
        put_json([{"level": f.level, "check": f.check, "said": f.said} for f in findings])
    else:
        put_table(("", "CHECK", "FOUND"), (_row(finding) for finding in findings))
    if any(finding.level is Level.WRONG for finding in findings):
        raise typer.Exit(REFUSED)


def _row(finding: Finding) -> tuple[str, str, str]:
    return (finding.level.value, finding.check, finding.said)
