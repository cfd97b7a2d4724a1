"""Wrong, missing and truncated keys, secrets, tokens and proofs: refused alike, before anything is spent or learnt."""

import statistics
import time

import pytest

from tests.acceptance.people import (
    bearer,
    claim,
    issue,
    key_header,
    look,
    ok,
    open_transfer,
    send,
    try_claim,
    wrong_password,
    wrong_secret,
)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def flips(text, every=1):
    """The text with one character changed, for each place; in the last one only its lowest bit, which base64url
    without padding may not even use: it must not be ignored.
    """
    for place in range(0, len(text), every):
        yield text[:place] + ALPHABET[ALPHABET.index(text[place]) ^ 1] + text[place + 1 :]


def not_the_secret(secret):
    """Everything that a wrong link may be: well-formed or not."""
    return [
        wrong_secret(),
        *flips(secret, every=7),
        *flips(secret[-1:] and secret, every=42),
        secret[:-1],
        secret + "A",
        secret + "=",
        secret[::-1],
        secret.swapcase(),
        f" {secret}",
        "",
        "é" * 43,
        "\0",
        "A" * 256,
        "../" * 10,
    ]


def same(answers):
    """The one answer that all of these are: status, body and headers, but for the date."""
    kinds = {
        (answer.status_code, answer.content, tuple(sorted((k, v) for k, v in answer.headers.items() if k != "date")))
        for answer in answers
    }
    assert len(kinds) == 1, kinds
    return answers[0]


def test_unknown_shares_wrong_proofs_and_malformed_ones_get_one_and_the_same_404(staff, anyone):
    """Lesson 19: a wrong link learns nothing, costs the share nothing, never burns it."""
    share = send(staff)
    ids = ["A" * 22, "x", "%00", share.transfer_id, share.id[:-1], share.id.swapcase(), "é" * 22]
    answers = []
    for text in not_the_secret(share.secret):
        answers += [
            anyone.post(f"/api/v1/shares/{share.id}/look", json={"link_proof": text}),
            try_claim(anyone, share, link_secret=text),
            try_claim(anyone, share, link_secret=None, link_proof=text),
            try_claim(anyone, share, link_secret=text, password=wrong_password()),
        ]
    for share_id in ids:
        answers += [
            anyone.post(f"/api/v1/shares/{share_id}/look", json={"link_proof": share.proof}),
            anyone.post(
                f"/api/v1/shares/{share_id}/claim", json={"link_secret": share.secret, "password": share.password}
            ),
            anyone.post(f"/api/v1/shares/{share_id}/content", auth=share.basic),
        ]
    answers += [
        anyone.post(f"/api/v1/shares/{share.id}/look", json={"link_proof": share.secret}),
        try_claim(anyone, share, link_secret=share.proof),
    ]
    assert ok(same(answers), 404)["code"] == "share_not_found"
    assert look(anyone, share)["attempts_left"] == 5
    assert claim(anyone, share).get().content == b"content"


def test_a_missing_or_endless_secret_is_a_bad_request_whatever_the_share(staff, anyone):
    """Judged before anything is looked up."""
    endless = "A" * 257
    for share_id in (send(staff).id, "A" * 22):
        path = f"/api/v1/shares/{share_id}"
        for answer in (
            anyone.post(f"{path}/look", json={}),
            anyone.post(f"{path}/look", json={"link_proof": endless}),
            anyone.post(f"{path}/claim", json={"link_proof": endless, "password": wrong_password()}),
            anyone.post(f"{path}/claim", json={"link_secret": endless, "password": wrong_password()}),
            anyone.post(f"{path}/claim", json={"password": wrong_password()}),
        ):
            assert ok(answer, 400)["code"] == "invalid_request"


