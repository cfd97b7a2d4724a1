"""The command tree of `caducee`. Each noun's commands stand in `app/terminal/`."""

from __future__ import annotations

import sys

import typer

from app.terminal import console, shares


def build() -> typer.Typer:
    """The whole tree. The service's commands are there where the service is installed (the extra `server`)."""
    tree = typer.Typer(
        name="caducee",
        help="Hands a file from one institution to another once, and then makes it lapse, provably.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # a traceback with local variables could show a key
        add_completion=False,
    )
    tree.add_typer(shares.tree, name="share")
    try:
        from app.terminal import service
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("app"):
            raise
    else:
        service.add_to(tree)
    return tree


def main() -> None:
    """Run the command line; refusals and failures are told in one line."""
    sys.exit(console.run(build))


if __name__ == "__main__":
    main()
