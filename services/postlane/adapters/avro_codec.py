"""Events as Avro bytes and back, in two framings.

single-object   C3 01, 8 bytes CRC-64-AVRO fingerprint (little-endian), body     (Avro specification, Single-object encoding)
Confluent       00, 4 bytes schema id (big-endian), body                         (where a schema registry is configured)

Written is the newest shipped schema; read is whatever was written with any shipped version or any schema of the
registry, resolved to the newest one.
"""

import io
import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, get_args

import fastavro
import msgspec
from fastavro.schema import fingerprint, to_parsing_canonical_form

from postlane.adapters.schema_files import SchemaFile, load_schema_files
from postlane.adapters.schema_registry import SchemaRegistry, SchemaUnknown
from postlane.core.events.command import Command
from postlane.core.events.feedback import MailFeedback
from postlane.core.events.received import MailboxCursor, MailboxReport, MailReceived
from postlane.core.events.relay_lease import RelayLease
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailStatus

Event = (
    MailRequested
    | MailStatus
    | MailReceived
    | MailboxCursor
    | MailboxReport
    | Command
    | RelayLease
    | MailFeedback
)
E = TypeVar("E", bound=Event)

SINGLE_OBJECT = b"\xc3\x01"
FINGERPRINT_BYTES = 8
CONFLUENT = b"\x00"
CONFLUENT_HEAD = struct.Struct(">bI")
ERROR_TEXT_MAX = 200  # some errors quote what they choke on, and that may be a whole mail
KEPT_AS_THEY_ARE = (bytes, datetime)  # fastavro knows these two itself

# msgspec (0.22) works a type out when it is first used; another thread that uses it in the meantime crashes the process.
for _kind in get_args(Event):
    msgspec.json.Decoder(_kind)


class Undecodable(Exception):
    """These bytes are no event of the wanted kind, and no repetition will change that; the text says why."""


class Unencodable(ValueError):
    """The event holds a value that its schema cannot carry; the text names the event."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A schema that records were written with; `reader` None where it is the newest one and nothing is to be resolved."""

    record: str
    schema: Any
    reader: Any


