"""`make demo`: the life of one file, from deposit to verified deletion, on a service that the demo itself starts.

Nothing is simulated (`own_service.py`). Each step shows the request as a person would type it, then checks the result.
The last line is `verified`, or names the first deviation (exit 1). No files remain afterwards.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from own_service import Installation, expect, refused, run, step, tell, wait_for

from app.crypto.encoding import decode, encode
from app.crypto.wrapping import link_proof

PATIENTS = 4_000
FILE_NAME = "dépistage région sud.csv"

# Names from weather and plants, so that they match no real person.
FIRST_NAMES = ("Ondée", "Rosée", "Zéphyr", "Éclaircie", "Bourrasque", "Giboulée", "Accalmie", "Grêlon")
LAST_NAMES = ("Aubépine", "Châtaigne", "Genévrier", "Séquoïa", "Nénuphar", "Églantier", "Mûrier", "Réséda")


@dataclass
class Demo:
    """One run: the service and its client, a depositor's token, and every secret issued so far."""

    http: httpx.Client
    service: Installation
    token: str = field(default="", repr=False)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def as_depositor(self) -> dict[str, str]:
        """The depositor's `Authorization` header."""
        return {"Authorization": f"Bearer {self.token}"}


# --- the steps


def make_export() -> bytes:
    """A laboratory's export of fictitious patients, identical in each run."""
    dice = random.Random(2020)  # noqa: S311 - fictitious patients, not keys
    rows = [
        f"{dice.choice(FIRST_NAMES)};{dice.choice(LAST_NAMES)};{dice.randrange(10**12, 10**13)};"
        f"2020-09-{dice.randint(1, 30):02};{dice.choice(('positif', 'négatif', 'indéterminé'))}"
        for _ in range(PATIENTS)
    ]
    return "\n".join(["prénom;nom;numéro;prélèvement;résultat", *rows, ""]).encode()


def deposit(demo: Demo, export: bytes, *, recipient: str, expires_in: str) -> dict[str, Any]:
    """One request stores the file encrypted and returns a link and a password, which are shown only once."""
    path = f"/api/v1/send/{quote(FILE_NAME)}?recipient={recipient}&expires_in={expires_in}"
    tell(f"$ curl --fail-with-body -T '{FILE_NAME}' -H 'Authorization: Bearer cad_...' '{demo.http.base_url}{path}'")
    answer = demo.http.put(path, content=export, headers=demo.as_depositor)
    expect(answer.status_code == httpx.codes.CREATED, f"the deposit was refused: {answer.text}")
    given: dict[str, Any] = answer.json()
    demo.secrets |= {
        f"link secret of {recipient}": given["link"].partition("#")[2],
        f"password of {recipient}": given["password"],
        f"client key of {recipient}": given["client_key"],
    }
    tell(f"link      {given['link']}   (by mail)")
    tell(f"password  {given['password']}   (by telephone)")
    tell(f"expires   {given['expires_at']}")
    return given


def look_at_the_disk(demo: Demo, export: bytes) -> None:
    """Check that the service's files contain ciphertext only: no patient's name, no file name, no secret."""
    blob = next(path for path in stored(demo, "data/blobs") if path.name != "installation")
    tell(f"{blob.relative_to(demo.service.folder)}: {blob.stat().st_size:,} bytes for {len(export):,}, beginning with")
    tell(blob.read_bytes()[:32].hex(" "))
    for path in stored(demo, "vault"):
        tell(f"{path.relative_to(demo.service.folder)}: {path.stat().st_size} bytes")
    sought = {name: name for name in (*FIRST_NAMES, *LAST_NAMES, "prélèvement", FILE_NAME)} | demo.secrets
    for path in stored(demo):
        content = path.read_bytes() if path.exists() else b""
        found = [what for what, text in sought.items() if text.encode() in content]
        expect(not found, f"{path} holds in clear: {', '.join(found)}")
    tell(f"grep finds none of {len(sought)} names and secrets in {len(stored(demo))} files")


def claim_body(given: dict[str, Any], password: str | None = None) -> dict[str, str]:
    """The body of a claim; `password` defaults to the correct one."""
    return {"link_secret": given["link"].partition("#")[2], "password": password or given["password"]}


def look_and_fail(demo: Demo, given: dict[str, Any]) -> None:
    """`look` redeems nothing; a wrong password uses one attempt; a wrong link gets 404 and learns nothing."""
    share = f"/api/v1/shares/{given['share_id']}"
    proof = encode(link_proof(decode(claim_body(given)["link_secret"])))
    seen = demo.http.post(f"{share}/look", json={"link_proof": proof}).json()
    expect(seen["state"] == "issued", f"the share should be issued: {seen}")
    tell(f"look: {seen['state']}, {seen['attempts_left']} attempts left")
    refused(demo.http.post(f"{share}/claim", json=claim_body(given, "0000-0000-0000-0000")), 401, "wrong_password")
    stranger = {"link_secret": encode(bytes(32)), "password": given["password"]}
    refused(demo.http.post(f"{share}/claim", json=stranger), 404, "share_not_found")


