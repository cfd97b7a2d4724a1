"""What a depositor's machine gets to watch a folder: systemd units as strict as the service's, a task for Windows."""

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree as ET

import typer

from cli import build
from tests.unit.docs_tables import page, shell_blocks
from tests.unit.test_units import DEPLOY, MOST_EXPOSED, analyse, sandbox_of, settings_of

UNIT = "watch/caducee-watch.service"
TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def example() -> dict[str, str]:
    text = (DEPLOY / "watch/watch.env.example").read_text(encoding="utf-8")
    return {name: value.strip('"') for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)}


def understood(words: list[str]) -> dict[str, object]:
    """The values that the command would get from these words, without the program's name."""
    tree = typer.main.get_command(build())
    assert isinstance(tree, typer.core.TyperGroup)
    values: dict[str, object] = tree.commands[words[0]].make_context(words[0], words[1:]).params
    return values


def test_the_unit_is_as_strict_as_the_service_s_and_has_no_error(tmp_path):
    told = re.search(
        r"Overall exposure level for \S+: ([0-9.]+)", analyse("security", "--offline=true", str(DEPLOY / UNIT))
    )
    assert told
    assert float(told[1]) < MOST_EXPOSED
    assert sandbox_of(UNIT) == sandbox_of("caducee-scheduler.service")
    given = settings_of(UNIT)
    assert (given["User"], given["LimitCORE"], given["Type"]) == (["caducee-watch"], ["0"], ["oneshot"])
    for path in (DEPLOY / "watch").glob("caducee-watch.[st]*"):
        text = path.read_text(encoding="utf-8").replace("/opt/caducee/bin/caducee", "/bin/true")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    assert len(list(tmp_path.iterdir())) == 2
    assert analyse("verify", *map(str, sorted(tmp_path.iterdir()))) == ""


def test_the_unit_s_command_is_understood_and_its_variables_are_in_the_example():
    """Each variable stays one word, and the program reads the others itself."""
    line, values = settings_of(UNIT)["ExecStart"][0], example()
    words = [re.sub(r"^\$\{(\w+)\}$", lambda name: values.pop(name[1]), word) for word in line.split()[1:]]
    given = understood(words)
    assert given["once"]
    assert given["on_link"] == example()["WATCH_ON_LINK"]
    assert set(values) == {"CADUCEE_SERVER", "CADUCEE_TOKEN"}
    folder = str(given["folder"])
    assert settings_of(UNIT)["ReadWritePaths"] == [folder]
    made = re.findall(r"^d (\S+)", (DEPLOY / "watch/tmpfiles.conf").read_text(encoding="utf-8"), re.MULTILINE)
    assert {folder, *(f"{folder}/{name}" for name in ("out", "sent", "failed", "reports"))} <= set(made)


def test_the_windows_task_s_command_is_understood():
    task = ET.fromstring((DEPLOY / "watch/caducee-watch.xml").read_text(encoding="utf-8"))  # noqa: S314
    arguments = task.findtext(f".//{TASK}Exec/{TASK}Arguments") or ""
    given = understood(shlex.split(arguments.replace("\\", "\\\\")))
    assert given["once"]
    assert "\\" in str(given["on_link"])
    assert task.findtext(f".//{TASK}MultipleInstancesPolicy") == "IgnoreNew"
    assert task.findtext(f".//{TASK}RunLevel") == "LeastPrivilege"


def test_what_the_page_installs_is_shipped():
    named = set(re.findall(r"deploy/(watch/[\w.-]+)", "\n".join(shell_blocks("docs/watch.md"))))
    shipped = {str(path.relative_to(DEPLOY)) for path in Path(DEPLOY, "watch").iterdir()}
    assert shipped == named | {"watch/caducee-watch.xml"}
    assert "caducee-watch.xml" in page("docs/watch.md")
