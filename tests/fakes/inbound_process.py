"""An inbound service inside the test's process: the real loop, blobs and parser over any EventLog and mail server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postlane.adapters.alarm_bell import AlarmBell
from postlane.adapters.avro_codec import Codec
from postlane.adapters.blob_directory import BlobDirectory
from postlane.adapters.http_health import Health
from postlane.adapters.metrics import Metrics
from postlane.adapters.notifier import Notifier
from postlane.adapters.parser_process import ParserPool
from postlane.adapters.process import Runtime
from postlane.adapters.scanner import configured_scanner
from postlane.config.settings import Settings
from postlane.core.events.received import MailboxCursor, MailboxReport, MailReceived
from postlane.core.metrics import INBOUND_METRICS
from postlane.core.polling.cursor_keys import is_report
from postlane.inbound.alarms import Alarms
from postlane.inbound.feedback import Tell, no_listener
from postlane.inbound.loop import poll_until_stopped
from postlane.inbound.topics import CURSOR, InboundTopics
from postlane.inbound.wiring import Connect, Parts, class_rules
from postlane.ports import BlobStore, EventLog, LogRecord, TopicPartition

READ_SECONDS = 20.0
PARTITIONS = 4
SIGNING = {"domain": "desk.test", "active_key": "k1", "keys": {"k1": "a-secret-for-tests-only"}}


def mailbox(**changes: Any) -> dict[str, Any]:
    """A mailbox section with defaults for tests."""
    return {"host": "127.0.0.1", "port": 1, "tls": "none", "username": "u", "password": "p"} | changes


def inbound_settings(
    folder: Path,
    mailboxes: dict[str, dict[str, Any]],
    prefix: str = "",
    inbound: dict[str, Any] | None = None,
    kafka: dict[str, Any] | None = None,
) -> Settings:
    """Settings with quick polls."""
    quick = {
        "poll_seconds": 0.3,
        "command_timeout_seconds": 10.0,
        "parse_seconds_max": 20.0,
        "drain_seconds": 2.0,
    }
    return Settings(
        kafka={"topic_prefix": prefix, "group_prefix": f"{prefix}postlane"} | (kafka or {}),
        blobs={"directory": folder / "blobs"},
        signing=SIGNING,
        inbound=quick | (inbound or {}),
        topics={"partitions": PARTITIONS, "replication_factor": 1, "min_insync_replicas": 1},
        mailboxes=mailboxes,
    )


@dataclass
class InboundProcess:
    """What a test can see and do."""

    parts: Parts
    task: "asyncio.Task[None]"

    @property
    def stop(self) -> asyncio.Event:
        return self.parts.runtime.stop

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value, 0 where there is none; of a mailbox's INBOX unless another folder is named."""
        if "mailbox" in labels:
            labels = {"folder": "INBOX"} | labels
        return self.parts.runtime.metrics.registry.get_sample_value(name, labels) or 0.0

    async def ends(self) -> None:
        """Stop politely and wait."""
        self.stop.set()
        if not self.task.done():
            await asyncio.wait_for(self.task, 20)

    async def dies(self) -> None:
        """End as abruptly as a process in a process can: nothing is finished, nothing released."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@contextlib.asynccontextmanager
async def inbound_process(
    settings: Settings,
    event_log: EventLog,
    connect: Connect,
    instance: str = "one",
    blobs: BlobStore | None = None,
    *,
    feedback: Tell = no_listener,
) -> AsyncIterator[InboundProcess]:
    """Run it for the length of the block."""
    metrics = Metrics(INBOUND_METRICS)
    parsers = ParserPool(1, settings.inbound.parse_seconds_max, class_rules(settings))
    bell = AlarmBell(settings.notify.pace(), Notifier((), metrics), metrics, instance)
    loop = asyncio.get_running_loop()
    parts = Parts(
        settings=settings,
        runtime=Runtime(asyncio.Event(), metrics, Health(metrics, loop.time), instance),
        event_log=event_log,
        codec=Codec(),
        blobs=blobs or BlobDirectory(settings.blobs.directory),
        parsers=parsers,
        topics=InboundTopics.with_prefix(settings.kafka.topic_prefix, settings.topics.partitions),
        connect=connect,
        alarms=Alarms(bell, settings.notify.mailbox_unchecked_seconds),
        scanner=configured_scanner(settings.scan, metrics, loop.time),
        feedback=feedback,
    )
    process = InboundProcess(parts, asyncio.create_task(poll_until_stopped(parts)))
    try:
        yield process
        await process.ends()
    finally:
        await process.dies()
        await parsers.close()


@dataclass(frozen=True)
class TopicReader:
    """What a consumer sees, read_committed."""

    event_log: EventLog
    prefix: str = ""

    def records(self, topic: str) -> list[LogRecord]:
        """Every record of a topic, by partition."""
        name = f"{self.prefix}{topic}"
        found: list[LogRecord] = []
        for partition in range(self.event_log.partition_count(name)):
            at = TopicPartition(name, partition)
            bounds = self.event_log.bounds(at)
            for batch in self.event_log.read(at, bounds.low, bounds.end, READ_SECONDS):
                found += batch
        return found

    def events(self) -> list[MailReceived]:
        """Every received mail, by UID."""
        codec = Codec()
        events = [codec.decode(MailReceived, record.value) for record in self.records("mail.inbound")]
        return sorted(events, key=lambda event: (event.mailbox, event.uid_validity, event.uid))

    def cursor(self, name: str, folder: str = "INBOX") -> MailboxCursor:
        """The newest cursor of a folder."""
        return [cursor for cursor in self.cursors() if cursor.mailbox == name and cursor.folder == folder][-1]

    def cursors(self) -> list[MailboxCursor]:
        """Every cursor that was written, by partition."""
        codec = Codec()
        return [
            codec.decode(MailboxCursor, record.value)
            for record in self.records(CURSOR)
            if not is_report(record.key)
        ]

    def reports(self) -> list[MailboxReport]:
        """Every report that was written, by partition."""
        codec = Codec()
        return [
            codec.decode(MailboxReport, record.value)
            for record in self.records(CURSOR)
            if is_report(record.key)
        ]

    async def wait_for(self, condition: Callable[["TopicReader"], bool], seconds: float = 20.0) -> None:
        """Until it holds."""
        await wait_until(lambda: condition(self), seconds)


async def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Ask in a thread, again and again, until it holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - what is asked has no events
            await asyncio.sleep(0.03)
