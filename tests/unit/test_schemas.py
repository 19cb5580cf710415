"""The shipped schemas: complete, documented, alike where they share, and compatible with every earlier version."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postlane.adapters.avro_codec import Event, record_name
from postlane.adapters.schema_compatibility import incompatibilities, main
from postlane.adapters.schema_files import (
    SchemaFile,
    SchemasMissing,
    load_schema_files,
    schema_directory,
)
from postlane.core.events.command import Command, Wish
from postlane.core.events.feedback import FeedbackKind, MailFeedback, Permanence
from postlane.core.events.mail import Address, BlobRef, Disposition, Header
from postlane.core.events.received import (
    Classification,
    Label,
    MailboxCursor,
    MailboxReport,
    MailReceived,
    MatchCandidate,
    MatchKind,
    ParseStatus,
    ReceivedAttachment,
    Scan,
    ScanVerdict,
    Verdicts,
)
from postlane.core.events.relay_lease import (
    Amount,
    Claim,
    LeaseGrant,
    LeaseKind,
    LeaseRequest,
    Need,
    Outstanding,
    Parcel,
    RelayHold,
    RelayLease,
    RelayReport,
    RelaySnapshot,
    ReportOutcome,
    Returned,
    Tally,
)
from postlane.core.events.request import AutoSubmitted, MailRequested, RequestedAttachment
from postlane.core.events.status import MailState, MailStatus, RecipientOutcome, RecipientState, SmtpReply

EVENTS: tuple[type[Event], ...] = (
    MailRequested,
    MailStatus,
    MailReceived,
    MailboxCursor,
    MailboxReport,
    Command,
    RelayLease,
    MailFeedback,
)
RECORDS = {
    kind.__name__: kind
    for kind in (
        *EVENTS,
        Address,
        Header,
        BlobRef,
        RequestedAttachment,
        ReceivedAttachment,
        SmtpReply,
        RecipientOutcome,
        MatchCandidate,
        Classification,
        Verdicts,
        Scan,
        Amount,
        Need,
        Returned,
        LeaseRequest,
        Parcel,
        RelayHold,
        LeaseGrant,
        RelayReport,
        Tally,
        Outstanding,
        Claim,
        RelaySnapshot,
    )
}
ENUMS = {
    kind.__name__: kind
    for kind in (
        Disposition,
        AutoSubmitted,
        MailState,
        RecipientState,
        ParseStatus,
        MatchKind,
        Label,
        ScanVerdict,
        Wish,
        FeedbackKind,
        Permanence,
        LeaseKind,
        ReportOutcome,
    )
}
FILES = load_schema_files()
NEWEST = {file.record: file for file in FILES}


def types_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Every record and enum defined in a schema, outermost first."""
    match schema:
        case list():
            for branch in schema:
                yield from types_in(branch)
        case {"type": "record", "fields": fields}:
            yield schema
            for field in fields:
                yield from types_in(field["type"])
        case {"type": "enum"}:
            yield schema
        case {"type": "array", "items": inner} | {"type": "map", "values": inner}:
            yield from types_in(inner)


def test_every_event_has_a_schema_and_every_schema_an_event() -> None:
    assert set(NEWEST) == {record_name(kind) for kind in EVENTS}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.record} v{file.version}")
def test_every_type_and_field_is_documented(file: SchemaFile) -> None:
    for kind in types_in(file.document):
        assert len(kind.get("doc", "")) > 15, kind["name"]
        for field in kind.get("fields", ()):
            assert len(field.get("doc", "")) > 10, f"{kind['name']}.{field['name']}"
            assert field["doc"].endswith("."), f"{kind['name']}.{field['name']}"


@pytest.mark.parametrize("file", NEWEST.values(), ids=lambda file: file.record)
def test_records_have_the_fields_of_their_dataclass(file: SchemaFile) -> None:
    for kind in types_in(file.document):
        if kind["type"] == "record":
            names = [field["name"] for field in kind["fields"]]
            assert names == [field.name for field in dataclasses.fields(RECORDS[kind["name"]])], kind["name"]


@pytest.mark.parametrize("file", NEWEST.values(), ids=lambda file: file.record)
def test_what_the_dataclass_may_leave_out_has_a_default(file: SchemaFile) -> None:
    for kind in types_in(file.document):
        if kind["type"] == "record":
            optional = {
                field.name
                for field in dataclasses.fields(RECORDS[kind["name"]])
                if field.default is not dataclasses.MISSING
                or field.default_factory is not dataclasses.MISSING
            }
            assert optional <= {field["name"] for field in kind["fields"] if "default" in field}


