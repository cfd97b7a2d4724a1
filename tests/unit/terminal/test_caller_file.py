"""What a command writes for its caller: complete or not at all, and the caller's under sudo. Real files."""

import os
import stat

import pytest

from app.terminal.caller_file import caller_file

AS_ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files away, so needs root")
CALLER = 4_321


class Refused(Exception):
    """What a command raises."""


def write_half(path):
    with caller_file(path) as write:
        write("half of a page")
        raise Refused


@pytest.fixture(autouse=True)
def no_sudo(monkeypatch):
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)


def test_a_refused_command_leaves_nothing_and_what_was_there(tmp_path):
    there = tmp_path / "there.html"
    there.write_text("last week's")
    for path in (there, tmp_path / "new.html"):
        with pytest.raises(Refused):
            write_half(path)
    assert [each.name for each in tmp_path.iterdir()] == ["there.html"]
    assert there.read_text() == "last week's"


def test_a_file_appears_when_it_is_complete_and_keeps_its_mode(tmp_path):
    page = tmp_path / "page.html"
    with caller_file(page) as write:
        write("é")
        write("!")
        assert not page.exists()
    assert (page.read_text("utf-8"), stat.S_IMODE(page.stat().st_mode)) == ("é!", 0o600)
    page.chmod(0o644)
    with caller_file(page) as write:
        write("again")
    assert (page.read_text(), stat.S_IMODE(page.stat().st_mode)) == ("again", 0o644)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_is_refused_and_what_it_leads_to_stays(tmp_path):
    """Root follows none: it could lead to any file."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("kept")
    link.symlink_to(target)
    with pytest.raises(OSError, match="is a link"), caller_file(link) as write:
        write("through")
    assert target.read_text() == "kept"


def test_a_path_that_cannot_be_written_is_refused_before_the_command_runs(tmp_path):
    for path in (tmp_path, tmp_path / "missing" / "page.html"):
        with pytest.raises(OSError), caller_file(path):  # noqa: PT011 - which one depends on the path
            pytest.fail("it ran")


@AS_ROOT
def test_under_sudo_a_new_file_is_the_caller_s_even_after_root_has_handed_over(tmp_path, monkeypatch):
    """Root becomes the service's user in between, who may not write into the caller's folder."""
    monkeypatch.setenv("SUDO_UID", str(CALLER))
    monkeypatch.setenv("SUDO_GID", str(CALLER + 1))
    theirs = tmp_path / "root-s.html"
    theirs.write_text("before")
    for path in (tmp_path / "new.html", theirs):
        child = os.fork()
        if child == 0:  # handing over is for good
            try:
                with caller_file(path) as write:
                    os.setresgid(65_534, 65_534, 65_534)
                    os.setresuid(65_534, 65_534, 65_534)
                    write("page")
                os._exit(0)
            except BaseException:  # noqa: BLE001 - the exit code tells
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert path.read_text() == "page"
    new = (tmp_path / "new.html").stat()
    assert (new.st_uid, new.st_gid) == (CALLER, CALLER + 1)
    assert theirs.stat().st_uid == 0, "the command did not create it"
