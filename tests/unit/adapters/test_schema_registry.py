"""The registry adapter against a small HTTP server that speaks the part of Confluent's interface that it uses."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from fakes.registry_server import RegistryServer
from localstack.ports import free_ports
from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.adapters.schema_registry import (
    ConfluentRegistry,
    RegistryUnavailable,
    SchemaRefused,
    SchemaUnknown,
)
from postlane.core.events.mail import Address
from postlane.core.events.request import MailRequested
from postlane.ports import LogUnavailable

RECORD = "postlane.Thing"
SCHEMA = '{"type": "record", "name": "Thing", "namespace": "postlane", "fields": []}'


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    server = RegistryServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_schema_is_registered_once_and_found_again(server: RegistryServer) -> None:
    schema_id = ConfluentRegistry(server.url).id_of(RECORD, SCHEMA)
    assert ConfluentRegistry(server.url).id_of(RECORD, SCHEMA) == schema_id == 7
    assert server.registrations == 1
    assert ConfluentRegistry(server.url).schema_of(schema_id) == SCHEMA


def test_a_known_schema_needs_no_right_to_write(server: RegistryServer) -> None:
    server.schemas[30] = {"schema": SCHEMA}
    server.closed = True
    assert ConfluentRegistry(server.url).id_of(RECORD, SCHEMA) == 30


def test_a_refused_schema_says_what_to_do(server: RegistryServer) -> None:
    server.closed = True
    with pytest.raises(
        SchemaRefused, match=r"refuses the schema postlane\.Thing.*incompatible.*schemas/\*\.avsc"
    ):
        ConfluentRegistry(server.url).id_of(RECORD, SCHEMA)


def test_an_unknown_id_is_the_record_s_fault(server: RegistryServer) -> None:
    registry = ConfluentRegistry(server.url)
    with pytest.raises(SchemaUnknown, match="no schema with id 99"):
        registry.schema_of(99)
    with pytest.raises(Undecodable, match="no schema with id 99"):
        Codec(registry).decode(MailRequested, b"\x00\x00\x00\x00\x63")


def test_a_schema_of_another_kind_is_named(server: RegistryServer) -> None:
    server.schemas[8] = {"schema": "{}", "schemaType": "JSON"}
    with pytest.raises(SchemaUnknown, match="schema id 8 is JSON, not AVRO"):
        ConfluentRegistry(server.url).schema_of(8)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_broken_registry_is_nobody_s_fault(server: RegistryServer, status: int) -> None:
    server.fault = status
    with pytest.raises(RegistryUnavailable) as failure:
        ConfluentRegistry(server.url).schema_of(7)
    assert str(status) in str(failure.value)
    assert isinstance(failure.value, LogUnavailable)


def test_a_registry_that_is_away_is_named_without_its_password() -> None:
    url = f"http://user:secret@127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(RegistryUnavailable, match=r"schema registry 127\.0\.0\.1 does not answer") as failure:
        ConfluentRegistry(url).id_of(RECORD, SCHEMA)
    assert "secret" not in str(failure.value)


def test_events_travel_by_registry(server: RegistryServer) -> None:
    event = MailRequested(
        event_id="e",
        ticket_id="t",
        requested_at=datetime(2026, 1, 1, tzinfo=UTC),
        from_address=Address(address="a@example.com"),
        to=(),
        subject="s",
    )
    value = Codec(ConfluentRegistry(server.url)).encode(event)
    assert value[:5] == b"\x00\x00\x00\x00\x07"
    assert Codec(ConfluentRegistry(server.url)).decode(MailRequested, value) == event
