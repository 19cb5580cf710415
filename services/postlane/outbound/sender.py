"""The outbound loop: partitions come and go, records arrive, free slots of the relay are handed round."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from postlane.adapters.http_health import Health
from postlane.core.lane_mail import Attempt, RelayHolds, RelayOpens, SlotsFree, Tick
from postlane.core.lanes import Lanes, LanesPolicy
from postlane.core.relay_gate import Hold
from postlane.core.scribe import Scribe
from postlane.outbound.committer import CommitterParts
from postlane.outbound.gauges import Gauges
from postlane.outbound.intake import Intake
from postlane.outbound.journal_reader import JournalReader
from postlane.outbound.partition import PartitionOwner, PartitionParts
from postlane.outbound.records import RecordWriter
from postlane.outbound.relay_desk import RelayDesk
from postlane.outbound.takeover import TakenOver, TakeOver
from postlane.outbound.topics import OutboundTopics
from postlane.ports import (
    BlobStore,
    Fenced,
    GroupMember,
    LogRecord,
    LogUnavailable,
    LogWriter,
    TopicPartition,
)

TICK_SECONDS = 0.1
REPORT_SECONDS = 2.0
KAFKA_QUIET_SECONDS = 10.0  # without a complaint of the client for so long, Kafka counts as well
TAKE_OVER_FAULT_SECONDS = 10.0
TOPIC_CHECK_SECONDS = (
    30.0  # a topic that is recreated or grows under us breaks the order: noticed at least this often
)
TAKE_OVER_AGAIN_SECONDS = 1.0
# A member that was stopped or cut off for long is fenced by its successor before it hears that the group has put it out. Were it to
# take the partition back at once, it would fence its successor for nothing: the group takes no commit of a member that is out.
FENCED_PAUSE_SECONDS = 5.0

log = structlog.get_logger(__name__)


class MembershipLost(Exception):
    """The Kafka client is beyond repair, or the topic was truncated under us: a new process recovers from what Kafka knows."""


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
    desk: RelayDesk
    policy: LanesPolicy
    gauges: Gauges
    health: Health
    commit_interval_seconds: float
    drain_seconds: float


class Sender:
    """Everything here runs on the event loop; outbound.membership brings the group's words over from its thread."""

    def __init__(self, parts: SenderParts) -> None:
        self.parts = parts
        self._member: asyncio.Future[GroupMember] = asyncio.get_running_loop().create_future()
        self._owners: dict[int, PartitionOwner] = {}
        self._assigned: set[int] = set()
        self._taking_over: dict[int, asyncio.Task[None]] = {}
        self._stopping = False
        self._told: Hold | None = None
        self._turn = 0
        self._stumbled_at = -KAFKA_QUIET_SECONDS
        self._fatal: str | None = None

    def joined(self, member: GroupMember) -> None:
        """The membership whose words arrive here."""
        self._member.set_result(member)

    # The group's words

    def assigned(self, partitions: Sequence[int]) -> None:
        """Take these partitions over."""
        log.info("partitions_assigned", partitions=sorted(partitions))
        for partition in partitions:
            self._assigned.add(partition)
            self._begin_take_over(partition)

    async def release(self, partitions: Sequence[int]) -> None:
        """Finish and give back, within the drain time."""
        log.info("partitions_revoked", partitions=sorted(partitions))
        self._assigned -= set(partitions)
        self._stop_taking_over(partitions)
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
        self._stop_taking_over(partitions)
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

    def _begin_take_over(self, partition: int, pause_seconds: float = 0.0) -> None:
        if partition not in self._taking_over and partition not in self._owners and not self._stopping:
            self._taking_over[partition] = asyncio.create_task(self._take_over(partition, pause_seconds))

    async def _take_over(self, partition: int, pause_seconds: float) -> None:
        member = await self._member
        while True:
            await asyncio.sleep(pause_seconds)
            writer = self.parts.writer(partition)
            started = time.monotonic()
            try:
                taken = await asyncio.to_thread(self.parts.take_over.run, writer, partition)
            except (Fenced, LogUnavailable) as error:
                log.warning("take_over_failed", partition=partition, reason=str(error))
                pause = FENCED_PAUSE_SECONDS if isinstance(error, Fenced) else TAKE_OVER_AGAIN_SECONDS
                pause_seconds = pause * (1 + random.random())  # noqa: S311 - spreads
            except asyncio.CancelledError:
                asyncio.get_running_loop().run_in_executor(None, writer.close)
                raise
            except (
                Exception
            ):  # a fault of ours, or a record that nobody foresaw: never give a partition up in silence
                log.exception("take_over_fault", partition=partition)
                pause_seconds = TAKE_OVER_FAULT_SECONDS
            else:
                break
            await asyncio.to_thread(writer.close)
        seconds = time.monotonic() - started
        self.parts.gauges.recovered(seconds)
        self._taking_over.pop(partition, None)
        if self._stopping:
            await asyncio.to_thread(writer.close)
            return
        self._own(partition, writer, member, taken)
        log.info(
            "partition_taken_over",
            partition=partition,
            position=taken.recovered.base,
            parked=len(taken.recovered.parked),
            seconds=round(seconds, 3),
        )

    def _own(self, partition: int, writer: LogWriter, member: GroupMember, taken: TakenOver) -> None:
        for alarm in taken.alarms:
            log.error("recovery_alarm", partition=partition, alarm=alarm)
        topics = self.parts.topics
        scribe = Scribe(
            topic=topics.main, topic_id=taken.topic_id, partition=partition, instance=self.parts.instance
        )
        committing = CommitterParts(
            main=TopicPartition(topics.main, partition),
            writer=writer,
            member=member,
            records=self.parts.records(partition),
            blobs=self.parts.blobs,
            gauges=self.parts.gauges,
            pump=self.pump,
            interval_seconds=self.parts.commit_interval_seconds,
        )
        parts = PartitionParts(
            committing=committing,
            intake=self.parts.intake,
            journal=self.parts.journal,
            attempt=self._start_attempt,
            lost=self._fenced,
        )
        owner = PartitionOwner(parts, Lanes(self.parts.policy, scribe, taken.recovered, time.time()))
        self._owners[partition] = owner
        if self._told is not None:
            owner.handle(_holds(self._told))
        owner.start()
        self._report_owned()

    def _fenced(self, owner: PartitionOwner) -> None:
        if self._owners.get(owner.partition) is not owner:
            return
        self._forget([owner.partition])
        if owner.partition in self._assigned:  # still ours as far as we have heard
            self._begin_take_over(owner.partition, FENCED_PAUSE_SECONDS)

    def _stop_taking_over(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            task = self._taking_over.pop(partition, None)
            if task is not None:
                task.cancel()

    def _forget(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            owner = self._owners.pop(partition, None)
            if owner is not None:
                owner.drop()
        self._report_owned()

    def _report_owned(self) -> None:
        self.parts.gauges.owned(len(self._owners))
        missing = sorted(self._assigned - self._owners.keys())
        self.parts.health.set("partitions", not missing, f"taking over {missing}" if missing else "")

    # Sending

    def pump(self) -> None:
        """Hand the relay's free slots round, starting with another partition each time."""
        owners = [owner for owner in self._owners.values() if owner.starts]
        if not owners:
            return
        self._turn += 1
        for index in range(len(owners)):
            slots = self.parts.desk.free_slots(time.time())
            if slots == 0:
                return
            owners[(self._turn + index) % len(owners)].handle(SlotsFree(slots))

    def _start_attempt(self, owner: PartitionOwner, attempt: Attempt) -> None:
        self.parts.desk.in_flight += 1
        task = asyncio.create_task(self._attempt(owner, attempt))
        owner.attempts.add(task)
        task.add_done_callback(owner.attempts.discard)

    async def _attempt(self, owner: PartitionOwner, attempt: Attempt) -> None:
        try:
            delivery = await self.parts.desk.deliver(attempt)
        except Exception:  # a fault of ours: the lane must not stay busy for ever
            log.exception("attempt_fault", partition=owner.partition, offset=attempt.origin.offset)
            owner.attempt_over(attempt.origin)
            self._fenced(owner)
            return
        finally:
            self.parts.desk.in_flight -= 1
        self.parts.gauges.attempt(self.parts.desk.name, delivery.ended.judgement, delivery.seconds)
        self._tell_hold()
        owner.handle(delivery.ended)
        owner.attempt_over(attempt.origin)
        self.pump()

    def _tell_hold(self) -> None:
        """Every partition hears once when the relay's hold begins, is extended, or ends."""
        hold, before = self.parts.desk.gate.hold, self._told
        if hold == before:
            return
        self._told = hold
        self.parts.gauges.relay(self.parts.desk.name, hold, before)
        reason = "" if hold is None else f"held until {hold.until:.0f}: {hold.reason}"
        self.parts.health.set(f"relay:{self.parts.desk.name}", hold is None, reason)
        if hold is None or before is None:
            event = "relay_released" if hold is None else "relay_held"
            log.warning(
                event, relay=self.parts.desk.name, cause=(hold or before or _NEVER).cause, reason=reason
            )
        for owner in list(self._owners.values()):
            owner.handle(RelayOpens() if hold is None else _holds(hold))

    # Time

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until told to stop. Raises MembershipLost."""
        reported = time.monotonic()
        watch = asyncio.create_task(self._watch_topic())
        while not stop.is_set():
            if watch.done():
                watch.result()
            if self._fatal is not None:
                raise MembershipLost(self._fatal)
            for owner in list(self._owners.values()):
                owner.handle(Tick())
            self.pump()
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                self._report()
            await _wait(stop, TICK_SECONDS)
        watch.cancel()
        self._stopping = True
        for owner in self._owners.values():
            owner.stop_starting()

    async def _watch_topic(self) -> None:
        """Raises MembershipLost when the main topic is no longer the one that we started on."""
        event_log, main = self.parts.take_over.event_log, self.parts.topics.main
        known: tuple[str, int] | None = None
        while True:
            try:
                found = (
                    await asyncio.to_thread(event_log.topic_id, main),
                    await asyncio.to_thread(event_log.partition_count, main),
                )
            except LogUnavailable as error:
                log.debug("topic_not_checked", reason=str(error))
            else:
                if known is not None and found != known:
                    raise MembershipLost(f"{main} was recreated or its partitions were changed while we ran")
                known = found
            await asyncio.sleep(TOPIC_CHECK_SECONDS)

    def _report(self) -> None:
        for owner in self._owners.values():
            owner.report()
        if time.monotonic() - self._stumbled_at > KAFKA_QUIET_SECONDS:
            self.parts.health.set("kafka", True)


_NEVER = Hold(relay="", cause="", reason="", since=0.0, until=0.0)


def _holds(hold: Hold) -> RelayHolds:
    return RelayHolds(
        cause=hold.cause, reason=hold.reason, relay=hold.relay, since=hold.since, until=hold.until
    )


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
