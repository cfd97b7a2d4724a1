"""The watch over a stream: what a check may do to it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.domain.errors import ClaimEnded, ClientTooSlow
from app.runtime import stream_watch
from app.runtime.stream_watch import Paused, Progress, watched

IDLE_SECONDS = 0.5


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(stream_watch, "CHECK_SECONDS", 0.01)


def watch(check: Callable[[], None], story: Callable[[Progress], Awaitable[None]]) -> None:
    """Run a stream under a check."""

    async def checked() -> None:
        check()

    async def stream() -> None:
        async with asyncio.timeout(30), watched(checked, idle_seconds=IDLE_SECONDS) as progress:
            await story(progress)

    asyncio.run(stream())


def test_a_check_that_passes_leaves_a_stream_alone():
    async def story(progress) -> None:
        for _ in range(8):
            await asyncio.sleep(IDLE_SECONDS / 5)
            progress.moved()
            assert progress.may_go_on.is_set()

    watch(lambda: None, story)


def test_a_pause_lasts_until_a_check_passes_and_counts_no_silence():
    away = [True]

    def check() -> None:
        if away:
            raise Paused

    async def story(progress) -> None:
        await asyncio.sleep(2 * IDLE_SECONDS)
        assert not progress.may_go_on.is_set()
        away.clear()
        await progress.may_go_on.wait()

    watch(check, story)


def test_a_slow_store_is_not_a_slow_client():
    """While the service stores what arrived, the client has nothing to do; afterwards its silence counts from zero."""

    async def story(progress) -> None:
        for _ in range(2):
            with progress.stored():
                await asyncio.sleep(2 * IDLE_SECONDS)

    watch(lambda: None, story)


def test_silence_counts_again_from_the_end_of_a_pause():
    left = [Paused()] * 10

    def check() -> None:
        if left:
            raise left.pop()

    async def story(progress) -> None:
        await asyncio.sleep(20)

    with pytest.raises(ClientTooSlow):
        watch(check, story)
    assert left == []


def test_a_refusal_ends_a_paused_stream():
    left = [ClaimEnded(), Paused(), Paused()]

    def check() -> None:
        raise left.pop()

    async def story(progress) -> None:
        await asyncio.sleep(20)

    with pytest.raises(ClaimEnded):
        watch(check, story)
