"""The inbound service on a real broker and a real mail server, in processes of its own where one must die."""

import asyncio
import contextlib
import os
import signal
import smtplib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import tomli_w

from fakes.inbound_process import (
    PARTITIONS,
    SIGNING,
    TopicReader,
    inbound_process,
    inbound_settings,
    wait_until,
)
from localstack.greenmail import Mailbox, MailServer
from postlane.adapters.imap_source import ImapAccount, ImapSource
from postlane.adapters.kafka_log import KafkaLog
from postlane.adapters.topics import TopicAdmin, load_topics
from postlane.config.mailbox_section import MailboxSection
from postlane.config.sections import Tls
from postlane.config.settings import Settings
from postlane.core.events.received import MailReceived
from postlane.core.polling.folder import ListedMail
from postlane.inbound.topics import NAMES
from postlane.inbound.wiring import imap_connect
from postlane.ports import MailSource

START_SECONDS = 60.0  # a process starts, joins and polls, on a machine that does other things too


def mail(number: int) -> bytes:
    return (
        f"From: Ann <ann@example.org>\r\nTo: support@desk.test\r\nSubject: mail {number}\r\n"
        f"Message-ID: <{number}.{uuid4().hex}@example.org>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\nwords {number}\r\n"
    ).encode()


def numbers(events: list[MailReceived]) -> list[int]:
    return [int(event.subject.removeprefix("mail ")) for event in events]


@dataclass
class World:
    """A mailbox on GreenMail and a set of topics of its own."""

    folder: Path
    bootstrap: str
    prefix: str
    server: MailServer
    mailbox: Mailbox
    log: KafkaLog
    reader: TopicReader

    def section(self, **changes: Any) -> dict[str, Any]:
        return {
            "host": self.server.host,
            "port": self.server.imap_port,
            "tls": "none",
            "username": self.mailbox.address,
            "password": self.mailbox.password,
        } | changes

    def settings(self, inbound: dict[str, Any] | None = None, **section: Any) -> Settings:
        return inbound_settings(
            self.folder,
            {"support": self.section(**section)},
            self.prefix,
            inbound,
            {"bootstrap_servers": self.bootstrap},
        )

    @contextlib.asynccontextmanager
    async def inside(self, instance: str = "one", **section: Any) -> AsyncIterator[Any]:
        settings = self.settings(**section)
        async with inbound_process(settings, self.log, imap_connect(settings.inbound), instance) as process:
            yield process

    async def deliver(self, *raws: bytes) -> None:
        await asyncio.to_thread(self._send, raws)

    def _send(self, raws: tuple[bytes, ...]) -> None:
        with smtplib.SMTP(self.server.host, self.server.smtp_port) as smtp:
            for raw in raws:
                smtp.sendmail("ann@example.org", [self.mailbox.address], raw)

    async def produced(self, count: int) -> list[MailReceived]:
        await wait_until(lambda: len(self.reader.events()) >= count, START_SECONDS)
        return self.reader.events()

    async def begun(self) -> None:
        await wait_until(lambda: bool(self.reader.cursors()), START_SECONDS)

    def session(self) -> ImapSource:
        return ImapSource(
            ImapAccount(
                host=self.server.host,
                port=self.server.imap_port,
                tls=Tls.NONE,
                username=self.mailbox.address,
                password=self.mailbox.password,
            )
        )

    async def left(self, folder: str = "INBOX") -> list[ListedMail]:
        source = self.session()
        await source.open(folder)
        try:
            return await source.list_since(0, 100)
        finally:
            await source.close()

    async def unseen(self) -> int:
        source = self.session()
        await source.open("INBOX")
        try:
            return len(await source._client.search("UNSEEN"))
        finally:
            await source.close()

    def config_file(self, **section: Any) -> Path:
        path = self.folder / "postlane.toml"
        document = {
            "kafka": {
                "bootstrap_servers": self.bootstrap,
                "topic_prefix": self.prefix,
                "group_prefix": f"{self.prefix}postlane",
                "extra": {"session.timeout.ms": "6000"},
            },
            "topics": {"partitions": PARTITIONS, "replication_factor": 1, "min_insync_replicas": 1},
            "blobs": {"directory": str(self.folder / "blobs")},
            "signing": SIGNING,
            "inbound": {"poll_seconds": 0.5},
            "http": {"port": 0},
            "logs": {"format": "json"},
            "mailboxes": {"support": self.section(**section)},
        }
        path.write_bytes(tomli_w.dumps(document).encode())
        return path

    @contextlib.asynccontextmanager
    async def outside(self, name: str, **section: Any) -> AsyncIterator[asyncio.subprocess.Process]:
        """A service process; killed at the end if it still runs."""
        config = self.config_file(**section)
        with (self.folder / f"{name}.log").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                "from postlane.ops.cli import main; main()",
                "inbound",
                env=os.environ
                | {"POSTLANE_CONFIG": str(config), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdout=output,
                stderr=output,
            )
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


@pytest.fixture
def world(
    tmp_path: Path, kafka_bootstrap: str, mail_server: MailServer, new_mailbox: Callable[[str], Mailbox]
) -> Iterator[World]:
    prefix = f"inbound-{uuid4().hex[:8]}."
    box = new_mailbox("support")
    settings = inbound_settings(tmp_path, {}, prefix, None, {"bootstrap_servers": kafka_bootstrap})
    wanted = [topic for topic in load_topics(settings.kafka, settings.topics) if topic.name.endswith(NAMES)]
    TopicAdmin(settings.kafka).apply(wanted)
    log = KafkaLog(settings.kafka)
    yield World(tmp_path, kafka_bootstrap, prefix, mail_server, box, log, TopicReader(log, prefix))
    log.close()