class Codec:
    """Thread-safe. Without a registry it writes single-object encoding, with one Confluent's wire format."""

    def __init__(
        self, registry: SchemaRegistry | None = None, schemas: list[SchemaFile] | None = None
    ) -> None:
        files = load_schema_files() if schemas is None else schemas
        self._registry = registry
        self._newest: dict[str, SchemaFile] = {file.record: file for file in files}  # ordered by version
        self._readers = {
            record: fastavro.parse_schema(file.document) for record, file in self._newest.items()
        }
        self._by_fingerprint = {schema_fingerprint(file): self._shipped(file) for file in files}
        self._by_registry_id: dict[int, _Written] = {}
        self._heads: dict[str, bytes] = {}

    def encode(self, event: Event) -> bytes:
        """Framed bytes; times are cut to milliseconds. Raises Unencodable, and with a registry RegistryUnavailable, SchemaRefused."""
        record = record_name(type(event))
        body = io.BytesIO()
        body.write(self._head(record))
        try:
            fields = msgspec.to_builtins(event, builtin_types=KEPT_AS_THEY_ARE)
            _refuse_naive_times(fields)
            fastavro.schemaless_writer(body, self._readers[record], fields)
        except Exception as error:  # fastavro raises whatever the value's type raises
            raise Unencodable(f"{record} cannot be written: {_describe(error)}") from error
        return body.getvalue()

    def prepare(self, *kinds: type[Event]) -> None:
        """Make sure that these kinds can be written, before anything rests on it. Raises RegistryUnavailable, SchemaRefused."""
        for kind in kinds:
            self._head(record_name(kind))

    def decode(self, kind: type[E], value: bytes | None) -> E:
        """The event in these bytes. Raises Undecodable, and with a registry RegistryUnavailable."""
        record = record_name(kind)
        if not value:
            raise Undecodable(f"no {record}: the value is empty")
        written, start = self._written(value)
        if written.record != record:
            raise Undecodable(f"no {record}: the value holds a {written.record}")
        body = io.BytesIO(value)
        body.seek(start)
        try:
            fields = fastavro.schemaless_reader(body, written.schema, written.reader)
        except Exception as error:  # noqa: BLE001 (fastavro raises many kinds on bytes that are not Avro)
            raise Undecodable(f"no {record}: the body is cut short or damaged ({_describe(error)})") from None
        if left := len(value) - body.tell():
            raise Undecodable(f"no {record}: {left} bytes are left over after the body")
        try:
            return msgspec.convert(fields, kind, builtin_types=KEPT_AS_THEY_ARE)
        except msgspec.ValidationError as error:
            raise Undecodable(f"no {record}: {error}") from None

    def _shipped(self, file: SchemaFile) -> _Written:
        if file == self._newest[file.record]:
            return _Written(file.record, self._readers[file.record], None)
        return _Written(file.record, fastavro.parse_schema(file.document), self._readers[file.record])

    def _head(self, record: str) -> bytes:
        head = self._heads.get(record)
        if head is None:
            newest = self._newest[record]
            if self._registry is None:
                head = SINGLE_OBJECT + schema_fingerprint(newest)
            else:
                head = CONFLUENT_HEAD.pack(0, self._registry.id_of(record, newest.text))
            self._heads[record] = head
        return head

    def _written(self, value: bytes) -> tuple[_Written, int]:
        """The writer's schema and where the body starts."""
        if value.startswith(SINGLE_OBJECT):
            start = len(SINGLE_OBJECT) + FINGERPRINT_BYTES
            mark = value[len(SINGLE_OBJECT) : start]
            written = self._by_fingerprint.get(mark)
            if written is not None:
                return written, start
            if len(mark) < FINGERPRINT_BYTES:
                raise Undecodable("the value ends inside its schema fingerprint")
            raise Undecodable(
                f"schema fingerprint {mark.hex()} is none of ours; "
                "if a newer Postlane wrote this, upgrade this one first"
            )
        if value.startswith(CONFLUENT):
            if len(value) < CONFLUENT_HEAD.size:
                raise Undecodable("the value ends inside its schema id")
            return self._registered(CONFLUENT_HEAD.unpack_from(value)[1]), CONFLUENT_HEAD.size
        raise Undecodable(
            f"unknown framing: starts with {value[:2].hex()}, "
            "neither c301 (Avro single-object encoding) nor 00 (Confluent wire format)"
        )

    def _registered(self, schema_id: int) -> _Written:
        written = self._by_registry_id.get(schema_id)
        if written is None:
            written = self._fetch(schema_id)
            self._by_registry_id[schema_id] = written
        return written

    def _fetch(self, schema_id: int) -> _Written:
        if self._registry is None:
            raise Undecodable(
                f"written with schema id {schema_id} of a schema registry, but kafka.schema_registry_url is not set"
            )
        try:
            text = self._registry.schema_of(schema_id)
        except SchemaUnknown as error:
            raise Undecodable(str(error)) from None
        try:
            schema: Any = fastavro.parse_schema(msgspec.json.decode(text))
            record = str(schema["name"])
            return _Written(record, schema, self._readers.get(record))
        except Exception as error:  # noqa: BLE001 (whatever somebody else registered)
            raise Undecodable(f"schema id {schema_id} is no Avro record ({_describe(error)})") from None


def record_name(kind: type[object]) -> str:
    """The full Avro name of an event type."""
    return f"postlane.{kind.__name__}"


def schema_fingerprint(file: SchemaFile) -> bytes:
    """CRC-64-AVRO of the schema's parsing canonical form, little-endian as it stands in single-object encoding."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(file.document), "CRC-64-AVRO"))


def _refuse_naive_times(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError(f"{name} is a time without a time zone")


def _describe(error: Exception) -> str:
    text = str(error)[:ERROR_TEXT_MAX]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
