"""Events survive the trip through Avro in both framings; bytes that are no event are Undecodable and nothing else."""

import io
import json
import struct
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import fastavro
import pytest
from fastavro.schema import fingerprint
from hypothesis import given, settings
from hypothesis import strategies as st

from postlane.adapters.avro_codec import (
    CONFLUENT_HEAD,
    SINGLE_OBJECT,
    Codec,
    Event,
    Undecodable,
    Unencodable,
    record_name,
    schema_fingerprint,
)
from postlane.adapters.schema_files import SchemaFile, load_schema_files
from postlane.adapters.schema_registry import RegistryUnavailable, SchemaUnknown
from postlane.core.events.command import Command, Wish
from postlane.core.events.mail import Address
from postlane.core.events.received import MailboxCursor, MailReceived
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState, MailStatus

KINDS: tuple[type[Any], ...] = (MailRequested, MailStatus, MailReceived, MailboxCursor, Command)


class MemoryRegistry:
    """A SchemaRegistry in memory."""

    def __init__(self) -> None:
        self.schemas: dict[int, str] = {}

    def id_of(self, record: str, schema: str) -> int:
        assert record == record_name_in(schema)
        for schema_id, known in self.schemas.items():
            if known == schema:
                return schema_id
        self.schemas[100 + len(self.schemas)] = schema
        return 99 + len(self.schemas)

    def schema_of(self, schema_id: int) -> str:
        if schema_id not in self.schemas:
            raise SchemaUnknown(f"no schema with id {schema_id}")
        return self.schemas[schema_id]


class AbsentRegistry:
    """A registry that does not answer."""

    def id_of(self, record: str, schema: str) -> int:
        raise RegistryUnavailable(f"away ({record}, {len(schema)})")

    def schema_of(self, schema_id: int) -> str:
        raise RegistryUnavailable(f"away ({schema_id})")


def record_name_in(schema: str) -> str:
    document = json.loads(schema)
    return f"{document['namespace']}.{document['name']}"


REGISTRY = MemoryRegistry()
PLAIN = Codec()
REGISTERED = Codec(REGISTRY)

milliseconds = st.integers(-(10**12), 10**14)  # years 1938 to 5138
st.register_type_strategy(
    datetime, milliseconds.map(lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))
)
st.register_type_strategy(Mapping, st.dictionaries(st.text(), st.text(), max_size=3))
st.register_type_strategy(int, st.integers(0, 2**31 - 1))
st.register_type_strategy(str, st.text(max_size=20))
events: st.SearchStrategy[Event] = st.one_of(*(st.from_type(kind) for kind in KINDS))


def example_request() -> MailRequested:
    return MailRequested(
        event_id="e1",
        ticket_id="T-1",
        requested_at=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        from_address=Address(address="support@example.com", name="Süpport"),
        to=(Address(address="ann@example.org"),),
        subject="Grüße 🎫",
    )


# Round trips


@settings(max_examples=150)
@given(events)
def test_every_event_comes_back_from_single_object_encoding(event: Event) -> None:
    value = PLAIN.encode(event)
    assert value.startswith(SINGLE_OBJECT)
    assert PLAIN.decode(type(event), value) == event
    assert REGISTERED.decode(type(event), value) == event


@settings(max_examples=150)
@given(events)
def test_every_event_comes_back_from_confluent_framing(event: Event) -> None:
    value = REGISTERED.encode(event)
    assert value[:1] == b"\x00"
    assert REGISTERED.decode(type(event), value) == event


@given(events)
def test_the_same_event_gives_the_same_bytes(event: Event) -> None:
    assert PLAIN.encode(event) == Codec().encode(event)


def test_times_are_cut_to_milliseconds_and_come_back_in_utc() -> None:
    local = datetime(2026, 6, 1, 12, 0, 0, 123999, tzinfo=timezone(timedelta(hours=2)))
    event = MailRequested(
        event_id="e",
        ticket_id="t",
        requested_at=local,
        from_address=Address(address="a@example.com"),
        to=(),
        subject="",
    )
    back = PLAIN.decode(MailRequested, PLAIN.encode(event))
    assert back.requested_at == datetime(2026, 6, 1, 10, 0, 0, 123000, tzinfo=UTC)
    assert back.requested_at.tzinfo == UTC


# What another implementation would see


def test_fingerprints_are_those_of_the_avro_specification() -> None:
    """The vectors of share/test/data/schema-tests.txt in apache/avro."""
    assert fingerprint('"null"', "CRC-64-AVRO") == (7195948357588979594).to_bytes(8, "little").hex()
    assert fingerprint('"int"', "CRC-64-AVRO") == (8247732601305521295).to_bytes(8, "little").hex()


