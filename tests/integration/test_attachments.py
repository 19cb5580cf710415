"""Attachments of received mail on real stores: a bucket of an S3 server, a clamd with a signature of its own."""

import asyncio
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fakes.inbound_process import (
    PARTITIONS,
    InboundProcess,
    TopicReader,
    inbound_process,
    inbound_settings,
    mailbox,
    wait_until,
)
from fakes.memory_log import MemoryLog
from fakes.memory_mailbox import MemoryMailServer
from localstack.s3proxy import ObjectServer
from plugins.clamd import HARMLESS, SIGNATURE, ClamdServer
from postlane.adapters.blob_stores import open_blob_store
from postlane.adapters.metrics import Metrics
from postlane.adapters.scanner import configured_scanner
from postlane.config.blobs_section import BlobsSection
from postlane.config.scan_section import ScanSection
from postlane.core.events.received import MailReceived, ReceivedAttachment, Scan, ScanVerdict
from postlane.core.metrics import INBOUND_METRICS
from postlane.inbound.topics import NAMES

SMALL, LARGE = 1000, 40_000


def mail_with(*contents: bytes) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ann@example.org", "support@desk.test", "files"
    mail.set_content("see the files")
    for number, content in enumerate(contents):
        mail.add_attachment(content, "application", "octet-stream", filename=f"{number}.bin")
    return mail.as_bytes()


class World:
    """A mailbox and a Kafka in memory; the rest is real."""

    def __init__(self, folder: Path, blobs: dict[str, Any]) -> None:
        self.blobs = BlobsSection(**blobs)
        self.server = MemoryMailServer()
        self.server.folder("INBOX")
        self.log = MemoryLog()
        for topic in (*NAMES, "mail.control"):
            self.log.create_topic(topic, PARTITIONS)
        self.reader = TopicReader(self.log)
        self.settings = inbound_settings(folder, {"support": mailbox(start="all")})

    async def received(self, raw: bytes, scan: ScanSection | None = None) -> MailReceived:
        """The event that the mail becomes."""
        self.server.deliver(raw)
        async with self.process(scan or ScanSection()):
            await wait_until(lambda: len(self.reader.events()) == 1)
        (event,) = self.reader.events()
        return event

    def process(self, scan: ScanSection) -> Any:
        settings = self.settings.model_copy(update={"scan": scan, "blobs": self.blobs})
        return inbound_process(
            settings, self.log, lambda _section: self.server.session(), blobs=open_blob_store(self.blobs)
        )

    async def content(self, attachment: ReceivedAttachment) -> bytes | None:
        if attachment.blob is None:
            return attachment.content
        assert attachment.content is None
        return await open_blob_store(self.blobs).get(attachment.blob)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {"directory": tmp_path / "blobs"})


async def test_raw_mail_and_large_attachments_lie_in_the_bucket(
    tmp_path: Path, object_server: ObjectServer
) -> None:
    bucket = f"inbound-{uuid4().hex[:8]}"
    folder = object_server.make_bucket(bucket)
    s3 = {
        "bucket": bucket,
        "endpoint": object_server.endpoint,
        "access_key_id": object_server.access_key_id,
        "secret_access_key": object_server.secret_access_key,
    }
    world = World(tmp_path, {"s3": s3})
    contents = [bytes([1]) * SMALL, bytes([2]) * LARGE]
    raw = mail_with(*contents)
    event = await world.received(raw)
    assert await open_blob_store(world.blobs).get(event.raw) == raw
    assert [await world.content(one) for one in event.attachments] == contents
    assert [one.blob is None for one in event.attachments] == [True, False]
    assert all(one.scan is None for one in event.attachments)
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2
    assert not (tmp_path / "blobs").exists()


async def test_mail_waits_while_the_bucket_is_away_and_is_not_lost(
    tmp_path: Path, object_server: ObjectServer
) -> None:
    bucket = f"late-{uuid4().hex[:8]}"
    s3 = {
        "bucket": bucket,
        "endpoint": object_server.endpoint,
        "access_key_id": object_server.access_key_id,
        "secret_access_key": object_server.secret_access_key,
    }
    world = World(tmp_path, {"s3": s3})
    world.server.deliver(mail_with(bytes(LARGE)))
    process: InboundProcess
    async with world.process(ScanSection()) as process:
        await wait_until(
            lambda: process.metric("postlane_inbound_errors_total", mailbox="support", kind="blob-store") > 1
        )
        assert world.reader.events() == []
        object_server.make_bucket(bucket)
        await wait_until(lambda: len(world.reader.events()) == 1)
    assert world.reader.records("mail.inbound.dlq") == []


async def test_clamd_marks_what_it_finds_and_the_mail_goes_on(
    world: World, clamd_server: ClamdServer
) -> None:
    contents = [
        b"nothing bad",
        HARMLESS + bytes(LARGE),
        bytes(clamd_server.size_bytes_max + 100_000),
        bytes(3 * clamd_server.size_bytes_max),
    ]
    scan = ScanSection(
        clamd=str(clamd_server.socket_path), size_bytes_max=2 * clamd_server.size_bytes_max, seconds_max=60
    )
    event = await world.received(mail_with(*contents), scan)
    assert [await world.content(one) for one in event.attachments] == contents
    found = [(one.scan.verdict, one.scan.detail) for one in event.attachments if one.scan]
    assert found == [
        (ScanVerdict.CLEAN, ""),
        (ScanVerdict.INFECTED, f"{SIGNATURE}.UNOFFICIAL"),
        (ScanVerdict.SKIPPED, "larger than StreamMaxLength of clamd"),
        (ScanVerdict.SKIPPED, f"larger than {2 * clamd_server.size_bytes_max} bytes"),
    ]


async def test_clamd_finds_it_many_times_at_once(clamd_server: ClamdServer) -> None:
    section = ScanSection(clamd=str(clamd_server.socket_path), seconds_max=60)
    scanner = configured_scanner(section, Metrics(INBOUND_METRICS), asyncio.get_running_loop().time)
    assert scanner is not None
    mails = await asyncio.gather(*(scanner.scan([HARMLESS, b"clean"]) for _ in range(50)))
    assert {tuple(scan.verdict.value for scan in scans) for scans in mails} == {("INFECTED", "CLEAN")}


async def test_a_dead_scanner_holds_no_mail_back(world: World, tmp_path: Path) -> None:
    for _ in range(5):
        world.server.deliver(mail_with(b"one", b"two"))
    scan = ScanSection(clamd=str(tmp_path / "nobody.sock"))
    process: InboundProcess
    async with world.process(scan) as process:
        await wait_until(lambda: len(world.reader.events()) == 5)
        assert process.metric("postlane_inbound_scanner_ok") == 0
        assert process.metric("postlane_inbound_scans_total", verdict="ERROR") == 10
    scans = [one.scan for event in world.reader.events() for one in event.attachments]
    assert {scan.verdict for scan in scans if isinstance(scan, Scan)} == {ScanVerdict.ERROR}
    assert len(scans) == 10
