"""What doctor says about schemas and their registry."""

import sys
import threading
from collections.abc import Iterator

import pytest

from fakes.registry_server import RegistryServer
from localstack.ports import free_ports
from postlane.config.settings import Settings
from postlane.ops.check_kafka import check_schemas
from postlane.ops.checks import Check, State


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    server = RegistryServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def the_check(url: str | None) -> Check:
    (check,) = check_schemas(Settings.model_validate({"kafka": {"schema_registry_url": url}}))
    return check


def test_without_a_registry_the_shipped_schemas_suffice() -> None:
    assert the_check(None).state is State.OK


def test_a_registry_that_takes_the_schemas_is_well(server: RegistryServer) -> None:
    check = the_check(server.url)
    assert (check.state, "the registry has them as ids 7" in check.detail) == (State.OK, True)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "check the login: kafka.schema_registry_url = http(s)://USER:PASSWORD@HOST:PORT"),
        (403, "check the login"),
        (404, "a server answers there, but it is no schema registry"),
        (409, "set the subject's compatibility"),
        (503, "is the registry up?"),
    ],
)
def test_every_refusal_has_its_own_advice(server: RegistryServer, status: int, advice: str) -> None:
    server.fault = status
    check = the_check(server.url)
    assert check.state is State.FAIL
    assert str(status) in check.detail
    assert advice in check.advice
    assert "secret" not in f"{check}"


def test_a_registry_that_is_away_is_named() -> None:
    check = the_check(f"http://127.0.0.1:{free_ports(1)[0]}")
    assert (check.state, check.advice) == (
        State.FAIL,
        "check kafka.schema_registry_url; is the registry up?",
    )


def test_a_missing_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    check = the_check("http://127.0.0.1:1")
    assert (check.state, check.advice) == (State.FAIL, "pip install '.[registry]' in your clone of Postlane")
    assert "the registry's client is not installed" in check.detail
