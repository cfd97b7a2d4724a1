"""What the tests of retention share: streams that are looked at often, and a purge with a clock of its own."""

from collections.abc import Callable

import pytest

from app.actions.expire_keys import expire_keys
from app.runtime import stream_watch
from app.runtime.clock import Clock
from app.storage.key_vault import PurgeReport
from app.storage.vault_folder import VaultFolder


@pytest.fixture
def quick_watch(monkeypatch) -> None:
    """Streams are checked each second; a test waits less."""
    monkeypatch.setattr(stream_watch, "CHECK_SECONDS", 0.02)


@pytest.fixture
def purge(time, tmp_path) -> Callable[[], PurgeReport]:
    """The vault's own timer as `caducee keys expire` runs it: a new process each time, with the vault and no more."""
    return lambda: expire_keys(VaultFolder(tmp_path / "vault"), Clock(time, time.uptime))
