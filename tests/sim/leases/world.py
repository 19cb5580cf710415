"""A random schedule around the real core of sharing: senders come and go, stop, are cut off; allocators take over, abort, live on as zombies.

Clocks run up to 2 % fast or slow and show any time; the brokers' clocks differ from the relay's by less than the margin. The core has no
wall clock that could jump: the simulation's processes have none to give it.
"""

import random
from collections.abc import Callable
from datetime import UTC

from postlane.core.sharing.allocator import Office
from postlane.core.sharing.granting import counting_span
from postlane.core.sharing.terms import CONNECTIONS, Budget, Capacity, Terms
from postlane.core.sharing.windows import CalendarDay, Rolling
from sim.leases.hooks import Planted
from sim.leases.processes import AllocatorProcess, Sender, Surroundings
from sim.part import Violation

MIDNIGHT = 1_790_640_000  # of some day, UTC
STEP_SECONDS = 0.15
SENDERS_MAX = 4
STARVED_SECONDS = 8.0  # a lease: with lost answers and aborted transactions a round takes a second or more
HOLD_LEASES_MAX = 8  # a hold must be over by then when the relay answers again


def terms_of(rnd: random.Random) -> Terms:
    """Small limits and short leases, so that a short schedule reaches them."""
    budgets = [
        Budget("mails/rolling", rnd.choice([5, 20, 60]), Rolling(20.0)),
        Budget("mails/day", rnd.choice([10, 40, 150]), CalendarDay(UTC)),
        Budget("recipients/rolling", rnd.choice([10, 60]), Rolling(30.0)),
    ]
    return Terms(
        relay="relay",
        capacities=(Capacity(CONNECTIONS, rnd.choice([1, 2, 5])), Capacity("mails/minute", 600)),
        budgets=tuple(budget for budget in budgets if rnd.random() < 0.6),
        lease_seconds=8.0,
        attempt_seconds_max=rnd.choice([2.0, 2.0, 3.5]),
        clock_margin_seconds=0.5,
        hold_seconds=2.0,
        hold_seconds_max=6.0,
    )