def test_the_framing_is_magic_fingerprint_body() -> None:
    file = next(file for file in load_schema_files() if file.record == "postlane.MailRequested")
    value = PLAIN.encode(example_request())
    assert value[:2] == b"\xc3\x01"
    assert value[2:10] == schema_fingerprint(file)
    body = fastavro.schemaless_reader(io.BytesIO(value[10:]), fastavro.parse_schema(file.document), None)
    assert isinstance(body, dict)
    assert body["subject"] == "Grüße 🎫"


def test_confluent_framing_is_zero_id_body() -> None:
    value = REGISTERED.encode(example_request())
    magic, schema_id = struct.unpack(">bI", value[:5])
    assert magic == 0
    assert record_name_in(REGISTRY.schemas[schema_id]) == "postlane.MailRequested"


# Bytes that are no event


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "the value is empty"),
        (b"", "the value is empty"),
        (b'{"ticket_id": "T-1"}', "unknown framing: starts with 7b22"),
        (b"\xc3", "unknown framing: starts with c3"),
        (b"\xc3\x01", "ends inside its schema fingerprint"),
        (b"\xc3\x01abc", "ends inside its schema fingerprint"),
        (b"\xc3\x01abcdefgh", "fingerprint 6162636465666768 is none of ours"),
        (b"\x00\x00\x00", "ends inside its schema id"),
        (b"\x00\x00\x00\x00\x07rest", "schema id 7 .* kafka.schema_registry_url is not set"),
    ],
)
def test_undecodable_says_why(value: bytes | None, complaint: str) -> None:
    with pytest.raises(Undecodable, match=complaint):
        PLAIN.decode(MailRequested, value)


def test_another_event_is_named() -> None:
    with pytest.raises(
        Undecodable, match=r"no postlane\.MailStatus: the value holds a postlane\.MailRequested"
    ):
        PLAIN.decode(MailStatus, PLAIN.encode(example_request()))


def test_left_over_bytes_are_named() -> None:
    with pytest.raises(Undecodable, match="3 bytes are left over"):
        PLAIN.decode(MailRequested, PLAIN.encode(example_request()) + b"abc")


@given(events, st.data())
def test_every_cut_is_undecodable(event: Event, data: st.DataObject) -> None:
    value = PLAIN.encode(event)
    cut = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(Undecodable):
        PLAIN.decode(type(event), value[:cut])


@settings(max_examples=300)
@given(st.sampled_from(KINDS), st.binary(max_size=200), st.booleans())
def test_garbage_is_undecodable_or_an_event_and_nothing_else(
    kind: type[Any], body: bytes, framed: bool
) -> None:
    file = next(file for file in load_schema_files() if file.record == record_name(kind))
    head = SINGLE_OBJECT + schema_fingerprint(file) if framed else b""
    try:
        event = PLAIN.decode(kind, head + body)
    except Undecodable:
        return
    assert isinstance(event, kind)


@settings(max_examples=300)
@given(events, st.data())
def test_a_flipped_byte_is_undecodable_or_an_event_and_nothing_else(
    event: Event, data: st.DataObject
) -> None:
    value = bytearray(PLAIN.encode(event))
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert isinstance(PLAIN.decode(type(event), bytes(value)), type(event))
    except Undecodable:
        return


# Events that cannot be written


def test_a_time_without_zone_cannot_be_written() -> None:
    event = MailboxCursor(
        mailbox="m",
        folder="f",
        uid_validity=1,
        uid=1,
        settled_uid=1,
        updated_at=datetime(2026, 1, 1),  # noqa: DTZ001
        instance="i",
    )
    with pytest.raises(
        Unencodable, match=r"postlane\.MailboxCursor .* updated_at is a time without a time zone"
    ):
        PLAIN.encode(event)


def test_text_that_is_no_unicode_cannot_be_written() -> None:
    event = MailboxCursor(
        mailbox="m\udcff",
        folder="f",
        uid_validity=1,
        uid=1,
        settled_uid=1,
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
        instance="i",
    )
    with pytest.raises(Unencodable, match="surrogates not allowed"):
        PLAIN.encode(event)


# Other versions


def with_second_version() -> tuple[list[SchemaFile], SchemaFile]:
    """All shipped schemas, and a later MailStatus with one more field, one more state and without `relay`."""
    files = load_schema_files()
    first = next(file for file in files if file.record == "postlane.MailStatus")
    document = first.document
    document["fields"] = [field for field in document["fields"] if field["name"] != "relay"]
    document["fields"].append({"name": "priority", "type": "int", "default": 0})
    state = next(field for field in document["fields"] if field["name"] == "state")
    state["type"]["symbols"].append("RECALLED")
    return files, SchemaFile(first.record, 2, json.dumps(document))


