"""What the tests of retention share: a purge with a clock of its own."""

from collections.abc import Callable

import pytest

from app.actions.expire_keys import expire_keys
from app.runtime.clock import Clock
from app.storage.key_vault import PurgeReport
from app.storage.vault_folder import VaultFolder


@pytest.fixture
def purge(time, tmp_path) -> Callable[[], PurgeReport]:
    """The vault's own timer as `caducee keys expire` runs it: a new process each time, with the vault and no more."""
    return lambda: expire_keys(VaultFolder(tmp_path / "vault"), Clock(time, time.uptime))
