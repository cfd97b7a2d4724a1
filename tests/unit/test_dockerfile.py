"""The image is built from pinned packages and runs as nobody. Read from the Dockerfile: that needs no engine."""

import json
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, its continued lines joined."""

    word: str
    rest: str


def instructions() -> list[Instruction]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [Instruction(*line.strip().split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def rests(word: str, of: list[Instruction] | None = None) -> list[str]:
    return [rest for found, rest in (of or instructions()) if found == word]


def runtime_stage() -> list[Instruction]:
    found = instructions()
    return found[max(index for index, (word, _) in enumerate(found) if word == "FROM") :]


def test_image_is_built_in_stages_and_keeps_only_the_environment():
    assert len(rests("FROM")) >= 2
    copied = rests("COPY", runtime_stage())
    assert copied
    assert all(rest.startswith("--from=builder ") for rest in copied)


def test_base_images_have_a_version():
    for image in (rest.split()[0] for rest in rests("FROM")):
        _, _, tag = image.partition(":")
        assert re.match(r"\d+\.\d+", tag), image
        assert "latest" not in tag


def test_image_does_not_run_as_root():
    user = rests("USER", runtime_stage())[-1].split(":")[0]
    assert user.isdecimal(), "a number: Kubernetes' runAsNonRoot cannot check a name"
    assert int(user) > 0


def test_nothing_is_added_from_the_network():
    assert rests("ADD") == []
    assert not [rest for rest in rests("RUN") if re.search(r"\b(curl|wget)\b|https?://", rest)]


def test_packages_are_installed_by_hash_only():
    commands = [part for rest in rests("RUN") for part in rest.split("&&") if re.search(r"\bpip\b.* install\b", part)]
    assert any("requirements/run.txt" in command for command in commands)
    for command in commands:
        assert "--require-hashes" in command or "--no-index" in command, command


def test_image_is_built_with_every_file_that_the_package_names():
    """Without its readme or licence the package does not build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    copied = {source for rest in rests("COPY") for source in rest.split()[:-1]}
    assert {project["readme"], *project["license-files"]} <= copied


def test_commands_are_in_exec_form():
    """A shell in between would swallow the signal that stops the service in order."""
    for word in ("ENTRYPOINT", "CMD"):
        assert all(isinstance(part, str) for part in json.loads(rests(word, runtime_stage())[-1]))


def test_image_reports_its_health():
    check = rests("HEALTHCHECK", runtime_stage())[-1]
    assert "/livez" in check
    command = json.loads(check.partition(" CMD ")[2])
    assert "timeout=" in command[-1]


def test_key_vault_is_a_volume_of_its_own():
    """A backup of the data volume must not hold the keys."""
    volumes = [path for rest in rests("VOLUME", runtime_stage()) for path in json.loads(rest)]
    environment = dict(
        pair.split("=", maxsplit=1) for rest in rests("ENV", runtime_stage()) for pair in rest.split() if "=" in pair
    )
    data, vault = environment["CADUCEE_DATA_DIR"], environment["CADUCEE_VAULT"]
    assert {data, vault} <= set(volumes)
    assert not Path(vault).is_relative_to(data)


def test_build_context_is_a_list_of_what_goes_in():
    """Otherwise data, history and secrets of the developer's folder reach the builder."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    sources = {source for rest in rests("COPY") if "--from=" not in rest for source in rest.split()[:-1]}
    assert {line[1:] for line in lines if line.startswith("!")} == sources
