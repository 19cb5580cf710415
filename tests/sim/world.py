"""A seeded world: producers, an owner and its zombies, a broker that loses its breath; named invariants watch.

NothingLost           every request is accepted for each recipient, or its death was committed
TicketOrderKept       the first acceptance of a mail never follows that of a later living mail of its ticket
NothingSentAfterDone  no owner starts a mail whose end was committed before it took over
CommitNeverPasses     the committed offset never passes a mail that is neither ended nor parked (checked by NothingLost after crashes)
DuplicatesBounded     repeated acceptances <= changes of owner x (connections + K)
"""

import random
from collections import Counter

from postlane.core.lane_mail import WriteBatch
from postlane.core.status import Origin
from sim.broker import Broker, MainRecord
from sim.sender import CONNECTIONS, EPOCH_SECONDS, RECIPIENTS, UNCOMMITTED_MAX, Planted, Sender


class Violation(Exception):
    """An invariant is broken."""


class World:
    """One schedule; everything random comes from the seed."""

    def __init__(self, seed: int, planted: Planted, steps: int, *, recreate: bool) -> None:
        self.rnd = random.Random(seed)
        self.planted, self.steps, self.recreate = planted, steps, recreate
        self.broker = Broker()
        self.trace: list[str] = []
        self.stats: Counter[str] = Counter()
        self.owners = 0
        self.accepted_by: dict[tuple[MainRecord, str], int] = {}
        self.dead: set[tuple[MainRecord, str]] = set()
        self.ended: set[Origin] = set()
        self.produced: Counter[int] = Counter()
        self.gone: set[MainRecord] = set()
        self.zombies: list[Sender] = []
        self.owner = self._new_owner()
        self.tickets = self.rnd.randint(1, 3)
        self.crash_share = self.rnd.choice([0.005, 0.02, 0.05])
        self.marker_share = self.rnd.choice([0.1, 0.5, 0.9])

    # What senders tell the world

    def starting(self, sender: Sender, record: MainRecord, origin: Origin) -> None:
        """A mail is handed to the relay."""
        self.trace.append(f"  sender{sender.number} starts t{record.ticket}#{record.number} {origin}")
        if sender is self.owner and origin in self.ended:
            raise Violation(f"NothingSentAfterDone: t{record.ticket}#{record.number} {origin} had ended")

    def accepted(self, sender: Sender, record: MainRecord, recipient: str) -> None:
        """The relay took a mail for a recipient."""
        key = (record, recipient)
        self.trace.append(
            f"    relay accepts t{record.ticket}#{record.number} for {recipient[0]} from sender{sender.number}"
        )
        if key in self.accepted_by:
            self.stats["duplicates"] += 1
            return
        self.accepted_by[key] = sender.number
        later = range(record.number + 1, self.produced[record.ticket])
        dead = key in self.dead  # a zombie may still deliver what its successor has given up
        if not dead and any((MainRecord(record.ticket, n), recipient) in self.accepted_by for n in later):
            raise Violation(f"TicketOrderKept: t{record.ticket}#{record.number} accepted after a later one")

    def died(self, sender: Sender, record: MainRecord, recipients: tuple[str, ...]) -> None:
        """The relay refused recipients for good; it counts once it is committed."""
        self.trace.append(
            f"    relay refuses t{record.ticket}#{record.number} for {recipients} from sender{sender.number}"
        )

    def committed(self, batch: WriteBatch) -> None:
        """A transaction was decided."""
        for copy in batch.dead:
            request = copy.content.request
            assert request is not None
            ticket, _, number = request.subject.partition("#")
            for recipient in copy.dead.remaining or RECIPIENTS:
                self.dead.add((MainRecord(int(ticket), int(number)), recipient))
        for keyed in batch.statuses:
            if keyed.status.final:
                self.ended.add(Origin(keyed.status.topic_id, keyed.status.offset))
        self.trace.append(
            f"  committed {[(s.status.offset, s.status.state.value) for s in batch.statuses]}"
            f" puts {[c.put.origin.offset for c in batch.puts]} dones {[d.origin.offset for _, d in batch.dones]}"
        )

    # The schedule

    def run(self) -> None:
        """Play the schedule, then let everything end in calm. Raises Violation."""
        for number in range(self.steps * 60):
            now = EPOCH_SECONDS + number
            calm = number >= self.steps
            if not calm:
                self._disturb(now)
            self.owner.act(self.rnd, now, calm=calm)
            if self.broker.markers and self.rnd.random() < (0.9 if calm else self.marker_share):
                self.broker.write_marker(self.rnd)
            self._move_zombies(now)
            if self.owner.dead:
                self._replace_owner(works_on=False)
            if calm and self.owner.idle and not self.zombies:
                break
        else:
            raise Violation(f"NothingLost: stuck with {self._unfinished()}")
        self._check_end()

    def _disturb(self, now: float) -> None:
        if self.rnd.random() < 0.25:
            ticket = self.rnd.randrange(self.tickets)
            record = MainRecord(ticket, self.produced[ticket])
            self.produced[ticket] += 1
            self.broker.main.append(record)
            self.trace.append(
                f"{now - EPOCH_SECONDS:.0f} main {self.broker.topic_id}:{len(self.broker.main) - 1} = t{ticket}#{record.number}"
            )
        if self.rnd.random() < self.crash_share:
            self._replace_owner(works_on=self.rnd.random() < 0.5)
        if self.recreate and self.rnd.random() < 0.01:
            self._recreate_topic()

    def _replace_owner(self, *, works_on: bool) -> None:
        old = self.owner
        if works_on and not old.dead:
            old.life = self.rnd.choice([10, 40])
            self.zombies.append(old)
        self.stats["owners"] += 1
        self.trace.append(f"  sender{old.number} {'works on as a zombie' if works_on else 'is killed'}")
        self.owner = self._new_owner()

    def _new_owner(self) -> Sender:
        self.owners += 1
        return Sender(self.broker, self, self.owners, self.planted)

    def _recreate_topic(self) -> None:
        live = {
            entry[1].origin for _, entry in self.broker.committed(self.broker.retry, 0, self.broker.retry.end)
        }
        for offset, record in enumerate(self.broker.main):
            if not any(
                origin.topic_id == self.broker.topic_id and origin.offset == offset for origin in live
            ):
                self.gone.add(record)
        self.broker.recreate_main()
        self.trace.append(f"main topic recreated as {self.broker.topic_id}")
        self._replace_owner(works_on=False)

    def _move_zombies(self, now: float) -> None:
        for zombie in self.zombies:
            if not zombie.dead and self.rnd.random() < 0.5:
                zombie.act(self.rnd, now, calm=False)
            zombie.life -= 1
            if zombie.life < 0:
                zombie.dead = True
            if zombie.life < -25 and zombie.transaction is not None:  # the coordinator's transaction timeout
                self.broker.decide(zombie.transaction.number, commit=False)
        self.zombies = [
            z
            for z in self.zombies
            if not (z.dead and (z.transaction is None or z.transaction.number in self.broker.decided))
        ]

    def _check_end(self) -> None:
        lost = [
            f"t{ticket}#{number} for {recipient}"
            for ticket, count in self.produced.items()
            for number in range(count)
            for recipient in RECIPIENTS
            if (key := (MainRecord(ticket, number), recipient)) not in self.accepted_by
            and key not in self.dead
            and key[0] not in self.gone
        ]
        if lost:
            raise Violation(f"NothingLost: {lost[:4]}")
        self.stats["mails"] += sum(self.produced.values())
        bound = self.stats["owners"] * (CONNECTIONS + UNCOMMITTED_MAX) * len(RECIPIENTS)
        if self.stats["duplicates"] > bound:
            raise Violation(f"DuplicatesBounded: {self.stats['duplicates']} > {bound}")

    def _unfinished(self) -> list[str]:
        lanes = self.owner.lanes
        return (
            []
            if lanes is None
            else [f"{m.origin} due {m.due} parked {m.parked}" for m in list(lanes.mails.values())[:4]]
        )
