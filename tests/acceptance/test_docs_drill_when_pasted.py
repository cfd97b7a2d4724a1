"""The lines of docs/operations.md for the drill on PostgreSQL, pasted into a shell, prove what they promise."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.acceptance.people import ok, send
from tests.acceptance.service import Installation, until
from tests.acceptance.warm_start import PROGRAM
from tests.unit.docs_tables import shell_blocks

pytestmark = pytest.mark.postgres


@pytest.fixture
def place():
    """A folder that PostgreSQL's user may enter; pytest's own are closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="caducee-drill-docs-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["caducee.dump", "caducee.sql", "base"])
def test_docs_lines_of_the_drill_on_postgresql(postgres_server, place, kind):
    url = make_url(postgres_server.create())
    installation = Installation(place / "house", DATABASE_URL=url.render_as_string(hide_password=False))
    (back_up,) = [block for block in shell_blocks("docs/operations.md") if "pg_basebackup" in block]
    (drill,) = [block for block in shell_blocks("docs/operations.md") if "caducee audit drill" in block]
    (place / "backup").mkdir(mode=0o755)
    with installation.serving() as server, server.http(installation.token()) as http:
        share = send(http)
        paste(back_up, place, installation, url, postgres_server.programs)
        shutil.copytree(installation.data / "blobs", place / "backup" / "blobs")
        ok(http.delete(f"/api/v1/transfers/{share.transfer_id}"), 204)
        until(lambda: http.get(f"/api/v1/transfers/{share.transfer_id}").json()["state"] == "verified", what="the end")
        told = paste(
            drill.replace("mkdir -p -m 0700", "mkdir -p -m 0755").replace(
                "cp -r /srv/backup/caducee.dump", f"cp -rp /srv/backup/{kind}"
            ),
            place,
            installation,
            url,
            postgres_server.programs,
        )
    assert "drill passed: 1 transfers in the backup, 1 of them ended since" in told
    assert list((place / "drill").iterdir()) == []


def paste(lines, place, installation, url, programs):
    """Run lines in a shell with the programs and settings that an operator has."""
    environment = installation.environment() | {
        "PATH": f"{programs}:{PROGRAM.parent}:{os.defpath}",
        "PGHOST": str(url.query["host"]),
        "PGUSER": str(url.username),
        "PGDATABASE": str(url.database),
    }
    script = lines.replace("/srv/", f"{place}/")
    done = subprocess.run(["sh", "-e"], input=script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    base = place / "backup" / "base"
    if base.is_dir() and os.geteuid() == 0:  # PostgreSQL does not run as root
        user = pwd.getpwnam("pgserver")
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", base], check=True)
    return done.stdout
