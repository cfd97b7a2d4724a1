"""The systemd units and the compose file as they are shipped: separate users, one audience each, sandboxed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted(path.name for path in DEPLOY.glob("*.service"))
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


def test_the_units_have_no_error(tmp_path):
    """As installed: with a program in the place that they name."""
    for path in (*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")):
        text = path.read_text(encoding="utf-8").replace("/opt/caducee/bin/caducee", "/bin/true")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    assert analyse("verify", *map(str, sorted(tmp_path.iterdir()))) == ""


def test_every_process_that_faces_the_network_names_its_audience():
    """One process for all would answer staff routes on the recipients' port."""
    serving = {
        unit: settings_of(unit)["ExecStart"][0] for unit in UNITS if " serve " in settings_of(unit)["ExecStart"][0]
    }
    assert set(serving) == {"caducee-recipients.service", "caducee-staff.service"}
    assert "--audience recipient" in serving["caducee-recipients.service"]
    assert "--audience staff" in serving["caducee-staff.service"]


def test_only_units_that_face_no_network_have_the_scheduler_s_user():
    users = {unit: settings_of(unit)["User"] for unit in UNITS}
    assert users == {
        "caducee-keys.service": ["caducee-scheduler"],
        "caducee-recipients.service": ["caducee"],
        "caducee-scheduler.service": ["caducee-scheduler"],
        "caducee-staff.service": ["caducee"],
    }
    for unit in UNITS:
        given = settings_of(unit)
        assert given["Group"] == ["caducee"]
        assert "CADUCEE_SEPARATE_USERS=1" in " ".join(given["Environment"])
        assert given["LimitCORE"] == ["0"]
        assert "StateDirectory" not in given or given["User"] == ["caducee-scheduler"], "it would change the owner"


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


def test_the_compose_file_separates_the_same_users():
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    services = dict(re.findall(r"^  (\w+):\n((?:    .*\n)+)", text.partition("\nservices:\n")[2], re.MULTILINE))
    for name, audience in (("recipients", "recipient"), ("staff", "staff")):
        assert f"--audience, {audience}]" in services[name]
        assert "user:" not in services[name], "the image's"
    for name in ("scheduler", "keys"):
        assert 'user: "10002:10001"' in services[name]
        assert "network_mode: none" in services[name]
