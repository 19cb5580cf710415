"""The outbound loop: partitions come and go, records arrive, free slots of the relays are handed round."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from postlane.adapters.http_health import Health
from postlane.core.sending.lane_mail import Attempt, SlotsFree, Tick
from postlane.core.sending.lanes import Lanes, LanesPolicy
from postlane.core.sending.rest import RestPolicy
from postlane.core.sending.scribe import Scribe
from postlane.outbound.alarms import Alarms, look
from postlane.outbound.committer import CommitterParts
from postlane.outbound.control_watch import ControlWatch
from postlane.outbound.forgotten_ends import CommittedEnds, EndsParts
from postlane.outbound.gauges import Gauges
from postlane.outbound.holds import Holds
from postlane.outbound.intake import Intake
from postlane.outbound.journal_reader import JournalReader
from postlane.outbound.kafka_clock import KafkaClock
from postlane.outbound.partition import PartitionOwner, PartitionParts
from postlane.outbound.records import RecordWriter
from postlane.outbound.relay_board import RelayBoard
from postlane.outbound.relay_desk import Errand
from postlane.outbound.sharing import Sharing
from postlane.outbound.succession import Succession, SuccessionParts, Taken
from postlane.outbound.suppressor import Suppressor
from postlane.outbound.takeover import TakeOver
from postlane.outbound.topic_watch import watch_topic
from postlane.outbound.topics import OutboundTopics
from postlane.ports import BlobStore, Clock, GroupMember, LogRecord, LogWriter, TopicPartition

TICK_SECONDS = 0.1
REPORT_SECONDS = 2.0
KAFKA_QUIET_SECONDS = 10.0  # without a complaint of the client for so long, Kafka counts as well

LATE = "Kafka does not make durable what happened in partitions {}, so they start nothing"

log = structlog.get_logger(__name__)


class MembershipLost(Exception):
    """The Kafka client is beyond repair: a new process recovers from what Kafka knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderParts:
    """What the loop works with; outbound.service wires it."""

    topics: OutboundTopics
    instance: str
    take_over: TakeOver
    intake: Intake
    journal: JournalReader
    writer: Callable[[int], LogWriter]
    records: Callable[[int], RecordWriter]
    blobs: BlobStore
    relays: RelayBoard
    policy: LanesPolicy
    gauges: Gauges
    alarms: Alarms
    control: ControlWatch
    suppressor: Suppressor
    health: Health
    sharing: "Sharing | None" = None  # None: this sender has the relays for itself
    commit_interval_seconds: float
    drain_seconds: float
    rest: RestPolicy
    clock: Clock = time.time
    kafka_clock: KafkaClock | None = None  # None: this machine's is taken for right


