"""`postlane outbound`: wires the sender from the settings and runs it until it is told to stop."""

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial

from postlane.adapters.avro_codec import Codec
from postlane.adapters.blob_stores import open_blob_store
from postlane.adapters.kafka_log import KafkaLog
from postlane.adapters.kafka_produce import produce_all
from postlane.adapters.notifier import Notifier, channels_of
from postlane.adapters.process import CannotStart, Runtime
from postlane.adapters.smtp_rules_file import load_classifier
from postlane.adapters.start_gate import await_codec, await_topics
from postlane.config.sections import OutboundSection
from postlane.config.settings import Settings
from postlane.core.events.command import Command
from postlane.core.events.relay_lease import RelayLease
from postlane.core.events.status import MailStatus
from postlane.core.routing.routes import Route
from postlane.core.sending.lanes import LanesPolicy
from postlane.core.sending.rest import RestPolicy
from postlane.core.sending.retry import RetryPolicy, parse_schedule
from postlane.core.smtp.smtp_reply import Classifier
from postlane.core.smtp.smtp_rules import BadRules
from postlane.outbound.alarms import Alarms
from postlane.outbound.allocation import Allocation
from postlane.outbound.control import ControlReader
from postlane.outbound.control_watch import ControlWatch, ControlWatchParts
from postlane.outbound.gauges import Gauges
from postlane.outbound.intake import Intake
from postlane.outbound.journal_reader import JournalReader
from postlane.outbound.kafka_clock import KafkaClock
from postlane.outbound.membership import Membership
from postlane.outbound.records import RecordWriter
from postlane.outbound.relay_wiring import Relays, wire_relays
from postlane.outbound.sender import Sender, SenderParts
from postlane.outbound.sharing import Sharing
from postlane.outbound.sharing_wiring import RELAYS, SOURCE, wire_sharing
from postlane.outbound.suppressor import Suppressor, SuppressorParts
from postlane.outbound.takeover import TakeOver
from postlane.outbound.topics import OutboundTopics
from postlane.ports import BlobStore, BlobStoreError

CONTROL = "mail.control"
TOPICS = ("mail.outbound", "mail.outbound.retry", "mail.outbound.status", "mail.outbound.dlq", CONTROL)


async def run(settings: Settings, runtime: Runtime) -> None:
    """Send mail until `runtime.stop` is set, then finish what is in flight and give the partitions back. Raises CannotStart."""
    if not settings.relays:
        raise CannotStart("[relays]: at least one relay is needed; `postlane config example` shows one")
    classifier, blobs = the_classifier(settings), the_blobs(settings)
    if not await await_topics(settings, (*TOPICS, RELAYS), runtime):
        return
    codec = await await_codec(settings, (MailStatus, Command, RelayLease), runtime)
    if codec is None:
        return
    with contextlib.closing(KafkaLog(settings.kafka)) as event_log:
        tools = _make_tools(settings, runtime, event_log, codec, blobs=blobs, classifier=classifier)
        await _send(settings, runtime, tools)


async def _send(settings: Settings, runtime: Runtime, tools: "_Tools") -> None:
    parts = _wire(settings, runtime, tools)
    sender = Sender(parts)
    membership = Membership(sender, asyncio.get_running_loop(), settings.outbound.drain_seconds)
    # Joining makes clients, and leaving waits for the broker: both stay off the event loop.
    member = await asyncio.to_thread(
        tools.event_log.join, parts.take_over.group, parts.topics.main, membership
    )
    sender.joined(member)
    try:
        await tools.allocation.join()
        await sender.run(runtime.stop)
    finally:
        await asyncio.to_thread(member.close)
        await asyncio.gather(tools.relays.close(), tools.notifier.close())
        await tools.sharing.close()  # what it says of sessions is that there are none left
        await tools.allocation.close()


def _make_tools(
    settings: Settings,
    runtime: Runtime,
    event_log: KafkaLog,
    codec: Codec,
    *,
    blobs: BlobStore,
    classifier: Classifier,
) -> "_Tools":
    clock = KafkaClock()
    gauges = Gauges(runtime.metrics, clock)
    notifier = Notifier(channels_of(settings.notify), runtime.metrics)
    sharing, allocation = wire_sharing(settings, event_log, codec, runtime.instance, clock)
    alarms = Alarms(
        settings.notify,
        notifier,
        runtime.metrics,
        runtime.instance,
        # What only this sender has met, the allocator may not know.
        is_speaker=lambda relay: allocation.allots(relay) or relays.board.is_cut_off(relay),
        clock=clock,
    )
    relays = wire_relays(
        settings,
        gauges,
        classifier,
        lambda address: control.suppressed(address, clock()),
        sharing.shares,
        clock,
    )
    control = ControlWatch(
        ControlWatchParts(
            event_log=event_log,
            codec=codec,
            topic=settings.kafka.topic(CONTROL),
            relay_changed=relays.board.pause_changed,
            relay_resumed=lambda relay, now: _resumed(relays, allocation, relay, now),
            clock=clock,
        )
    )
    return _Tools(
        event_log=event_log,
        codec=codec,
        blobs=blobs,
        relays=relays,
        gauges=gauges,
        alarms=alarms,
        notifier=notifier,
        control=control,
        sharing=sharing,
        allocation=allocation,
        clock=clock,
    )


