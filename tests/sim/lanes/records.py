"""What producers write in the simulation: requests with a place in their ticket's order."""

from dataclasses import dataclass
from datetime import UTC, datetime

from postlane.core.events.mail import Address
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState
from postlane.core.limits.held_senders import sender_of
from postlane.core.sending.lane_mail import Content, Stillborn

RECIPIENTS = ("a@example.org", "b@example.org")
SENDERS = ("desk@example.org", "boss@example.org")
BULK = "bulk"  # mail with this tag goes a way of its own where the schedule has two
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH_SECONDS = EPOCH.timestamp()

POISON = Stillborn(MailState.FAILED, "undecodable", "no MailRequested", dead=True)


@dataclass(frozen=True, eq=False, kw_only=True)
class MainRecord:
    """The `number`-th record of its ticket in the order of the main topic, whatever became of those before it.

    `remaining` narrows a replay. Times are seconds since 1970. The content's value names the record, so that it is known wherever its copies go.
    """

    ticket: int
    number: int
    content: Content
    remaining: tuple[str, ...] | None = None
    replay: bool = False
    not_before: float | None = None
    expires_at: float | None = None

    @property
    def recipients(self) -> tuple[str, ...]:
        """Who is to be served."""
        return RECIPIENTS if self.remaining is None else self.remaining

    @property
    def key(self) -> bytes:
        """The key of the record, and the name of its lane."""
        return b"t%d" % self.ticket

    @property
    def event_id(self) -> str | None:
        """The request's own id; None where it cannot be read."""
        return None if self.content.request is None else self.content.request.event_id

    def __str__(self) -> str:
        return name_of(self.ticket, self.number)


def sender_of_mail(content: Content) -> str:
    """As whom the mail is sent."""
    assert content.request is not None
    return sender_of(content.request.from_address.address, content.request.envelope_from)


def name_of(ticket: int, number: int) -> str:
    """A record's name in the trace."""
    return f"t{ticket}#{number}"


def new_record(
    ticket: int,
    number: int,
    *,
    event_id: str | None = None,
    not_before: float | None = None,
    expires_at: float | None = None,
    poison: bool = False,
) -> MainRecord:
    """A request as a ticketing system writes it; `event_id` names an earlier one to repeat it."""
    name = name_of(ticket, number)
    request = MailRequested(
        event_id=event_id or name,
        ticket_id=f"t{ticket}",
        requested_at=EPOCH,
        from_address=Address(address=SENDERS[(ticket + number) % 2]),
        to=tuple(Address(address=address) for address in RECIPIENTS),
        subject=name,
        tags=(BULK,) if (ticket + number) % 3 == 0 else (),
        not_before=_moment(not_before),
        expires_at=_moment(expires_at),
    )
    content = Content(
        value=name.encode(),
        headers=(),
        request=None if poison else request,
        stillborn=POISON if poison else None,
    )
    return MainRecord(
        ticket=ticket, number=number, content=content, not_before=not_before, expires_at=expires_at
    )


def replayed(dead: MainRecord, number: int, remaining: tuple[str, ...]) -> MainRecord:
    """A dead mail's request, written to the main topic again for those who are still to be served."""
    content = Content(
        value=name_of(dead.ticket, number).encode(),
        headers=(),
        request=dead.content.request,
        stillborn=dead.content.stillborn,
    )
    return MainRecord(
        ticket=dead.ticket,
        number=number,
        content=content,
        remaining=remaining,
        replay=True,
        not_before=dead.not_before,
        expires_at=dead.expires_at,
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
