"""`caducee doctor`: examine an installation and report errors and weaknesses."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated

import typer

from app.actions.examine import examine, vault_findings
from app.actions.reconcile import PassResult, reconcile
from app.actions.report_retention import findings_of, report_retention
from app.db.errors import SchemaOutdated
from app.domain.finding import Finding, Level
from app.runtime.settings import Settings
from app.storage.errors import VaultKeepsKeys
from app.terminal.console import REFUSED, AsJson, put, put_json
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
    """Examine the installation, and say what to do. Exit 1 if something is wrong; notes and warnings exit 0."""
    if assets:
        _put_hashes(Settings(), as_json=as_json)
        return
    try:
        with opened(as_scheduler=reconcile_ or confirm) as resources:
            findings = [*examine(resources), *findings_of(report_retention(resources, orphans=0))]
            if reconcile_ or confirm:
                findings += [_orphans(result) for result in reconcile(resources, confirmed=confirm)]
    except SchemaOutdated as error:  # nothing else can be examined
        findings = [Finding(Level.WRONG, "schema", str(error), "stop the service, and run caducee db upgrade")]
    except VaultKeepsKeys as error:  # the service does not start
        findings = vault_findings(error.problems)
    if as_json:
        found = [{"level": f.level, "check": f.check, "said": f.detail, "do": f.do or None} for f in findings]
        put_json({"findings": found})
    else:
        _put_lines(findings)
    if any(finding.level is Level.WRONG for finding in findings):
        raise typer.Exit(REFUSED)


def _orphans(result: PassResult) -> Finding:
    said = f"{result.held} held, {result.orphans} belong to nothing, {result.destroyed} destroyed"
    if result.needs_confirmation:
        do = "check that the stores belong together, then caducee doctor --reconcile --confirm"
        return Finding(Level.WRONG, result.what, f"{said}: too many to destroy unasked", do)
    if result.failed:
        return Finding(Level.WRONG, result.what, said, "read the service's log, repair the store, and run this again")
    return Finding(Level.GOOD, result.what, said)


def _put_lines(findings: list[Finding]) -> None:
    """Print one line per finding, and below it what to do. Lines, because a table would cut the advice."""
    level, check = max(len(f.level) for f in findings), max(len(f.check) for f in findings)
    for finding in findings:
        put(f"{finding.level:{level}}  {finding.check:{check}}  {finding.detail}")
        if finding.do:
            put(f"{'':{level}}  {'':{check}}  -> {finding.do}")


def _put_hashes(settings: Settings, *, as_json: bool) -> None:
    """Print the hashes that an agency compares with the page it receives, in the format of `sha256sum`."""
    from app.web.pages.assets import everything_served  # no other command needs the page

    hashes = {address: sha256(content).hexdigest() for address, content in everything_served(settings)}
    if as_json:
        put_json({"assets": [{"address": address, "sha256": digest} for address, digest in hashes.items()]})
    else:
        for address, digest in hashes.items():
            put(f"{digest}  {address}")