def test_an_ended_share_is_known_only_to_who_holds_its_link(staff, anyone):
    """A 410 is owed to the holder of the link; anybody else cannot tell it from a share that never was."""
    share = send(staff)
    staff.delete(f"/api/v1/transfers/{share.transfer_id}")
    unknown = anyone.post(f"/api/v1/shares/{'A' * 22}/look", json={"link_proof": wrong_secret()})
    ended = [
        anyone.post(f"/api/v1/shares/{share.id}/look", json={"link_proof": wrong_secret()}),
        try_claim(anyone, share, link_secret=wrong_secret()),
    ]
    assert same([unknown, *ended]).status_code == 404
    assert try_claim(anyone, share).status_code == 410


def test_a_wrong_proof_costs_as_much_time_as_an_unknown_share(staff, anyone):
    """docs/security.md: "at the same cost". The median of many, taken in turns, so that a busy machine hits both."""
    share = send(staff)
    taken: dict[str, list[float]] = {share.id: [], "A" * 22: []}
    for _ in range(120):
        for share_id, times in taken.items():
            started = time.perf_counter()
            anyone.post(f"/api/v1/shares/{share_id}/look", json={"link_proof": "A" * 43})
            times.append(time.perf_counter() - started)
    medians = [statistics.median(times) for times in taken.values()]
    assert max(medians) < 1.5 * min(medians), medians


def test_any_change_of_an_access_token_is_the_same_401(house, server, anyone):
    """Lesson 23: flip any bit of a token: one and the same refusal (ShareFile CVE-2023-24489)."""
    token = house.tokens["staff"]
    body = token.removeprefix("cad_")
    wrong = [
        *(f"Bearer cad_{text}" for text in flips(body, every=3)),
        *(f"Bearer {text}" for text in (token[:-1], token + "A", body, "cad_", "", token.upper(), f"{token},{token}")),
        *(f"{scheme} {token}" for scheme in ("Basic", "Token", "cad", "")),
        *("Bearer", "", token, "Bearer " + "A" * 20_000, "Bearer None", "Bearer null"),
    ]
    answers = [anyone.get("/api/v1/me", headers={"Authorization": text.strip().encode("latin-1")}) for text in wrong]
    answers.append(anyone.get("/api/v1/me"))
    answers.append(anyone.get("/api/v1/me", params={"token": token, "access_token": token}))
    answers.append(anyone.get("/api/v1/me", headers={"Cookie": f"token={token}; Authorization=Bearer {token}"}))
    assert ok(same(answers), 401)["code"] == "not_authenticated"
    impossible = [f"Bearer {text}\xe9".encode("latin-1") for text in (token, token[:-1], "x")]
    told = [anyone.get("/api/v1/me", headers={"Authorization": text}) for text in impossible]
    assert ok(same(told), 401)["code"] == "not_authenticated", "a character that none has, whatever stands before it"
    assert anyone.get("/api/v1/me", headers=bearer(token)).status_code == 200


def test_any_change_of_a_claim_token_is_the_same_404(staff, anyone):
    """Lesson 23. Also for a claim that never was: who holds no token learns nothing of it."""
    held = claim(anyone, send(staff, b"secret content"))
    wrong = [*flips(held.token), held.token[:-1], held.token + "A", held.token + "=", "", "é", held.id, wrong_secret()]
    answers = []
    for text in wrong:
        headers = {"Authorization": f"Bearer {text}".strip().encode()}
        answers.append(anyone.get(f"/api/v1/claims/{held.id}/files/0", headers=headers))
        answers.append(anyone.get(f"/api/v1/claims/{held.id}/blobs/7", headers=headers))
        answers.append(anyone.post(f"/api/v1/claims/{held.id}/complete", headers=headers))
    for claim_id in ("A" * 22, "x", "%00", held.id[:-1]):
        answers.append(anyone.get(f"/api/v1/claims/{claim_id}/files/0", headers=bearer(held.token)))
        answers.append(anyone.post(f"/api/v1/claims/{claim_id}/complete", headers=bearer(held.token)))
    answers.append(anyone.get(f"/api/v1/claims/{held.id}/files/0"))
    answers.append(anyone.get(f"/api/v1/claims/{held.id}/files/0?token={held.token}"))
    assert ok(same(answers), 404)["code"] == "claim_not_found"
    assert held.get().content == b"secret content"


