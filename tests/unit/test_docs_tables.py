"""The tables of the documentation agree with the code: nothing is missing, nothing is invented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import typer
from annotated_types import Ge, Le
from pydantic import ValidationError
from typer.testing import CliRunner

from app.domain.access_token import Role
from app.domain.audit_events import Entry, Event, RenewalReason
from app.domain.errors import every_refusal
from app.domain.log_verdict import Kind
from app.domain.share import ShareState
from app.domain.transfer import TransferState
from app.main import create_app
from app.runtime import settings
from app.runtime.setting_values import DurationBetween
from app.runtime.settings import Settings
from app.web.problems import STATUS
from app.web.route_access import OPEN_ROUTES
from cli import build
from tests.unit.docs_tables import ROOT, bare, page, rows

# --- the reader itself


def test_reader_finds_rows_of_the_right_tables(monkeypatch: pytest.MonkeyPatch):
    text = "| a | b |\n|---|---|\n| `x` | y \\| z |\n\n| c |\n|---|\n| no |\n"
    monkeypatch.setattr("tests.unit.docs_tables.page", lambda _name: text)
    assert rows("any.md", "a") == [["x", "y \\| z"]]


def test_reader_takes_marks_off_whole_cells_only():
    assert [bare("`x`"), bare("`x` and `y`"), bare("x")] == ["x", "`x` and `y`", "x"]


# --- refusals


def test_every_refusal_is_listed_once():
    assert sorted(row[0] for row in rows("docs/problems.md", "code")) == sorted(kind.code for kind in every_refusal())


def test_refusals_have_the_status_that_is_documented():
    documented = {row[0]: int(row[1]) for row in rows("docs/problems.md", "code")}
    assert documented == {kind.code: status for kind, status in STATUS.items()}


def test_refusals_say_what_they_mean():
    assert [row[0] for row in rows("docs/problems.md", "code") if len(row) != 4 or not row[2]] == []


# --- settings


def documented_defaults() -> dict[str, str]:
    return {row[0]: row[1] for row in rows("docs/settings.md", "variable")}


def documented_settings() -> dict[str, str]:
    return {row[0]: row[2] for row in rows("docs/settings.md", "variable")}


def test_every_setting_is_listed_and_no_other():
    assert sorted(documented_defaults()) == sorted(f"CADUCEE_{name.upper()}" for name in Settings.model_fields)


def test_documented_defaults_are_the_defaults(monkeypatch: pytest.MonkeyPatch):
    """Given as variables, they change nothing; and none that has a default is called unset."""
    for variable in documented_defaults():
        monkeypatch.delenv(variable, raising=False)
    plain = Settings()
    for variable, default in documented_defaults().items():
        if default == "*unset*":
            assert not getattr(plain, variable.removeprefix("CADUCEE_").lower()), variable
        else:
            monkeypatch.setenv(variable, default)
    assert Settings() == plain


def test_config_show_writes_values_as_they_are_documented(monkeypatch: pytest.MonkeyPatch):
    """One way of writing: what the command prints can be put into the environment, and found in the table."""
    for variable in documented_defaults():
        monkeypatch.delenv(variable, raising=False)
    lines = CliRunner().invoke(build(), ["config", "show"]).stdout.splitlines()[1:]
    shown = {name: " ".join(value) for name, *value, _ in map(str.split, lines)}
    paths = {"CADUCEE_DATA_DIR": str(Path("var").absolute())}
    expected = {name: value.replace("*unset*", "") for name, value in documented_defaults().items()}
    assert shown == expected | paths


def test_documented_defaults_would_be_noticed_if_wrong(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CADUCEE_DEADMAN", "16m")
    assert Settings() != Settings(deadman=documented_defaults()["CADUCEE_DEADMAN"])


def listed_values() -> dict[str, set[str]]:
    """The allowed values of each setting that has a fixed set of them; of a store, the schemes beside folders."""
    choices = {
        name: {str(value) for value in get_args(field.annotation)}
        for name, field in Settings.model_fields.items()
        if get_origin(field.annotation) is Literal
    }
    schemes = {name: {f"{each}://" for each in settings.STORE_SCHEMES[name]} for name in settings.STORE_SCHEMES}
    return choices | schemes | {"brand_logo": set(settings.LOGO_SUFFIXES)}


def documented_values(name: str) -> set[str]:
    """The values in code marks in a setting's description; of a store, the schemes of those that have one."""
    named = set(re.findall(r"`([^`]+)`", documented_settings()[f"CADUCEE_{name.upper()}"]))
    if name not in settings.STORE_SCHEMES:
        return named
    return {value[: value.index("://") + 3] for value in named if "://" in value}


@pytest.mark.parametrize("name", listed_values())
def test_allowed_values_of_a_setting_are_documented_and_no_other(name: str):
    assert documented_values(name) == listed_values()[name]


def test_ranges_of_settings_are_documented():
    ranges = {}
    for name, field in Settings.model_fields.items():
        least = [each.ge for each in field.metadata if isinstance(each, Ge)]
        most = [each.le for each in field.metadata if isinstance(each, Le)]
        if least and most:
            ranges[name] = f"{least[0]} to {most[0]}"
        for rule in (getattr(each, "func", None) for each in field.metadata):
            if isinstance(rule, DurationBetween):
                ranges[name] = f"`{rule.least}` to `{rule.most}`"
    assert ranges
    descriptions = documented_settings()
    assert [name for name, text in ranges.items() if text not in descriptions[f"CADUCEE_{name.upper()}"]] == []


