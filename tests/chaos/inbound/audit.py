"""What Kafka, the blob store and the mailboxes hold, read as any other program would read them."""

import asyncio
import contextlib
import imaplib
import re
import threading
from collections.abc import Iterable, Iterator
from hashlib import sha256

from confluent_kafka import Consumer, TopicPartition

from chaos.audit import READ_SECONDS_MAX, open_transactions
from chaos.inbound.mail_server import MailServer
from chaos.inbound.mailboxes import FOLDERS, MAILBOXES
from chaos.inbound.verdict import Event, Findings
from chaos.site import PARTITIONS, Site
from postlane import ports
from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.adapters.blob_directory import BlobDirectory
from postlane.adapters.kafka_group import record_of
from postlane.core.events.mail import BlobRef
from postlane.core.events.received import MailboxCursor, MailReceived
from postlane.core.polling.transaction_marks import is_repetition
from postlane.ports import BlobMissing, BlobStoreError, LogRecord

MAIN, CURSOR = "mail.inbound", "mail.inbound.cursor"
TOPICS = (MAIN, CURSOR, "mail.inbound.dlq")
FETCH_MAILS = 200
CONSUME_SECONDS = 0.2


class Tail:
    """Follows `mail.inbound` in a thread of its own; `digests` and `events` grow."""

    def __init__(self, site: Site) -> None:
        self.digests: set[str] = set()
        self.events: list[Event] = []
        self._codec = Codec()
        self._over = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": site.cluster.bootstrap,
                "group.id": "chaos-tail",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        topic = site.settings.kafka.topic(MAIN)
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        self._thread = threading.Thread(target=self._follow, name="tail", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._over.set()
        self._thread.join()
        self._consumer.close()

    def _follow(self) -> None:
        while not self._over.is_set():
            for message in self._consumer.consume(200, CONSUME_SECONDS):
                if message.error() is None and not is_repetition(record_of(message).headers):
                    value = message.value()
                    assert isinstance(value, bytes)
                    partition, offset = message.partition(), message.offset()
                    assert partition is not None
                    assert offset is not None
                    event = _event(self._codec.decode(MailReceived, value), partition, offset)
                    self.events.append(event)
                    self.digests.add(event.digest)


class Auditor:
    """Raises LogUnavailable while the broker is away."""

    def __init__(self, site: Site, server: MailServer) -> None:
        self._site = site
        self._server = server
        self._codec = Codec()

    def unsettled(self) -> list[str]:
        """What was not yet done in the mailboxes to mails whose events are durable."""
        found: list[str] = []
        for mailbox, after in MAILBOXES.items():
            if after == "nothing":
                continue
            with self._server.dovecot.client(mailbox) as imap:
                for folder in FOLDERS:
                    imap.select(folder, readonly=True)
                    _, answer = imap.uid("SEARCH", "UNSEEN" if after == "flag" else "ALL")
                    if left := answer[0].split():
                        first = left[0].decode()
                        found.append(
                            f"{len(left)} mails of {mailbox}/{folder} are not settled, such as UID {first}"
                        )
        return found

    def open_transactions(self) -> list[str]:
        """See chaos.audit."""
        return open_transactions(self._site, TOPICS)

    def read_all(self, removed: set[str]) -> Findings:
        """Everything, record by record, blob by blob and mail by mail."""
        received = [
            (self._codec.decode(MailReceived, record.value), partition, record.offset)
            for partition in range(PARTITIONS)
            for record in self._records(MAIN, partition)
            if not is_repetition(record.headers)
        ]
        return Findings(
            events=[_event(*one) for one in received],
            unreadable=asyncio.run(self._unreadable({one.raw for one, _, _ in received})),
            cursors=self._cursors(),
            kept={mailbox: self._kept(mailbox) for mailbox in MAILBOXES},
            unsettled=self.unsettled(),
            removed=removed,
            open_transactions=self.open_transactions(),
        )

    def _cursors(self) -> list[MailboxCursor]:
        """The newest of each folder; other records of the topic are about something else."""
        cursors: dict[bytes | None, MailboxCursor] = {}
        for partition in range(PARTITIONS):
            for record in self._records(CURSOR, partition):
                with contextlib.suppress(Undecodable):
                    cursors[record.key] = self._codec.decode(MailboxCursor, record.value)
        return list(cursors.values())

    async def _unreadable(self, refs: Iterable[BlobRef]) -> list[str]:
        blobs, unreadable = BlobDirectory(self._site.settings.blobs.directory), []
        for ref in refs:
            try:
                await blobs.get(ref)
            except (BlobMissing, BlobStoreError):
                unreadable.append(ref.sha256)
        return unreadable

    def _kept(self, mailbox: str) -> set[str]:
        with self._server.dovecot.client(mailbox) as imap:
            _, listed = imap.list()
            names = [
                re.sub(rb'^.*? "?([^" ]+)"?$', rb"\1", line).decode()
                for line in listed
                if isinstance(line, bytes)
            ]
            return {sha256(raw).hexdigest() for name in names for raw in _mails(imap, name)}

    def _records(self, name: str, partition: int) -> Iterator[LogRecord]:
        log, at = self._site.log, ports.TopicPartition(self._site.settings.kafka.topic(name), partition)
        bounds = log.bounds(at)
        for batch in log.read(at, bounds.low, bounds.end, READ_SECONDS_MAX):
            yield from batch


def _event(received: MailReceived, partition: int, offset: int) -> Event:
    return Event(
        partition=partition,
        offset=offset,
        mailbox=received.mailbox,
        folder=received.folder,
        uid_validity=received.uid_validity,
        uid=received.uid,
        digest=received.raw.sha256,
        parse_status=received.parse_status,
    )


def _mails(imap: imaplib.IMAP4, folder: str) -> Iterator[bytes]:
    _, exists = imap.select(folder, readonly=True)
    count = int(exists[0] or 0)
    for first in range(1, count + 1, FETCH_MAILS):
        _, found = imap.fetch(f"{first}:{min(count, first + FETCH_MAILS - 1)}", "(BODY.PEEK[])")
        yield from (part[1] for part in found if isinstance(part, tuple))