def test_a_staff_token_is_no_claim_token_and_the_other_way_round(house, staff, anyone):
    held = claim(anyone, send(staff))
    for token in (house.tokens["staff"], house.tokens["admin"]):
        assert anyone.get(f"/api/v1/claims/{held.id}/files/0", headers=bearer(token)).status_code == 404
    assert anyone.get("/api/v1/transfers", headers=bearer(held.token)).status_code == 401


@pytest.mark.parametrize("key", ["", "short", "é", "A" * 44, "A" * 42, "A" * 42 + "B", "=" * 43, "A" * 5000])
def test_a_client_key_that_is_none_is_refused_before_the_body(staff, key):
    transfer, _ = open_transfer(staff)
    headers = {"Caducee-Client-Key": key.encode()}
    answers = [
        staff.put(f"/api/v1/transfers/{transfer}/files/a", content=b"x", headers=headers),
        staff.post(f"/api/v1/transfers/{transfer}/shares", json={"recipient": "x"}, headers=headers),
        staff.post("/api/v1/transfers", json={}, headers=headers),
        staff.put("/api/v1/send/a?recipient=x", content=b"x", headers=headers),
    ]
    assert [ok(answer, 400)["code"] for answer in answers] == ["client_key_required"] * 4


def test_a_wrong_client_key_adds_nothing_and_shares_nothing(staff):
    """G3: the client key is key material. The right depositor with a wrong one cannot even append."""
    share = send(staff)
    transfer, key = open_transfer(staff)
    for wrong in (wrong_secret(), next(flips(key)), share.client_key):
        headers = key_header(wrong)
        added = staff.put(f"/api/v1/transfers/{transfer}/files/a", content=b"x", headers=headers)
        assert ok(added, 403)["code"] == "wrong_client_key"
        issued = staff.post(
            f"/api/v1/transfers/{share.transfer_id}/shares",
            json={"recipient": "x"},
            headers=key_header(wrong_secret()),
        )
        assert ok(issued, 403)["code"] == "wrong_client_key"
    assert ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)["files"] == []
    assert staff.put(f"/api/v1/transfers/{transfer}/files/a", content=b"x").json()["code"] == "client_key_required"
    issue(staff, share.transfer_id, share.client_key)


def test_the_parts_of_one_share_do_not_work_for_another(staff, anyone):
    one, other = send(staff, b"one"), send(staff, b"other")
    assert try_claim(anyone, one, link_secret=other.secret).status_code == 404
    assert ok(try_claim(anyone, one, password=other.password), 401)["attempts_left"] == 4
    held, others = claim(anyone, one), claim(anyone, other)
    path = f"/api/v1/claims/{held.id}/files/0"
    assert anyone.get(path, headers=bearer(others.token)).status_code == 404
    assert held.get().content == b"one"


@pytest.mark.parametrize(
    "password",
    [
        "",
        " ",
        "A-" * 15,
        "A" * 15,
        "A" * 17,
        "A" * 256,
        "A" * 257,
        "U" * 16,
        "é" * 16,
        "\0" * 16,
        "\uff10" * 16,
        "AAAA-AAAA-AAAA-AAA\u0131",
    ],
)
def test_a_malformed_password_spends_no_attempt(staff, anyone, password):
    share = send(staff)
    refused = try_claim(anyone, share, password=password)
    assert ok(refused, 400)["code"] in {"malformed_password", "invalid_request"}
    assert password.strip() == "" or password not in refused.text
    by_content = anyone.post(f"/api/v1/shares/{share.id}/content", auth=("link", f"{share.secret}.{password}"))
    assert ok(by_content, 400)["code"] == "malformed_password"
    assert look(anyone, share)["attempts_left"] == 5