async def test_mail_arrives_as_one_event_and_a_restart_repeats_none(world: World) -> None:
    await world.deliver(mail(0), mail(1))
    async with world.inside(start="all"):
        await world.produced(2)
        await world.deliver(mail(2))
        await world.produced(3)
        await wait_until_async(world.unseen, 0)
    async with world.inside("two", start="all"):
        await world.deliver(mail(3))
        events = await world.produced(4)
    assert numbers(events) == [0, 1, 2, 3]
    assert [event.text for event in events] == [f"words {number}" for number in range(4)]
    cursor = world.reader.cursor("support")
    assert (cursor.listed, cursor.produced) == (4, 4)


async def wait_until_async(ask: Callable[[], Any], wanted: Any) -> None:
    async with asyncio.timeout(START_SECONDS):
        while await ask() != wanted:  # noqa: ASYNC110 - a mail server has no events for this
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("start", "expected"),
    [("new", [9]), ("all", [1, 9]), (datetime.now(UTC).date() + timedelta(days=3), [9])],
)
async def test_where_a_new_mailbox_starts(world: World, start: str | date, expected: list[int]) -> None:
    await world.deliver(mail(1))
    async with world.inside(start=start):
        await world.begun()
        await world.deliver(mail(9))
        events = await world.produced(len(expected))
    assert numbers(events) == expected


@pytest.mark.parametrize("after", ["move", "delete"])
async def test_mail_is_moved_or_deleted_after_the_commit(world: World, after: str) -> None:
    await world.deliver(*(mail(number) for number in range(5)))
    async with world.inside(start="all", after=after, move_to="Done"):
        await world.produced(5)
        await wait_until_async(world.left, [])
    if after == "move":
        assert len(await world.left("Done")) == 5


async def test_a_crash_between_commit_and_flag_is_settled_on_start(world: World) -> None:
    settings = world.settings(start="all")
    connect = imap_connect(settings.inbound)
    crashed = asyncio.Event()

    def crashing(section: MailboxSection) -> MailSource:
        source = connect(section)

        async def flag(uids: Any, flag: str) -> None:  # noqa: ARG001 - as the port has them
            crashed.set()
            await asyncio.Event().wait()  # the process ends here, as far as anybody can see

        source.flag = flag  # type: ignore[method-assign]
        return source

    await world.deliver(mail(1), mail(2))
    async with inbound_process(settings, world.log, crashing) as process:
        await asyncio.wait_for(crashed.wait(), START_SECONDS)
        await process.dies()
    assert await world.unseen() == 2
    async with world.inside("two", start="all"):
        await wait_until_async(world.unseen, 0)
        await world.deliver(mail(3))
        events = await world.produced(3)
    assert numbers(events) == [1, 2, 3]


async def test_hostile_mail_does_not_stall_the_mailbox(world: World) -> None:
    hostile = [
        b"Subject: hostile\r\nContent-Type: multipart/mixed\r\n\r\nno boundary\r\n",
        b"Subject: hostile\r\nContent-Type: text/html\r\n\r\n" + b"<div>" * 50_000 + b"\r\n",
        b"Subject: =?utf-8?b?////?= hostile\r\nFrom: ((((((\r\nTo: \xff\xfe\r\n\r\n\r\n",
        b"Subject: hostile\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"=====\r\n" * 2000,
    ]
    async with world.inside(start="all"):
        await world.deliver(*hostile, mail(9))
        events = await world.produced(5)
    assert events[-1].subject == "mail 9"
    assert all("hostile" in event.subject for event in events[:-1])


async def test_a_recreated_folder_gives_no_second_event(world: World) -> None:
    """Another UIDVALIDITY for the same mails, as after a restore: a second folder plays the recreated one."""
    await world.deliver(*(mail(number) for number in range(3)))
    async with world.inside(start="all", after="nothing"):
        await world.produced(3)
    settings = world.settings(start="all", after="nothing")
    connect = imap_connect(settings.inbound)

    def renumbered(section: MailboxSection) -> MailSource:
        source = connect(section)
        selected = source.open

        async def open_folder(folder: str) -> Any:
            state = await selected(folder)
            return type(state)(
                uid_validity=state.uid_validity + 1, uid_next=state.uid_next, exists=state.exists
            )

        source.open = open_folder  # type: ignore[method-assign]
        return source

    async with inbound_process(settings, world.log, renumbered, "two") as process:
        await world.deliver(mail(3))
        events = await world.produced(4)
        await wait_until(lambda: world.reader.cursor("support").skipped == 3)
        assert process.metric("postlane_inbound_uid_validity_changes_total", mailbox="support") == 1
    assert Counter(numbers(events)) == Counter(range(4))


async def test_two_processes_share_and_the_survivor_of_a_kill_goes_on(world: World) -> None:
    async with world.outside("first") as first:
        await world.begun()
        async with world.outside("second"):
            await world.deliver(mail(0))
            await world.produced(1)
            first.send_signal(signal.SIGKILL)
            await world.deliver(mail(1), mail(2))
            events = await world.produced(3)
            await wait_until_async(world.unseen, 0)
    assert numbers(events) == [0, 1, 2]


async def test_sigterm_ends_a_process_politely(world: World) -> None:
    async with world.outside("only", start="all") as process:
        await world.deliver(mail(0))
        await world.produced(1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    assert numbers(world.reader.events()) == [0]