def _resumed(relays: Relays, allocation: Allocation, relay: str, now: float) -> None:
    """A person wants a held relay tried again: our own circuit, and as its allocator all senders."""
    relays.board.resumed(relay, now)
    allocation.probe_wanted(relay)


def the_classifier(settings: Settings) -> Classifier:
    """What replies mean: the configured rules, then the shipped ones. Raises CannotStart."""
    try:
        return load_classifier(settings.outbound.reply_rules_file)
    except BadRules as error:
        raise CannotStart(f"outbound.reply_rules_file: {error}") from None


def the_blobs(settings: Settings) -> BlobStore:
    """Where attachments lie and large copies go. Raises CannotStart."""
    try:
        return open_blob_store(settings.blobs)
    except BlobStoreError as error:
        raise CannotStart(f"[blobs]: {error}") from None


def lanes_policy(section: OutboundSection, routes: tuple[Route, ...]) -> LanesPolicy:
    """The limits of a partition's lanes."""
    retry = RetryPolicy(
        delays_seconds=parse_schedule(section.retry_schedule),
        jitter_share=section.retry_jitter,
        age_max_seconds=section.age_max_seconds,
        memory_delay_seconds=section.memory_delay_seconds,
        by_cause={cause: parse_schedule(text) for cause, text in section.retry_by_cause.items()},
    )
    return LanesPolicy(
        retry=retry,
        window_mails=section.window_mails,
        window_bytes=section.window_bytes,
        uncommitted_max=section.commit_outcomes,
        duplicate_window_seconds=section.duplicate_window_seconds,
        index_mails=section.index_mails,
        routes=routes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tools:
    """What was made before the sender, and is closed after it."""

    event_log: KafkaLog
    codec: Codec
    blobs: BlobStore
    relays: Relays
    gauges: Gauges
    alarms: Alarms
    notifier: Notifier
    control: ControlWatch
    sharing: Sharing
    allocation: Allocation
    clock: KafkaClock


def _wire(settings: Settings, runtime: Runtime, tools: _Tools) -> SenderParts:
    event_log, codec, blobs = tools.event_log, tools.codec, tools.blobs
    main, retry, status, dlq, control = (settings.kafka.topic(name) for name in TOPICS)
    topics = OutboundTopics(main=main, retry=retry, status=status, dlq=dlq)
    group = settings.kafka.group("outbound")
    intake = Intake(codec, blocks=settings.kafka.schema_registry_url is not None)
    take_over = TakeOver(
        event_log=event_log,
        codec=codec,
        control=ControlReader(event_log=event_log, codec=codec, topic=control),
        topics=topics,
        group=group,
        duplicate_window_seconds=settings.outbound.duplicate_window_seconds,
        clock=tools.clock,
    )
    return SenderParts(
        topics=topics,
        instance=runtime.instance,
        take_over=take_over,
        intake=intake,
        journal=JournalReader(event_log, topics.retry, intake, blobs),
        writer=lambda partition: event_log.writer(f"{group}-{partition}"),
        records=lambda partition: RecordWriter(codec, topics, partition, SOURCE),
        blobs=blobs,
        relays=tools.relays.board,
        policy=lanes_policy(settings.outbound, settings.mail_routes()),
        gauges=tools.gauges,
        alarms=tools.alarms,
        control=tools.control,
        suppressor=_suppressor(settings, runtime, tools),
        sharing=tools.sharing,
        health=runtime.health,
        commit_interval_seconds=settings.outbound.commit_interval_ms / 1000,
        drain_seconds=settings.outbound.drain_seconds,
        rest=RestPolicy(),
        clock=tools.clock,
        kafka_clock=tools.clock,
    )


def _suppressor(settings: Settings, runtime: Runtime, tools: _Tools) -> Suppressor:
    return Suppressor(
        SuppressorParts(
            event_log=tools.event_log,
            codec=tools.codec,
            topic=settings.kafka.topic(CONTROL),
            source=SOURCE,
            instance=runtime.instance,
            seconds=settings.outbound.suppress_unknown_seconds,
            write=partial(produce_all, settings.kafka),
            listed=tools.control.suppressed,
            clock=tools.clock,
        )
    )
