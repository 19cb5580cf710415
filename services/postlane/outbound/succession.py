"""Takes partitions over, again until it succeeds, and after a fault no sooner than its rest is over."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from postlane.core.instants import iso_utc
from postlane.core.sending.rest import Rest, RestPolicy, next_rest
from postlane.outbound.gauges import Gauges
from postlane.outbound.takeover import TakenOver, TakeOver
from postlane.ports import Clock, Fenced, LogUnavailable, LogWriter

AGAIN_SECONDS = 1.0
# A member that was stopped or cut off for long is fenced by its successor before it hears that the group has put it out. Were it to
# take the partition back at once, it would fence its successor for nothing: the group takes no commit of a member that is out.
FENCED_PAUSE_SECONDS = 5.0
FAULT_PAUSE_SECONDS = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """A partition that is ours: its writer, what is known of it, and until when it is to be worked with caution."""

    partition: int
    writer: LogWriter
    found: TakenOver
    cautious_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessionParts:
    """`joined` is set once the membership is there, `clock_known` once the time is (None: it is); `taken` hears of every partition that is ours now, on the event loop."""

    take_over: TakeOver
    writer: Callable[[int], LogWriter]
    gauges: Gauges
    rest: RestPolicy
    joined: asyncio.Event
    taken: Callable[[Taken], None]
    clock: Clock = time.time
    clock_known: asyncio.Event | None = None


class Succession:
    """Everything here runs on the event loop; reading the state back blocks and so is done in a thread."""

    def __init__(self, parts: SuccessionParts) -> None:
        self._parts = parts
        self._rests: dict[int, Rest] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def begin(self, partition: int) -> None:
        """Take this partition over, unless that is under way."""
        self._begin(partition, 0.0)

    def begin_after_fault(self, partition: int, *, fenced: bool) -> None:
        """Its owner was fenced or failed: let it rest, then take it over anew."""
        now = self._parts.clock()
        rest = self._rests[partition] = next_rest(
            self._parts.rest, self._rests.get(partition), now, fenced=fenced
        )
        self._parts.gauges.fault(fenced=fenced)
        log.error(
            "partition_rests",
            partition=partition,
            fenced=fenced,
            faults=rest.faults,
            until=iso_utc(rest.until),
            one_mail_at_a_time_until=iso_utc(rest.cautious_until) if rest.cautious_until > now else None,
        )
        self._begin(partition, rest.until - now)

    def cancel(self, partitions: Sequence[int]) -> None:
        """These are no longer ours to take."""
        for partition in partitions:
            task = self._tasks.pop(partition, None)
            if task is not None:
                task.cancel()

    def waiting_for(self, partitions: Sequence[int]) -> str:
        """For people: which of these partitions are being taken over, and which rest."""
        if self._parts.clock_known is not None and not self._parts.clock_known.is_set():
            return (
                f"{list(partitions)} wait until the brokers have told what time it is, in mail.relays"
                if partitions
                else ""
            )
        now = self._parts.clock()
        resting = {p: rest for p in partitions if (rest := self._rests.get(p)) and rest.until > now}
        words = [
            f"{p} rests after fault {rest.faults} until {iso_utc(rest.until)}" for p, rest in resting.items()
        ]
        others = [p for p in partitions if p not in resting]
        return "; ".join(([f"taking over {others}"] if others else []) + words)

    def _begin(self, partition: int, pause_seconds: float) -> None:
        if partition not in self._tasks:
            self._tasks[partition] = asyncio.create_task(self._run(partition, pause_seconds))

    async def _run(self, partition: int, pause_seconds: float) -> None:
        await self._parts.joined.wait()
        if self._parts.clock_known is not None:
            await self._parts.clock_known.wait()
        while True:
            await asyncio.sleep(pause_seconds)
            started = time.monotonic()
            writer = self._parts.writer(partition)
            try:
                found = await asyncio.to_thread(self._parts.take_over.run, writer, partition)
            except asyncio.CancelledError:
                asyncio.get_running_loop().run_in_executor(None, writer.close)
                raise
            except (Fenced, LogUnavailable) as error:
                log.warning("take_over_failed", partition=partition, reason=str(error))
                pause = FENCED_PAUSE_SECONDS if isinstance(error, Fenced) else AGAIN_SECONDS
                pause_seconds = pause * (1 + random.random())  # noqa: S311 - spreads
            except (
                Exception
            ):  # a fault of ours, or a record that nobody foresaw: never give a partition up in silence
                log.exception("take_over_fault", partition=partition)
                pause_seconds = FAULT_PAUSE_SECONDS
            else:
                break
            await asyncio.to_thread(writer.close)
        del self._tasks[partition]
        seconds = time.monotonic() - started
        self._parts.gauges.recovered(seconds)
        rest = self._rests.get(partition)
        self._parts.taken(Taken(partition, writer, found, rest.cautious_until if rest else 0.0))
        log.info(
            "partition_taken_over",
            partition=partition,
            position=found.recovered.base,
            parked=len(found.recovered.parked),
            seconds=round(seconds, 3),
        )
