"""The compose file and the documented `docker run` lines start the same confined containers."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.docs_tables import shell_blocks

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose.yaml"
AUDIENCES = {"recipients": "recipient", "staff": "staff"}
INSIDE = ("scheduler", "keys")
SCHEDULER = "10002:10001"


def blocks(indent: str, text: str) -> dict[str, str]:
    """The named blocks of YAML at this indentation."""
    pattern = rf"^{indent}([\w-]+):[^\n]*\n((?:{indent}  .*\n|\n)*)"
    return dict(re.findall(pattern, text, re.MULTILINE))


def services() -> dict[str, dict[str, str]]:
    """The settings of each service: those that all share, and its own."""
    text = "\n".join(line.partition("  # ")[0].rstrip() for line in COMPOSE.read_text(encoding="utf-8").splitlines())
    top = blocks("", text + "\n")
    shared = settings(top["x-service"], "  ")
    found = blocks("  ", top["services"])
    assert all("<<: *service" in each for each in found.values())
    return {name: shared | settings(each, "    ") for name, each in found.items()}


def settings(text: str, indent: str) -> dict[str, str]:
    """Each setting with its value, or with the lines of its list."""
    found = re.findall(rf"^{indent}(\w+):((?: [^\n]*)?(?:\n{indent}  [^\n]*)*)", text, re.MULTILINE)
    return {name: " ".join(value.split()) for name, value in found}


def test_every_service_is_confined():
    assert set(services()) == {*AUDIENCES, *INSIDE}
    for name, given in services().items():
        assert given["read_only"] == "true", name
        assert given["cap_drop"] == "[ALL]", name
        assert given["tmpfs"] == "[/tmp]", name
        assert given["security_opt"] == '["no-new-privileges:true"]', name
        assert given["ulimits"] == "{core: 0}", name
        assert given["memswap_limit"] == given["mem_limit"], "swap could hold keys"
        assert given["volumes"] == "- data:/var/lib/caducee - vault:/var/lib/caducee-vault", name


def test_each_service_has_its_user_audience_and_network():
    given = services()
    for name, audience in AUDIENCES.items():
        assert f"--audience, {audience}]" in given[name]["command"]
        assert "user" not in given[name], "the image's, which faces the network"
        assert given[name]["networks"] == "[proxy]"
        assert given[name]["ports"].startswith('["127.0.0.1:'), "only the proxy on this machine reaches it"
    for name in INSIDE:
        assert given[name]["user"] == f'"{SCHEDULER}"'
        assert given[name]["network_mode"] == "none"


def documented() -> dict[str, list[str]]:
    """The arguments of each `docker run` in the documentation, by the container's name."""
    (block,) = [each for each in shell_blocks("docs/operations.md") if "docker run" in each]
    words = block.replace("\\\n", " ")
    shared = re.search(r"run\(\) \{ docker run (.*) \"\$@\"; \}", words)
    assert shared
    runs = [shlex.split(f"{shared[1]} {line[4:]}") for line in words.splitlines() if line.startswith("run --name")]
    return {run[run.index("--name") + 1].removeprefix("caducee-"): run for run in runs}


def test_the_documented_lines_start_what_the_compose_file_starts():
    given, runs = services(), documented()
    assert set(runs) == set(given)
    for name, run in runs.items():
        text = " ".join(run)
        for option in ("--read-only", "--tmpfs /tmp", "--cap-drop ALL", "--security-opt no-new-privileges"):
            assert option in text, name
        assert "--ulimit core=0 " in text
        assert f"--memory {given[name]['mem_limit']} --memory-swap {given[name]['memswap_limit']} " in text
        assert set(re.findall(r"--volume caducee-(\S+)", text)) == set(given[name]["volumes"].split()) - {"-"}
        assert re.findall(r"--user (\S+)", text) == ([SCHEDULER] if name in INSIDE else [])
        assert ("--network none" in text) == (name in INSIDE)
        assert ("--no-healthcheck" in text) == ("healthcheck" in given[name])
        if name in AUDIENCES:
            assert f"--audience {AUDIENCES[name]}" in text
            assert re.findall(r"--publish (\S+)", text) == re.findall(r'"(\S+)"', given[name]["ports"])
    assert runs["keys"][-1] in given["keys"]["entrypoint"].replace("$$", "$")


def test_compose_accepts_the_file():
    for command in (["docker", "compose"], ["docker-compose"]):
        known = shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True, check=False)
        if known and known.returncode == 0:
            done = subprocess.run([*command, "-f", COMPOSE, "config", "--quiet"], capture_output=True, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
            return
    missing = pytest.fail if os.environ.get("CADUCEE_REQUIRE_ALL") == "1" else pytest.skip
    missing("SKIPPED, NOT PROVED: no docker compose")
