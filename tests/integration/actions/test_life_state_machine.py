"""The life of files against a simple model, in histories that nobody thought of (G1, G2).

Deposits, shares, claims, completions, withdrawals, deletions, time that passes, clocks that leap, sweeps that break
off, crashes, purges and lockdowns in any order. The model knows only the rules of docs/deletion.md and
docs/http-api.md; after every step the service is compared with it, as a recipient and an auditor would see it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import event

from app.actions.accept_clock import accept_clock
from app.actions.claim_share import Claimed
from app.actions.complete_claim import complete_claim
from app.actions.create_transfer import CreatedTransfer
from app.actions.delete_transfer import delete_transfer
from app.actions.expire_keys import TAKES_LATER_BY, expire_keys
from app.actions.issue_share import IssuedShare
from app.actions.keep_time import keep_time
from app.actions.lock_down import lift_lockdown, lock_down
from app.actions.look_at_share import look_at_share
from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.verify_log import verify_log
from app.actions.withdraw_share import withdraw_share
from app.crypto.wrapping import link_proof
from app.domain.clock import BELIEVED, WAIT_BEFORE_TAKING
from app.domain.errors import ClaimExhausted, Refusal
from app.domain.share import ShareState
from app.domain.transfer import OPEN_STATES, TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle.witnesses import compare_everything
from app.runtime import resources as resources_module
from app.runtime.clock import Clock
from app.runtime.fault_points import POINTS, on_reach
from app.runtime.installation import open_resources
from app.runtime.resources import Resources
from app.runtime.settings import Settings
from app.storage.signing_folder import SigningFolder
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    a_caller,
    a_transfer,
    blobs_held,
    claim,
    deposit,
    fetch,
    files_of,
    issue,
    keys_held,
    run,
    share_row,
    sweep,
    transfer_row,
)
from tests.integration.conftest import START, MovableTime

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WINDOW, DEADMAN = HOUR, 15 * MINUTE
RETRIED_WITHIN = 5 * MINUTE
FETCHES_ALLOWED = 3
PICK, MOSTLY = st.integers(0, 7), 6
LIFETIMES = st.sampled_from([MINUTE, 30 * MINUTE, 3 * HOUR, 2 * DAY])

POINTS_OF_A_SWEEP = [point for point in POINTS if point.startswith("deletion.")]


class Broken(Exception):
    """A step of a sweep fails."""


class Died(BaseException):
    """The process is gone in the middle of a step."""


@dataclass(eq=False)
class ModelTransfer:
    """What the model knows of a transfer."""

    created: CreatedTransfer
    keep: bool
    shares: list[ModelShare] = field(default_factory=list)
    over: bool = False

    def end_early_if_done(self) -> None:
        """Somebody has everything, and nobody else waits: written down from docs/http-api.md, not from the code."""
        states = [share.state for share in self.shares]
        waiting = [state for state in states if state not in {"completed", "withdrawn"}]
        if "completed" in states and not waiting and not self.keep:
            self.over = True


@dataclass(eq=False)
class ModelShare:
    """What the model knows of a share. States: issued, claimed, completed, withdrawn, lapsed."""

    transfer: ModelTransfer
    issued: IssuedShare
    state: str = "issued"
    claimed: Claimed | None = None
    window_until: datetime | None = None
    times_claimed: int = 0
    times_fetched: int = 0


class Life(RuleBasedStateMachine):
    """One installation with its host, and the model of it."""

    def __init__(self, folder: Path, built_sqlite: Path) -> None:
        super().__init__()
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "db").mkdir(parents=True)
        shutil.copyfile(built_sqlite, folder / "db" / "caducee.sqlite")
        self.time = MovableTime()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(resources_module, "Clock", lambda: Clock(self.time, self.time.uptime))
        self.patch.setattr(os, "fsync", lambda _descriptor: None)  # nobody pulls the plug here
        self.resources = self.opened()
        self.caller = a_caller(self.resources)
        self.signing = SigningFolder(self.resources.settings.signing_dir)
        keep_time(self.resources)
        sweep(self.resources)
        self.now = START
        self.host_ahead = self.started_ahead = timedelta(0)
        self.distrusted_since: float | None = None
        self.problem_noted = False
        self.refused_since: datetime | None = None
        self.last_sweep = START
        self.locked = self.broke_off = False
        self.known: list[ModelTransfer] = []

    def opened(self) -> Resources:
        resources = open_resources(
            Settings(
                data_dir=self.folder,
                min_lifetime=timedelta(seconds=1),
                min_free_bytes=0,
                argon2_time=1,
                argon2_memory_kib=64,
                argon2_lanes=1,
            )
        )
        event.listen(resources.database.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        resources.database.engine.dispose()
        return resources

    def teardown(self) -> None:
        self.check_log()
        self.resources.close()
        self.patch.undo()

    # --- what the model expects

    @property
    def outflow(self) -> bool:
        """Whether anything may be given out."""
        return not self.locked and not self.host_ahead and not self.problem_noted

    @property
    def intake(self) -> bool:
        """Whether anything may be taken in."""
        return self.outflow and self.now - self.last_sweep <= DEADMAN

    def readable(self, transfer: ModelTransfer) -> bool:
        """Whether a transfer may be read at all, by anybody."""
        return not transfer.over and self.now < transfer.created.expires_at

    def attempt(self, step: Callable[[], Any], *, allowed: bool) -> Any:
        """Take the step: it works if it is allowed, and is refused if it is not. Answers None when it was refused."""
        if allowed:
            return step()
        with pytest.raises(Refusal):
            step()
        return None

    # --- people

    @initialize(lifetime=st.sampled_from([3 * HOUR, 2 * DAY]), keep=st.booleans(), claimed=st.booleans())
    def somebody_deposits_for_two(self, lifetime: timedelta, keep: bool, claimed: bool) -> None:
        self.deposits(lifetime, keep)
        self.shares_with_somebody(self.known[0])
        self.shares_with_somebody(self.known[0])
        if claimed:
            self.claims(0)

    @rule(lifetime=LIFETIMES, keep=st.booleans())
    def deposits(self, lifetime: timedelta, keep: bool) -> None:
        def step() -> CreatedTransfer:
            created = a_transfer(self.resources, self.caller, lifetime=lifetime, keep_until_expiry=keep)
            run(deposit(self.resources, self.caller, created))
            return created

        created = self.attempt(step, allowed=self.intake)
        if created is not None:
            self.known.append(ModelTransfer(created, keep))

    @rule(pick=PICK)
    def shares_one_more(self, pick: int) -> None:
        self.shares_with_somebody(self.known[-1 - pick % len(self.known)])

    def shares_with_somebody(self, transfer: ModelTransfer) -> None:
        issued = self.attempt(
            lambda: run(issue(self.resources, self.caller, transfer.created)),
            allowed=self.outflow and self.readable(transfer),
        )
        if issued is not None:
            transfer.shares.append(ModelShare(transfer, issued))

    @rule(pick=PICK)
    def claims(self, pick: int) -> None:
        share = self.picked(pick, "issued")
        allowed = self.outflow and self.readable(share.transfer) and share.state == "issued"
        claimed = self.attempt(lambda: run(claim(self.resources, share.issued)), allowed=allowed)
        if claimed is not None:
            share.times_claimed += 1
            share.state, share.claimed, share.window_until = "claimed", claimed, self.now + WINDOW
            self.fetches(share)

    @rule(pick=PICK)
    def claims_and_completes(self, pick: int) -> None:
        self.claims(pick)
        self.completes(pick)

    @rule(pick=PICK)
    def fetches_again(self, pick: int) -> None:
        self.fetches(self.picked(pick, "claimed"))

    def fetches(self, share: ModelShare) -> None:
        claimed = share.claimed
        if claimed is None:
            return
        stands = self.readable(share.transfer) and share.state == "claimed" and not self.window_is_over(share)
        try:
            content = self.attempt(lambda: run(fetch(self.resources, claimed)), allowed=self.outflow and stands)
        except ClaimExhausted:
            assert share.times_fetched >= FETCHES_ALLOWED
            return
        if content is not None:
            assert content == CONTENT
            share.times_fetched += 1
            share.window_until = self.now + WINDOW

    def everybody_goes_on_fetching(self) -> None:
        for share in (share for transfer in self.known for share in transfer.shares):
            self.fetches(share)

    @rule(pick=PICK)
    def completes(self, pick: int) -> None:
        share = self.picked(pick, "claimed")
        if share.claimed is None:
            return
        claim_id, token = share.claimed.claim_id, share.claimed.token
        complete_claim(self.resources, claim_id=claim_id, token=token, address=ADDRESS)
        if share.state == "claimed" and not share.transfer.over:
            share.state = "lapsed" if self.window_is_over(share) else "completed"
            share.transfer.end_early_if_done()

    @rule(pick=PICK)
    def withdraws(self, pick: int) -> None:
        share = self.picked(pick, "issued")
        withdraw_share(self.resources, share.issued.id, caller=self.caller)
        if share.state in {"issued", "claimed"} and not share.transfer.over:
            share.state = "withdrawn"
            share.transfer.end_early_if_done()

    @rule(pick=PICK)
    def deletes(self, pick: int) -> None:
        transfer = self.known[-1 - pick % len(self.known)]
        delete_transfer(self.resources, transfer.created.id, caller=self.caller)
        transfer.over = True

    def picked(self, pick: int, state: str) -> ModelShare:
        """A share, mostly one in this state."""
        every = [share for transfer in self.known for share in transfer.shares]
        fitting = [share for share in every if share.state == state and self.readable(share.transfer)]
        some = fitting if fitting and pick < MOSTLY else every
        return some[pick % len(some)]

    # --- the host

    @rule(duration=st.sampled_from([timedelta(seconds=10), 5 * MINUTE, HOUR, 5 * HOUR]), swept=st.booleans())
    def time_passes(self, duration: timedelta, swept: bool) -> None:
        self.passes(duration)
        if swept:
            self.a_sweep_passes()

    @rule()
    def nobody_fetches_for_a_whole_window(self) -> None:
        self.time_passes(WINDOW, swept=True)

    def passes(self, duration: timedelta) -> None:
        self.time.pass_by(duration)
        self.now += duration

    @rule(by=st.sampled_from([2 * HOUR, -2 * HOUR, 400 * DAY, -400 * DAY]))
    def the_host_s_clock_is_set(self, by: timedelta) -> None:
        self.time.leap(by)
        self.host_ahead += by
        self.everybody_goes_on_fetching()

    @precondition(lambda self: self.host_ahead or self.locked)
    @rule()
    def the_operator_puts_everything_right(self) -> None:
        """A clock that is behind is set right; accepting it would let everything live longer."""
        if self.host_ahead < timedelta(0):
            self.the_host_s_clock_is_set(-self.host_ahead)
        accept_clock(self.resources)
        self.clock_was_accepted()
        lift_lockdown(self.resources.database, self.resources.clock)
        self.locked = False

    def clock_was_accepted(self) -> None:
        self.now += self.host_ahead - self.started_ahead
        self.host_ahead = self.started_ahead = timedelta(0)
        self.distrusted_since, self.problem_noted = None, False

    @rule()
    def the_process_is_killed_and_started_again(self) -> None:
        """A new process believes the host for five minutes beyond the vault's count, and no more."""
        self.resources.close()
        self.resources = self.opened()
        self.now -= self.started_ahead
        self.started_ahead = BELIEVED if self.host_ahead > timedelta(0) else timedelta(0)
        self.now += self.started_ahead

    # --- the service's own work

    @rule()
    def a_sweep_passes(self) -> None:
        """What a sweep has failed at is tried again within five minutes."""
        if self.broke_off:
            self.passes(RETRIED_WITHIN)
            self.broke_off = False
        self.judges_the_clock()
        self.refused_time_is_added()
        report = sweep(self.resources)
        assert (report.failed, report.succeeded) == (0, True)
        self.last_sweep = self.now
        self.ended_by_a_sweep()
        assert keys_held(self.resources) == self.keys_expected()
        assert blobs_held(self.resources) == self.blobs_expected()
        for transfer in self.known:
            state = transfer_row(self.resources, transfer.created.id).state
            assert (state == TransferState.VERIFIED) == transfer.over
        sign_checkpoint(self.resources, self.signing)

    @rule(point=st.sampled_from(POINTS_OF_A_SWEEP), how=st.sampled_from([Broken, Died]))
    def a_sweep_breaks_off(self, point: str, how: type[BaseException]) -> None:
        """It may fail between any two steps, or the process may end there. What had been due may be done or not."""
        self.judges_the_clock()
        self.refused_time_is_added()
        with on_reach(point, breaking(how)):
            try:
                report = sweep(self.resources)
            except (Broken, Died):
                pass
            else:
                if report.succeeded:
                    self.last_sweep = self.now
        for share in (share for transfer in self.known for share in transfer.shares if share.state == "claimed"):
            if share_row(self.resources, share.issued.id).state == ShareState.LAPSED:
                assert self.window_is_over(share)
                share.state = "lapsed"
        self.the_process_is_killed_and_started_again()
        self.broke_off = True

    def refused_time_is_added(self) -> None:
        """A sweep notes since when the service has refused recipients, and gives that time back to their windows."""
        since, refused = self.refused_since, not self.outflow
        if since is None and refused:
            self.refused_since = self.now - timedelta(seconds=1)
        elif since is not None and (not refused or self.now - since >= timedelta(seconds=10)):
            for share in (share for transfer in self.known for share in transfer.shares if share.state == "claimed"):
                share.window_until = self.window_of(share)
            self.refused_since = self.now if refused else None

    def judges_the_clock(self) -> None:
        """A clock that is ahead is taken by itself after a day of running, not earlier and not later; one that is
        behind is not.
        """
        judgement = keep_time(self.resources)
        self.problem_noted = bool(self.host_ahead)
        self.doubts_the_host(WAIT_BEFORE_TAKING)
        assert judgement.now == self.now
        assert (judgement.problem is not None) == self.problem_noted

    def doubts_the_host(self, wait: timedelta) -> None:
        """Whoever judges remembers since when the host is ahead, and takes its clock in the end."""
        if self.host_ahead <= timedelta(0):
            self.distrusted_since = None
        elif self.distrusted_since is None:
            self.distrusted_since = self.time.running
        elif self.time.running - self.distrusted_since >= wait.total_seconds():
            self.clock_was_accepted()

    def ended_by_a_sweep(self) -> None:
        for transfer in self.known:
            if self.now >= transfer.created.expires_at:
                transfer.over = True
            for share in transfer.shares:
                over = self.refused_since is None and self.window_is_over(share)
                if not transfer.over and share.state == "claimed" and over:
                    share.state = "lapsed"

    def window_of(self, share: ModelShare) -> datetime | None:
        """With the time that the service refused and that no sweep has added yet."""
        if share.window_until is None or self.refused_since is None:
            return share.window_until
        return min(share.window_until + (self.now - self.refused_since), share.transfer.created.expires_at)

    def window_is_over(self, share: ModelShare) -> bool:
        window_until = self.window_of(share)
        return window_until is not None and self.now >= window_until

    @rule()
    def the_vault_purges(self) -> None:
        """The scheduler's own purge, which judges the clock too and takes it a minute later than a sweep."""
        expire_keys(self.resources.vault, self.resources.clock)
        noted = self.problem_noted
        self.doubts_the_host(WAIT_BEFORE_TAKING + TAKES_LATER_BY)
        self.problem_noted = noted

    @rule()
    def is_locked_down(self) -> None:
        lock_down(self.resources.database, self.resources.clock)
        self.locked = True
        self.everybody_goes_on_fetching()

    # --- what always holds

    def keys_expected(self) -> set[EntryName]:
        """The keys of everything that somebody may still need. While recipients are refused, no claim lapses."""
        expected, none_lapses = set(), self.refused_since is not None
        for transfer in (transfer for transfer in self.known if self.readable(transfer)):
            created = transfer.created
            expected.add(EntryName(created.id, created.expires_at))
            expected |= {
                EntryName(created.id, created.expires_at, share.issued.id)
                for share in transfer.shares
                if share.state in {"issued", "claimed"} and (none_lapses or not self.window_is_over(share))
            }
            expected |= {
                EntryName(created.id, created.expires_at, share.issued.id).of_claim
                for share in transfer.shares
                if share.times_claimed
            }
        return expected

    def blobs_expected(self) -> set[str]:
        readable = (transfer for transfer in self.known if self.readable(transfer))
        return {file.blob_id for transfer in readable for file in files_of(self.resources, transfer.created.id)}

    @invariant()
    def the_time_is_the_model_s(self) -> None:
        assert self.resources.clock.now() == self.now

    @invariant()
    def each_share_was_served_at_most_once(self) -> None:
        assert all(share.times_claimed <= 1 for transfer in self.known for share in transfer.shares)

    @invariant()
    def nothing_is_destroyed_before_it_is_over(self) -> None:
        assert keys_held(self.resources) >= self.keys_expected()
        assert blobs_held(self.resources) >= self.blobs_expected()

    @invariant()
    def early_ends_follow_the_rule(self) -> None:
        """Before its expiry a transfer is open exactly as long as the model says."""
        for transfer in self.known:
            if self.now < transfer.created.expires_at:
                is_open = transfer_row(self.resources, transfer.created.id).state in OPEN_STATES
                assert is_open != transfer.over

    @invariant()
    def verified_means_that_nothing_is_left(self) -> None:
        keys, blobs = {name.transfer_id for name in keys_held(self.resources)}, blobs_held(self.resources)
        for transfer in self.known:
            row = transfer_row(self.resources, transfer.created.id)
            if row.state == TransferState.VERIFIED:
                assert row.id not in keys
                assert blobs.isdisjoint(file.blob_id for file in files_of(self.resources, row.id))

    @invariant()
    def no_row_contradicts_its_witnesses(self) -> None:
        """Nobody writes to the database here: a contradiction would be a false alarm."""
        compared = compare_everything(self.resources, verified_too=True)
        assert (compared.shown, compared.hidden_ends) == ([], [])

    @invariant()
    def a_link_never_says_that_something_works_which_does_not(self) -> None:
        for share in (share for transfer in self.known for share in transfer.shares):
            seen = look_at_share(self.resources, share.issued.id, link_proof(share.issued.link_secret))
            if seen.state == "issued":
                assert share.state == "issued"
                assert self.readable(share.transfer)

    def check_log(self) -> None:
        verdict = verify_log(self.resources, self.signing)
        assert verdict.problem is None, verdict


def breaking(how: type[BaseException]) -> Callable[[], None]:
    """A callback that breaks off whatever reaches it."""

    def fail() -> None:
        raise how

    return fail


def live(tmp_path: Path, built_sqlite: Path, *, examples: int, steps: int) -> None:
    machine: Any = partial(Life, tmp_path / "life", built_sqlite)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),  # to explain a failure takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_lives_in_any_order_keep_every_promise(tmp_path, built_sqlite):
    live(tmp_path, built_sqlite, examples=12, steps=20)


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_many_longer_lives_in_any_order_keep_every_promise(tmp_path, built_sqlite):
    live(tmp_path, built_sqlite, examples=500, steps=60)
