"""The systemd units and the compose file as they are shipped: separate users, one audience each, sandboxed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.runtime.settings import Settings
from tests.unit.docs_tables import page, rows, shell_blocks

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted(path.name for path in DEPLOY.glob("*.service"))
TIMERS = sorted(path.name for path in DEPLOY.glob("*.timer"))
CHECKS = [name.replace(".timer", ".service") for name in TIMERS]
OPERATIONS = "docs/operations.md"
MOST_EXPOSED = 2.0


def settings_of(unit: str) -> dict[str, list[str]]:
    """The settings of a unit; one that is given several times keeps all its values."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / unit).read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def analyse(*arguments: str) -> str:
    """Run systemd-analyze. Skips loudly, or fails under CADUCEE_REQUIRE_ALL=1, without it."""
    program = shutil.which("systemd-analyze")
    if program is None:
        missing = pytest.fail if os.environ.get("CADUCEE_REQUIRE_ALL") == "1" else pytest.skip
        missing("NO SYSTEMD HERE, the units were not analysed: apt-get install systemd")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8"})
    return done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_sandboxed(unit):
    told = re.search(
        r"Overall exposure level for \S+: ([0-9.]+)", analyse("security", "--offline=true", str(DEPLOY / unit))
    )
    assert told
    assert float(told[1]) < MOST_EXPOSED


