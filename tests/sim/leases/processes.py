"""The processes of the simulation: senders around a real Holder, allocators around a real Allocator."""

import random
from collections import Counter
from typing import assert_never

from postlane.core.events.relay_lease import LeaseGrant, RelayLease, RelaySnapshot
from postlane.core.sharing import allocator as allocating
from postlane.core.sharing import holder as holding
from postlane.core.sharing import holder_events
from postlane.core.sharing.allocator import (
    Aborted,
    CaughtUp,
    Committed,
    Deposed,
    Entry,
    Office,
    Read,
    SnapshotDue,
    Write,
)
from postlane.core.sharing.holder_events import Demand, Ended, Heard, Leave, Pass, Refused
from postlane.core.sharing.kafka_time import KafkaTime
from postlane.core.sharing.terms import Terms
from sim.leases.hooks import Planted
from sim.leases.partition import Partition, Transaction
from sim.leases.witness import Attempt, Memory, TimeKept, Witness

STARTS_MAX = 3  # tries in a row
HOURS = 7200.0


class Surroundings:
    """What all processes share. `refuses_until`: the relay's quota is used up."""

    def __init__(self, terms: Terms, rnd: random.Random, planted: Planted) -> None:
        self.terms = terms
        self.rnd = rnd
        self.planted = planted
        self.partition = Partition()
        self.witness = Witness(terms)
        self.refuses_until = 0.0
        self.slow = rnd.random() < 0.4  # the relay takes as long as an attempt may take
        self.stats: Counter[str] = Counter()


class Process:
    """Something with a clock of its own that may be stopped, or cut off from Kafka."""

    def __init__(self, around: Surroundings, now: float) -> None:
        self.around = around
        self._rate = around.rnd.uniform(0.98, 1.02)
        self._frozen = 0.0
        self._shift = around.rnd.uniform(0.0, 1e6) - now
        self.stopped_until = 0.0
        self.no_reads_until = 0.0
        self.no_writes_until = 0.0

    def clock(self, now: float) -> float:
        if self.around.planted.sleeps_uncounted and now < self.stopped_until:
            return self._frozen
        return now * self._rate + self._shift

    def stop(self, now: float, seconds: float) -> None:
        """SIGSTOP for so long."""
        self._frozen = self.clock(now)
        self.stopped_until = now + seconds
        if self.around.planted.sleeps_uncounted:
            self._shift = self._frozen - self.stopped_until * self._rate

    def heal(self, now: float) -> None:
        """Run again, and reach Kafka."""
        if self.around.planted.sleeps_uncounted and now < self.stopped_until:
            self._shift += (self.stopped_until - now) * self._rate
        self.stopped_until = self.no_reads_until = self.no_writes_until = 0.0

    @property
    def rate(self) -> float:
        return self._rate

    def steady(self, now: float) -> float:
        """What its clock counts, sleep or no sleep."""
        return now * self._rate


