"""Requests go in, and what stands in the topics comes out decoded."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from integration.cli.desk import CODEC, Desk
from postlane.core.events.command import Command, Wish
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState
from postlane.ops.topic_names import KINDS, UNUSED


def test_send_writes_a_request_into_the_partition_of_its_ticket(desk: Desk) -> None:
    ticket = f"Grüße-{uuid4().hex[:8]}"
    event_id = desk.send(ticket, "--subject", "Hi", "--tag", "vip", "--header", "X-Note: a")
    (record,) = desk.records("mail.outbound", ticket)
    request = CODEC.decode(MailRequested, record.value)
    assert (request.event_id, request.ticket_id, request.subject, request.text) == (
        event_id,
        ticket,
        "Hi",
        "Hello",
    )
    assert request.tags == ("vip",)
    assert ("ce_id", event_id.encode()) in record.headers


def test_send_takes_an_eml_and_puts_large_attachments_into_the_blob_store(desk: Desk, ticket: str) -> None:
    mail = (
        b"From: desk@a.test\nTo: ann@b.test\nSubject: With a file\nMIME-Version: 1.0\n"
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\nHello\n--x\n"
        b"Content-Type: application/pdf\nContent-Disposition: attachment; filename=big.pdf\n\n"
        + b"0123456789abcde\n" * 40_000
        + b"--x--\n"
    )
    eml = desk.directory / "mail.eml"
    eml.write_bytes(mail)
    ran = desk.run("send", "--ticket", ticket, "--eml", str(eml), "--json")
    assert ran.code == 0, ran.err
    (record,) = desk.records("mail.outbound", ticket)
    request = CODEC.decode(MailRequested, record.value)
    assert (request.event_id, request.subject) == (ran.json["event_id"], "With a file")
    (attachment,) = request.attachments
    assert attachment.blob is not None
    blob = next(desk.directory.rglob(attachment.blob.sha256))
    assert blob.stat().st_size == attachment.blob.size_bytes > 600_000


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--subject", "Hi\r\nBcc: evil@x.test"), "subject"),
        (("--header", "X-Note"), "NAME: VALUE"),
        (("--header", "Received: x"), "Received is written by Postlane itself"),
        (("--cc", "nobody"), "cc[0].address"),
        (("--attach", "/nowhere/at/all"), "/nowhere/at/all: No such file"),
    ],
)
def test_send_refuses_what_no_sender_would_take(
    desk: Desk, ticket: str, args: tuple[str, ...], words: str
) -> None:
    ran = desk.run(
        "send", "--ticket", ticket, "--from", "desk@a.test", "--to", "ann@b.test", "--text", "x", *args
    )
    assert ran.code == 2
    assert words in ran.err
    assert desk.records("mail.outbound", ticket) == []


def test_send_dry_run_writes_nothing(desk: Desk, ticket: str) -> None:
    assert desk.send(ticket, "--dry-run")
    assert desk.records("mail.outbound", ticket) == []


def test_tail_shows_the_last_records_decoded_and_filtered(desk: Desk, ticket: str) -> None:
    events = [desk.send(ticket, "--subject", f"Mail {n}") for n in range(3)]
    ran = desk.run("tail", "outbound", "--ticket", ticket, "--last", "2", "--json")
    shown = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["event"]["event_id"] for line in shown] == events[1:]
    assert shown[0]["key"] == ticket
    text = desk.run("tail", "mail.outbound", "--ticket", ticket).out
    assert "'Mail 2' to ann@b.test" in text
    since = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    everything = desk.run("tail", "outbound", "--ticket", ticket, "--since", since)
    assert len(everything.out.splitlines()) == 3
    assert desk.run("tail", "outbound", "--ticket", "no such ticket").code == 4


def test_tail_filters_statuses_by_state_and_shows_what_it_cannot_decode(desk: Desk, ticket: str) -> None:
    for state in (MailState.DEFERRED, MailState.SENT):
        desk.write("mail.outbound.status", ticket, CODEC.encode(desk.status(ticket, "event-1", 0, state)))
    desk.write("mail.outbound.status", ticket, b"garbage")
    sent = desk.run("tail", "status", "--ticket", ticket, "--state", "SENT").out.splitlines()
    assert len(sent) == 1
    assert "SENT" in sent[0]
    everything = desk.run("tail", "status", "--ticket", ticket).out
    assert "unknown framing" in everything


def test_tail_finds_the_commands_about_a_ticket(desk: Desk, ticket: str) -> None:
    command = Command(
        command_id="c-1",
        issued_at=datetime.now(UTC),
        issued_by="kim@desk",
        wish=Wish.HOLD_TICKET,
        ticket_id=ticket,
        reason="legal asked",
    )
    for one in (command, replace(command, ticket_id=f"{ticket}-other")):
        desk.write("mail.control", ticket, CODEC.encode(one))
    (line,) = desk.run("tail", "control", "--ticket", ticket).out.splitlines()
    assert line.endswith(f"HOLD_TICKET of ticket {ticket}, by kim@desk: legal asked")


def test_tail_of_an_unknown_topic_names_the_known_ones(desk: Desk) -> None:
    ran = desk.run("tail", "nothing")
    assert ran.code == 2
    assert "known are outbound, retry, status" in ran.err


@pytest.mark.parametrize("name", ["inbound-retry", "mail.inbound.retry"])
def test_tail_of_a_topic_that_nothing_writes_says_so(desk: Desk, name: str) -> None:
    for asked in (name, desk.topic(name)) if name.startswith("mail.") else (name,):
        ran = desk.run("tail", asked)
        assert ran.code == 4
        assert ran.err.startswith(f"postlane: nothing is written to {desk.prefix}mail.")
        assert " yet: " in ran.err


def test_every_declared_topic_is_shown_or_known_to_be_unused(desk: Desk) -> None:
    declared = {
        topic["topic"].removeprefix(desk.prefix): topic
        for topic in desk.run("topics", "describe", "--json").json
    }
    assert {kind.name for kind in KINDS.values()} | set(UNUSED.values()) == set(declared)
    assert {name for name, topic in declared.items() if not topic["used"]} == set(UNUSED.values())
    assert "not used yet; reserved for consumers" in desk.run("topics", "describe").out


def test_tail_follow_shows_what_comes_until_it_is_interrupted(desk: Desk, ticket: str) -> None:
    command = [sys.executable, "-c", "from postlane.ops.cli import main; main()"]
    command += [
        "--config",
        str(desk.configure()),
        "tail",
        "outbound",
        "--ticket",
        ticket,
        "--follow",
        "--json",
    ]
    services = Path(__file__).parents[3] / "services"
    first = desk.send(ticket)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(services)}
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"]["event_id"] == first
        second = desk.send(ticket)
        assert json.loads(process.stdout.readline())["event"]["event_id"] == second
        process.send_signal(signal.SIGINT)
        assert process.wait(100) == 0
