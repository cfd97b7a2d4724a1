"""`python -m bench`: measure, print a table, and list the goals that were missed."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.figures import FULL, QUICK, Figure, measure


def main() -> int:
    """Measure according to the options. Return 1 with `--strict` if a goal was missed."""
    asked = _options()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as folder:
        figures = list(measure(QUICK if asked.quick else FULL, Path(folder), _say))
    print(_table(figures))
    if asked.json:
        found = [{**asdict(figure), "met": figure.met} for figure in figures]
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    missed = [figure.name for figure in figures if not figure.met]
    if missed:
        print(f"\n!!! GOALS MISSED: {'; '.join(missed)}")
    return int(asked.strict and bool(missed))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the service against a bare handler.")
    parser.add_argument("--quick", action="store_true", help="a shorter run, of about a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    parser.add_argument(
        "--folder", type=Path, default=Path("var"), help="a folder on the disk to measure (default: var)"
    )
    return parser.parse_args()


def _say(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)


def _table(figures: list[Figure]) -> str:
    head = ("figure", "measured", "goal", "", "service", "bare handler")
    rows = [head, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _row(figure: Figure) -> tuple[str, ...]:
    shown = f"{figure.measured:.2f}" if figure.measured < 10 else f"{figure.measured:.0f}"
    goal = "" if figure.goal is None else f"≤ {figure.goal:g}"
    verdict = "" if figure.goal is None else ("ok" if figure.met else "MISSED")
    return figure.name, f"{shown} {figure.unit}", goal, verdict, figure.service, figure.baseline


if __name__ == "__main__":
    sys.exit(main())