class Sender:
    """Everything here runs on the event loop; outbound.membership brings the group's words over from its thread."""

    def __init__(self, parts: SenderParts) -> None:
        self.parts = parts
        self._member: GroupMember | None = None
        self._joined = asyncio.Event()
        self._owners: dict[int, PartitionOwner] = {}
        self._assigned: set[int] = set()
        self._succession = Succession(
            SuccessionParts(
                take_over=parts.take_over,
                writer=parts.writer,
                gauges=parts.gauges,
                rest=parts.rest,
                joined=self._joined,
                clock=parts.clock,
                clock_known=None if parts.kafka_clock is None else parts.kafka_clock.known,
                taken=self._taken,
            )
        )
        self._stopping = False
        self._holds = Holds(parts.relays, parts.gauges, parts.health, lambda: parts.control.ready)
        self._turn = 0
        self._woken: asyncio.TimerHandle | None = None
        self._stumbled_at = -KAFKA_QUIET_SECONDS
        self._fatal: str | None = None

    def joined(self, member: GroupMember) -> None:
        """The membership whose words arrive here."""
        self._member = member
        self._joined.set()

    # The group's words

    def assigned(self, partitions: Sequence[int]) -> None:
        """Take these partitions over."""
        log.info("partitions_assigned", partitions=sorted(partitions))
        for partition in partitions:
            self._assigned.add(partition)
            self._succeed(partition)
        self._report_owned()

    async def release(self, partitions: Sequence[int]) -> None:
        """Finish and give back, within the drain time."""
        log.info("partitions_revoked", partitions=sorted(partitions))
        self._assigned -= set(partitions)
        self._succession.cancel(partitions)
        owners = [self._owners[p] for p in partitions if p in self._owners]
        for owner in owners:
            owner.stop_starting()
        await asyncio.gather(*(owner.release(self.parts.drain_seconds) for owner in owners))
        # Only these: while the drain took its time, a partition may have come back and have a new owner.
        self._forget([owner.partition for owner in owners if self._owners.get(owner.partition) is owner])

    def lost(self, partitions: Sequence[int]) -> None:
        """These belong to somebody else already."""
        log.warning("partitions_lost", partitions=sorted(partitions))
        self._assigned -= set(partitions)
        self._succession.cancel(partitions)
        self._forget(partitions)

    def fetched(self, partition: int, session: int, records: Sequence[LogRecord]) -> None:
        """Records of the main topic, in offset order."""
        owner = self._owners.get(partition)
        if owner is not None:
            owner.take_in(session, records)
            self.pump()

    def stumbled(self, error: str, *, fatal: bool) -> None:
        """Kafka is away or refuses us."""
        self._stumbled_at = time.monotonic()
        self.parts.gauges.kafka_error(fatal=fatal)
        self.parts.health.set("kafka", False, error)
        if fatal:
            self._fatal = error

    # Taking over

    def _succeed(self, partition: int) -> None:
        if partition not in self._owners and not self._stopping:
            self._succession.begin(partition)

    def _taken(self, taken: Taken) -> None:
        if self._stopping or taken.partition not in self._assigned:
            asyncio.get_running_loop().run_in_executor(None, taken.writer.close)
            return
        for alarm in taken.found.alarms:
            log.error("recovery_alarm", partition=taken.partition, alarm=alarm)
        self._own(taken)
        self._report_owned()

    def _own(self, taken: Taken) -> None:
        assert self._member is not None, "nothing is taken over before we have joined"
        partition, found = taken.partition, taken.found
        topics = self.parts.topics
        scribe = Scribe(
            topic=topics.main, topic_id=found.topic_id, partition=partition, instance=self.parts.instance
        )
        main = TopicPartition(topics.main, partition)
        ends = EndsParts(
            event_log=self.parts.take_over.event_log,
            topics=topics,
            writer=taken.writer,
            member=self._member,
            main=main,
        )
        committing = CommitterParts(
            main=main,
            ends=CommittedEnds(ends, found.point),
            writer=taken.writer,
            member=self._member,
            records=self.parts.records(partition),
            blobs=self.parts.blobs,
            gauges=self.parts.gauges,
            committed=self.parts.suppressor.committed,
            pump=self.pump,
            interval_seconds=self.parts.commit_interval_seconds,
        )
        parts = PartitionParts(
            committing=committing,
            intake=self.parts.intake,
            journal=self.parts.journal,
            control=self.parts.take_over.control,
            attempt=self._start_attempt,
            lost=self._given_up,
            clock=self.parts.clock,
        )
        lanes = Lanes(self.parts.policy, scribe, found.recovered, self.parts.clock(), taken.cautious_until)
        owner = self._owners[partition] = PartitionOwner(parts, lanes)
        for event in self._holds.standing():
            owner.handle(event)
        owner.begin(found.wishes)

    def _given_up(self, owner: PartitionOwner, fenced: bool) -> None:
        if self._owners.get(owner.partition) is not owner:
            return
        if owner.partition in self._assigned and not self._stopping:  # still ours as far as we have heard
            self._succession.begin_after_fault(owner.partition, fenced=fenced)
        self._forget([owner.partition])

    def _forget(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            owner = self._owners.pop(partition, None)
            if owner is not None:
                owner.drop()
        self._report_owned()

    def _report_owned(self) -> None:
        self.parts.gauges.owned(len(self._owners))
        missing = sorted(self._assigned - self._owners.keys())
        self.parts.health.set("partitions", not missing, self._succession.waiting_for(missing))

    # Sending

    def pump(self) -> None:
        """Hand the relays' free slots round, route by route, starting with another partition each time."""
        owners = [owner for owner in self._owners.values() if owner.starts]
        if not owners or not self.parts.control.ready:
            return
        self._turn += 1
        first = self._turn % len(owners)
        for route in self.parts.relays.routes:
            while self._hand_round(route, [*owners[first:], *owners[:first]]):
                pass
        self._tell_holds()
        self._wake_at(self.parts.relays.next_start(self.parts.clock()))

    def _hand_round(self, route: str, owners: Sequence[PartitionOwner]) -> bool:
        """Offer each partition what is free of this route; whether any took it and some may be left."""
        started = self.parts.relays.started
        for owner in owners:
            slots = self.parts.relays.free_slots(route, self.parts.clock())
            if slots == 0:
                return False
            owner.handle(SlotsFree(slots, route))
        return self.parts.relays.started > started

    def _wake_at(self, start: float | None) -> None:
        """Starts that a rate spreads come sooner one after the other than ticks."""
        if start is not None and self._woken is None:
            wait = max(0.0, start - self.parts.clock())
            self._woken = asyncio.get_running_loop().call_later(wait, self._wake)

    def _wake(self) -> None:
        self._woken = None
        self.pump()

    def _start_attempt(self, owner: PartitionOwner, attempt: Attempt) -> None:
        errand = self.parts.relays.begin(attempt, self.parts.clock())
        if errand is None:
            owner.not_now(attempt.origin)
            return
        task = asyncio.create_task(self._attempt(owner, errand))
        owner.attempts.add(task)
        task.add_done_callback(owner.attempts.discard)
        # Not in `_attempt`: a task that is cancelled before its first step never runs.
        task.add_done_callback(lambda _: self._over(errand))

    def _over(self, errand: Errand) -> None:
        errand.desk.end(errand)
        self.pump()

    async def _attempt(self, owner: PartitionOwner, errand: Errand) -> None:
        delivery = await errand.desk.deliver(errand)
        self.parts.gauges.attempt(delivery)
        self.parts.suppressor.note(owner.partition, delivery.ended)
        self._tell_holds()
        owner.handle(delivery.ended)
        owner.attempt_over(errand.attempt.origin)

    def _tell_holds(self) -> None:
        for event in self._holds.news(self.parts.clock()):
            for owner in list(self._owners.values()):
                owner.handle(event)

    # Time

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until told to stop. Raises MembershipLost, TopicChanged."""
        tasks = [
            asyncio.create_task(watch_topic(self.parts.take_over.event_log, self.parts.topics.main)),
            asyncio.create_task(self.parts.control.run()),
            asyncio.create_task(self.parts.suppressor.run()),
        ]
        if self.parts.sharing is not None:
            tasks.append(
                asyncio.create_task(
                    self.parts.sharing.run(self._waiting, self.parts.relays.flowing, TICK_SECONDS)
                )
            )
        reported = time.monotonic()
        try:
            while not stop.is_set():
                for task in tasks:
                    if task.done():
                        task.result()
                if self._fatal is not None:
                    raise MembershipLost(self._fatal)
                for owner in list(self._owners.values()):
                    owner.handle(Tick())
                self._tell_holds()
                self.pump()
                if time.monotonic() - reported > REPORT_SECONDS:
                    reported = time.monotonic()
                    self._report()
                await _wait(stop, TICK_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            self._stopping = True
            for owner in self._owners.values():
                owner.stop_starting()

    def _waiting(self, relay: str) -> int:
        """How many mails could go by this relay at once, for all that their lanes know and this sender itself."""
        if self.parts.relays.desks[relay].governor.stopped_here(self.parts.clock()) is not None:
            return 0
        routes = [name for name, route in self.parts.relays.routes.items() if relay in route.relays]
        return sum(owner.lanes.queue.waiting(route) for owner in self._owners.values() for route in routes)

    def _report(self) -> None:
        for owner in self._owners.values():
            owner.report()
        self._report_owned()
        known = self.parts.control.ready
        self.parts.health.set(
            "control", known, "" if known else "reading what operators want; nothing starts before"
        )
        if self.parts.kafka_clock is not None:
            self.parts.gauges.clock_skew(self.parts.kafka_clock.skew_seconds())
        if self.parts.sharing is not None:
            for relay in self.parts.sharing.shares:
                self.parts.gauges.sections(relay, self.parts.sharing.differing(relay))
        governors = {name: desk.governor for name, desk in self.parts.relays.desks.items()}
        self.parts.alarms.observe(look(self.parts.gauges, governors, self.parts.clock()))
        late = sorted(p for p, owner in self._owners.items() if owner.lanes.is_late(self.parts.clock()))
        self.parts.health.set("commits", not late, LATE.format(late) if late else "")
        if time.monotonic() - self._stumbled_at > KAFKA_QUIET_SECONDS:
            self.parts.health.set("kafka", True)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