def test_another_kind_of_store_would_be_noticed(monkeypatch: pytest.MonkeyPatch):
    """No kind is accepted that is not listed, and none is listed that is not documented."""
    with pytest.raises(ValidationError, match="must be a folder"):
        Settings(blobs="flat:///srv/blobs")
    monkeypatch.setitem(settings.STORE_SCHEMES, "blobs", ("flat",))
    assert Settings(blobs="flat:///srv/blobs").blobs == "flat:///srv/blobs"
    assert documented_values("blobs") != listed_values()["blobs"]


# --- the audit log


def test_every_event_is_listed_in_order():
    assert [row[0] for row in rows("docs/audit-log.md", "event")] == [event.value for event in Event]


def test_every_field_of_an_entry_is_listed_in_order():
    """`at` is written as `time`, which the text explains with `sequence` and `salt`."""
    listed = [row[0] for row in rows("docs/audit-log.md", "field")]
    assert listed == [name for name in Entry._fields if name != "at"]
    assert all(f"`{name}`" in page("docs/audit-log.md") for name in ("sequence", "time", "salt"))


def test_every_kind_of_failure_is_listed_in_order():
    assert [row[0] for row in rows("docs/audit-log.md", "kind")] == [kind.value for kind in Kind]


def test_every_reason_for_a_new_origin_is_named():
    assert [reason for reason in RenewalReason if f"`{reason}`" not in page("docs/audit-log.md")] == []


# --- states


def test_states_of_a_transfer_are_listed_in_order():
    assert [row[0] for row in rows("docs/deletion.md", "state")] == [state.value for state in TransferState]


@pytest.mark.parametrize("name", ["docs/http-api.md"])
def test_states_of_a_share_are_named(name: str):
    assert [state for state in ShareState if f"`{state}`" not in page(name)] == []


# --- routes


def routes() -> set[tuple[str, str, str]]:
    """Method, path and name of every route, of both audiences."""
    contexts = [
        context
        for router in create_app(settings=Settings()).routes
        for context in router.effective_route_contexts()  # type: ignore[attr-defined]
    ]
    return {
        (method, context.path.replace(":path}", "}"), context.name)
        for context in contexts
        for method in context.methods
    }


def test_every_route_is_listed_and_no_other():
    listed = [row[0] for row in rows("docs/http-api.md", "route")]
    served = {f"{method} {path}" for method, path, _ in routes()}  # both audiences have a page at `/`
    assert sorted(listed) == sorted(served)


def test_routes_say_who_may_call_them():
    who = {row[0]: row[1] for row in rows("docs/http-api.md", "route")}
    takes_token = {f"{method} {path}": name not in OPEN_ROUTES for method, path, name in routes()}
    callers = ("staff", "any token", "auditor", "admin")
    assert {route: listed.startswith(callers) for route, listed in who.items()} == takes_token


# --- commands


def commands() -> dict[str, str]:
    """Every command's name and summary, as `--help` shows it."""

    def walk(group: typer.core.TyperGroup, path: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, command in group.commands.items():
            full = f"{path} {name}"
            if isinstance(command, typer.core.TyperGroup):
                found |= walk(command, full)
            else:
                found[full] = " ".join((command.help or "").split())
        return found

    tree = typer.main.get_command(build())
    assert isinstance(tree, typer.core.TyperGroup)
    return walk(tree, "caducee")


def test_every_command_is_listed_with_its_own_summary():
    listed = {row[0]: row[1] for row in rows("docs/cli.md", "command")}
    assert listed == commands()


def test_every_role_is_explained():
    assert [role for role in Role if f"`{role}`" not in page("docs/cli.md")] == []


# --- decisions


def test_every_decision_is_in_the_index_and_has_its_parts():
    pages = sorted(path for path in (ROOT / "docs/adr").glob("0*.md"))
    index = page("docs/adr/README.md")
    assert [path.name for path in pages if f"]({path.name})" not in index] == []
    parts = ["## Context", "## Decision", "## Consequences", "## Alternatives"]
    lacking = {path.name: [part for part in parts if part not in path.read_text(encoding="utf-8")] for path in pages}
    assert {name: missing for name, missing in lacking.items() if missing} == {}
    assert [int(path.name[:4]) for path in pages] == list(range(1, len(pages) + 1))


def test_every_command_has_its_user():
    """docs/operations.md, "Users": as a whole group, or one by one."""
    section = page("docs/operations.md").partition("\n## Users\n")[2].partition("\n## ")[0]
    named = {
        word.partition(" --")[0] for line in section.splitlines() if line.startswith("|") for word in code_in(line)
    }
    paths = commands_of(typer.main.get_command(build()))
    assert [" ".join(path) for path in paths if path[0] not in named and " ".join(path) not in named] == []


def code_in(line):
    return re.findall(r"`([^`]+)`", line)


def commands_of(command, path=()):
    for name, child in getattr(command, "commands", {}).items():
        yield from commands_of(child, (*path, name)) if hasattr(child, "commands") else [(*path, name)]
