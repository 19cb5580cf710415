"""The requests of one run, all from the seed: who writes to whom, what must die, and which records are no requests at all.

What the relay has to know about a mail stands in its envelope addresses, so that sink and judge agree without talking:
`b+TICKET-NUMBER+DOOM@desk.test` as sender, `rINDEX.DOOM@customer.test` as recipient. A doom says whether the address or the whole mail
is refused for good: never (`ok`), always (`dead`), or until the cure (`late`); a sender's doom also names the phase (`dead.final`).
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from postlane.core.events.mail import Address
from postlane.core.events.request import MailRequested

MAILS_PER_TICKET = (
    12  # on average: enough to overtake each other, and enough tickets to stand in each other's way
)
DEAD_SHARE = 0.03
EXPIRED_SHARE = 0.003
REPEATED_SHARE = 0.005
POISON_SHARE = 0.002
LARGE_SHARE = 0.005
LARGE_CHARACTERS = 90_000  # more than a socket's buffer takes at once
OK, DEAD, LATE = "ok", "dead", "late"
REFUSING_PHASES = ("mail", "data", "final")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMail:
    """One request; `copies` = how often it is produced with the same event id."""

    ticket: str
    number: int
    sender: str
    recipients: tuple[str, ...]
    expired: bool = False
    copies: int = 1
    text_characters: int = 200

    @property
    def mail_id(self) -> str:
        """Event id, subject, and the name in the sender address."""
        return f"{self.ticket}-{self.number}"

    @property
    def doomed(self) -> frozenset[str]:
        """The recipients that may end in the dead-letter topic; all others must get the mail."""
        if self.expired or doom_of_sender(self.sender)[0] != OK:
            return frozenset(self.recipients)
        return frozenset(address for address in self.recipients if doom_of_recipient(address) != OK)

    def request(self, now: datetime) -> MailRequested:
        """As a ticketing system would produce it."""
        return MailRequested(
            event_id=self.mail_id,
            ticket_id=self.ticket,
            requested_at=now,
            from_address=Address(address="desk@desk.test"),
            to=tuple(Address(address=address) for address in self.recipients),
            subject=self.mail_id,
            envelope_from=self.sender,
            text="x" * self.text_characters,
            expires_at=now - timedelta(seconds=1) if self.expired else None,
        )


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that is no request: `key` None or a ticket's."""

    key: bytes | None
    value: bytes | None


Record = PlannedMail | Poison


def doom_of_sender(address: str) -> tuple[str, str]:
    """The doom of a whole mail, and the phase that refuses it."""
    doom, _, phase = address.partition("@")[0].rpartition("+")[2].partition(".")
    return doom, phase


def doom_of_recipient(address: str) -> str:
    """Whether this address is refused for good."""
    return address.partition("@")[0].rpartition(".")[2]


def mail_id_of_sender(address: str) -> str:
    """The mail that this envelope sender names."""
    return address.partition("+")[2].partition("+")[0]


def plan_workload(mails: int, seed: int) -> list[Record]:
    """The records in the order in which they are produced; a ticket's numbers ascend."""
    rnd = random.Random(f"{seed}:workload")
    tickets = [f"t{index}" for index in range(max(2, mails // MAILS_PER_TICKET))]
    weights = [rnd.expovariate(1.0) + 0.05 for _ in tickets]
    numbers = dict.fromkeys(tickets, 0)
    records: list[Record] = []
    for ticket in rnd.choices(tickets, weights, k=mails):
        records.append(_plan_mail(rnd, ticket, numbers[ticket]))
        numbers[ticket] += 1
        if rnd.random() < POISON_SHARE:
            records.append(_plan_poison(rnd, ticket))
    return records


def _plan_mail(rnd: random.Random, ticket: str, number: int) -> PlannedMail:
    dooms = [OK] * rnd.choices((1, 2, 3, 5), (85, 11, 3, 1))[0]
    doom_of_all = OK
    if rnd.random() < DEAD_SHARE:
        doom = rnd.choice((DEAD, LATE))
        if rnd.random() < 0.6:
            dooms[rnd.randrange(len(dooms))] = doom
        else:
            doom_of_all = f"{doom}.{rnd.choice(REFUSING_PHASES)}"
    return PlannedMail(
        ticket=ticket,
        number=number,
        sender=f"b+{ticket}-{number}+{doom_of_all}@desk.test",
        recipients=tuple(f"r{index}.{doom}@customer.test" for index, doom in enumerate(dooms)),
        expired=rnd.random() < EXPIRED_SHARE,
        copies=2 if rnd.random() < REPEATED_SHARE else 1,
        text_characters=LARGE_CHARACTERS if rnd.random() < LARGE_SHARE else rnd.randrange(50, 2000),
    )


def _plan_poison(rnd: random.Random, ticket: str) -> Poison:
    key = ticket.encode() if rnd.random() < 0.7 else None
    return Poison(key, rnd.choice((b"not avro", b"\xc3\x01cut short", None)))


def now() -> datetime:
    """The time as requests carry it."""
    return datetime.now(UTC)
