"""The shipped units, installed as docs/operations.md says and started by a real systemd, from deposit to deletion."""

import json
import re
import shlex
import tempfile
import time
from pathlib import Path

import pytest

from tests.machine import Machine
from tests.unit.docs_tables import rows, shell_blocks
from tests.unit.test_units import drop_ins

pytestmark = [pytest.mark.slow, pytest.mark.external, pytest.mark.timeout(600)]

OPERATIONS = "docs/operations.md"
SERVICES = ("caducee-scheduler", "caducee-recipients", "caducee-staff")
TIMERS = [row[0].removesuffix(".timer") for row in rows(OPERATIONS, "timer")]
MOST_EXPOSED = 2.0
STAFF, RECIPIENTS = "Host: staff.example.org", "Host: share.example.org"


def starting_lines(block):
    """The lines of the documentation that start the service; the rest of that block asks for a password."""
    return "\n".join(line for line in block.replace("\\\n", " ").splitlines() if line.startswith("systemctl"))


@pytest.fixture(scope="module")
def machine():
    with tempfile.TemporaryDirectory(prefix="caducee-machine-") as folder:
        yield from installed(Machine(Path(folder)))


def installed(made):
    """Paste the documentation's lines, with the machine's own mail server; end the machine afterwards."""
    try:
        install, settings, start, *_ = shell_blocks(OPERATIONS)
        made.run(install)
        made.run(settings)
        made.run(
            "systemd-run --quiet --unit=sink /usr/bin/python3 /checkout/tests/mail_sink.py 127.0.0.1 2525 /tmp/mails\n"
            "printf 'NOTIFY_SERVER=localhost:2525\\nNOTIFY_FROM=a@example.org\\nNOTIFY_TO=b@example.org\\n'"
            " > /etc/caducee/notify.env"
        )
        made.run(starting_lines(start))
        yield made
    finally:
        made.end()


