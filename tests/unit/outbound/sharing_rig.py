"""Some senders' shares and allocators on one log in memory, with a clock that a test moves."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from fakes.memory_log import MemoryLog
from postlane.adapters.avro_codec import Codec
from postlane.adapters.life_signs import LifeSigns
from postlane.core.events.relay_lease import RelayLease
from postlane.core.limits.budgets import parse_budgets
from postlane.core.limits.circuit import CircuitPolicy
from postlane.core.limits.governor import Governor, GovernorPolicy
from postlane.core.limits.permission import Answered, Hold, Start
from postlane.core.sharing.allocator import Entry
from postlane.core.sharing.relay_terms import RelayLimits, terms_of
from postlane.core.sharing.terms import CONNECTIONS
from postlane.outbound.allocation import Allocation, AllocationParts
from postlane.outbound.kafka_clock import KafkaClock
from postlane.outbound.lease_records import LeaseRecords
from postlane.outbound.sharing import Sharing, SharingParts
from postlane.ports import TopicPartition

TOPIC, GROUP = "relays", "g"
LEASE_SECONDS = 60.0
WAIT_SECONDS = 60.0  # only a test that fails waits so long, however busy the machine
TICK_SECONDS = 0.01
CODEC = Codec()


def limits(relay: str, connections: int, *budgets: str) -> RelayLimits:
    return RelayLimits(
        relay=relay,
        connections=connections,
        budgets=parse_budgets(budgets, ZoneInfo),
        hold_seconds=30.0,
        lease_seconds=LEASE_SECONDS,
    )


class FakeSessions:
    """Sessions as a share sees them."""

    def __init__(self) -> None:
        self.sessions = 0
        self.cuts = 0

    def trim(self, sessions: int) -> None:
        self.sessions = min(self.sessions, sessions)

    def cut(self) -> None:
        self.cuts += 1
        self.sessions = 0


class Site:
    """The log, and the clock of all: it moves on while a test waits, a second in ten milliseconds."""

    def __init__(self, directory: Path, *relays: RelayLimits, partitions: int = 1) -> None:
        self.relays = {relay.relay: relay for relay in relays}
        self.directory = directory
        self.now = 1000.0
        self._base = time.time() - self.now
        self.log = MemoryLog(clock=lambda: self._base + self.now)
        self.log.create_topic(TOPIC, partitions)
        self.records = LeaseRecords(CODEC, TOPIC, partitions, "/test")
        self.senders: dict[str, OneSender] = {}

    def time(self) -> float:
        """The brokers' time of day."""
        return self._base + self.now

    def clock(self, skew_seconds: float = 0.0) -> KafkaClock:
        """Of a machine whose time of day is off by so much."""
        return KafkaClock(lambda: self.now, lambda: self._base + self.now + skew_seconds)

    def entries(self) -> list[Entry]:
        """All committed records, of all partitions."""
        found = []
        for number in range(self.records.partitions):
            partition = self.log.partition(TopicPartition(TOPIC, number))
            found += self.records.entries(partition.readable(0, partition.stable_end))
        return found

    def leases(self, relay: str) -> list[RelayLease]:
        return [entry.lease for entry in self.entries() if entry.lease.relay == relay]

    async def until(self, seen: Callable[[], bool], seconds: float = 600.0) -> None:
        """Let time pass until it is so; a test fails where it takes longer on its clock."""
        end = self.now + seconds
        async with asyncio.timeout(WAIT_SECONDS):
            while not seen():
                assert self.now < end, "not within its time"
                await asyncio.sleep(TICK_SECONDS)
                self.now += 0.25
                self.check()

    async def run(self, seconds: float) -> None:
        end = self.now + seconds
        await self.until(lambda: self.now >= end, seconds + 1)

    def check(self) -> None:
        """Never more than the relay takes, over all who live."""
        for name, relay in self.relays.items():
            leased = sum(sender.connections(name) for sender in self.senders.values())
            assert leased <= relay.connections, f"{leased} of {relay.connections} connections"


@dataclass
class OneSender:
    """One process: its shares, its part in allotting, its mail."""

    name: str
    site: Site
    sharing: Sharing
    allocation: Allocation
    waiting: int = 0
    flowing: bool = False
    dead: bool = False
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    sinks: dict[str, FakeSessions] = field(default_factory=dict)
    governors: dict[str, Governor] = field(default_factory=dict)

    def connections(self, relay: str) -> int:
        return 0 if self.dead else self.sharing.shares[relay].holder.amount(CONNECTIONS, self.site.now)

    def may_start(self, relay: str = "r", recipients: int = 1) -> bool:
        return isinstance(self.governors[relay].may_start(recipients, time.time()), Start)

    def send_one(self, relay: str = "r") -> bool:
        """Where a mail may start by this sender's own clock, it does, and is answered."""
        now, governor = self.sharing.clock(), self.governors[relay]
        may = isinstance(governor.may_start(1, now), Start)
        if may:
            governor.ended(governor.started(1, now), Answered(), now)
        return may

    def hold(self, relay: str = "r") -> Hold | None:
        """What its people hear."""
        return self.governors[relay].hold(self.sharing.clock())

    async def kill(self) -> None:
        """As SIGKILL: nothing is said to anybody, and the group notices."""
        self.dead = True
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        following = self.sharing._following
        if following is not None:
            await asyncio.to_thread(following.close)
        await self.allocation.close()

    async def stop(self) -> None:
        """In good order."""
        self.dead = True
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.sharing.close()
        await self.allocation.close()


async def begin(
    site: Site,
    name: str,
    clock: KafkaClock | None = None,
    *,
    marks: Mapping[str, str] | None = None,
    other: Mapping[str, RelayLimits] | None = None,
) -> OneSender:
    """A sender that starts; `clock` where its own is not that of all, `other` where its configuration is not, with its `marks`."""
    relays = site.relays if other is None else other
    records = (
        site.records if marks is None else replace(site.records, marks=dict.fromkeys(site.relays, marks))
    )
    sharing = Sharing(
        SharingParts(
            event_log=site.log,
            records=records,
            relays=relays,
            group=GROUP,
            holder=name,
            clock=clock or site.clock(),
            life_signs=LifeSigns("sender", site.directory),
        )
    )
    terms = {relay: terms_of(its) for relay, its in relays.items()}
    allocation = Allocation(
        AllocationParts(
            event_log=site.log, records=site.records, terms=terms, group=GROUP, steady=lambda: site.now
        )
    )
    sender = site.senders[name] = OneSender(name, site, sharing, allocation)
    circuit = CircuitPolicy(hold_seconds=30.0, hold_seconds_max=30.0)
    for relay, share in sharing.shares.items():
        sink = sender.sinks[relay] = FakeSessions()
        share.connect(sink)
        policy = GovernorPolicy(connections=site.relays[relay].connections, circuit=circuit)
        sender.governors[relay] = Governor(relay, policy, share.limits, share)
    await allocation.join()
    sender.tasks.append(
        asyncio.create_task(
            sharing.run(lambda _relay: sender.waiting, lambda _relay: sender.flowing, TICK_SECONDS)
        )
    )
    return sender


@asynccontextmanager
async def site_of(directory: Path, *relays: RelayLimits, partitions: int = 1) -> AsyncIterator[Site]:
    """Ended with the test."""
    site = Site(directory, *relays, partitions=partitions)
    try:
        yield site
    finally:
        for sender in site.senders.values():
            if not sender.dead:
                await sender.stop()
