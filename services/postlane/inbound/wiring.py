"""Puts the inbound service together from the settings: the only place that knows which adapters it runs on."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from postlane.adapters.avro_codec import Codec
from postlane.adapters.imap_source import ImapAccount, ImapSource
from postlane.adapters.parser_process import ParserPool
from postlane.adapters.process import Runtime
from postlane.adapters.scanner import Scanner
from postlane.config.sections import InboundSection, MailboxSection, Tls
from postlane.config.settings import Settings
from postlane.core.polling.mailbox import Identity, Limits
from postlane.core.reading.mail_class import ClassRules
from postlane.inbound.attachments import AttachmentDesk
from postlane.inbound.cursors import CursorReader
from postlane.inbound.intake import Intake
from postlane.inbound.ownership import Ownership, OwnershipParts
from postlane.inbound.partition import PartitionOwner
from postlane.inbound.poller import MailboxPoller, PollerParts
from postlane.inbound.taker import Taker, TakerParts
from postlane.inbound.topics import InboundTopics
from postlane.inbound.watch import KafkaWatch, MailboxWatch
from postlane.ports import BlobStore, EventLog, MailSource

DRAIN_SHARE = 0.6  # of the time for stopping; the rest is for leaving the group and closing clients

Connect = Callable[[MailboxSection], MailSource]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The adapters of one process; tests put fakes here. `connect` makes a session to a mailbox, not opened yet."""

    settings: Settings
    runtime: Runtime
    event_log: EventLog
    codec: Codec
    blobs: BlobStore
    parsers: ParserPool
    topics: InboundTopics
    connect: Connect
    scanner: Scanner | None = None


def imap_connect(section: InboundSection) -> Connect:
    """Sessions by IMAP."""

    def connect(mailbox: MailboxSection) -> MailSource:
        return ImapSource(
            ImapAccount(
                host=mailbox.host,
                port=mailbox.port,
                tls=mailbox.tls is Tls.IMPLICIT,
                ca_file=mailbox.ca_file,
                username=mailbox.username,
                password=mailbox.password.get_secret_value(),
                command_timeout_seconds=section.command_timeout_seconds,
            )
        )

    return connect


def class_rules(settings: Settings) -> ClassRules:
    """What the parser processes need to know."""
    return ClassRules(
        own_addresses=frozenset(address.lower() for address in settings.inbound.own_addresses),
        trusted_authserv_ids=frozenset(host.lower() for host in settings.inbound.trusted_authserv_ids),
        keys=settings.signing.signing_keys(),
    )


def make_ownership(
    parts: Parts, kafka_watch: KafkaWatch, changed: Callable[[Sequence[int]], None]
) -> Ownership:
    """The group's listener with everything behind it; `changed` hears which partitions are held."""
    settings = parts.settings
    group = settings.kafka.group("inbound")
    reader = CursorReader(parts.event_log, parts.codec, parts.topics)
    attachments = AttachmentDesk(parts.blobs, settings.inbound.inline_bytes, parts.scanner)
    intake = Intake(parts.blobs, attachments, parts.parsers, parts.codec, parts.topics)

    def mailboxes(partition: int) -> list[str]:
        return [name for name in settings.mailboxes if parts.topics.partition_of_mailbox(name) == partition]

    def owner(partition: int) -> PartitionOwner:
        return PartitionOwner(partition, parts.event_log.writer(f"{group}-{partition}"), reader, kafka_watch)

    def pollers(owner: PartitionOwner, stop: asyncio.Event) -> list[MailboxPoller]:
        return [
            _poller(parts, name, owner, Shared(intake, reader), stop) for name in mailboxes(owner.partition)
        ]

    return Ownership(
        OwnershipParts(
            owner=owner,
            pollers=pollers,
            mailboxes=mailboxes,
            watch=kafka_watch,
            changed=changed,
            drain_seconds=settings.inbound.drain_seconds * DRAIN_SHARE,
        )
    )


@dataclass(frozen=True, slots=True)
class Shared:
    """What all mailboxes of a process share."""

    intake: Intake
    reader: CursorReader


def _poller(
    parts: Parts, name: str, owner: PartitionOwner, shared: Shared, stop: asyncio.Event
) -> MailboxPoller:
    section, inbound = parts.settings.mailboxes[name], parts.settings.inbound
    identity = Identity(name, section.folder, parts.runtime.instance)
    watch = MailboxWatch(name, parts.runtime.metrics, parts.runtime.health)
    limits = Limits(inbound.chunk_mails, inbound.chunk_bytes, inbound.oversize_bytes)
    taker = Taker(
        TakerParts(
            identity=identity,
            after=section.after,
            owner=owner,
            intake=shared.intake,
            topics=parts.topics,
            watch=watch,
            limits=limits,
        )
    )
    return MailboxPoller(
        PollerParts(
            identity=identity,
            section=section,
            connect=lambda: parts.connect(section),
            taker=taker,
            reader=shared.reader,
            watch=watch,
            limits=limits,
            wait_seconds=min(inbound.poll_seconds, inbound.idle_seconds),
        ),
        stop,
    )