class Sender(Process):
    """Sends as many mails as it may, and as its random demand wants."""

    def __init__(self, around: Surroundings, now: float, name: str) -> None:
        super().__init__(around, now)
        self.holder = around.planted.holder_type(around.terms, name)
        self.memory = Memory()
        self.position = around.partition.end
        self.flying: list[tuple[float, Attempt, bool]] = []  # until when, refused
        self.outbox: list[tuple[float, RelayLease]] = []
        self.busy = False
        skew = around.rnd.choice([-HOURS, 0.0, HOURS])
        self.time, self.time_kept = KafkaTime(now + skew, self.clock(now)), TimeKept(now)
        self.asked = 0, now, self.clock(now)
        self.served: dict[str, float] = {}  # when it last had all of a capacity, or units in hand

    def act(self, now: float) -> None:
        """Run for a moment."""
        if now < self.stopped_until:
            return
        rnd = self.around.rnd
        if rnd.random() < 0.3:  # what it starts before it reads, it starts on what it knows
            self._start_mails(now)
        self._end_mails(now)
        if now >= self.no_reads_until:
            self._read(now)
        new = rnd.random() < 0.2 or self.busy
        self._step(self._demand() if new else holder_events.Tick(), now)
        self._start_mails(now)
        self._write(now)
        if self.time.known:
            self.around.witness.tells_time(self.time_kept, self.time.at(self.clock(now)), now)

    def leave(self, now: float) -> None:
        """SIGTERM: what is in flight is finished elsewhere in time."""
        self._step(Leave(), now)
        self._write(now)

    def _demand(self) -> Demand:
        rnd, terms = self.around.rnd, self.around.terms
        share = 1.0 if self.busy else rnd.choice([0.0, 0.0, 0.2, 0.5, 1.0])
        return Demand(
            capacities={part.name: round(part.amount * share) for part in terms.capacities},
            budgets={part.name: round(part.limit * share) for part in terms.budgets},
        )

    def _step(self, event: holder_events.HolderEvent, now: float) -> None:
        clock = self.clock(now)
        for lease in holding.step(self.holder, event, clock):
            if lease.request is not None:
                self.memory.composed[lease.request.number] = self.steady(now)
                self.asked = lease.request.number, now, clock
            delay = self.around.rnd.choice([0.0, 0.0, 0.05, 0.3])
            self.outbox.append((now + delay, lease))

    def _write(self, now: float) -> None:
        if now < self.no_writes_until:
            if self.around.rnd.random() < 0.2:
                self.outbox.clear()  # the producer gave up
            return
        while self.outbox and self.outbox[0][0] <= now:
            partition = self.around.partition
            offset = partition.append(self.outbox.pop(0)[1], now)
            entry = partition.slots[offset].entry
            assert entry is not None
            self.around.witness.wrote(entry, now)

    def _read(self, now: float) -> None:
        partition, planted = self.around.partition, self.around.planted
        stop = partition.end if planted.dirty_reads else partition.stable_end
        if stop > self.position:
            entries = partition.read(self.position, stop, dirty=planted.dirty_reads)
            self._note_time(entries, now)
            for entry in entries:
                grant_or_snapshot = entry.lease.grant or entry.lease.snapshot
                if grant_or_snapshot is None or not planted.dirty_reads:
                    self.around.witness.heard(self.memory, self.holder.name, entry)
                elif partition.slots[entry.offset].transaction is not None:
                    transaction = partition.slots[entry.offset].transaction
                    if transaction is not None and transaction.decided:
                        self.around.witness.heard(self.memory, self.holder.name, entry)
            self.position = stop
            self._step(Heard(entries), now)

    def _note_time(self, entries: tuple[Entry, ...], now: float) -> None:
        number, asked_at, composed = self.asked
        for entry in entries:
            request = entry.lease.request
            if request is not None and (entry.lease.written_by, request.number) == (self.holder.name, number):
                self.time.read_back(entry.written_at, composed, self.clock(now))
                self.time_kept.read_back(asked_at, now)

    def _start_mails(self, now: float) -> None:
        rnd, around = self.around.rnd, self.around
        for _ in range(STARTS_MAX):
            costs = {
                part.name: rnd.choice([1, 1, 2]) if "recipients" in part.name else 1
                for part in around.terms.budgets
            }
            clock = self.clock(now)
            if self.busy:
                has = (name for name in costs if self.holder.purse.has(name, clock) >= costs[name])
                self.served.update(dict.fromkeys(has, now))
            leave = holding.start(self.holder, costs, clock)
            if not isinstance(leave, Pass):
                around.stats["waits"] += 1
                return
            refused, lost = now < around.refuses_until, rnd.random() < 0.05
            share = rnd.choice([rnd.random() / 10, rnd.random() / 3, rnd.random()])
            if around.slow or leave.probe:
                share = rnd.uniform(0.7, 1.0)
            seconds = share * around.terms.attempt_seconds_max / self.rate
            attempt = Attempt(
                leave, costs, now, now + seconds, now + seconds * rnd.random(), refused=refused or lost
            )
            around.witness.starts(self.memory, attempt, self.steady(now))
            around.stats["mails"] += 1
            around.stats["probes"] += leave.probe
            self.flying.append((now + seconds, attempt, refused))

    def _end_mails(self, now: float) -> None:
        for until, attempt, refused in list(self.flying):
            if until > now:
                continue
            self.flying.remove((until, attempt, refused))
            rnd = self.around.rnd
            if refused:
                wait = rnd.choice([None, None, 1.0, 5.0])
                self.around.stats["refusals"] += 1
                self._step(
                    Refused(
                        leave=attempt.leave,
                        counted=False,
                        cause="quota",
                        reason="over quota",
                        wait_seconds=wait,
                    ),
                    now,
                )
                self.memory.refused_at = max(self.memory.refused_at, self.position)
            else:
                counted = not attempt.refused
                self._step(Ended(attempt.leave, counted=counted, answered=counted), now)


