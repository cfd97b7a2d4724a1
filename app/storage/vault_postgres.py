"""The key vault on PostgreSQL: an instance of its own, which keeps nothing that was deleted.

The guarantees are those of `vault_folder.py`. An entry is a row in its hour's table (`vault_hours.py`); a deleted one
counts as held until its bytes were observed to be gone from the instance's files and WAL (`vault_erasure.py`). Nothing
is cached: a deleted row is gone for every node at once. A server that is down, hangs or has another configuration than
`vault_instance.py` requires raises VaultUnavailable, and never counts as an empty vault.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Connection

from app.crypto.errors import CannotDecrypt
from app.crypto.token import new_secret
from app.crypto.wrapping import unwrap, wrap
from app.domain.vault_entry import EntryName
from app.storage import vault_erasure, vault_hours, vault_rows
from app.storage.errors import KeyExists, KeyExpired, KeyGone, VaultUnavailable
from app.storage.key_vault import FoundEntries, PurgeReport, label_of
from app.storage.vault_connections import LOOK_SECONDS, HourGone, hour_gone_if_undefined
from app.storage.vault_database import VaultDatabase
from app.storage.vault_hours import IS_WANTED, NAME_COLUMNS, WANTED, by_hour, columns_of, hour_at, hour_of

ERASURE_SECONDS = 120
HOURS_AT_ONCE = 50
_Query = Callable[[Connection, Iterable[EntryName]], set[EntryName]]
_TRIES = 3
"""An hour may be dropped or made between two statements; the next try sees it."""


class VaultPostgres(VaultDatabase):
    """A key vault at a URL of PostgreSQL; with `installation_id`, only that installation's vault."""

    def create(self, name: EntryName, shred_key: bytes) -> None:
        """Durably store a shred key of 32 bytes. Raises KeyExists, VaultUnavailable."""
        label, hour = label_of(name), hour_of(name)
        for _ in range(_TRIES):
            with self._proved("create") as connection:
                if hour not in vault_hours.tables_of_hours(connection, "hour"):
                    vault_hours.make_hour(connection, hour, new_secret())
            try:
                with self._connections.transaction("create") as connection:
                    self._insert(connection, name, shred_key, label)
            except HourGone:
                continue
            return
        raise VaultUnavailable(f"the key vault is destroying the hour {hour}")

    def _insert(self, connection: Connection, name: EntryName, shred_key: bytes, label: str) -> None:
        hour = hour_of(name)
        with hour_gone_if_undefined():
            hour_key = connection.exec_driver_sql(f"SELECT key FROM vault.hour_{hour}").scalar_one()
            created = connection.exec_driver_sql(
                f"INSERT INTO vault.keys_{hour} ({NAME_COLUMNS}, wrapped) SELECT n.t, n.s, n.e, %(wrapped)s"
                f" FROM {WANTED} WHERE NOT EXISTS (SELECT FROM vault.ending WHERE {IS_WANTED}) ON CONFLICT DO NOTHING",
                {**columns_of([name]), "wrapped": wrap(bytes(hour_key), shred_key, label)},
            ).rowcount
        if not created:
            raise KeyExists(f"the vault already holds {name.transfer_id}")

    def open(self, name: EntryName, now: datetime) -> bytes:
        """Return the shred key, read each time. Raises KeyExpired at or after the expiry, without reading; KeyGone if
        the entry or its hour key does not exist; VaultUnavailable, also if the entry does not decrypt.
        """
        label, hour = label_of(name), hour_of(name)
        if now >= name.expires_at:
            raise KeyExpired(f"the shred key of {name.transfer_id} has expired")
        try:
            with self._proved("open") as connection, hour_gone_if_undefined():
                found = connection.exec_driver_sql(
                    f"SELECT h.key, k.wrapped FROM vault.hour_{hour} h, vault.keys_{hour} k, {WANTED}"
                    " WHERE k.transfer_id = n.t AND k.share_id = n.s AND k.expiry = n.e",
                    columns_of([name]),
                ).one_or_none()
        except HourGone:
            found = None
        if found is None:
            raise KeyGone(f"the vault holds no key of {name.transfer_id} in {hour}")
        try:
            return unwrap(bytes(found[0]), bytes(found[1]), label)
        except CannotDecrypt:
            raise VaultUnavailable(f"the vault's entry of {name.transfer_id} was altered") from None

    def destroy(self, names: Iterable[EntryName]) -> None:
        """Delete entries and erase their bytes; missing ones are ignored. Raises VaultUnavailable, after trying all, if
        one was not observed to be gone.
        """
        wanted = list(names)
        with self._connections.transaction("destroy") as connection:
            identity = self._not_foreign(connection)
            claims = [name for name in wanted if name.claimed]
            connection.exec_driver_sql(f"DELETE FROM vault.claims USING {WANTED} WHERE {IS_WANTED}", columns_of(claims))
            there = set(vault_hours.tables_of_hours(connection, "keys"))
        keys = [name for name in wanted if not name.claimed]
        keys_of = {hour: some for hour, some in by_hour(keys).items() if hour in there}
        _, failed = _each(keys_of, lambda hour: self._on_hour(hour, vault_hours.delete_keys, keys_of[hour]))
        self._erase(keys)
        if failed:
            raise VaultUnavailable(f"keys of {len(failed)} hours could not be deleted: {', '.join(failed[:5])}")
        self._prove(identity)

    def _on_hour(self, hour: str, act: Callable[..., int], *arguments: object) -> int:
        """Run a transaction on the tables of one hour; return 0 if they are gone: somebody else was faster."""
        within = self._connections.transaction(f"end {hour}", seconds=ERASURE_SECONDS)
        with suppress(HourGone), within as connection, hour_gone_if_undefined():
            return act(connection, hour, *arguments)
        return 0

    def _erase(self, waiting_for: list[EntryName] | None = None) -> None:
        """Erase what was deleted, unless another thread or process already erased these entries."""
        with self._erasing:
            with self._connections.transaction("erase") as connection:
                if waiting_for is None:
                    needed = vault_erasure.anything_is_ending(connection)
                else:
                    needed = vault_erasure.is_ending(connection, waiting_for)
            if needed:
                with self._connections.session("erase", seconds=ERASURE_SECONDS) as connection:
                    vault_erasure.erase(connection)

    def record_claim(self, name: EntryName, token_digest: bytes) -> bytes:
        """Durably record a claim unless one is recorded; return the recorded digest. The primary key decides. Raises
        KeyGone if the hour is gone, VaultUnavailable.
        """
        hour = hour_of(name)
        try:
            with self._proved("record a claim") as connection, hour_gone_if_undefined():
                connection.exec_driver_sql(f"SELECT key IS NULL FROM vault.hour_{hour}").scalar_one()
                connection.exec_driver_sql(
                    f"INSERT INTO vault.claims ({NAME_COLUMNS}, token_digest) SELECT n.t, n.s, n.e, %(digest)s"
                    f" FROM {WANTED} ON CONFLICT DO NOTHING",
                    {**columns_of([name]), "digest": token_digest},
                )
                recorded = vault_rows.recorded(connection, name)
        except HourGone:
            raise KeyGone(f"the vault no longer holds {hour}") from None
        if recorded is None:
            raise VaultUnavailable("the key vault lost the record of a claim that was just made")
        return recorded

    def claim_recorded(self, name: EntryName) -> bytes | None:
        """Return the recorded digest, or None. Raises VaultUnavailable."""
        with self._proved("read a claim") as connection:
            return vault_rows.recorded(connection, name)

    def living(self, names: Iterable[EntryName]) -> set[EntryName]:
        """Return those of the entries that exist together with their hour key. Raises VaultUnavailable."""
        return self._asked(vault_rows.living, names)

    def held(self, names: Iterable[EntryName]) -> set[EntryName]:
        """Return those of the entries that exist or whose bytes are not yet erased. Raises VaultUnavailable."""
        return self._asked(vault_rows.held, names)

    def holds(self, name: EntryName) -> bool:
        """Return whether the entry exists. Raises VaultUnavailable."""
        return bool(self.held([name]))

    def _asked(self, query: _Query, names: Iterable[EntryName]) -> set[EntryName]:
        wanted = set(names)
        for _ in range(_TRIES):
            with suppress(HourGone), self._proved("look", seconds=LOOK_SECONDS) as connection, hour_gone_if_undefined():
                return query(connection, wanted)
        raise VaultUnavailable("the hours of the key vault are changing")

    def find(self, transfer_ids: AbstractSet[str]) -> FoundEntries:
        """Search every hour for entries of these transfers, also for those whose bytes are not yet erased."""
        ids = (sorted(transfer_ids),)
        with self._proved("find") as connection:
            found = FoundEntries()
            for table in ("keys", "ending", "claims"):
                rows = connection.exec_driver_sql(
                    f"SELECT {NAME_COLUMNS} FROM vault.{table} WHERE transfer_id = ANY(%s::text[])",
                    ids,
                )
                found.names.update(vault_hours.name_of(row, claimed=table == "claims") for row in rows)
            if any(vault_hours.strange_keys(connection)):
                rows = connection.exec_driver_sql(
                    "SELECT DISTINCT transfer_id FROM ONLY vault.keys WHERE transfer_id = ANY(%s::text[])", ids
                )
                found.misplaced.update(str(row[0]) for row in rows)
        return found

    def names(self) -> Iterator[EntryName]:
        """Yield all entries, page by page. Raises VaultUnavailable rather than end early."""
        yield from self._listed(None)

    def ending_by(self, moment: datetime) -> Iterator[EntryName]:
        """Yield the entries that expire at or before `moment`; later hours are skipped."""
        yield from self._listed(moment)

    def _listed(self, moment: datetime | None) -> Iterator[EntryName]:
        up_to = None if moment is None else math.floor(moment.timestamp())
        with self._proved("list") as connection:
            hours = vault_hours.tables_of_hours(connection, "keys")
        due = [hour for hour in hours if moment is None or hour <= hour_at(moment)]
        for table in (*(f"keys_{hour}" for hour in due), "ending", "claims"):
            after: EntryName | None = None
            while page := self._page(table, after, up_to):
                yield from page
                after = page[-1]

    def _page(self, table: str, after: EntryName | None, up_to: int | None) -> list[EntryName]:
        try:
            with self._proved("list") as connection, hour_gone_if_undefined():
                return vault_hours.page_of(connection, table, after, up_to)
        except HourGone:
            return []

    def strangers(self) -> Iterator[str]:
        """Yield the names of tables that are not the vault's, and of keys that belong to no hour."""
        with self._proved("list") as connection:
            yield from vault_hours.foreign_relations(connection)
            yield from (f"vault.{each}" for each in vault_hours.relations(connection) if not vault_hours.is_known(each))
            yield from vault_hours.strange_keys(connection)

    def purge(self, now: datetime) -> PurgeReport:
        """Destroy expired entries and hours that have ended, the hour key first. Raises VaultUnavailable, also, after
        the removals, if their bytes were not observed to be gone or this is not the right vault.
        """
        now_unix, current = math.floor(now.timestamp()), hour_at(now)
        with self._connections.transaction("purge") as connection:
            identity = self._not_foreign(connection)
            removed = connection.exec_driver_sql("DELETE FROM vault.claims WHERE expiry <= %s", (now_unix,)).rowcount
            begun = vault_rows.begun(connection, current)
        ended = [hour for hour in begun if hour < current]
        ends, failed = _each(ended, self._end_hour)
        due, failed_too = _each(
            begun[len(ended) :], lambda hour: self._on_hour(hour, vault_hours.delete_due_keys, now_unix)
        )
        self._erase()
        with self._connections.transaction("purge") as connection:
            left = vault_rows.due_left(connection, current, now_unix)
        self._prove(identity)
        hours = len(ended) - len(failed)
        return PurgeReport(removed=removed + ends + due, hours=hours, failed=(*failed, *failed_too), due_left=left)

    def _end_hour(self, hour: str) -> int:
        """Drop the hour's key at once, then its entries, which may have to wait for a reader."""
        return self._on_hour(hour, vault_hours.drop_hour_key) + self._on_hour(hour, vault_hours.drop_keys)

    def ended_hours(self, now: datetime) -> int:
        """Return the number of hours that have ended and are not yet observed to be gone. Raises VaultUnavailable."""
        current = hour_at(now)
        with self._proved("list") as connection:
            return len({*vault_rows.begun(connection, current), *vault_rows.ending_hours(connection)} - {current})

    def destroy_everything(self) -> int:
        """Drop all hour keys, then all entries, and erase their bytes; installation and marks stay. Return the number
        of entries removed. Raises VaultUnavailable: after trying all, if something remains; at once, if the vault
        belongs to another installation.
        """
        with self._connections.transaction("destroy everything", seconds=ERASURE_SECONDS) as connection:
            self._prove(self._identity(connection))
            removed = connection.exec_driver_sql("DELETE FROM vault.claims").rowcount
            hours = vault_rows.all_hours(connection)
        _, failed = self._on_many(hours, vault_hours.drop_hour_key)
        ends, failed_too = self._on_many(hours, vault_hours.drop_keys)
        self._erase()
        if failed or failed_too:
            raise VaultUnavailable(
                f"hours of the key vault could not be destroyed: {', '.join((failed + failed_too)[:5])}"
            )
        return removed + ends

    def _on_many(self, hours: list[str], act: Callable[[Connection, str], int]) -> tuple[int, list[str]]:
        """Act on hours in batches, because a commit each would take long; on a batch that fails, one by one. Return the
        sum of the results, and the hours that failed.
        """
        total, failed = 0, list[str]()
        for at in range(0, len(hours), HOURS_AT_ONCE):
            some = hours[at : at + HOURS_AT_ONCE]
            try:
                with self._connections.transaction("destroy everything", seconds=ERASURE_SECONDS) as connection:
                    done, left = sum([act(connection, hour) for hour in some]), list[str]()
            except VaultUnavailable:
                done, left = _each(some, lambda hour: self._on_hour(hour, act))
            total, failed = total + done, failed + left
        return total, failed


def _each(hours: Iterable[str], act: Callable[[str], int]) -> tuple[int, list[str]]:
    """Act on each hour, whatever happens with the others; return the sum of the results, and the hours that failed."""
    total, failed = 0, list[str]()
    for hour in hours:
        try:
            total += act(hour)
        except VaultUnavailable:
            failed.append(hour)
    return total, failed
