"""Puts the inbound service together from the settings: the only place that knows which adapters it runs on."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from postlane.adapters.avro_codec import Codec
from postlane.adapters.imap_connector import ImapConnector, NoteGrant
from postlane.adapters.kafka_produce import produce_all
from postlane.adapters.parser_process import ParserPool
from postlane.adapters.process import Runtime
from postlane.adapters.scanner import Scanner
from postlane.adapters.smtp_rules_file import load_classifier
from postlane.config.mailbox_section import MailboxSection
from postlane.config.sections import InboundSection
from postlane.config.settings import Settings
from postlane.core.alerts.mailbox_conditions import GrantSeen
from postlane.core.polling.mailbox import Identity, Limits
from postlane.core.reading.arrival_rates import ArrivalRates, RateLimits
from postlane.core.reading.mail_class import ClassRules
from postlane.inbound.alarms import Alarms
from postlane.inbound.attachments import AttachmentDesk
from postlane.inbound.board import Board
from postlane.inbound.bounced_recipients import BouncedParts, BouncedRecipients
from postlane.inbound.cursors import CursorReader
from postlane.inbound.dialing import Dialing
from postlane.inbound.ends_watch import EndsWatch
from postlane.inbound.feedback import FeedbackDesk, Tell, no_listener
from postlane.inbound.folder_watch import FolderWatch
from postlane.inbound.intake import Intake
from postlane.inbound.ownership import Ownership, OwnershipParts, Worker
from postlane.inbound.partition import PartitionOwner
from postlane.inbound.poller import FolderPoller, PollerParts
from postlane.inbound.records import InboundRecords
from postlane.inbound.reporting import Reporter, ReporterParts
from postlane.inbound.room import Room
from postlane.inbound.settling import Settler
from postlane.inbound.taker import Taker, TakerParts
from postlane.inbound.topics import CONTROL, InboundTopics
from postlane.inbound.watch import KafkaWatch
from postlane.ports import BlobStore, EventLog, MailSource

DRAIN_SHARE = 0.6  # of the time for stopping; the rest is for leaving the group and closing clients
ROOM_CHUNKS = 4  # of raw mail that a process holds at once, over all of its mailboxes

Connect = Callable[[MailboxSection], MailSource]
GrantsSeen = Callable[[], Iterable[GrantSeen]]


def no_grants() -> Iterable[GrantSeen]:
    """For mailboxes that are logged in to with passwords."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The adapters of one process; tests put fakes here. `connect` makes a session to a mailbox, not opened yet; `grants` says how OAuth stands; `feedback` hears what is durable of it."""

    settings: Settings
    runtime: Runtime
    event_log: EventLog
    codec: Codec
    blobs: BlobStore
    parsers: ParserPool
    topics: InboundTopics
    connect: Connect
    alarms: Alarms
    grants: GrantsSeen = no_grants
    scanner: Scanner | None = None
    feedback: Tell = no_listener


def imap_connect(
    section: InboundSection,
    mailboxes: Mapping[str, MailboxSection] | None = None,
    note: NoteGrant | None = None,
) -> ImapConnector:
    """Sessions by IMAP; close it at the end. `mailboxes` by the names that the log shall know them by; `note` hears how their grants stand."""
    return ImapConnector(section, mailboxes, note)


def class_rules(settings: Settings) -> ClassRules:
    """What the parser processes need to know."""
    return ClassRules(
        own_addresses=frozenset(address.lower() for address in settings.inbound.own_addresses),
        trusted_authserv_ids=frozenset(host.lower() for host in settings.inbound.trusted_authserv_ids),
        keys=settings.signing.signing_keys(),
    )


def rate_limits(section: InboundSection) -> RateLimits:
    """When a sender or a ticket is too fast to be a person."""
    window = timedelta(seconds=section.loop_window_seconds)
    return RateLimits(section.loop_sender_mails, section.loop_ticket_mails, window)


