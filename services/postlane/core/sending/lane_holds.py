"""Who stops mail from being sent: the relay, for all tickets, or a person, for one."""

from collections.abc import Iterator

from postlane.core.events.status import MailState
from postlane.core.sending.committing import Outcome
from postlane.core.sending.lane_loading import loads
from postlane.core.sending.lane_mail import Effect, MailDecided, RelayHolds, TicketFreed, TicketHeld
from postlane.core.sending.lanes import Lanes, Why

CAUSE_TICKET_HELD = "ticket_held"


def relay_holds(lanes: Lanes, event: RelayHolds, now: float) -> Iterator[Effect]:
    """Say so of every mail that is in memory."""
    before, lanes.hold = lanes.hold, event
    if before is not None and before.since == event.since and before.cause == event.cause:
        return  # the same hold, extended: one note per mail is enough
    for mail in lanes.mails.values():
        if mail.content is not None:
            lanes.committing.add(Outcome(mail, lanes.scribe.held(mail, event, now), now))
    yield from ()


def relay_opens(lanes: Lanes, now: float) -> Iterator[Effect]:
    """Go on; the held time does not count."""
    if lanes.hold is not None:
        lanes.age_stands_still(now - lanes.hold.since, lanes.hold.since)
        lanes.hold = None
    yield from loads(lanes, now)


def ticket_held(lanes: Lanes, event: TicketHeld, now: float) -> Iterator[Effect]:
    """Its mail waits in the journal, so that it is in nobody's way; what is in flight goes on.

    Of mail whose bytes lie there already nothing is said anew: a status names its event, and only the bytes know it.
    """
    lanes.held_tickets[event.key] = event.reason
    lane = lanes.lanes.get(event.key)
    if lane is not None and lane.mails:
        why = Why(CAUSE_TICKET_HELD, event.reason, MailState.HELD)
        head = lane.mails[0]
        if head.journaled and head.content is not None and head is not lane.busy:
            lanes.note(lane, head, now, why)
        lanes.park(lane, now, why)
    yield from ()


def ticket_freed(lanes: Lanes, event: TicketFreed, now: float) -> Iterator[Effect]:
    """Go on with the ticket where it stood."""
    lanes.held_tickets.pop(event.key, None)
    lane = lanes.lanes.get(event.key)
    if lane is not None:
        lanes.place(lane, now)
    yield from loads(lanes, now)


def decided(lanes: Lanes, event: MailDecided, now: float) -> Iterator[Effect]:
    """Skip the mail in its turn, or begin with it anew, once."""
    lanes.decisions[event.origin] = event
    mail = lanes.mails.get(event.origin)
    if mail is None or mail.held != event.held:
        return
    lane = lanes.lanes[mail.lane]
    if not event.skip and mail.retried_by != event.command_id:
        mail.retried_by = event.command_id
        mail.due = min(mail.due, now)
        mail.first_seen = (
            now  # it was given up for its age, or may be soon; a person has just given it new time
        )
    lanes.place(lane, now)
    yield from loads(lanes, now)
