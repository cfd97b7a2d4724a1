"""The key vault in folders: `<vault>/<YYYY-MM-DDTHH>/`, best on a separate volume excluded from backups and snapshots.

Nothing is cached, so that removing a file destroys a key for every process at once. An entry counts as gone only if
`vault_root.py` proves the right vault. Removals come first and that check afterwards, so that a lost installation file
never delays an expiry. `hour_folder.py` has the layout and names of one hour, and `hour_removal.py` empties it.
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from datetime import datetime

from app.crypto.errors import CannotDecrypt
from app.crypto.wrapping import unwrap, wrap
from app.domain.vault_entry import EntryName
from app.storage import durable_files, hour_folder, hour_removal
from app.storage.durable_files import opened_folder
from app.storage.errors import KeyExists, KeyExpired, KeyGone, VaultUnavailable
from app.storage.key_vault import FoundEntries, Mark, PurgeReport, label_of
from app.storage.shared_vault import strange_marks
from app.storage.vault_root import VaultRoot, as_unavailable, belongs_in_root, has_room

# With any suffix: a crash leaves `hour.key.<hex>.new`, a second link to the key. The tag only with a suffix, because a
# backup program that skips tagged folders keeps the tag.
_MADE_BY_NAME = "|".join(re.escape(name) for name in (hour_folder.HOUR_KEY_FILE, *Mark))
_VAULT_FILE = re.compile(
    rf"({_MADE_BY_NAME}).*|{re.escape(durable_files.CACHE_TAG_FILE)}\..+|{hour_folder.ENTRY_PATTERN}", re.DOTALL
)


class VaultFolder(VaultRoot):
    """A key vault below `root`; with `installation_id`, only that installation's vault."""

    def create(self, name: EntryName, shred_key: bytes) -> None:
        """Durably store a shred key of 32 bytes. Raises KeyExists, VaultUnavailable."""
        hour, entry = hour_folder.place_of(name)
        with as_unavailable("create"), self._opened() as root:
            self._prove(root)
            if not has_room(root):
                raise VaultUnavailable("the key vault's volume is nearly full")
            with self._hour_for_writing(root, hour) as folder:
                content = wrap(hour_folder.read_hour_key(within=folder), shred_key, label_of(name))
                try:
                    durable_files.write_new(entry, content, within=folder)
                except FileExistsError:
                    raise KeyExists(f"the vault already holds {hour}/{entry}") from None
                os.fsync(folder)

    def open(self, name: EntryName, now: datetime) -> bytes:
        """Return the shred key, read from disk each time.

        Raises KeyExpired at or after the expiry, without reading; KeyGone if the entry or its hour key does not exist;
        VaultUnavailable if the vault cannot be read or the entry does not decrypt (altered, renamed, moved).
        """
        hour, entry = hour_folder.place_of(name)
        if now >= name.expires_at:
            raise KeyExpired(f"the shred key {hour}/{entry} has expired")
        with as_unavailable("open"), self._opened() as root:
            self._prove(root)
            try:
                with opened_folder(hour, within=root) as folder:
                    hour_key = hour_folder.read_hour_key(within=folder)
                    wrapped = durable_files.read_file(entry, within=folder, max_bytes=hour_folder.ENTRY_MAX_BYTES)
            except FileNotFoundError:
                raise KeyGone(f"the vault holds no {hour}/{entry}") from None
        try:
            return unwrap(hour_key, wrapped, label_of(name))
        except CannotDecrypt:
            raise VaultUnavailable(f"the vault's entry {hour}/{entry} was altered") from None

    def destroy(self, names: Iterable[EntryName]) -> None:
        """Remove entries with one fsync per hour; missing ones are ignored.

        Raises VaultUnavailable, after trying all, if an entry remains or this is not the right vault.
        """
        by_hour: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            hour, entry = hour_folder.place_of(name)
            by_hour[hour].append(entry)
        with as_unavailable("destroy"), self._opened() as root:
            failed = [place for hour in by_hour for place in hour_removal.destroy_entries(root, hour, by_hour[hour])]
            _refuse_leftovers(failed)
            self._prove(root)

    def record_claim(self, name: EntryName, token_digest: bytes) -> bytes:
        """Durably record a claim unless one is recorded; return the recorded digest.

        link(2) decides: exactly one process creates the name, and no reader sees a partial file. Raises KeyGone if the
        hour is gone, VaultUnavailable.
        """
        hour, entry = hour_folder.place_of(name)
        with as_unavailable("record a claim"), self._opened() as root:
            self._prove(root)
            try:
                with opened_folder(hour, within=root) as folder:
                    if not durable_files.put_once(entry, token_digest, within=folder):
                        os.fsync(folder)  # the first writer may have crashed before its fsync
                    return hour_folder.read_claim(entry, within=folder)
            except FileNotFoundError:
                raise KeyGone(f"the vault no longer holds {hour}") from None

    def claim_recorded(self, name: EntryName) -> bytes | None:
        """Return the recorded digest, or None. Raises VaultUnavailable, also if this is not the right vault."""
        hour, entry = hour_folder.place_of(name)
        with as_unavailable("read a claim"), self._opened() as root:
            self._prove(root)
            try:
                with opened_folder(hour, within=root) as folder:
                    return hour_folder.read_claim(entry, within=folder)
            except FileNotFoundError:
                return None

    def living(self, names: Iterable[EntryName]) -> set[EntryName]:
        """Return those of the entries that exist together with their hour key. Raises VaultUnavailable."""
        return self._present(names, with_hour_key=True)

    def find(self, transfer_ids: AbstractSet[str]) -> FoundEntries:
        """Search every hour for files of these transfers. Raises VaultUnavailable rather than return a part."""
        found = FoundEntries()
        with as_unavailable("find"), self._opened() as root:
            self._prove(root)
            for hour in hour_folder.hours_in(root):
                with suppress(FileNotFoundError), opened_folder(hour, within=root) as folder:
                    for file_name in hour_folder.of_transfers(transfer_ids, within=folder):
                        name = hour_folder.name_at(hour, file_name)
                        if name is None:
                            found.misplaced.add(hour_folder.transfer_of(file_name))
                        else:
                            found.names.add(name)
        return found

    def ending_by(self, moment: datetime) -> Iterator[EntryName]:
        """Yield the entries that expire at or before `moment`. Later hours are skipped by name, without a listing."""
        last = hour_folder.hour_of(moment)
        with as_unavailable("list"), self._opened() as root:
            self._prove(root)
            for hour in hour_folder.hours_in(root):
                if hour > last:
                    continue
                with suppress(FileNotFoundError), opened_folder(hour, within=root) as folder:
                    yield from (n for n in hour_folder.names_in(hour, within=folder) if n.expires_at <= moment)

    def strangers(self) -> Iterator[str]:
        """Yield the paths of unknown files, those in the root first."""
        with as_unavailable("list"), self._opened() as root:
            self._prove(root)
            hours = set(hour_folder.hours_in(root))
            yield from strange_marks(root)
            with os.scandir(root) as listing:
                yield from (f.name for f in listing if f.name not in hours and not belongs_in_root(f.name))
            for hour in hours:
                with (
                    suppress(FileNotFoundError),
                    opened_folder(hour, within=root) as folder,
                    os.scandir(folder) as listing,
                ):
                    strange = (f.name for f in listing if not hour_folder.is_understood(hour, f.name))
                    yield from (f"{hour}/{name}" for name in strange)

    def holds(self, name: EntryName) -> bool:
        """Return whether the entry exists. Raises VaultUnavailable."""
        return bool(self.held([name]))

    def held(self, names: Iterable[EntryName]) -> set[EntryName]:
        """Return those of the entries that exist, opening each hour once. Raises VaultUnavailable."""
        return self._present(names, with_hour_key=False)

    def _present(self, names: Iterable[EntryName], *, with_hour_key: bool) -> set[EntryName]:
        by_hour: defaultdict[str, list[tuple[str, EntryName]]] = defaultdict(list)
        for name in names:
            hour, entry = hour_folder.place_of(name)
            by_hour[hour].append((entry, name))
        found: set[EntryName] = set()
        with as_unavailable("look"), self._opened() as root:
            self._prove(root)
            for hour, entries in by_hour.items():
                with suppress(FileNotFoundError), opened_folder(hour, within=root) as folder:
                    if with_hour_key and not durable_files.is_there(hour_folder.HOUR_KEY_FILE, within=folder):
                        continue
                    found.update(name for entry, name in entries if durable_files.is_there(entry, within=folder))
        return found

    def purge(self, now: datetime) -> PurgeReport:
        """Remove expired entries, then whole hours that have ended, the hour key first.

        Later hours are skipped by name, without listing them, so this is cheap enough for every second. Raises
        VaultUnavailable if the vault cannot be listed, and, after the removals, if it is not the right one.
        """
        now_unix, current = math.floor(now.timestamp()), hour_folder.hour_of(now)
        with as_unavailable("purge"), self._opened() as root:
            begun = sorted(hour for hour in hour_folder.hours_in(root) if hour <= current)
            reports = [hour_removal.purge_hour(root, hour, ended=hour < current, now_unix=now_unix) for hour in begun]
            if any(report.hours for report in reports):
                os.fsync(root)
            self._prove(root)
        return PurgeReport(
            removed=sum(report.removed for report in reports),
            hours=sum(report.hours for report in reports),
            failed=tuple(place for report in reports for place in report.failed),
            due_left=sum(report.due_left for report in reports),
        )

    def names(self) -> Iterator[EntryName]:
        """Yield all entries in constant memory. Raises VaultUnavailable rather than end early."""
        with as_unavailable("names"), self._opened() as root:
            self._prove(root)
            for hour in hour_folder.hours_in(root):
                with suppress(FileNotFoundError), opened_folder(hour, within=root) as folder:
                    yield from hour_folder.names_in(hour, within=folder)

    def ended_hours(self, now: datetime) -> int:
        """Return the number of folders of hours that have ended. Raises VaultUnavailable."""
        current = hour_folder.hour_of(now)
        with as_unavailable("list"), self._opened() as root:
            self._prove(root)
            return sum(hour < current for hour in hour_folder.hours_in(root))

    def destroy_everything(self) -> int:
        """Remove all hour keys, then all entries; the installation file and the marks stay.

        Return the number of entries removed. Raises VaultUnavailable: after trying all, if something remains; at once,
        if the vault belongs to another installation.
        """
        removed, failed = 0, list[str]()
        with as_unavailable("destroy everything"), self._opened() as root:
            self._refuse_foreign(root)
            hours = sorted(hour_folder.hours_in(root))
            for hour in hours:
                failed += hour_removal.destroy_hour_keys(root, hour)
            for hour in hours:
                report = hour_removal.purge_hour(root, hour, ended=True, now_unix=0)
                removed += report.removed
                failed += report.failed
            os.fsync(root)
            _refuse_leftovers(failed)
            self._prove(root)
        return removed

    def recognises(self, file_name: str) -> bool:
        """Return whether a vault may contain a file of this name, temporary ones included. Reads nothing."""
        return _VAULT_FILE.fullmatch(file_name) is not None

    @contextmanager
    def _hour_for_writing(self, root: int, hour: str) -> Iterator[int]:
        try:
            os.stat(f"{hour}/{hour_folder.HOUR_KEY_FILE}", dir_fd=root)
        except FileNotFoundError:
            hour_folder.make_hour(hour, within=root)
        with opened_folder(hour, within=root) as folder:
            yield folder


def _refuse_leftovers(failed: list[str]) -> None:
    if failed:
        shown = ", ".join(failed[:5])
        raise VaultUnavailable(f"{len(failed)} entries of the key vault could not be removed: {shown}")