def bounced_recipients(
    settings: Settings, event_log: EventLog, codec: Codec, instance: str
) -> BouncedRecipients:
    """The way from hard bounces to the suppression list. Raises BadRules."""
    return BouncedRecipients(
        BouncedParts(
            event_log=event_log,
            codec=codec,
            classifier=load_classifier(settings.outbound.reply_rules_file),
            topic=settings.kafka.topic(CONTROL),
            instance=instance,
            seconds=settings.outbound.suppress_unknown_seconds,
            write=partial(produce_all, settings.kafka),
        )
    )


def make_ownership(
    parts: Parts, board: Board, kafka_watch: KafkaWatch, changed: Callable[[Sequence[int]], None]
) -> Ownership:
    """The group's listener with everything behind it; `changed` hears which partitions are held."""
    settings = parts.settings
    group = settings.kafka.group("inbound")
    attachments = AttachmentDesk(parts.blobs, settings.inbound.inline_bytes, parts.scanner)
    desk = FeedbackDesk(parts.codec, parts.topics, parts.feedback)
    rates = ArrivalRates(rate_limits(settings.inbound))
    records = InboundRecords(parts.codec, parts.topics)
    shared = Shared(
        records=records,
        intake=Intake(
            parts.blobs,
            attachments,
            parts.parsers,
            records,
            companions=desk.companions,
            rates=rates,
        ),
        desk=desk,
        reader=CursorReader(parts.event_log, parts.codec, parts.topics),
        dialing=Dialing(time.monotonic),
        room=Room(settings.inbound.chunk_bytes * ROOM_CHUNKS),
    )

    def mailboxes(partition: int) -> list[str]:
        return [name for name in settings.mailboxes if parts.topics.partition_of_mailbox(name) == partition]

    def owner(partition: int) -> PartitionOwner:
        writer = parts.event_log.writer(f"{group}-{partition}")
        return PartitionOwner(partition, writer, shared.reader, kafka_watch)

    def workers(owner: PartitionOwner, stop: asyncio.Event) -> list[Worker]:
        places = [
            (name, folder)
            for name in mailboxes(owner.partition)
            for folder in settings.mailboxes[name].folders
        ]
        watches = [_watch(parts, *place) for place in places]
        board.put(watches)
        reporter = ReporterParts(owner=owner, records=records, watches=watches, clock=time.monotonic)
        pollers = [_poller(parts, shared, owner, watch, stop) for watch in watches]
        return [*pollers, Reporter(reporter, stop), EndsWatch(owner, stop)]

    return Ownership(
        OwnershipParts(
            owner=owner,
            workers=workers,
            mailboxes=mailboxes,
            watch=kafka_watch,
            changed=changed,
            drain_seconds=settings.inbound.drain_seconds * DRAIN_SHARE,
        )
    )


@dataclass(frozen=True, slots=True)
class Shared:
    """What all mailboxes of a process share."""

    records: InboundRecords
    intake: Intake
    desk: FeedbackDesk
    reader: CursorReader
    dialing: Dialing
    room: Room


def _watch(parts: Parts, name: str, folder: str) -> FolderWatch:
    runtime = parts.runtime
    return FolderWatch(Identity(name, folder, runtime.instance), runtime.metrics, runtime.health)


def _poller(
    parts: Parts, shared: Shared, owner: PartitionOwner, watch: FolderWatch, stop: asyncio.Event
) -> FolderPoller:
    inbound = parts.settings.inbound
    section = parts.settings.mailboxes[watch.identity.mailbox]
    settler = Settler(section, watch, owner.seen)
    taker = Taker(
        TakerParts(
            identity=watch.identity,
            owner=owner,
            intake=shared.intake,
            records=shared.records,
            settler=settler,
            topics=parts.topics,
            watch=watch,
            limits=Limits(inbound.chunk_mails, inbound.chunk_bytes, inbound.oversize_bytes),
            committed=shared.desk.committed,
        )
    )
    return FolderPoller(
        PollerParts(
            identity=watch.identity,
            section=section,
            connect=lambda: parts.connect(section),
            dialing=shared.dialing,
            owner=owner,
            taker=taker,
            settler=settler,
            reader=shared.reader,
            watch=watch,
            room=shared.room,
            list_mails=inbound.chunk_mails,
            wait_seconds=min(inbound.poll_seconds, inbound.idle_seconds),
        ),
        stop,
    )
