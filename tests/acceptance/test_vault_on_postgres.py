"""The program with its vault on PostgreSQL: commands, a running service, and an end of everything."""

import pytest

from tests.acceptance.people import claim, send
from tests.acceptance.service import Installation, until

pytestmark = [pytest.mark.postgres, pytest.mark.external]


def test_the_program_runs_with_a_vault_on_postgresql(tmp_path, vault_server):
    with_password = vault_server.url.replace("caducee_vault@", "caducee_vault:SEKRET@")
    installation = Installation(tmp_path / "house", VAULT=with_password)
    token = installation.token()
    assert "SEKRET" not in installation.run("config", "show").out
    with installation.serving() as server, server.http(token) as http:
        first, _ = send(http, b"content"), send(http)
        assert claim(http, first).get().content == b"content"
        found = {each["check"]: each for each in installation.run("doctor", "--json", code=None).json["findings"]}
        assert found["vault instance"]["level"] == "ok"
        assert installation.run("keys", "expire", "--json").json["due_left"] == 0
        assert keys_in(vault_server) == 4
        installation.run("lockdown", "destroy-all-keys", "--reason", "test", typed="destroy\n")
        assert keys_in(vault_server) == 0
        until(lambda: states_in(installation) == {"verified"}, what="the end of both transfers")


def test_doctor_names_each_wrong_setting_of_the_vault_with_its_right_value(tmp_path, vault_server):
    installation = Installation(tmp_path / "house", VAULT=vault_server.url)
    installation.make()
    for setting, value in (("log_statement", "all"), ("log_min_duration_statement", "0")):
        vault_server.admin(f"ALTER ROLE caducee_vault SET {setting} = '{value}'")
    try:
        findings = installation.run("doctor", "--json", code=1).json["findings"]
        assert [each["said"] for each in findings] == [
            "log_statement is all, must be none",
            "log_min_duration_statement is 0, must be -1",
        ]
        assert "log_statement is all, must be none" in installation.run("sweep", code=None).err
    finally:
        vault_server.admin("ALTER ROLE caducee_vault RESET ALL")


def test_a_vault_that_is_lost_for_good_is_replaced_by_an_operator(tmp_path, vault_server):
    installation = Installation(tmp_path / "house", VAULT=vault_server.url)
    with installation.serving() as server, server.http(installation.token()) as http:
        send(http)
    vault_server.admin("DROP SCHEMA vault CASCADE", database="caducee_vault")
    lost = installation.run("sweep", code=None)
    assert (lost.code != 0, "carries no installation id" in lost.err, "accept-vault" in lost.err) == (True, True, True)
    assert installation.run("keys", "accept-vault", "--json", typed="lost\n").json == {"accepted": "new", "ended": 1}
    installation.run("sweep")
    assert states_in(installation) == {"verified"}


def keys_in(server) -> int:
    ((count,),) = server.admin("SELECT count(*) FROM vault.keys", database="caducee_vault")
    return int(count)


def states_in(installation) -> set[str]:
    return {row[0] for row in installation.rows("SELECT state FROM transfers")}
