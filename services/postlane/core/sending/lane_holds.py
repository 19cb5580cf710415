"""Who stops mail from being sent: the relays of a route, for all its mail, one relay, for all mail of a sender, or a person, for one ticket."""

from collections.abc import Iterator

from postlane.core.events.status import MailState
from postlane.core.sending.aftermath import expires_at
from postlane.core.sending.committing import Outcome
from postlane.core.sending.lane_loading import loads_of_all, release_bytes
from postlane.core.sending.lane_mail import (
    AttemptEnded,
    Effect,
    LaneMail,
    MailDecided,
    RouteHolds,
    RouteOpens,
    TicketFreed,
    TicketHeld,
)
from postlane.core.sending.lanes import BEHIND, Lanes, Why
from postlane.core.smtp.attempt import SenderHeld

CAUSE_TICKET_HELD = "ticket_held"
RETELL_SECONDS_MIN = 300.0  # an expected time that moves by less is as good as before


def route_holds(lanes: Lanes, event: RouteHolds, now: float) -> Iterator[Effect]:
    """Say so of every mail of the route that is in memory; those in flight speak for themselves."""
    before = lanes.holds.get(event.route)
    lanes.holds[event.route] = event
    extended = before is not None and before.since == event.since and before.cause == event.cause
    if extended and not _is_much_later(event, lanes.told_until[event.route]):
        return
    lanes.told_of_hold[event.route], lanes.told_until[event.route] = set(), event.until
    for mail in lanes.mails.values():
        lane = lanes.lanes[mail.lane]
        if mail.content is None or mail.route != event.route or lane.busy is mail:
            continue
        tell_of_hold(lanes, mail, now)
        if mail.parked and not lanes.committing.wants_put(mail):
            release_bytes(lanes, lane, mail, now)  # what was read back makes room for others
    yield from ()


def _is_much_later(hold: RouteHolds, told_until: float | None) -> bool:
    """Whether an extended hold is news: the wait has at least doubled since people were told, so that even a long one says little."""
    if hold.until is None or told_until is None:
        return hold.until is not told_until
    return hold.until - told_until >= max(RETELL_SECONDS_MIN, told_until - hold.since)


def tell_of_hold(lanes: Lanes, mail: LaneMail, now: float) -> None:
    """Say once of each mail in memory that its route takes nothing."""
    hold, told = lanes.holds.get(mail.route), lanes.told_of_hold.get(mail.route)
    if hold is not None and told is not None and mail.origin not in told:
        told.add(mail.origin)
        lanes.committing.add(Outcome(mail, lanes.scribe.held(mail, hold, now), now))


def route_opens(lanes: Lanes, event: RouteOpens, now: float) -> Iterator[Effect]:
    """Go on; the held time does not count."""
    hold = lanes.holds.pop(event.route, None)
    if hold is not None:
        lanes.age_stands_still(event.route, now - hold.since, hold.since)
        del lanes.told_of_hold[event.route], lanes.told_until[event.route]
    yield from loads_of_all(lanes, now)


def sender_held(lanes: Lanes, mail: LaneMail, held: SenderHeld, ended: AttemptEnded, now: float) -> None:
    """The mail waits until its sender may be tried again. No attempt is counted, and the wait is no age."""
    expiry = expires_at(mail)
    again_at = now + held.wait_seconds
    mail.due = again_at if expiry is None else min(again_at, expiry)
    mail.first_seen += max(0.0, mail.due - now)
    mail.for_sender = True
    mail.cause, mail.reason = held.cause, held.reason
    lanes.record(Outcome(mail, lanes.scribe.sender_held(mail, held, ended, now), now))
    if mail.due - now > lanes.policy.retry.memory_delay_seconds:
        lane = lanes.lanes[mail.lane]
        lanes.journal(lane, mail)
        lanes.park(lane, now, BEHIND)


def senders_due(lanes: Lanes, now: float) -> Iterator[Effect]:
    """Try at once what waits for its sender. A wait that was not waited is age again."""
    for mail in lanes.mails.values():
        if mail.for_sender and mail.due > now:
            mail.first_seen -= mail.due - now
            mail.due = now
    for lane in list(lanes.lanes.values()):
        if lane.mails and lane.mails[0].for_sender:
            lanes.place(lane, now)
    yield from loads_of_all(lanes, now)


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
    yield from loads_of_all(lanes, now)


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
    yield from loads_of_all(lanes, now)