def example_status(state: str) -> dict[str, Any]:
    return {
        "status_id": "s1",
        "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
        "state": state,
        "final": True,
        "topic_id": "x",
        "partition": 1,
        "offset": 2,
        "cause": "c",
        "reason": "r",
        "attempt": 1,
        "instance": "i",
        "priority": 5,
    }


def written_with(schema: SchemaFile, fields: dict[str, Any]) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema.document), fields)
    return body.getvalue()


def test_an_older_reader_reads_a_newer_writer_of_the_registry() -> None:
    _, second = with_second_version()
    registry = MemoryRegistry()
    schema_id = registry.id_of(second.record, second.text)
    value = CONFLUENT_HEAD.pack(0, schema_id) + written_with(second, example_status("RECALLED"))
    event = Codec(registry).decode(MailStatus, value)
    assert event.state is MailState.OTHER  # a symbol that it does not know
    assert event.relay is None  # a field that the writer no longer has
    assert event.status_id == "s1"


def test_a_newer_reader_reads_older_records_of_a_shipped_version() -> None:
    files, second = with_second_version()
    event = MailStatus(
        status_id="s1",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        state=MailState.SENT,
        final=True,
        topic_id="x",
        partition=1,
        offset=2,
        cause="c",
        reason="r",
        attempt=1,
        instance="i",
    )
    old = PLAIN.encode(event)
    newer = Codec(schemas=[*files, second])
    assert newer.decode(MailStatus, old) == event
    assert newer.encode(event)[2:10] == schema_fingerprint(second)


def test_a_newer_fingerprint_says_to_upgrade() -> None:
    _, second = with_second_version()
    value = SINGLE_OBJECT + schema_fingerprint(second) + written_with(second, example_status("SENT"))
    with pytest.raises(Undecodable, match="upgrade this one first"):
        PLAIN.decode(MailStatus, value)


# The registry


def test_a_registry_that_is_away_is_no_fault_of_the_record() -> None:
    codec = Codec(AbsentRegistry())
    with pytest.raises(RegistryUnavailable):
        codec.decode(MailRequested, b"\x00\x00\x00\x00\x07rest")
    with pytest.raises(RegistryUnavailable):
        codec.encode(example_request())
    assert codec.decode(MailRequested, PLAIN.encode(example_request())) == example_request()


@pytest.mark.parametrize(
    "schema", ["no json", "[]", '"string"', '{"type": "record"}', '{"type": "nonsense"}']
)
def test_a_schema_that_is_no_record_is_named(schema: str) -> None:
    registry = MemoryRegistry()
    registry.schemas[7] = schema
    with pytest.raises(Undecodable, match="schema id 7 is no Avro record"):
        Codec(registry).decode(MailRequested, b"\x00\x00\x00\x00\x07rest")


def test_an_unknown_schema_id_is_named() -> None:
    with pytest.raises(Undecodable, match="no schema with id 9"):
        Codec(MemoryRegistry()).decode(MailRequested, b"\x00\x00\x00\x00\x09rest")


def test_a_record_of_somebody_else_is_named() -> None:
    registry = MemoryRegistry()
    registry.schemas[7] = json.dumps({"type": "record", "name": "acme.Invoice", "fields": []})
    with pytest.raises(Undecodable, match=r"holds a acme\.Invoice"):
        Codec(registry).decode(MailRequested, b"\x00\x00\x00\x00\x07")


def test_no_thread_is_the_first_to_use_a_type() -> None:
    """Two threads that decode the first status of a process at the same time crashed it (msgspec 0.22)."""
    script = """if True:
        import typing
        from postlane.adapters import avro_codec
        kinds = typing.get_args(avro_codec.Event)
        print([kind.__name__ for kind in kinds if "__msgspec_cache__" not in vars(kind)])
    """
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_wishes_that_an_older_schema_does_not_know_are_other_wishes() -> None:
    """What mail.control holds after a newer Postlane wrote there, seen by a reader with the first version of the schema."""
    first, second = (file for file in load_schema_files() if file.record == "postlane.Command")
    paused = Command(
        command_id="c",
        issued_at=datetime(2026, 1, 1, tzinfo=UTC),
        issued_by="kim",
        wish=Wish.PAUSE_RELAY,
        relay="main",
    )
    registry = MemoryRegistry()
    value = Codec(registry, [second]).encode(paused)
    read = Codec(registry, [first]).decode(Command, value)
    assert (read.wish, read.ticket_id, read.relay) == (Wish.OTHER, "", None)


def test_commands_of_the_first_version_are_still_read() -> None:
    first, _ = (file for file in load_schema_files() if file.record == "postlane.Command")
    held = Command(
        command_id="c",
        issued_at=datetime(2026, 1, 1, tzinfo=UTC),
        issued_by="kim",
        wish=Wish.HOLD_TICKET,
        ticket_id="T-1",
    )
    assert Codec().decode(Command, Codec(None, [first]).encode(held)) == held