def installed(folder: Path) -> None:
    """Copy the units as installed: with programs in the places that they name."""
    for path in (*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")):
        text = re.sub(r"/opt/caducee/bin/caducee(-notify)?", "/bin/true", path.read_text(encoding="utf-8"))
        (folder / path.name).write_text(text, encoding="utf-8")


def test_the_units_have_no_error(tmp_path):
    installed(tmp_path)
    (tmp_path / "caducee-alert@.service").rename(tmp_path / "caducee-alert@check.service")
    assert analyse("verify", *map(str, sorted(tmp_path.iterdir()))) == ""


def drop_ins() -> list[tuple[Path, str]]:
    """The drop-ins of the documentation, by the path that their first line names."""
    blocks = re.findall(r"^```ini\n# (\S+)\n(.*?)^```$", page(OPERATIONS), re.MULTILINE | re.DOTALL)
    return [(Path(path), text) for path, text in blocks]


def test_the_documented_drop_ins_have_no_error_when_pasted(tmp_path):
    assert len(drop_ins()) >= 3
    for path, text in drop_ins():
        assert path.parent.name.removesuffix(".d") in UNITS
        assert (path.parents[1], path.suffix) == (Path("/etc/systemd/system"), ".conf")
        folder = tmp_path / path.stem
        folder.mkdir()
        installed(folder)
        pasted = folder / path.parent.name / path.name
        pasted.parent.mkdir()
        unit = str(folder / path.parent.name.removesuffix(".d"))
        pasted.write_text("[Service]\nNoSuchSetting=1\n", encoding="utf-8")
        assert "NoSuchSetting" in analyse("verify", unit), "the drop-in was not read"
        pasted.write_text(re.sub(r"/(opt|usr/local)/\S+", "/bin/true", text), encoding="utf-8")
        assert analyse("verify", unit) == ""


def test_every_process_that_faces_the_network_names_its_audience():
    """One process for all would answer staff routes on the recipients' port."""
    serving = {
        unit: settings_of(unit)["ExecStart"][0] for unit in UNITS if " serve " in settings_of(unit)["ExecStart"][0]
    }
    assert set(serving) == {"caducee-recipients.service", "caducee-staff.service"}
    assert "--audience recipient" in serving["caducee-recipients.service"]
    assert "--audience staff" in serving["caducee-staff.service"]


def test_only_units_that_face_no_network_have_the_scheduler_s_user():
    """What a process that faces the network could forge, it must not check either."""
    users = {unit: settings_of(unit).get("User") for unit in UNITS}
    dynamic = {unit for unit, user in users.items() if user is None}
    assert {unit for unit, user in users.items() if user == ["caducee"]} == {
        "caducee-recipients.service",
        "caducee-staff.service",
    }
    assert dynamic == {"caducee-alert@.service", "caducee-alerts.service", "caducee-ready.service"}
    assert {user[0] for user in users.values() if user} == {"caducee", "caducee-scheduler"}
    for unit in dynamic:
        assert settings_of(unit)["DynamicUser"] == ["yes"]
    for unit in set(UNITS) - dynamic:
        given = settings_of(unit)
        assert given["Group"] == ["caducee"]
        assert "CADUCEE_SEPARATE_USERS=1" in " ".join(given["Environment"])
        assert given["EnvironmentFile"][0] == "-/etc/caducee/caducee.env"
        assert given["LimitCORE"] == ["0"]
        assert "StateDirectory" not in given or given["User"] == ["caducee-scheduler"], "it would change the owner"


def sandbox_of(unit: str) -> str:
    return (DEPLOY / unit).read_text(encoding="utf-8").partition("# Sandboxing")[2].partition("\n[Install]")[0].strip()


def test_every_unit_has_the_same_sandbox():
    assert {sandbox_of(unit) for unit in UNITS} == {sandbox_of("caducee-scheduler.service")}


# --- the timers


def test_every_timer_is_documented_started_and_has_a_service():
    assert sorted(row[0] for row in rows(OPERATIONS, "timer")) == TIMERS
    assert set(CHECKS) <= set(UNITS)
    started = shell_blocks(OPERATIONS)[2].replace("\\\n", " ")
    assert sorted(re.findall(r"\S+\.timer", started)) == TIMERS


def test_every_command_that_is_to_be_monitored_has_a_timer_that_runs_it():
    """The table of the monitoring is what the documents ask for."""
    asked = {command for row in rows(OPERATIONS, "what") for command in re.findall(r"`caducee ([a-z -]+)`", row[1])}
    started = "\n".join(line for unit in CHECKS for line in settings_of(unit)["ExecStart"])
    run = set(re.findall(r"bin/caducee ([a-z ]+?)(?: -|$| >)", started, re.MULTILINE))
    assert asked >= {"audit retention", "audit verify", "doctor", "keys expire", "audit drill", "audit checkpoint"}
    assert asked <= run


def test_every_check_reports_its_failure_and_ends():
    for unit in CHECKS:
        given = settings_of(unit)
        assert given["Type"] == ["oneshot"], unit
        assert given["OnFailure"] == ["caducee-alert@%p.service"], unit
        assert "TimeoutStartSec" in given, unit
    report = settings_of("caducee-alert@.service")
    assert report["ExecStart"] == ['/opt/caducee/bin/caducee-notify "%i failed"']
    assert "OnFailure" not in report, "it would report its own failure for ever"


# --- the example of the settings


def example() -> str:
    return (DEPLOY / "caducee.env.example").read_text(encoding="utf-8")


def example_values() -> dict[str, str]:
    """Every setting of the example, used or commented out."""
    return dict(re.findall(r"^#?(CADUCEE_\w+)=(.*)$", example(), re.MULTILINE))


def test_the_example_lists_every_setting_once_with_a_comment():
    listed = re.findall(r"^# [^\n]+\n#?(CADUCEE_\w+)=", example(), re.MULTILINE)
    assert sorted(listed) == sorted(row[0] for row in rows("docs/settings.md", "variable"))


def test_the_example_s_defaults_are_the_defaults():
    documented = {row[0]: "" if row[1] == "*unset*" else row[1] for row in rows("docs/settings.md", "variable")}
    unit = " ".join(settings_of("caducee-scheduler.service")["Environment"])
    given = dict(pair.split("=", maxsplit=1) for pair in unit.split() if pair.startswith("CADUCEE_"))
    commented = dict(re.findall(r"^#(CADUCEE_\w+)=(.*)$", example(), re.MULTILINE))
    assert commented == {name: {**documented, **given}[name] for name in commented}
    assert set(given) <= set(commented)


def test_the_example_can_be_used_as_it_is(monkeypatch: pytest.MonkeyPatch):
    for name in example_values():
        monkeypatch.delenv(name, raising=False)
    used = dict(re.findall(r"^(CADUCEE_\w+)=(.*)$", example(), re.MULTILINE))
    for name, value in used.items():
        monkeypatch.setenv(name, value.strip('"'))
    settings = Settings()
    assert settings.recipients_origin != settings.staff_origin
    assert settings.organisation
    assert f"server_name {settings.recipients_origin.removeprefix('https://')};" in (DEPLOY / "nginx.conf").read_text()


# --- proxy and containers


def test_the_ports_are_those_of_the_proxy_s_example():
    """The recipients' host must not reach the staff's process."""
    upstreams = dict(
        re.findall(r"upstream caducee_(\w+) \{\s*server 127\.0\.0\.1:(\d+)", (DEPLOY / "nginx.conf").read_text())
    )
    ports = {
        name: re.search(r"--port (\d+)", settings_of(f"caducee-{name}.service")["ExecStart"][0])[1]  # type: ignore[index]
        for name in ("recipients", "staff")
    }
    assert upstreams == ports
