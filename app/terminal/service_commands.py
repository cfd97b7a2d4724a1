"""Adds the commands that need the installed service to the command tree."""

from __future__ import annotations

import typer

from app.terminal import (
    audit,
    clock,
    config,
    db,
    doctor,
    intake,
    keys,
    lockdown,
    log_proof,
    serve,
    sessions,
    sweep,
    tokens,
    transfers_here,
)
from app.terminal.transfers import tree as transfer_tree


def add_to(tree: typer.Typer) -> None:
    """Add every command that opens the data folder."""
    tree.command("serve")(serve.serve)
    tree.command("scheduler")(serve.scheduler)
    tree.command("sweep")(sweep.sweep_)
    tree.command("doctor")(doctor.doctor)
    transfers_here.add_to(transfer_tree)
    log_proof.add_to(audit.tree)
    for name, branch in {
        "keys": keys.tree,
        "token": tokens.tree,
        "session": sessions.tree,
        "audit": audit.tree,
        "clock": clock.tree,
        "lockdown": lockdown.tree,
        "intake": intake.tree,
        "db": db.tree,
        "config": config.tree,
    }.items():
        tree.add_typer(branch, name=name)