def claim_and_fetch(demo: Demo, given: dict[str, Any], export: bytes) -> None:
    """Claim once, fetch the file in two ranges, as after a lost connection, and compare the bytes."""
    url = f"/api/v1/shares/{given['share_id']}/claim"
    claim = demo.http.post(url, json=claim_body(given)).json()
    expect("claim_id" in claim, f"the claim was refused: {claim}")
    held = claim["files"][0]
    tell(f"claimed: {held['name']}, {held['size']:,} bytes, until {claim['expires_at']}")
    bearer = {"Authorization": f"Bearer {claim['claim_token']}"}
    file, half = f"/api/v1/claims/{claim['claim_id']}/files/0", len(export) // 2
    first = demo.http.get(file, headers=bearer | {"Range": f"bytes=0-{half - 1}"})
    rest = demo.http.get(file, headers=bearer | {"Range": f"bytes={half}-"})
    expect(first.content + rest.content == export, "the fetched bytes differ from the deposited ones")
    tell(f"fetched in two ranges ({first.status_code}, {rest.status_code}): the same {len(export):,} bytes")
    refused(demo.http.post(url, json=claim_body(given)), 410, "share_used")
    done = demo.http.post(f"/api/v1/claims/{claim['claim_id']}/complete", headers=bearer)
    expect(done.status_code == httpx.codes.NO_CONTENT, f"complete was refused: {done.text}")
    tell("completed: the recipient has everything")
    refused(demo.http.get(file, headers=bearer), 410, "claim_ended")


def see_it_gone(demo: Demo, given: dict[str, Any]) -> None:
    """Check the deletion as the service reports it, and on the disk."""
    own = f"/api/v1/transfers/{given['transfer_id']}"

    def shown() -> dict[str, Any]:
        document: dict[str, Any] = demo.http.get(own, headers=demo.as_depositor).json()
        return document

    wait_for("the transfer is verified as deleted", lambda: shown()["state"] == "verified")
    ended = shown()
    tell(f"state {ended['state']} ({ended['ending']}), share {ended['shares'][0]['state']}, at {ended['deleted_at']}")
    keys = [path for path in stored(demo, "vault") if given["transfer_id"] in path.name]
    blobs = [path for path in stored(demo, "data/blobs") if path.name != "installation"]
    expect(not keys and not blobs, f"still on disk: {[*keys, *blobs]}")
    tell("on disk: no key of it in the vault, no blob")


def let_expire(demo: Demo, export: bytes) -> None:
    """A transfer that nobody fetches expires on time, even for the correct link and password."""
    given = deposit(demo, export, recipient="agency", expires_in="3s")
    expires_at = datetime.fromisoformat(given["expires_at"])
    tell("nobody fetches it; waiting for the expiry ...")
    time.sleep(max(0.0, (expires_at - datetime.now(UTC)).total_seconds()) + 0.01)
    refused(demo.http.post(f"/api/v1/shares/{given['share_id']}/claim", json=claim_body(given)), 410, "share_expired")
    see_it_gone(demo, given)


def review(demo: Demo) -> None:
    """Show the reports that an administrator or auditor reads on the machine."""
    step("The retention report: caducee audit retention")
    print(demo.service.command("audit", "retention"), end="")
    step("The audit log: caducee audit log (shortened); it has no field for a name, label or secret")
    log = demo.service.command("audit", "log", "--json")
    leaked = [what for what, text in demo.secrets.items() if text in log]
    expect(not leaked and FILE_NAME not in log, f"the audit log holds {leaked or 'the file name'}")
    for entry in json.loads(log)["entries"]:
        who, whom = entry["actor"].partition(":")[0], entry.get("transfer", "")[:6]
        rest = " ".join(f"{name}={entry[name]}" for name in ("size", "outcome", "lateness_ms") if name in entry)
        print(f"{entry['sequence']:>3} {entry['time'][11:23]} {entry['event']:<18} {who:<9} {whom:<6} {rest}")
    step("The log verifies: caducee audit verify")
    print(demo.service.command("audit", "verify"), end="")


def stored(demo: Demo, part: str = "") -> list[Path]:
    """The service's files, including its log, or those below one folder."""
    return sorted(path for path in (demo.service.folder / part).rglob("*") if path.is_file())


def tell_story(demo: Demo) -> None:
    """Run all steps in order."""
    export = make_export()
    step("A laboratory's token: caducee token create laboratory --role staff")
    demo.token = json.loads(demo.service.command("token", "create", "laboratory", "--role", "staff", "--json"))["token"]
    demo.secrets["access token"] = demo.token
    step(f"Deposit an export of {PATIENTS:,} people, for the insurer, for an hour")
    given = deposit(demo, export, recipient="insurer", expires_in="1h")
    step("The server's disk")
    look_at_the_disk(demo, export)
    step("Looking and guessing redeem nothing")
    look_and_fail(demo, given)
    step("The recipient claims, fetches and completes, once")
    claim_and_fetch(demo, given, export)
    step("The deletion, verified")
    see_it_gone(demo, given)
    step("Another transfer, which nobody fetches and which expires after three seconds")
    let_expire(demo, export)
    review(demo)


def play(scratch: Path) -> None:
    """Start the service in the scratch folder and run the demo."""
    service = Installation(scratch)
    with service.serving() as http:
        tell_story(Demo(http, service))


if __name__ == "__main__":
    sys.exit(run(play, name="demo", verdict="verified"))
