"""A whole sender in one process, on a log and a relay in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fakes.memory_log import MemoryLog
from fakes.memory_sink import MemorySink
from postlane.adapters.avro_codec import Codec
from postlane.adapters.blob_directory import BlobDirectory
from postlane.adapters.http_health import Health
from postlane.adapters.metrics import Metrics
from postlane.adapters.notifier import Notifier
from postlane.adapters.smtp_rules_file import load_classifier
from postlane.config.notify_section import NotifySection
from postlane.core.events.command import Command, Wish, command_key
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState, MailStatus
from postlane.core.events.trail import ReplayOf, encode_replay
from postlane.core.limits.budgets import parse_budgets
from postlane.core.limits.circuit import CircuitPolicy
from postlane.core.limits.governor import Governor, GovernorPolicy
from postlane.core.limits.held_senders import HeldSenders
from postlane.core.limits.local_limits import local_limits
from postlane.core.metrics import OUTBOUND_METRICS
from postlane.core.routing.routes import Route
from postlane.core.routing.safety import Safety
from postlane.core.sending.dead_limit import DeadLimit, DeadLimitPolicy
from postlane.core.sending.lanes import LanesPolicy
from postlane.core.sending.rest import RestPolicy
from postlane.core.sending.retry import RetryPolicy
from postlane.core.sending.screening import Listed, screening
from postlane.core.ticket_marks import SigningKeys
from postlane.core.writing.envelope_sender import SenderPolicy
from postlane.core.writing.mime_build import BuildPolicy
from postlane.outbound.alarms import Alarms
from postlane.outbound.control import ControlReader
from postlane.outbound.control_watch import ControlWatch, ControlWatchParts
from postlane.outbound.gauges import Gauges
from postlane.outbound.intake import Intake
from postlane.outbound.journal_reader import JournalReader
from postlane.outbound.membership import Membership
from postlane.outbound.records import RecordWriter
from postlane.outbound.relay_board import RelayBoard
from postlane.outbound.relay_desk import DeskParts, RelayDesk
from postlane.outbound.sender import Sender, SenderParts
from postlane.outbound.suppressor import Suppressor, SuppressorParts
from postlane.outbound.takeover import TakeOver
from postlane.outbound.topics import OutboundTopics
from postlane.ports import MailDomains, NewRecord, TopicPartition
from unit.core.lane_bench import request

CODEC = Codec()
KEYS = SigningKeys(active="1", keys={"1": b"k" * 32}, domain="example.com")
TOPICS = OutboundTopics(main="main", retry="retry", status="status", dlq="dlq")
SOON = 0.05
CONNECTIONS = 4
UNCOMMITTED_MAX = 10
ATTEMPTS_MAX = 3
DEAD_LIMIT_MAILS = 6
WAIT_SECONDS = (
    100.0  # a condition is waited for; only a test that fails waits so long, however busy the machine
)


@dataclass
class Site:
    """What a test may touch and look at."""

    log: MemoryLog
    sinks: Mapping[str, MemorySink]
    sender: Sender
    health: Health
    metrics: Metrics
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sink(self) -> MemorySink:
        """Where there is one relay: its."""
        (sink,) = self.sinks.values()
        return sink

    def produce(self, *tickets: str) -> None:
        """One request for each of these tickets, in this order."""
        self.ask(*(request(t, f"{t}-{n}-{time.time_ns()}") for n, t in enumerate(tickets)))

    def ask(self, *requests: MailRequested) -> None:
        """These requests, in this order."""
        at = TopicPartition("main", 0)
        self._write(*(NewRecord(to=at, key=r.ticket_id.encode(), value=CODEC.encode(r)) for r in requests))

    def _write(self, *records: NewRecord) -> None:
        write(self.log, records)

    def replay(self, request: MailRequested) -> None:
        """An operator has a dead mail sent again."""
        headers = encode_replay(ReplayOf(0, 0), None)
        at, key = TopicPartition("main", 0), request.ticket_id.encode()
        self._write(NewRecord(to=at, key=key, value=CODEC.encode(request), headers=headers))

    def command(self, wish: Wish, ticket: str = "", **mail: Any) -> None:
        """An operator gives a command."""
        command = Command(
            command_id=f"c-{time.time_ns()}",
            issued_at=datetime.now(UTC),
            issued_by="tester",
            wish=wish,
            ticket_id=ticket,
            reason="because",
            **mail,
        )
        self._write(
            NewRecord(to=TopicPartition("control", 0), key=command_key(command), value=CODEC.encode(command))
        )

    def faults(self, kind: str) -> int:
        """How often a partition was given up."""
        name = f'postlane_partition_faults_total{{kind="{kind}"}}'.encode()
        lines = [line for line in self.metrics.exposition().splitlines() if line.startswith(name)]
        return int(float(lines[0].split()[1])) if lines else 0

    def statuses(self) -> list[MailStatus]:
        """All that are committed, in order."""
        at = TopicPartition("status", 0)
        batches = self.log.read(at, 0, self.log.partition(at).stable_end, 1.0)
        return [CODEC.decode(MailStatus, record.value) for batch in batches for record in batch]

    def ends(self) -> list[MailState]:
        """The states of the final ones."""
        return [status.state for status in self.statuses() if status.final]

    def order(self) -> list[int]:
        """The offsets of what was sent, in the order in which it became durable."""
        return [status.offset for status in self.statuses() if status.state is MailState.SENT]


async def until(seen: Callable[[], bool]) -> None:
    """Wait for it; a test fails when it does not come."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not seen():  # noqa: ASYNC110 - what is waited for is in the log's and the sink's hands
            await asyncio.sleep(0.005)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What every relay of a rig is bound to."""

    hold_seconds: float = SOON
    sender_hold_seconds_max: float = 3600.0
    dead_limit_mails: int = DEAD_LIMIT_MAILS
    recipients_max: int | None = None
    budgets: tuple[str, ...] = ()
    verp: bool = False


ANYBODY = Safety()


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What the desks of a rig use."""

    blobs: BlobDirectory
    limits: Limits
    domains: MailDomains | None
    safety: Safety
    listed: Listed