class AllocatorProcess(Process):
    """The owner of the partition, or one who does not know yet that he no longer is."""

    def __init__(self, around: Surroundings, now: float, name: str) -> None:
        super().__init__(around, now)
        self.allocator = around.planted.allocator(around.terms, name)
        self.epoch = 0
        self.position = 0
        self.end = 0
        self.transaction: Transaction | None = None
        self.decided: Write | None = None  # and not produced yet
        self.written: tuple[RelayLease, ...] = ()

    def act(self, now: float) -> None:
        """Run for a moment."""
        blocked = max(self.stopped_until, self.no_reads_until, self.no_writes_until) > now
        if blocked or not self.around.planted.may_write(self.allocator):
            return
        partition = self.around.partition
        if not self.epoch:
            self.epoch = partition.take_over()
            self.end = partition.end
            self.position = self.around.planted.read_from(partition)
        self._read(now)
        if self.decided is not None:
            self._produce(self.decided, now)
        elif self.transaction is not None:
            self._commit(now)
        else:
            if self.around.rnd.random() < 0.1:
                self._step(SnapshotDue(), now)
            self._step(allocating.Tick(), now)

    def _step(self, event: allocating.AllocatorEvent, now: float) -> None:
        for write in allocating.step(self.allocator, event, self.clock(now)):
            self.decided = write
            if self.around.rnd.random() < 0.7:
                self._produce(write, now)

    def _produce(self, write: Write, now: float) -> None:
        partition = self.around.partition
        epoch = self.epoch if self.around.planted.fences else partition.epoch
        self.decided, self.transaction = None, partition.begin(epoch, write.commit_to)
        if self.transaction is None:
            self._step(Deposed(), now)
            return
        self.written = write.leases
        for lease in write.leases:
            partition.append(lease, now, self.transaction)

    def _read(self, now: float) -> None:
        partition = self.around.partition
        stop = partition.stable_end
        if self.allocator.office is Office.READING and stop > self.position:
            stop = self.around.rnd.randint(self.position + 1, stop)
        if stop > self.position:
            entries = partition.read(self.position, stop)
            self.position = stop
            self._step(Read(entries, stop), now)
        if self.allocator.office is Office.READING and self.around.planted.caught_up(self.position, self.end):
            self._step(CaughtUp(), now)
            self.around.stats["take_overs"] += 1
            if self.epoch == partition.epoch:  # what a zombie reads may have been deleted since
                self.around.witness.check_counters(
                    self.allocator, partition.ever_committed(self.position), now
                )

    def _commit(self, now: float) -> None:
        """Ask for the commit; an answer that is lost leaves its end unknown, and the question is put again."""
        transaction, rnd, planted = self.transaction, self.around.rnd, self.around.planted
        assert transaction is not None
        known = (
            transaction.decided is None and planted.fences and transaction.owner < self.around.partition.epoch
        )
        if known:
            self.transaction = None
            self._step(Deposed(), now)
            return
        asked = transaction.decided is None
        committed = self.around.partition.decide(transaction, commit=rnd.random() < 0.93)
        if asked and committed:
            self._tell_witness()
        if planted.fences and transaction.owner < self.around.partition.epoch:
            self.transaction = None
            self._step(Deposed(), now)
            return
        if asked and rnd.random() < 0.15:  # the answer is lost
            self.around.stats["unknown"] += 1
            if not planted.unknown_is_aborted:
                return
            committed = False
        self.transaction = None
        self.around.stats["committed" if committed else "aborted"] += 1
        self._step(Committed() if committed else Aborted(), now)

    def _tell_witness(self) -> None:
        for lease in self.written:
            said = lease.grant or lease.snapshot
            match said:
                case LeaseGrant() | RelaySnapshot():
                    self.around.witness.committed(said, self.end)
                case None:
                    pass
                case _:
                    assert_never(said)
