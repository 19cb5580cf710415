"""The owner of one partition: steps its lanes and does what they ask for."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import assert_never

import structlog

from postlane.core.events.status import Origin
from postlane.core.sending.lane_mail import (
    Arrived,
    Attempt,
    CommitBatch,
    Effect,
    Event,
    Load,
    NotStarted,
    PauseFetching,
    ResumeFetching,
    WriteBatch,
)
from postlane.core.sending.lane_steps import step
from postlane.core.sending.lanes import Lanes
from postlane.core.sending.wishes import lanes_event
from postlane.outbound.committer import Committer, CommitterParts
from postlane.outbound.control import ControlReader, Wishes
from postlane.outbound.intake import Intake
from postlane.outbound.journal_reader import JournalReader
from postlane.ports import Clock, LogRecord, LogUnavailable

INTAKE_AGAIN_SECONDS = 2.0
CONTROL_SECONDS = 2.0  # an operator's command is obeyed within about this time
INDEX_FULL = "so many mails wait that nothing more is read: see `postlane status` and the relay"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionParts:
    """What a partition's owner works with; `attempt` starts an SMTP attempt for an owner, `lost` hears when an owner gives up and whether it was fenced."""

    committing: CommitterParts
    intake: Intake
    journal: JournalReader
    control: ControlReader
    attempt: "Callable[[PartitionOwner, Attempt], None]"
    lost: "Callable[[PartitionOwner, bool], None]"
    clock: Clock = time.time


