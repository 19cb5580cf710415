"""Operators in the simulation: they hold and release tickets, decide about mails, and replay dead ones."""

import random
from collections import Counter

from postlane.core.events.status import Origin
from postlane.core.sending.lane_mail import MailDecided, TicketFreed, TicketHeld
from sim.lanes.broker import Broker, DeadLetter
from sim.lanes.records import replayed
from sim.lanes.witness import Witness


class Operators:
    """They see what Kafka has, by way of the witness."""

    def __init__(self, broker: Broker, witness: Witness, rnd: random.Random, tickets: int) -> None:
        self.broker, self.witness, self.rnd, self.tickets = broker, witness, rnd, tickets
        self.held_tickets: set[bytes] = set()
        self.decided: dict[Origin, int] = {}  # the death that the newest decision names
        self.patience = 2
        self.stats: Counter[str] = Counter()

    def meddle(self) -> None:
        """Do one random thing."""
        dice = self.rnd.random()
        if dice < 0.3:
            self._turn_ticket(b"t%d" % self.rnd.randrange(self.tickets))
        elif dice < 0.6:
            self._decide_held(wrong_share=0.4)
        elif dice < 0.68 and self.broker.main:
            origin = Origin(self.broker.topic_id, self.rnd.randrange(len(self.broker.main) + 2))
            self._decide(origin, 0)
        elif self.broker.dead:
            self._replay(self.rnd.choice(self.broker.dead).record.ticket)

    def calm_down(self) -> None:
        """Release everything, so that it can end, and replay a little."""
        if self.held_tickets:
            self._turn_ticket(min(self.held_tickets))
        elif self.witness.held:
            self._decide_held(wrong_share=0.0)
        elif self.broker.dead and self.patience and not self.witness.truncation_unseen:
            self.patience -= 1
            self._replay(self.rnd.choice(self.broker.dead).record.ticket)
        if self.rnd.random() < 0.1:
            self.decided.clear()  # ask again what has become of it

    @property
    def busy(self) -> bool:
        """Whether there is something left to do in calm."""
        return bool(self.held_tickets or (self.broker.dead and self.patience))

    def _turn_ticket(self, key: bytes) -> None:
        if key in self.held_tickets:
            self.held_tickets.discard(key)
            self.broker.control.append(TicketFreed(key))
        else:
            self.held_tickets.add(key)
            self.broker.control.append(TicketHeld(key, "an operator"))
            self.stats["tickets_held"] += 1
        self.witness.trace.append(f"operator: {self.broker.control[-1]}")

    def _decide_held(self, wrong_share: float) -> None:
        held = {
            origin: deaths
            for origin, deaths in self.witness.held.items()
            if self.decided.get(origin) != deaths
        }
        if held:
            origin = self.rnd.choice(list(held))
            stale = self.rnd.random() < wrong_share
            self._decide(origin, held[origin] - 1 if stale else held[origin])
            self.stats["decisions"] += 1

    def _decide(self, origin: Origin, held: int) -> None:
        self.decided[origin] = held
        decision = MailDecided(origin, held, self.rnd.random() < 0.4, f"c{len(self.broker.control)}")
        self.broker.control.append(decision)
        self.witness.trace.append(f"operator: {decision}")

    def _replay(self, ticket: int) -> None:
        """All open dead mail of the ticket, in the order of origin, in one transaction with its resolution."""
        letters = sorted((d for d in self.broker.dead if d.record.ticket == ticket), key=_place)
        if self.rnd.random() < 0.2:  # aborted: offsets that nobody reads
            for _ in range(len(letters) + 1):
                self.broker.skip_offset()
            return
        for letter in letters:
            remaining = letter.copy.dead.remaining or letter.record.recipients
            record = replayed(letter.record, len(self.witness.deliveries.tickets[ticket]), remaining)
            self.witness.produced(record, self.broker.produce(record))
        self.broker.skip_offset()  # the transaction's marker
        self.broker.dead = [letter for letter in self.broker.dead if letter not in letters]
        self.stats["replays"] += len(letters)


def _place(letter: DeadLetter) -> tuple[int, int]:
    return letter.topic_number, letter.copy.dead.origin.offset
