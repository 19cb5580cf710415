"""What mail.relays tells of each relay: how much of its budgets is used, how many senders share it, and whether all of them are held."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.adapters.relay_marks import marks_in
from postlane.config.settings import Settings
from postlane.core.events.relay_lease import RelayHold, RelayLease, lease_key
from postlane.core.history import SendersSeen
from postlane.core.instants import moment
from postlane.core.limits.limit import Limit
from postlane.core.limits.microseconds import to_us
from postlane.core.partitioner import partition_of
from postlane.core.sharing.allocator import Entry
from postlane.core.sharing.onlooker import Onlooker
from postlane.core.sharing.relay_terms import terms_of
from postlane.core.sharing.section_marks import SectionsSeen, marks_of
from postlane.core.sharing.used_budget import fill_ledger
from postlane.ops.scanning import Step, scan
from postlane.ports import Bounds, EventLog, LogRecord, TopicPartition


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayUsage:
    """As of now: `senders` share it, and any was last heard of at `heard_at`. `limits` are the relay's budgets with what all senders have used, `hold` is that of all of them.

    `differing`: which senders have another configuration of it than we, and in which keys.
    """

    senders: int
    heard_at: datetime | None
    limits: tuple[Limit, ...]
    hold: RelayHold | None
    differing: str = ""

    def words(self, now: datetime) -> tuple[str, ...]:
        """Each budget that is counted, and how much of it is used."""
        return tuple(limit.describe(to_us(now.timestamp())) for limit in self.limits if limit.told)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReader:
    """`topic` by its full name; `group` is the allocators', whose offsets say where the newest snapshots begin."""

    log: EventLog
    codec: Codec
    topic: str
    group: str
    step: Step | None = None

    def read(self, settings: Settings, now: datetime) -> Mapping[str, RelayUsage]:
        """Of every configured relay. Raises LogUnavailable."""
        onlookers = {
            name: Onlooker(terms_of(section.shared_limits(name, settings.outbound.lease_seconds)))
            for name, section in settings.relays.items()
        }
        lease_seconds = settings.outbound.lease_seconds
        sections = {
            name: SectionsSeen(marks_of(section.shared_section(lease_seconds)), lease_seconds)
            for name, section in settings.relays.items()
        }
        for entry in self._entries(list(onlookers)):
            if entry.lease.relay in onlookers:
                onlookers[entry.lease.relay].hear(entry, entry.written_at)
                sections[entry.lease.relay].hear_entry(entry, entry.written_at)
        return {
            name: replace(
                _usage(settings.relays[name].limits(), onlooker, now),
                differing=sections[name].words(now.timestamp()),
            )
            for name, onlooker in onlookers.items()
        }

    def _entries(self, relays: list[str]) -> list[Entry]:
        count = self.log.partition_count(self.topic)
        places = {TopicPartition(self.topic, partition_of(lease_key(relay), count)) for relay in relays}
        return scan(self.log, {at: self._span(at) for at in places}, self._entry, self.step)

    def _span(self, at: TopicPartition) -> Bounds:
        bounds, point = self.log.bounds(at), self.log.committed(self.group, at)
        return Bounds(low=max(bounds.low, 0 if point is None else point.offset), end=bounds.end)

    def _entry(self, record: LogRecord) -> Entry | None:
        try:
            lease = self.codec.decode(RelayLease, record.value)
        except Undecodable:
            return None  # the senders pass it over, too, and report it
        return Entry(record.offset, record.timestamp_ms / 1000, lease, marks_in(record))


def _usage(limits: tuple[Limit, ...], onlooker: Onlooker, now: datetime) -> RelayUsage:
    shared = {budget.name: budget for budget in onlooker.terms.budgets}
    now_us = to_us(now.timestamp())
    filled = tuple(
        fill_ledger(limit, shared[limit.key], onlooker.spent(limit.key), onlooker.terms, now_us)
        if limit.key in shared
        else limit
        for limit in limits
    )
    live = onlooker.books.live(now.timestamp())
    heard = [book.heard_at for book in onlooker.books.holders.values() if book.request is not None]
    return RelayUsage(
        senders=len(live),
        heard_at=moment(max(heard)) if heard else None,
        limits=filled,
        hold=onlooker.hold,
    )


def senders_seen(usage: Iterable[RelayUsage]) -> SendersSeen:
    """Of all relays: every sender asks for each."""
    of_relays = list(usage)
    heard = [one.heard_at for one in of_relays if one.heard_at is not None]
    return SendersSeen(max((one.senders for one in of_relays), default=0), max(heard, default=None))
