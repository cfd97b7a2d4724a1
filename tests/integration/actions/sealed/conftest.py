"""A sealed transfer at the stages of its life."""

import pytest

from tests.integration.actions.sealed_stories import (
    a_sealed_transfer,
    deposit_sealed,
    prepare,
    send_sealed,
)
from tests.integration.actions.stories import (
    run,
)


@pytest.fixture
def transfer(resources, caller):
    return a_sealed_transfer(resources, caller)


@pytest.fixture
def filled(resources, caller, transfer):
    run(deposit_sealed(resources, caller, transfer))
    return transfer


@pytest.fixture
def prepared(resources, caller, filled):
    return run(prepare(resources, caller, filled))


@pytest.fixture
def share(resources, caller):
    return send_sealed(resources, caller)