class World:
    """One schedule; which one depends on the seed alone."""

    def __init__(self, seed: int, planted: Planted, steps: int) -> None:
        self.rnd = random.Random(seed)
        self.steps = steps
        self.around = Surroundings(terms_of(self.rnd), self.rnd, planted)
        self.now = MIDNIGHT - self.rnd.uniform(5.0, 60.0)
        trouble = self.rnd.choice([0.0, 1.0, 2.0, 3.0, 5.0])
        self.senders: list[Sender] = []
        self.allocators: list[AllocatorProcess] = []
        self.traits, self.stats = self.around.terms, self.around.stats
        self.names = 0
        self.down_until = 0.0
        self.trace: list[str] = []
        shares: dict[Callable[[], None], float] = {
            self._join: 0.010,
            self._kill: 0.006,
            self._leave: 0.003,
            self._stop: 0.012,
            self._cut: 0.015,
            self._take_over: 0.020,
            self._kill_allocator: 0.005,
            self._restart_all: 0.003,
            self._change_leader: 0.010,
            self._refuse: self.rnd.choice([0.01, 0.02, 0.15]),
            self._delete_old: 0.010,
            self._lose_offset: 0.003,
        }
        self.troubles = tuple(shares)
        self.shares = tuple(share * trouble for share in shares.values())
        self.trouble_share = sum(self.shares)

    def run(self) -> None:
        """Play. Raises Violation."""
        with self.around.planted.patched():
            for _ in range(self.rnd.randint(1, 3)):
                self._join()
            for _ in range(self.steps):
                if self.rnd.random() < self.trouble_share:
                    self._trouble()
                self._pass_time()
            self._be_lone()
            self.around.witness.check_budgets()

    def _pass_time(self) -> None:
        self.now += self.rnd.expovariate(1 / STEP_SECONDS)
        vacant = self.now >= self.down_until and not any(self._works(other) for other in self.allocators)
        if vacant and self.rnd.random() < 0.2:
            self._take_over()
        actors: list[Sender | AllocatorProcess] = [*self.senders, *self.allocators]
        if actors:
            actor = self.rnd.choice(actors)
            actor.act(self.now)
            if isinstance(actor, Sender):
                self._check_leases()

    def _works(self, process: AllocatorProcess) -> bool:
        newest = not process.epoch or process.epoch == self.around.partition.epoch
        return newest and process.allocator.office is not Office.DEPOSED

    def _check_leases(self) -> None:
        amounts: dict[str, int] = {}
        for sender in self.senders:
            clock = sender.clock(self.now)
            for capacity in self.around.terms.capacities:
                amounts[capacity.name] = amounts.get(capacity.name, 0) + sender.holder.amount(
                    capacity.name, clock
                )
        self.around.witness.leased(amounts, self.now)

    # Trouble

    def _trouble(self) -> None:
        (happens,) = self.rnd.choices(self.troubles, self.shares)
        happens()

    def _say(self, what: str) -> None:
        self.trace.append(f"{self.now - MIDNIGHT:8.2f} {what}")

    def _join(self) -> None:
        if len(self.senders) < SENDERS_MAX and self.now >= self.down_until:
            self.names += 1
            self._say(f"sender{self.names} joins")
            self.senders.append(Sender(self.around, self.now, f"sender{self.names}"))

    def _kill(self) -> None:
        if len(self.senders) > 1:
            gone = self.senders.pop(self.rnd.randrange(len(self.senders)))
            self._say(f"{gone.holder.name} dies")

    def _leave(self) -> None:
        if len(self.senders) > 1:
            gone = self.senders.pop(self.rnd.randrange(len(self.senders)))
            self._say(f"{gone.holder.name} leaves")
            gone.leave(self.now)

    def _seconds(self) -> float:
        return self.around.terms.lease_seconds * self.rnd.choice([0.2, 1.0, 3.0]) * self.rnd.random()

    def _stop(self) -> None:
        process = self.rnd.choice([*self.senders, *self.allocators] or [None])
        if process is not None:
            seconds = self._seconds()
            self._say(f"{type(process).__name__} stops for {seconds:.2f} s")
            process.stop(self.now, seconds)

    def _cut(self) -> None:
        process = self.rnd.choice([*self.senders, *self.allocators] or [None])
        if process is not None:
            until = self.now + self._seconds()
            self._say(f"{type(process).__name__} is cut off until {until - MIDNIGHT:.2f}")
            if self.rnd.random() < 0.7:
                process.no_reads_until = until
            if self.rnd.random() < 0.7:
                process.no_writes_until = until

    def _take_over(self) -> None:
        if self.now < self.down_until:
            return
        self.names += 1
        self._say(f"allocator{self.names} takes over")
        # Those before live on, and do not know it.
        self.allocators = [
            *self.allocators[-2:],
            AllocatorProcess(self.around, self.now, f"allocator{self.names}"),
        ]

    def _kill_allocator(self) -> None:
        if self.allocators:
            gone = self.allocators.pop(self.rnd.randrange(len(self.allocators)))
            self._say(f"{gone.allocator.name} dies")

    def _restart_all(self) -> None:
        self.senders, self.allocators = [], []
        self.down_until = self.now + self.rnd.choice([0.0, 5.0, 25.0])
        self._say(f"everything is down until {self.down_until - MIDNIGHT:.2f}")
        self.now = max(self.now, self.down_until)
        self._join()

    def _change_leader(self) -> None:
        margin = self.around.terms.clock_margin_seconds * 0.9
        self.around.partition.skew = self.rnd.uniform(-margin, margin)

    def _refuse(self) -> None:
        self.around.refuses_until = self.now + self.rnd.choice([0.5, 2.0, 10.0])
        self._say("the relay refuses")

    def _delete_old(self) -> None:
        partition = self.around.partition
        if partition.committed is not None:
            partition.low = max(partition.low, partition.committed)

    def _lose_offset(self) -> None:
        self.around.partition.committed = None

    # The end

    def _be_lone(self) -> None:
        """LoneSenderGetsAll."""
        self._say("one sender stays")
        self.now, self.around.refuses_until = max(self.now, self.down_until), 0.0
        while len(self.senders) > 1:
            self._kill()
        if not self.senders:
            self._join()
        self.allocators = [process for process in self.allocators if self._works(process)][-1:]
        for process in (*self.senders, *self.allocators):
            process.heal(self.now)
        (sender,) = self.senders
        sender.busy = True
        lease = self.around.terms.lease_seconds
        given_up = self.now + HOLD_LEASES_MAX * lease
        end = self.now + 2 * lease
        while self.now < end:
            self._serve(sender)
            vacant = not any(process.allocator.office is not Office.READING for process in self.allocators)
            if vacant or sender.holder.held is not None:
                end = self.now + 2 * lease
                if self.now > given_up:
                    if not vacant and self._used_up():
                        return  # without a unit there is nothing to probe with
                    raise Violation(f"LoneSenderGetsAll: still held: {sender.holder.held}")
        self._check_lone(sender)
        self._check_leaks()

    def _serve(self, sender: Sender) -> None:
        self._pass_time()
        clock = sender.clock(self.now)
        for capacity in self.around.terms.capacities:
            if sender.holder.amount(capacity.name, clock) == capacity.amount:
                sender.served[capacity.name] = self.now
        works = [process for process in self.allocators if process.allocator.office is not Office.READING]
        if not works:
            return
        allocator, own = works[-1].allocator, works[-1].clock(self.now)
        for budget in self.around.terms.budgets:
            counted = counting_span(allocator.books, allocator.clock, budget, own)
            if counted is None or allocator.books.used(budget, *counted[:2]) >= budget.limit:
                sender.served[budget.name] = self.now  # there were none to have

    def _check_leaks(self) -> None:
        partition = self.around.partition
        for process in self.allocators:
            settled = process.allocator.office is Office.IN_OFFICE and process.decided is None
            if settled and process.epoch == partition.epoch:
                self.around.witness.check_no_leak(process.allocator, partition.ever_committed(partition.end))

    def _used_up(self) -> bool:
        """Whether no unit of some budget is left."""
        allocator, own = self.allocators[-1].allocator, self.allocators[-1].clock(self.now)
        return any(
            (counted := counting_span(allocator.books, allocator.clock, budget, own)) is None
            or allocator.books.used(budget, *counted[:2]) >= budget.limit
            for budget in self.around.terms.budgets
        )

    def _check_lone(self, sender: Sender) -> None:
        terms = self.around.terms
        for name in (*(part.name for part in terms.capacities), *(part.name for part in terms.budgets)):
            since = self.now - sender.served.get(name, 0.0)
            if since > STARVED_SECONDS:
                raise Violation(f"LoneSenderGetsAll: not all of {name} for {since:.1f} s")