@pytest.mark.parametrize("file", NEWEST.values(), ids=lambda file: file.record)
def test_enums_have_the_symbols_of_their_class_and_a_default(file: SchemaFile) -> None:
    for kind in types_in(file.document):
        if kind["type"] == "enum":
            assert kind["symbols"] == [member.value for member in ENUMS[kind["name"]]], kind["name"]
            assert kind["default"] in kind["symbols"]
            if "OTHER" in kind["symbols"]:
                assert kind["default"] == "OTHER"


@pytest.mark.parametrize("file", NEWEST.values(), ids=lambda file: file.record)
def test_times_are_timestamps(file: SchemaFile) -> None:
    for kind in types_in(file.document):
        for field in kind.get("fields", ()):
            if re.search(r"(_at|^date|^not_before)$", field["name"]):
                assert "timestamp-millis" in json.dumps(field["type"]), f"{kind['name']}.{field['name']}"


def test_types_that_records_share_are_alike() -> None:
    seen: dict[str, Any] = {}
    for file in NEWEST.values():
        for kind in types_in(file.document):
            bare = json.loads(
                json.dumps(kind), object_hook=lambda node: {k: node[k] for k in node if k != "doc"}
            )
            assert seen.setdefault(kind["name"], bare) == bare, kind["name"]


def test_all_versions_are_compatible() -> None:
    assert incompatibilities(FILES) == []
    assert main([]) == 0


# What the check is worth: changes that must pass, and changes that must be caught


def successor(change: str) -> list[SchemaFile]:
    """MailRequested v1 and a v2 made from it."""
    (first,) = (file for file in FILES if file.record == "postlane.MailRequested" and file.version == 1)
    document = first.document
    fields = {field["name"]: field for field in document["fields"]}
    match change:
        case "field with default":
            document["fields"].append({"name": "priority", "type": "int", "default": 0})
        case "enum symbol":
            fields["auto_submitted"]["type"]["symbols"].append("AUTO_NOTIFIED")
        case "optional field removed":
            document["fields"].remove(fields["tags"])
        case "field without default":
            document["fields"].append({"name": "priority", "type": "int"})
        case "required field removed":
            document["fields"].remove(fields["subject"])
        case "type changed":
            fields["subject"]["type"] = "int"
        case "made nullable":
            fields["subject"]["type"] = ["null", "string"]
        case "renamed":
            fields["subject"]["name"] = "title"
        case "nested field without default":
            fields["from_address"]["type"]["fields"].append({"name": "verified", "type": "boolean"})
    return [first, SchemaFile(first.record, 2, json.dumps(document))]


@pytest.mark.parametrize("change", ["field with default", "enum symbol", "optional field removed"])
def test_safe_changes_pass(change: str) -> None:
    assert incompatibilities(successor(change)) == []


@pytest.mark.parametrize(
    "change",
    [
        "field without default",
        "required field removed",
        "type changed",
        "made nullable",
        "renamed",
        "nested field without default",
    ],
)
def test_unsafe_changes_are_caught(change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = successor(change)
    assert incompatibilities([first, second]) != []
    (tmp_path / "mail_requested.v1.avsc").write_text(first.text)
    (tmp_path / "mail_requested.v2.avsc").write_text(second.text)
    assert main([str(tmp_path)]) == 1
    assert "postlane.MailRequested: v" in capsys.readouterr().err


def test_a_middle_version_counts_too() -> None:
    """v1 and v3 agree; v2 between them does not."""
    first, second = successor("type changed")
    third = SchemaFile(first.record, 3, first.text)
    faults = incompatibilities([first, second, third])
    assert any("v3 cannot read what v2 wrote" in fault for fault in faults)


# Finding the files


def test_schemas_are_found_in_a_checkout() -> None:
    assert (schema_directory() / "mail_requested.v1.avsc").is_file()


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("MailRequested.avsc", "{}", "is named like"),
        ("mail_requested.v1.avsc", "{", "not a readable Avro schema"),
        ("mail_requested.v1.avsc", "[]", "not a readable Avro schema"),
        (
            "mail_requested.v1.avsc",
            '{"namespace": "postlane", "name": "Other"}',
            "must hold the record MailRequested",
        ),
    ],
)
def test_a_bad_schema_file_is_named(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SchemasMissing, match=complaint):
        load_schema_files(tmp_path)


def test_an_empty_directory_is_no_installation(tmp_path: Path) -> None:
    with pytest.raises(SchemasMissing, match="reinstall"):
        load_schema_files(tmp_path)