def until(holds, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def command(machine, words):
    """Run `caducee <words>` as the scheduler's user, with the settings of the units."""
    return machine.run(
        "systemd-run --quiet --pipe --wait -p User=caducee-scheduler -p Group=caducee -p UMask=0007"
        " -p EnvironmentFile=/etc/caducee/caducee.env -E CADUCEE_SEPARATE_USERS=1 -E CADUCEE_DATA_DIR=/var/lib/caducee"
        f" -E CADUCEE_VAULT=/var/lib/caducee-vault /opt/caducee/bin/caducee {words}"
    ).stdout


def ready(machine):
    probes = "http://127.0.0.1:8000/readyz http://127.0.0.1:8001/readyz"
    return machine.run(f"curl --silent --fail --fail-early {probes}", check=False).returncode == 0


def mails(machine):
    return machine.run("cat /tmp/mails", check=False).stdout


def restore(machine):
    """The operator's own script of the documented drop-in: it restores last night's backup."""
    machine.run(
        "cat > /usr/local/sbin/restore-caducee-backup <<'END'\n"
        "#!/bin/sh -e\n"
        'mkdir -p "$1" && cp -r /srv/backup/. "$1" && chown -R caducee-scheduler:caducee "$1"\n'
        "END\n"
        "chmod 755 /usr/local/sbin/restore-caducee-backup\n"
    )


def back_up(machine):
    machine.run(
        "mkdir -p /srv/backup /srv/drill\n"
        "/usr/bin/python3 -c \"import sqlite3; sqlite3.connect('/var/lib/caducee/db/caducee.sqlite')"
        ".execute('VACUUM INTO ?', ['/srv/backup/caducee.sqlite'])\""
    )


def test_everything_starts_and_stays_up(machine):
    until(lambda: ready(machine), "readiness")
    assert machine.run(f"systemctl is-active {' '.join(SERVICES)}").stdout.split() == ["active"] * len(SERVICES)
    waiting = machine.run(f"systemctl is-active {' '.join(f'{timer}.timer' for timer in TIMERS)}")
    assert waiting.stdout.split() == ["active"] * len(TIMERS)
    restarts = machine.run(f"systemctl show --value -p NRestarts {' '.join(SERVICES)}").stdout.split()
    assert restarts == ["0"] * len(SERVICES)


def test_each_process_has_its_user_and_no_core_dumps(machine):
    for service, user in zip(SERVICES, ("caducee-scheduler", "caducee", "caducee"), strict=True):
        process = machine.run(f"systemctl show --value -p MainPID {service}").stdout.strip()
        assert machine.run(f"ps -o user:32= -o group:32= -p {process}").stdout.split() == [user, "caducee"]
        assert re.search(r"Max core file size +0 +0 ", machine.run(f"cat /proc/{process}/limits").stdout)


def test_a_running_unit_is_sandboxed(machine):
    for unit in (*SERVICES, *TIMERS, "caducee-alert@x"):
        told = machine.run(f"systemd-analyze security --no-pager {unit}.service").stdout
        level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
        assert level, unit
        assert float(level[1]) < MOST_EXPOSED, unit


def test_a_file_is_deposited_fetched_and_destroyed_and_the_drill_finds_nothing(machine):
    """Then every check passes, the journal holds no warning, and the checkpoint was mailed."""
    until(lambda: ready(machine), "readiness")
    token = json.loads(command(machine, "token create laboratory --role staff --expires 90d --json"))["token"]
    bearer = shlex.quote(f"Authorization: Bearer {token}")
    given = json.loads(
        machine.run(
            f"echo patient > /tmp/a.csv; curl -sS --fail-with-body -T /tmp/a.csv -H '{STAFF}' -H {bearer}"
            " 'http://127.0.0.1:8001/api/v1/send/a.csv?recipient=x&expires_in=1h'"
        ).stdout
    )
    back_up(machine)
    proof = f"link:{given['link'].partition('#')[2]}.{given['password']}"
    content = f"http://127.0.0.1:8000/api/v1/shares/{given['share_id']}/content"
    fetched = machine.run(f"curl -sS --fail-with-body -X POST -u {proof} -H '{RECIPIENTS}' {content}")
    assert fetched.stdout == "patient\n"
    own = f"http://127.0.0.1:8001/api/v1/transfers/{given['transfer_id']}"
    machine.run(f"curl -sS --fail-with-body -X DELETE -H '{STAFF}' -H {bearer} {own}")
    state = f"curl -sS -H '{STAFF}' -H {bearer} {own}"
    until(lambda: json.loads(machine.run(state).stdout)["state"] == "verified", "the deletion")
    restore(machine)
    for path, text in drop_ins():
        machine.run(f"mkdir -p {path.parent}; cat > {path} <<'END'\n{text}END\nsystemctl daemon-reload")
    for timer in TIMERS:
        machine.run(f"systemctl start {timer}.service")
    assert "drill passed" in machine.journal()
    assert 'filename="checkpoint.txt"' in mails(machine)
    assert machine.run("systemctl list-units --failed --no-legend --plain 'caducee*'").stdout == ""
    assert machine.run("journalctl --quiet --no-pager --priority=warning -u 'caducee-*'").stdout == ""
    assert token not in machine.journal()


def test_the_drop_ins_work_when_pasted(machine):
    for path, text in drop_ins():
        machine.run(f"mkdir -p {path.parent}; cat > {path} <<'END'\n{text}END\nsystemctl daemon-reload")
    machine.run("systemctl restart caducee-recipients")
    until(lambda: ready(machine), "readiness")
    shown = machine.run("systemctl show -p ExecStart -p IPAddressAllow caducee-recipients").stdout
    assert "--host 0.0.0.0" in shown
    assert "192.0.2.10" in shown
    assert machine.run("systemctl list-units --failed --no-legend --plain 'caducee*'").stdout == ""


def test_a_check_that_fails_sends_one_mail_and_no_more_within_the_hour(machine):
    """A lockdown makes readiness red; it is checked each minute."""
    until(lambda: ready(machine), "readiness")
    assert "caducee-ready failed" not in mails(machine)
    command(machine, "lockdown on")
    for _ in range(3):
        assert machine.run("systemctl start caducee-ready", check=False).returncode != 0
    command(machine, "lockdown off")
    sent = r"^Subject: .*caducee-ready failed"
    until(lambda: re.search(sent, mails(machine), re.MULTILINE), "the mail")
    assert len(re.findall(sent, mails(machine), re.MULTILINE)) == 1


def test_a_service_that_is_killed_comes_back(machine):
    until(lambda: ready(machine), "readiness")
    machine.run(f"systemctl kill --signal=KILL {' '.join(SERVICES)}")
    assert not ready(machine)
    until(lambda: ready(machine), "readiness after a kill")


def test_an_alert_in_the_service_s_log_is_mailed(machine):
    """The vault's marks are out of reach for a moment; the scheduler logs that, and goes on afterwards."""
    until(lambda: ready(machine), "readiness")
    vault = "/var/lib/caducee-vault"
    alerts = "journalctl --quiet --output=cat -u caducee-scheduler --grep '\"alert\": true'"
    machine.run(f"systemctl start caducee-alerts; mv {vault}/marks {vault}/marks-away")
    try:
        until(lambda: machine.run(alerts, check=False).returncode == 0, "an alert")
    finally:
        machine.run(f"rm -rf {vault}/marks; mv {vault}/marks-away {vault}/marks")
    assert machine.run("systemctl start caducee-alerts", check=False).returncode != 0
    until(lambda: "caducee-alerts failed" in mails(machine), "the mail")
    until(lambda: ready(machine), "readiness afterwards")


def test_the_checks_work_while_the_service_is_stopped(machine):
    """Then nobody keeps SQLite's files beside the database open, and readiness is reported."""
    until(lambda: ready(machine), "readiness")
    machine.run(f"systemctl stop {' '.join(SERVICES)}")
    for check in ("retention", "verify", "doctor", "keys", "checkpoint"):
        machine.run(f"systemctl start caducee-{check}")
    machine.run("systemctl reset-failed caducee-ready")
    assert machine.run("systemctl start caducee-ready", check=False).returncode != 0
    machine.run(f"systemctl start {' '.join(SERVICES)}")
    until(lambda: ready(machine), "readiness")
