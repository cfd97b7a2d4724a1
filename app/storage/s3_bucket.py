"""What a bucket does by itself: versions, copies, locks, and the lifecycle rule that is the last net.

A bucket that keeps versions or copies, or locks objects, keeps what was deleted; the service does not start on one. The
lifecycle rule deletes what the service could not, if it no longer runs. It is only read: whoever may write it could
also delete everything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from app.domain.finding import Finding, Level
from app.domain.transfer import LIFETIME_CEILING
from app.storage.errors import BlobUnavailable
from app.storage.s3_calls import S3Calls
from app.storage.s3_names import BucketPlace

DAY = timedelta(days=1)


def keeps(calls: S3Calls) -> Iterator[str]:
    """Yield what makes the bucket keep what was deleted. Raises BlobUnavailable if it cannot be asked."""
    versioning = calls.setting("get_bucket_versioning").get("Status")
    if versioning:
        yield f"its versioning is {str(versioning).lower()}, and old versions outlive a deletion"
    lock = calls.setting("get_object_lock_configuration").get("ObjectLockConfiguration") or {}
    if lock.get("ObjectLockEnabled"):
        yield "it has object lock, which refuses deletions"
    copies = calls.setting("get_bucket_replication").get("ReplicationConfiguration") or {}
    if any(rule.get("Status") != "Disabled" for rule in copies.get("Rules", [])):
        yield "it is replicated, and its copies outlive a deletion"


def require_forgetful(calls: S3Calls) -> None:
    """Raise BlobUnavailable if the bucket keeps what was deleted, or cannot be asked."""
    kept = list(keeps(calls))
    if kept:
        raise BlobUnavailable(f"the bucket of {calls.place} cannot be used: {'; '.join(kept)}")


def last_net(place: BucketPlace, longest_life: timedelta) -> dict[str, Any]:
    """Return the lifecycle configuration to set up: what is older than any transfer may be goes."""
    days = _days(longest_life)
    rule = {
        "ID": "caducee-last-net",
        "Status": "Enabled",
        "Filter": {"Prefix": place.blobs_prefix},
        "Expiration": {"Days": days},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
    }
    return {"Rules": [rule]}


def findings(calls: S3Calls, longest_life: timedelta) -> Iterator[Finding]:
    """Yield what `caducee doctor` says of the bucket. Raises BlobUnavailable."""
    kept = list(keeps(calls))
    for each in kept:
        yield Finding(Level.WRONG, "bucket", each, "use a bucket without it (docs/operations.md, Blobs in a bucket)")
    if not kept:
        yield Finding(Level.GOOD, "bucket", f"{calls.place}: no versions, no copies, no lock")
    rules = [rule for rule in calls.setting("get_bucket_lifecycle_configuration").get("Rules", []) if _acts(rule)]
    yield _judged(rules, calls.place, longest_life)


def _judged(rules: list[dict[str, Any]], place: BucketPlace, longest_life: timedelta) -> Finding:
    do = f"set this lifecycle configuration yourself: {json.dumps(last_net(place, longest_life))}"
    if any(_covers(rule, place.installation_key) for rule in rules if "Expiration" in rule):
        said = "a rule deletes the object `installation`, without which nothing here can be read"
        return Finding(Level.WRONG, "bucket lifecycle", said, do)
    covering = [rule for rule in rules if _covers(rule, place.blobs_prefix)]
    early = [rule for rule in rules if _touches(rule, place.blobs_prefix) and _acts_before(rule, longest_life)]
    if early:
        said = f"a rule acts on files before transfers end ({longest_life.days} days at most)"
        return Finding(Level.WRONG, "bucket lifecycle", said, do)
    expires = any((rule.get("Expiration") or {}).get("Days", math.inf) <= _latest() for rule in covering)
    aborts = any(_aborts_after(rule) <= _latest() for rule in covering)
    if not (expires and aborts):
        said = "no rule deletes files and unfinished uploads should the service never run again"
        return Finding(Level.WEAK, "bucket lifecycle", said, do)
    return Finding(Level.GOOD, "bucket lifecycle", "a rule deletes what is older than any transfer may be")


def _acts(rule: dict[str, Any]) -> bool:
    return rule.get("Status") == "Enabled"


def _prefix_of(rule: dict[str, Any]) -> str | None:
    """Return the prefix that a rule applies to; None if it applies by other conditions as well."""
    if "Filter" not in rule:
        return str(rule.get("Prefix", ""))
    return str(rule["Filter"].get("Prefix", "")) if set(rule["Filter"]) <= {"Prefix"} else None


def _covers(rule: dict[str, Any], start: str) -> bool:
    prefix = _prefix_of(rule)
    return prefix is not None and start.startswith(prefix)


def _touches(rule: dict[str, Any], start: str) -> bool:
    prefix = _prefix_of(rule)
    return prefix is None or start.startswith(prefix) or prefix.startswith(start)


def _acts_before(rule: dict[str, Any], longest_life: timedelta) -> bool:
    """Whether a rule deletes, moves or aborts something before the longest transfer ends."""
    expiration = rule.get("Expiration") or {}
    days = [expiration.get("Days", math.inf), _aborts_after(rule)]
    days += [each.get("Days", 0) for each in rule.get("Transitions", [])]
    return "Date" in expiration or min(days) < _days(longest_life)


def _aborts_after(rule: dict[str, Any]) -> float:
    return float((rule.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation", math.inf))


def _days(longest_life: timedelta) -> int:
    """Return the days after which nothing is needed any more: a rule counts from the midnight after the upload."""
    return math.ceil(longest_life / DAY) + 1


def _latest() -> int:
    return _days(LIFETIME_CEILING)