def _desk(name: str, sink: MemorySink, tools: Tools) -> RelayDesk:
    limits = tools.limits
    circuit = CircuitPolicy(hold_seconds=limits.hold_seconds, hold_seconds_max=limits.hold_seconds)
    policy = GovernorPolicy(connections=CONNECTIONS, circuit=circuit)
    return RelayDesk(
        DeskParts(
            governor=Governor(name, policy, local_limits(parse_budgets(limits.budgets, ZoneInfo))),
            senders=HeldSenders(limits.sender_hold_seconds_max),
            limit=DeadLimit(DeadLimitPolicy(limits.dead_limit_mails, 0.5)),
            sink=sink,
            blobs=tools.blobs,
            classify=load_classifier().classify,
            build=BuildPolicy(keys=KEYS),
            envelope=SenderPolicy(keys=KEYS, verp=limits.verp),
            recipients_max=limits.recipients_max,
            domains=tools.domains,
            screen=screening(tools.safety, tools.listed),
        )
    )


def write(log: MemoryLog, records: Sequence[NewRecord]) -> None:
    """As somebody outside of the sender does."""
    before, log.before = log.before, lambda _operation: None
    writer = log.writer("producer")
    writer.take_over()
    writer.stage(records)
    writer.commit()
    log.before = before


def _suppressor(log: MemoryLog, control: ControlWatch) -> Suppressor:
    return Suppressor(
        SuppressorParts(
            event_log=log,
            codec=CODEC,
            topic="control",
            source="/test",
            instance="test",
            seconds=3600.0,
            write=partial(write, log),
            listed=control.suppressed,
        )
    )


def _take_over(log: MemoryLog) -> TakeOver:
    return TakeOver(
        event_log=log,
        codec=CODEC,
        control=ControlReader(event_log=log, codec=CODEC, topic="control"),
        topics=TOPICS,
        group="g",
        duplicate_window_seconds=0.0,
    )


def _policy(routes: tuple[Route, ...]) -> LanesPolicy:
    retry = RetryPolicy(
        delays_seconds=(SOON,) * (ATTEMPTS_MAX - 1) + (7200.0,),
        jitter_share=0.0,
        age_max_seconds=3600,
        memory_delay_seconds=20,
    )
    return LanesPolicy(
        retry=retry,
        window_mails=100,
        window_bytes=2**20,
        uncommitted_max=UNCOMMITTED_MAX,
        duplicate_window_seconds=0.0,
        routes=routes,
    )


@asynccontextmanager
async def running(
    tmp_path: Path,
    rest: RestPolicy,
    sink: MemorySink | None = None,
    *,
    sinks: Mapping[str, MemorySink] | None = None,
    routes: tuple[Route, ...] = (),
    hold_dead: bool = False,
    limits: Limits = Limits(),
    domains: MailDomains | None = None,
    safety: Safety = ANYBODY,
    prepare: Callable[[Site], None] = lambda _site: None,
) -> AsyncIterator[Site]:
    """A sender at work, ended with the test; `prepare` comes before it joins."""
    log, policy = MemoryLog(), _policy(routes or (Route(tiers=((("r", 1),),), hold_dead=hold_dead),))
    for topic in ("main", "retry", "status", "dlq", "control"):
        log.create_topic(topic, 1)
    sinks = sinks or {"r": sink or MemorySink()}
    metrics, blobs, intake = Metrics(OUTBOUND_METRICS), BlobDirectory(tmp_path), Intake(CODEC)
    health = Health(metrics, time.monotonic)
    tools = Tools(
        blobs=blobs,
        limits=limits,
        domains=domains,
        safety=safety,
        listed=lambda address: control.suppressed(address, time.time()),
    )
    board = RelayBoard({name: _desk(name, its, tools) for name, its in sinks.items()}, policy.routes)
    control = ControlWatch(
        ControlWatchParts(
            event_log=log,
            codec=CODEC,
            topic="control",
            relay_changed=board.pause_changed,
            relay_resumed=board.resumed,
        )
    )
    sender = Sender(
        SenderParts(
            topics=TOPICS,
            instance="test",
            take_over=_take_over(log),
            intake=intake,
            journal=JournalReader(log, "retry", intake, blobs),
            writer=lambda partition: log.writer(f"g-{partition}"),
            records=lambda partition: RecordWriter(CODEC, TOPICS, partition, "/test"),
            blobs=blobs,
            relays=board,
            policy=policy,
            gauges=Gauges(metrics),
            alarms=Alarms(NotifySection(held_seconds=0.1), Notifier([], metrics), metrics, "test"),
            control=control,
            suppressor=_suppressor(log, control),
            health=health,
            commit_interval_seconds=0.01,
            drain_seconds=2.0,
            rest=rest,
        )
    )
    site = Site(log, sinks, sender, health, metrics)
    prepare(site)
    member = log.join("g", "main", Membership(sender, asyncio.get_running_loop(), 2.0))
    sender.joined(member)
    loop = asyncio.create_task(sender.run(site.stop))
    try:
        yield site
    finally:
        site.stop.set()
        await loop
        await asyncio.to_thread(member.close)


SOON_AGAIN = RestPolicy(rests=(SOON, SOON, 3600.0), caution=3600.0, calm=3600.0)
