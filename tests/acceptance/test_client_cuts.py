"""A depositor's client whose line is cut in any request of a sealed send: the recipient gets one link, which works."""

from __future__ import annotations

import re

import httpx
import pytest

from app.client.collecting import collect
from app.client.link import Link
from app.client.sealed_claim import SealedClaim
from app.client.sending import Request, Sending, Sent
from app.client.state import ClientState
from tests.acceptance.cutting_proxy import Cut, CuttingProxy
from tests.acceptance.people import bearer, ok
from tests.acceptance.service import NO_TLS


@pytest.fixture
def proxy(house):
    proxy = CuttingProxy(("127.0.0.1", house.server.port))
    yield proxy
    proxy.close()


@pytest.fixture
def cut_at(house, proxy):
    """A client that loses the first response to such a request."""
    missed = set[str]()

    def client(cut):
        def before(request):
            kind = f"{request.method} {re.sub('/[A-Za-z0-9_-]{22}', '', request.url.path.removeprefix('/api/v1'))}"
            if kind == cut and kind not in missed:
                missed.add(kind)
                proxy.cut = Cut("response", 10, reset=True)

        headers = bearer(house.tokens["staff"]) | {"Connection": "close"}
        headers |= {"Host": house.server.origin.removeprefix("http://")}
        address = f"http://127.0.0.1:{proxy.port}"
        return httpx.Client(
            base_url=address, headers=headers, event_hooks={"request": [before]}, verify=NO_TLS, trust_env=False
        )

    yield client
    assert missed, "nothing was cut"


@pytest.mark.parametrize(
    "cut",
    ["POST /transfers", "PUT /transfers/key", "POST /transfers/uploads", "POST /transfers/shares", "PUT /shares/key"],
)
def test_a_lost_response_leaves_one_link_that_works(cut_at, staff, anyone, tmp_path, cut):
    sent = send_through(cut_at(cut), tmp_path)
    shown = ok(staff.get(f"/api/v1/transfers/{sent.transfer_id}"), 200)
    share = sent.shares["CPAM 75"]
    open_shares = [each["id"] for each in shown["shares"] if each["state"] in {"prepared", "issued"}]
    assert open_shares == [share.id]
    claim = SealedClaim.redeem(anyone, Link.parse(share.link.text()), share.password)
    assert b"".join(claim.fetch(0)) == b"content"


def send_through(http, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"content")
    request = Request(collect([tmp_path / "a.csv"]), ["CPAM 75"], {"expires_in": "1h"})
    shown: list[Sent] = []
    with http:
        Sending(http, ClientState(tmp_path / "state"), request, patience_seconds=20).run(shown.append)
    return shown[0]
