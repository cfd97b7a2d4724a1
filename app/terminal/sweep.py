"""`caducee sweep`: run one sweep now, whether or not the service is running."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import typer

from app.actions.keep_time import keep_time
from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.sweep import sweep
from app.storage.signing_folder import SigningFolder
from app.terminal.console import REFUSED, AsJson, put, put_json
from app.terminal.opened import opened


def sweep_(*, as_json: AsJson = False) -> None:
    """End and delete everything that is due. Exit 1 if something could not be deleted."""
    with opened() as resources:
        keep_time(resources)
        report = asyncio.run(sweep(resources))
        sign_checkpoint(resources, SigningFolder(resources.settings.signing_dir))
    if as_json:
        put_json({**asdict(report), "succeeded": report.succeeded})
    else:
        put(f"ended {report.ended}, deleted {report.deleted}, failed {report.failed}")
        if not report.succeeded:
            put(f"still there: {report.keys_left} with keys, {report.bytes_left} with bytes for over an hour")
    if report.failed or not report.succeeded:
        raise typer.Exit(REFUSED)
