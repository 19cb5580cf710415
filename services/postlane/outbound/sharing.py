"""The relays' shares of this process: hears mail.relays, writes what the holders ask, and gives everything back in the end."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from postlane.adapters.life_signs import LifeSigns, NoLifeSigns
from postlane.core.events.relay_lease import RelayLease
from postlane.core.reconnect import reconnect_seconds
from postlane.core.sharing.allocator import Entry
from postlane.core.sharing.estates import Estates
from postlane.core.sharing.relay_terms import RelayLimits
from postlane.core.sharing.section_marks import SectionsSeen
from postlane.outbound.kafka_clock import KafkaClock
from postlane.outbound.lease_records import LeaseRecords
from postlane.outbound.relay_share import RelayShare
from postlane.ports import EventLog, Following, LogRecord, LogUnavailable, TopicPartition

FAREWELL_SECONDS = 2.0
ESTATES_SECONDS = 1.0  # how often we look whether another sender of this machine has died

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingParts:
    """`holder` is new with every start of the process; `group` is that of the allocators, whose offsets say where their snapshots begin.

    `clock` learns the brokers' time from what is read back.
    """

    event_log: EventLog
    records: LeaseRecords
    relays: Mapping[str, RelayLimits]
    group: str
    holder: str
    clock: KafkaClock
    life_signs: LifeSigns


class Sharing:
    """On the event loop; what is read comes from a thread. Until it has heard mail.relays nothing is granted."""

    def __init__(self, parts: SharingParts) -> None:
        self._parts = parts
        self.clock = parts.clock
        self._loop = asyncio.get_running_loop()
        self._publisher = parts.event_log.publisher(parts.holder)
        self._following: Following | None = None
        self._estates = Estates(parts.relays)
        self._fault: Exception | None = None
        self._sections = {
            name: SectionsSeen(parts.records.marks.get(name, {}), limits.lease_seconds)
            for name, limits in parts.relays.items()
        }
        # By relay: our newest request, and when it was composed.
        self._asked: dict[str, tuple[int, float]] = {}
        self.shares = {
            name: RelayShare(limits, parts.holder, self._write, parts.clock)
            for name, limits in parts.relays.items()
        }

    async def run(
        self, waiting: Callable[[str], int], flowing: Callable[[str], bool], tick_seconds: float
    ) -> None:
        """Hear and ask, for ever; `waiting` says how many mails could go by a relay, `flowing` whether others of its routes are in flight.

        Raises what went wrong with a record that was heard.
        """
        self._live()
        await self._follow()
        # Apart, because leases end while the threads that look at files are all taken.
        await asyncio.gather(self._tick(waiting, flowing, tick_seconds), self._clear_estates())

    async def _tick(
        self, waiting: Callable[[str], int], flowing: Callable[[str], bool], tick_seconds: float
    ) -> None:
        while self._fault is None:
            for name, share in self.shares.items():
                share.tick(waiting(name), flowing=flowing(name))
            if self._following is not None and self._following.fault is not None:
                raise self._following.fault
            await asyncio.sleep(tick_seconds)
        raise self._fault

    async def close(self) -> None:
        """The last attempt is over: say so, and wait a moment until Kafka has it."""
        for share in self.shares.values():
            share.leave()
        if self._following is not None:
            await asyncio.to_thread(self._following.close)
        await asyncio.to_thread(self._publisher.close, FAREWELL_SECONDS)
        self._parts.life_signs.end()

    def _live(self) -> None:
        try:
            self._parts.life_signs.begin(self._parts.holder)
        except NoLifeSigns as error:
            log.warning(
                "no_life_signs",
                reason=str(error),
                effect="if this sender is killed, its connections are free after outbound.lease_seconds",
            )

    async def _clear_estates(self) -> None:
        while True:
            for lease in self._estates.died(await asyncio.to_thread(self._parts.life_signs.dead)):
                self._write(lease)
            await asyncio.sleep(ESTATES_SECONDS)

    async def _follow(self) -> None:
        failures = 0
        while self._following is None:
            try:
                starts = await asyncio.to_thread(self._starts)
                self._following = await asyncio.to_thread(self._parts.event_log.follow, starts, self._heard)
            except LogUnavailable as error:
                failures += 1
                log.warning("relays_not_followed", reason=str(error))
                await asyncio.sleep(reconnect_seconds(min(failures, 3), random.random()))  # noqa: S311 - spreads

    def _starts(self) -> dict[TopicPartition, int]:
        """From the newest snapshot on; without one from the beginning."""
        starts = {}
        for at in {self._parts.records.place_of(relay) for relay in self.shares}:
            point = self._parts.event_log.committed(self._parts.group, at)
            starts[at] = 0 if point is None else point.offset
        return starts

    def _heard(self, records: list[LogRecord]) -> None:
        """In the follower's thread. After a fault nothing is heard any more: without all records a share knows nothing."""
        try:
            entries = self._parts.records.entries(records)
        except Exception as error:
            self._fault = error
            raise
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._hear, entries)

    def _hear(self, entries: list[Entry]) -> None:
        if self._fault is not None:
            return
        try:
            self._take_in(entries)
        except Exception as error:  # noqa: BLE001 - whatever it is, `run` raises it, and the process begins anew
            self._fault = error

    def _take_in(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._note_time(entry)
            self._compare(entry)
            forgotten = self._estates.heard(entry)
            if forgotten is not None:
                log.info("dead_sender_cleared", sender=forgotten)
                self._parts.life_signs.forget(forgotten)
        for name, share in self.shares.items():
            its = [entry for entry in entries if entry.lease.relay == name]
            if its:
                share.hear(its)

    def _note_time(self, entry: Entry) -> None:
        request, (number, composed) = entry.lease.request, self._asked.get(entry.lease.relay, (0, 0.0))
        if request is not None and request.number == number and entry.lease.written_by == self._parts.holder:
            self._parts.clock.read_back(entry.written_at, composed)

    def differing(self, relay: str) -> str:
        """Which senders have another section of this relay than we have, and in which keys; empty where none has."""
        return self._sections[relay].words(self.clock.steady())

    def _compare(self, entry: Entry) -> None:
        seen = self._sections.get(entry.lease.relay)
        if seen is not None:
            seen.hear_entry(entry, self.clock.steady())

    def _write(self, lease: RelayLease) -> None:
        if lease.request is not None and lease.written_by == self._parts.holder:
            self._asked[lease.relay] = lease.request.number, self._parts.clock.steady()
        self._publisher.publish(self._parts.records.record(lease))
