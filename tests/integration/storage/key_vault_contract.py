"""What every key vault does, whatever it is made of: an implementation's tests inherit from this."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.crypto.token import new_secret
from app.domain.vault_entry import EntryName
from app.storage.errors import KeyExists, KeyExpired, KeyGone, VaultUnavailable
from app.storage.key_vault import KeyVault, Mark, anchor_mark
from tests.integration.storage.vault_places import BEFORE, EXPIRY, HOUR, SECOND, put, some_name

INSTALLATION = "installation-1"


class KeyVaultContract:
    """Inherit, and provide `empty`: a vault that nobody adopted yet."""

    @pytest.fixture
    def vault(self, empty: KeyVault) -> KeyVault:
        empty.adopt(INSTALLATION)
        return empty

    @pytest.mark.parametrize("share", [False, True])
    def test_a_key_opens_until_it_is_destroyed(self, vault, share):
        checked: KeyVault = vault
        name, other = some_name(share=share), some_name(share=share)
        key = put(checked, name)
        assert put(checked, other) != key
        assert checked.open(name, BEFORE) == key
        checked.destroy([name])
        checked.destroy([name, some_name()])
        with pytest.raises(KeyGone):
            checked.open(name, BEFORE)
        assert (checked.holds(name), checked.holds(other)) == (False, True)

    def test_a_key_is_never_replaced(self, vault):
        key = put(vault, name := some_name())
        with pytest.raises(KeyExists):
            vault.create(name, new_secret())
        assert vault.open(name, BEFORE) == key

    def test_a_key_is_refused_from_the_second_of_its_expiry_on(self, vault):
        put(vault, name := some_name())
        for now in (EXPIRY, EXPIRY + HOUR):
            with pytest.raises(KeyExpired):
                vault.open(name, now)
        assert vault.holds(name)

    def test_another_expiry_is_another_entry(self, vault):
        put(vault, name := some_name())
        later = EntryName(name.transfer_id, EXPIRY + SECOND)
        with pytest.raises(KeyGone):
            vault.open(later, BEFORE)
        assert vault.held([name, later]) == {name}

    def test_the_first_record_of_a_claim_stands(self, vault):
        put(vault, name := some_name(share=True))
        assert vault.claim_recorded(name.of_claim) is None
        digests = [new_secret() for _ in range(8)]
        with ThreadPoolExecutor(4) as threads:
            recorded = set(threads.map(lambda digest: vault.record_claim(name.of_claim, digest), digests))
        (first,) = recorded
        assert vault.claim_recorded(name.of_claim) == first
        vault.destroy([name])
        assert vault.claim_recorded(name.of_claim) == first
        vault.destroy([name.of_claim])
        assert vault.claim_recorded(name.of_claim) is None

    def test_nothing_is_recorded_where_the_hour_is_gone(self, vault):
        with pytest.raises(KeyGone):
            vault.record_claim(some_name(share=True).of_claim, new_secret())

    def test_many_are_looked_up_at_once(self, vault):
        there, gone = [some_name(), some_name(share=True), some_name(EXPIRY + HOUR)], some_name()
        for name in there:
            put(vault, name)
        assert vault.held([*there, gone]) == vault.living([*there, gone]) == set(there) == set(vault.names())
        assert set(vault.ending_by(EXPIRY)) == set(there[:2])
        assert vault.find({there[1].transfer_id, gone.transfer_id}).names == {there[1]}
        assert (vault.find({gone.transfer_id}).misplaced, list(vault.strangers())) == (set(), [])

    def test_a_purge_removes_what_is_due_and_the_hours_that_ended(self, vault):
        due, later, next_hour = some_name(), some_name(EXPIRY + SECOND), some_name(EXPIRY + HOUR)
        for name in (due, later, next_hour):
            put(vault, name)
        report = vault.purge(EXPIRY)
        assert (report.removed, report.hours, report.failed, report.due_left) == (1, 0, (), 0)
        assert set(vault.names()) == {later, next_hour}
        ended = EXPIRY.replace(minute=0) + HOUR
        assert (vault.ended_hours(ended - SECOND), vault.ended_hours(ended)) == (0, 1)
        report = vault.purge(ended)
        assert (report.removed, report.hours, vault.ended_hours(ended)) == (1, 1, 0)
        assert set(vault.names()) == {next_hour}

    def test_everything_is_destroyed_but_the_marks(self, vault):
        names = [some_name(), some_name(EXPIRY + HOUR, share=True)]
        for name in names:
            put(vault, name)
        vault.write_mark("kept")
        assert vault.destroy_everything() == 2
        assert (list(vault.names()), vault.read_mark()) == ([], "kept")
        put(vault, names[0])
        assert vault.living(names) == {names[0]}

    def test_marks_are_replaced_and_have_names_of_their_own(self, vault):
        marks = [*Mark, anchor_mark("0f5c-1")]
        assert [vault.read_mark(mark) for mark in marks] == [None] * len(marks)
        for turn in ("one", "two"):
            for mark in marks:
                vault.write_mark(f"{mark} {turn}", mark)
        assert [vault.read_mark(mark) for mark in marks] == [f"{mark} two" for mark in marks]
        with pytest.raises(ValueError, match="mark"):
            vault.write_mark("x", "hour.key")

    def test_a_mark_is_exchanged_only_for_what_the_writer_has_read(self, vault):
        """Two hosts write the high-water mark: the slower one must not replace the newer mark by an older one."""
        assert not vault.exchange_mark("never written", "x")
        vault.write_mark("one")
        assert vault.exchange_mark("one", "two")
        assert not vault.exchange_mark("one", "three")
        assert vault.read_mark() == "two"

    def test_a_record_of_a_claim_is_no_key(self, vault):
        with pytest.raises(ValueError, match="claim"):
            vault.create(some_name(share=True).of_claim, new_secret())

    def test_a_vault_that_nobody_adopted_says_nothing(self, empty):
        assert (empty.content(), empty.installation()) == (None, None)
        for refused in (
            lambda: put(empty, some_name()),
            lambda: empty.holds(some_name()),
            lambda: empty.destroy([some_name()]),
            lambda: list(empty.names()),
            lambda: empty.write_mark("x"),
            empty.read_mark,
            lambda: empty.purge(EXPIRY),
            empty.destroy_everything,
        ):
            with pytest.raises(VaultUnavailable):
                refused()

    def test_its_place_has_a_name(self, empty):
        """Also before it is there: an operator is told where it would be."""
        assert empty.place().name

    def test_it_belongs_to_one_installation(self, vault):
        vault.adopt(INSTALLATION)
        with pytest.raises(VaultUnavailable):
            vault.adopt("installation-2")
        assert (vault.installation(), vault.content() is None) == (INSTALLATION, False)