class PartitionOwner:
    """Lives from take-over to release; every call is made on the event loop."""

    def __init__(self, parts: PartitionParts, lanes: Lanes) -> None:
        self.parts = parts
        self.lanes = lanes
        self.partition = parts.committing.partition
        self._member = parts.committing.member
        self._pump = parts.committing.pump
        self.alive = True
        self.starts = True
        self.in_flight: set[Origin] = set()
        self.attempts: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._loads: list[Load] = []
        self._backlog: list[LogRecord] = []
        self._reading = False
        self._session: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.committer = Committer(parts.committing, self)

    def begin(self, wishes: Wishes) -> None:
        """Hear what operators want, then read the main partition from where the lanes stand."""
        self._obey(wishes)
        self._spawn(self._follow_control(wishes.position))
        self._start()

    def _start(self) -> None:
        self._session = self._member.start(self.partition, self.lanes.position)

    def handle(self, event: Event) -> None:
        """Step the lanes and do what they ask for."""
        if not self.alive:
            return
        try:
            for effect in step(self.lanes, event, self.parts.clock()):
                self._execute(effect)
        except Exception:  # a fault of ours: what is in memory cannot be trusted, what is in Kafka can
            log.exception("lanes_fault", partition=self.partition)
            self.give_up()

    def give_up(self, *, fenced: bool = False) -> None:
        """Fenced, or a fault of ours: what is in memory cannot be trusted, what is in Kafka can."""
        self.parts.lost(self, fenced)

    def stop_starting(self) -> None:
        """Start no more attempts; those in flight go on."""
        self.starts = False

    def attempt_over(self, origin: Origin) -> None:
        """An attempt has come back."""
        self.in_flight.discard(origin)
        if not self.in_flight:
            self._idle.set()

    def not_now(self, origin: Origin) -> None:
        """An attempt was asked for that the relays have no room for."""
        self.attempt_over(origin)
        self.handle(NotStarted(origin))

    async def release(self, seconds: float) -> None:
        """Finish what is in flight, make it durable, give the partition back; what takes longer than `seconds` is given up."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
                await self.committer.finish()
        except TimeoutError:
            log.warning(
                "partition_release_cut_short", partition=self.partition, in_flight=len(self.in_flight)
            )
        self.drop()

    def drop(self) -> None:
        """Forget the partition at once: nothing more is written about it."""
        if not self.alive:
            return
        self.alive = False
        self._member.pause(self.partition)
        # A late copy must not reach the relay after its successors: what is still in flight is cut off.
        for task in (*self._tasks, *self.attempts):
            task.cancel()
        self.committer.cut_off()
        self.parts.committing.gauges.forget(self.partition)

    def take_in(self, session: int, records: Sequence[LogRecord]) -> None:
        """Records of the main partition, in order; those of an older fetch session would leave a hole and are dropped."""
        if not self.alive or session != self._session or not records:
            return
        self._backlog.extend(records)
        if self._reading:
            return
        if self.parts.intake.blocks:
            self._reading = True
            self._spawn(self._read_backlog())
            return
        try:
            records = self._take_backlog()
            self.handle(Arrived(self.parts.intake.arrivals(self._fresh(records)), records[-1].offset + 1))
        except Exception:  # what was read is not in the lanes: the new owner reads it again
            log.exception("intake_fault", partition=self.partition)
            self.give_up()

    def _take_backlog(self) -> list[LogRecord]:
        records, self._backlog = self._backlog, []
        return records

    def _fresh(self, records: list[LogRecord]) -> list[LogRecord]:
        """Those worth decoding: after a take-over most may be parked or done."""
        lanes = self.lanes
        return [r for r in records if r.offset >= lanes.position and not lanes.knows(r.offset)]

    async def _read_backlog(self) -> None:
        """Decode in a thread; while the schema registry is away, nothing is passed over and nothing more is fetched."""
        paused = False
        while self._backlog:
            records = self._take_backlog()
            try:
                arrivals = await asyncio.to_thread(self.parts.intake.arrivals, self._fresh(records))
            except LogUnavailable as error:
                log.warning("intake_stalled", partition=self.partition, reason=str(error))
                self._backlog[:0] = records
                if not paused:
                    self._member.pause(self.partition)
                    paused = True
                await asyncio.sleep(INTAKE_AGAIN_SECONDS)
                continue
            self.handle(Arrived(arrivals, records[-1].offset + 1))
        self._reading = False
        if paused and not self.lanes.paused:
            self._start()
        self._pump()

    # Effects

    def _execute(self, effect: Effect) -> None:
        match effect:
            case Attempt():
                self.in_flight.add(effect.origin)
                self._idle.clear()
                self.parts.attempt(self, effect)
            case Load():
                self._loads.append(effect)
                if len(self._loads) == 1:
                    self._spawn(self._load())
            case WriteBatch():
                self.committer.batch = effect
            case CommitBatch():
                self.committer.staged = effect
            case PauseFetching():
                self._member.pause(self.partition)
                if effect.index_full:
                    log.error(
                        "index_full",
                        partition=self.partition,
                        unfinished=len(self.lanes.mails),
                        advice=INDEX_FULL,
                    )
            case ResumeFetching():
                self._session = self._member.start(self.partition, effect.position)
            case _:
                assert_never(effect)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self) -> None:
        await asyncio.sleep(0)  # let one pass of the lanes ask for all it wants, then read once
        while self._loads:
            loads, self._loads = self._loads, []
            loaded, unready = await self.parts.journal.load(self.partition, loads)
            for event in loaded:
                self.handle(event)
            if unready:
                self._spawn(self._load_later(unready))
        self._pump()

    async def _load_later(self, loads: list[Load]) -> None:
        await asyncio.sleep(INTAKE_AGAIN_SECONDS)
        self._loads += loads
        if len(self._loads) == len(loads):
            await self._load()

    def _obey(self, wishes: Wishes) -> None:
        for command in wishes.commands:
            event = lanes_event(command)
            if event is not None:
                self.handle(event)

    async def _follow_control(self, position: int) -> None:
        while True:
            await asyncio.sleep(CONTROL_SECONDS)
            try:
                wishes = await asyncio.to_thread(self.parts.control.read, self.partition, position)
            except LogUnavailable as error:
                log.debug("control_not_read", partition=self.partition, reason=str(error))
                continue
            position = wishes.position
            for command in wishes.commands:
                log.info(
                    "command",
                    partition=self.partition,
                    ticket=command.ticket_id,
                    wish=command.wish.value,
                    by=command.issued_by,
                )
            self._obey(wishes)
            if wishes.commands:
                self._pump()

    def report(self) -> None:
        """Set the gauges of this partition."""
        states = Counter("parked" if mail.parked else "memory" for mail in self.lanes.mails.values())
        self.parts.committing.gauges.partition(self.partition, self.lanes, states, len(self.in_flight))
