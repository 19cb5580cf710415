"""Who has which mail: what the relay took, what Kafka says of it, and what need not have arrived."""

from collections import Counter, defaultdict

from sim.lanes.invariants import MAILS_AT_RISK_MAX
from sim.lanes.records import MainRecord
from sim.part import Violation

Delivery = tuple[MainRecord, str]


class Deliveries:
    """`tickets` has every record of a ticket in its order."""

    def __init__(self, stats: Counter[str]) -> None:
        self.stats = stats
        self.tickets: defaultdict[int, list[MainRecord]] = defaultdict(list)
        self.accepted_by: defaultdict[Delivery, list[int]] = defaultdict(list)  # numbers of senders
        self.unsure: set[Delivery] = set()  # may be sent again by rights
        self.delivered: set[Delivery] = set()  # so says Kafka
        self.dead: set[Delivery] = set()
        self.suppressed: set[Delivery] = set()  # so says Kafka
        self.duplicates: set[MainRecord] = set()  # ended as repeated requests
        self.gone: set[MainRecord] = set()  # lost with their topic, by no fault of ours
        self.repeats: defaultdict[int, set[MainRecord]] = defaultdict(set)

    def accepted(self, number: int, record: MainRecord, recipient: str) -> None:
        """The relay took a mail from the sender of that number. Raises Violation."""
        delivery = record, recipient
        before = self.accepted_by[delivery]
        if not before:
            self._check_order(record, recipient)
        elif delivery not in self.unsure:
            self.stats["duplicates"] += 1
            if number in before:
                raise Violation(f"DuplicatesBounded: sender{number} sends {record} to {recipient[0]} twice")
            older = min(before[-1], number)
            self.repeats[older].add(record)
            if len(self.repeats[older]) > MAILS_AT_RISK_MAX:
                raise Violation(
                    f"DuplicatesBounded: {len(self.repeats[older])} mails of sender{older} repeat"
                )
        before.append(number)

    def _check_order(self, record: MainRecord, recipient: str) -> None:
        given_up = self.dead | self.suppressed
        if (record, recipient) in given_up or record in self.gone or record in self.duplicates:
            return  # a zombie may still deliver what its successor has given up
        for later in self.tickets[record.ticket][record.number + 1 :]:
            if self.accepted_by.get((later, recipient)):
                raise Violation(f"TicketOrderKept: {record} accepted for {recipient[0]} after {later}")

    def ended_as_duplicate(self, record: MainRecord) -> None:
        """A record will not be sent because an earlier one of the same event id is, or was. Raises Violation."""
        earlier = self.tickets[record.ticket][: record.number]
        if not any(r.event_id == record.event_id and r not in self.duplicates for r in earlier):
            raise Violation(f"NothingLost: {record} ends as a duplicate of nothing")
        self.duplicates.add(record)

    def forget(self, records: list[MainRecord]) -> None:
        """What is known of these counts no more, so that they may be sent again."""
        forgotten = {(record, recipient) for record in records for recipient in record.recipients}
        self.delivered -= forgotten
        self.unsure |= forgotten

    def missing(self) -> list[str]:
        """Who has not got what, although nothing was given up."""
        return [
            f"{record} for {recipient[0]}"
            for records in self.tickets.values()
            for record in records
            for recipient in record.recipients
            if not self.accepted_by.get((record, recipient))
            and (record, recipient) not in self.dead | self.suppressed
            and record not in self.gone
            and record not in self.duplicates
        ]
