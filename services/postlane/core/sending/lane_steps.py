"""`step(lanes, event, now)`: what each event does to the lanes of a partition, and what must be done about it."""

from collections.abc import Iterator
from typing import assert_never

from postlane.core.events.status import MailState, Origin
from postlane.core.routing.routes import route_of
from postlane.core.sending.aftermath import Aftermath, expires_at, weigh
from postlane.core.sending.committing import Outcome
from postlane.core.sending.lane_holds import (
    CAUSE_TICKET_HELD,
    decided,
    route_holds,
    route_opens,
    sender_held,
    senders_due,
    tell_of_hold,
    ticket_freed,
    ticket_held,
)
from postlane.core.sending.lane_loading import LOADS_MAX, loaded, loads, loads_of_all, release_bytes
from postlane.core.sending.lane_mail import (
    Aborted,
    Arrival,
    Arrived,
    Attempt,
    AttemptEnded,
    Committed,
    Content,
    CutDue,
    Effect,
    Event,
    KeyedStatus,
    LaneMail,
    Loaded,
    MailDecided,
    NotStarted,
    RouteHolds,
    RouteOpens,
    SendersDue,
    SlotsFree,
    Staged,
    Stillborn,
    Tick,
    TicketFreed,
    TicketHeld,
)
from postlane.core.sending.lane_queue import Lane
from postlane.core.sending.lane_relief import refresh, relieve_base, relieve_window, window
from postlane.core.sending.lanes import BEHIND, Lanes, Why
from postlane.core.smtp.attempt import Attempted, RelayHeld, SenderHeld

SCHEDULED = Why("scheduled", "the request's not_before has not come")


def step(lanes: Lanes, event: Event, now: float) -> list[Effect]:  # noqa: C901, PLR0911, PLR0912 - one case per event
    """Apply one event (`now` in seconds since 1970) and return what the loop must do, in this order."""
    match event:
        case Arrived():
            return [*_arrived(lanes, event, now)]
        case SlotsFree():
            return [*_slots_free(lanes, event, now)]
        case Loaded():
            return [*loaded(lanes, event, now)]
        case AttemptEnded():
            return [*_attempt_ended(lanes, event, now)]
        case NotStarted():
            mail = lanes.mails[event.origin]
            _idle_again(lanes, mail, now)
            lanes.queue.put_first(lanes.lanes[mail.lane], mail.route)
            return []
        case RouteHolds():
            return [*route_holds(lanes, event, now)]
        case RouteOpens():
            return [*route_opens(lanes, event, now)]
        case SendersDue():
            return [*senders_due(lanes, now)]
        case TicketHeld():
            return [*ticket_held(lanes, event, now)]
        case TicketFreed():
            return [*ticket_freed(lanes, event, now)]
        case MailDecided():
            return [*decided(lanes, event, now)]
        case CutDue():
            return [*_cut(lanes, now)]
        case Staged():
            return [lanes.committing.stage(event.status_offsets, event.put_offsets)]
        case Committed():
            return [*_committed(lanes, now)]
        case Aborted():
            lanes.committing.abort()
            return []
        case Tick():
            return [*_tick(lanes, now)]
        case _:
            assert_never(event)


def _arrived(lanes: Lanes, event: Arrived, now: float) -> Iterator[Effect]:
    for arrival in event.arrivals:
        if arrival.offset >= lanes.position and not lanes.knows(arrival.offset):
            _take_in(lanes, arrival, Origin(lanes.topic_id, arrival.offset), now)
    lanes.position = max(lanes.position, event.position)
    lanes.committing.advance(lanes.position)
    for lane in list(lanes.queue.passed(lanes.position)):
        lanes.place(lane, now)
    yield from window(lanes)


def _take_in(lanes: Lanes, arrival: Arrival, origin: Origin, now: float) -> None:
    request = arrival.content.request
    start = now if request is None or request.not_before is None else max(now, request.not_before.timestamp())
    mail = LaneMail(
        origin=origin,
        key=arrival.key,
        lane=lanes.lane_key(arrival.key, arrival.offset),
        content=arrival.content,
        due=start,
        first_seen=start,
        remaining=arrival.remaining,
        replay=arrival.replay,
        topic_rank=lanes.topic_rank,
        route=route_of(lanes.policy.routes, request),
    )
    lanes.committing.read(mail)
    duplicate = None if arrival.replay else _duplicate(lanes, arrival.content, origin, now)
    if duplicate is not None:  # never to be sent, so its place in the lane does not matter
        lanes.committing.add(Outcome(mail, lanes.scribe.stillborn(mail, duplicate, now), now, ends=True))
        return
    lane = lanes.add(mail)
    lanes.remember(mail, arrival.content)
    if start - now > lanes.policy.retry.memory_delay_seconds:
        lanes.park_mail(lane, mail, now, SCHEDULED)
    elif lane.key in lanes.held_tickets:
        lanes.park_mail(lane, mail, now, Why(CAUSE_TICKET_HELD, lanes.held_tickets[lane.key], MailState.HELD))
    elif lane.journaled:
        lanes.park_mail(lane, mail, now, BEHIND)
    else:
        tell_of_hold(lanes, mail, now)
    lanes.place(lane, now)


def _duplicate(lanes: Lanes, content: Content, origin: Origin, now: float) -> Stillborn | None:
    if content.request is None:
        return None
    horizon = now - lanes.policy.duplicate_window_seconds
    while lanes.seen and (oldest := next(iter(lanes.seen.items())))[1][1] < horizon:
        del lanes.seen[oldest[0]]
    first, _ = lanes.seen.setdefault(content.request.event_id, (origin, now))
    if first == origin:
        return None
    if first.topic_id == origin.topic_id and first.offset > origin.offset:
        # A new owner reads this one again. It was not the later one's duplicate, and to become that now would change the ticket's order.
        del lanes.seen[content.request.event_id]  # the oldest stand first
        lanes.seen[content.request.event_id] = origin, now
        return None
    reason = f"event id {content.request.event_id} was already requested at offset {first.offset}"
    return Stillborn(MailState.DUPLICATE, "duplicate_event_id", reason, dead=False)


def _slots_free(lanes: Lanes, event: SlotsFree, now: float) -> Iterator[Effect]:
    for lane in list(lanes.queue.due(now)):
        lanes.place(lane, now)
    count, ready = event.count, lanes.queue.ready[event.route]
    while count and ready and lanes.may_start(now):
        lane = ready.popleft()
        lane.queued = False
        if lanes.startable(lane, now) and not _ends_unsent(lanes, lane, now):
            mail = lane.mails[0]
            lane.busy = mail
            lanes.in_flight += 1
            count -= 1
            assert mail.content is not None
            yield Attempt(
                mail.origin,
                mail.content,
                mail.attempt + 1,
                mail.remaining,
                mail.route,
                wanted_by_a_person=mail.wanted_by_a_person,
            )
        lanes.place(lane, now)
    # A held route is probed with a slot: where all its mail lies in the journal, the probe must be fetched from there.
    yield from loads(lanes, now, event.route, count if event.route in lanes.holds else LOADS_MAX)


def _ends_unsent(lanes: Lanes, lane: Lane, now: float) -> bool:
    mail = lane.mails[0]
    stillborn = _unsent_end(lanes, mail, now)
    if stillborn is None:
        return False
    if lanes.keeps_dead(mail) and stillborn.dead and stillborn.state is not MailState.SKIPPED:
        mail.cause, mail.reason = stillborn.cause, stillborn.reason
        _hold_dead(lanes, lane, lanes.scribe.waits(mail, now, None, MailState.HELD), now)
        return True
    status = lanes.scribe.stillborn(mail, stillborn, now)
    dead = lanes.scribe.dead(mail, stillborn, now) if stillborn.dead else None
    lanes.end(lane, Outcome(mail, status, now, dead, ends=True, blocks=True))
    return True


def _unsent_end(lanes: Lanes, mail: LaneMail, now: float) -> Stillborn | None:
    """Why this mail ends without an attempt, if it does."""
    decision = lanes.decision(mail)
    if decision is not None and decision.skip:
        return Stillborn(
            MailState.SKIPPED, "skipped", f"a person skipped it; before: {mail.reason}", dead=True
        )
    if mail.content is not None and mail.content.stillborn is not None:
        return mail.content.stillborn
    expiry = expires_at(mail)
    if expiry is not None and now >= expiry:
        return Stillborn(MailState.EXPIRED, "expired", "the request's own expires_at has passed", dead=True)
    return None


def _hold_dead(lanes: Lanes, lane: Lane, status: KeyedStatus, now: float) -> None:
    """The head has died where dead mail waits for a person: it keeps its place, in the journal."""
    mail = lane.mails[0]
    mail.held += 1
    lanes.record(Outcome(mail, status, now, blocks=True))
    lanes.journal(lane, mail)
    lanes.park(lane, now, BEHIND)


def _attempt_ended(lanes: Lanes, event: AttemptEnded, now: float) -> Iterator[Effect]:
    mail = lanes.mails[event.origin]
    lane = lanes.lanes[mail.lane]
    lane.busy, mail.for_sender = None, False
    match event.judgement:
        case RelayHeld():  # no attempt is counted: the mail is as it was
            tell_of_hold(lanes, mail, now)
        case SenderHeld():
            sender_held(lanes, mail, event.judgement, event, now)
        case Attempted():
            hold = lanes.holds.get(mail.route)
            held_since = None if hold is None else hold.since
            after = weigh(mail, event.judgement, lanes.policy.retry, now, event.jitter, held_since=held_since)
            _apply(lanes, lane, after, event, now)
        case _:
            assert_never(event.judgement)
    _idle_again(lanes, mail, now)
    yield from window(lanes)


def _idle_again(lanes: Lanes, mail: LaneMail, now: float) -> None:
    lane = lanes.lanes[mail.lane]
    lane.busy = None
    lanes.in_flight -= 1
    lanes.place(lane, now)


def _apply(lanes: Lanes, lane: Lane, after: Aftermath, event: AttemptEnded, now: float) -> None:
    mail = lanes.mails[event.origin]
    mail.attempt, mail.cause, mail.reason = after.attempt, after.cause, after.reason
    if after.ends and after.dead is not None and lanes.keeps_dead(mail):
        mail.remaining = after.dead.recipients
        _hold_dead(lanes, lane, lanes.scribe.dies_held(mail, after, event, now), now)
        return
    status = lanes.scribe.attempted(mail, after, event, now)
    dead = None if after.dead is None else lanes.scribe.dead_recipients(mail, after.dead, now)
    if after.again_at is None:
        blocks = after.partial or after.state is not MailState.SENT
        lanes.end(lane, Outcome(mail, status, now, dead, ends=True, blocks=blocks))
        return
    mail.due, mail.remaining = after.again_at, after.remaining
    lanes.record(Outcome(mail, status, now, dead, blocks=after.partial))
    if after.partial or after.again_at - now > lanes.policy.retry.memory_delay_seconds:
        lanes.journal(lane, mail)
        lanes.park(lane, now, BEHIND)


def _cut(lanes: Lanes, now: float) -> Iterator[Effect]:
    stale = now - lanes.committed_at > lanes.policy.recommit_seconds
    batch = lanes.committing.cut(lambda mail: lanes.lanes[mail.lane].busy is mail, even_empty=stale)
    if batch is not None:
        yield batch


def _committed(lanes: Lanes, now: float) -> Iterator[Effect]:
    durable = lanes.committing.commit()
    lanes.committed_at = now
    if durable.parked:
        lanes.journal_age.note(now, max(mail.retry_offset or 0 for mail in durable.parked))
    for mail in durable.parked:
        lane = lanes.lanes.get(mail.lane)
        still_here = lanes.mails.get(mail.origin) is mail
        if lane is not None and still_here and lane.busy is not mail and not lanes.committing.wants_put(mail):
            release_bytes(lanes, lane, mail, now)
    for mail in durable.unblocked:
        lane = lanes.lanes[mail.lane]
        lane.awaiting -= 1
        lanes.place(lane, now)
    yield from loads_of_all(lanes, now)
    yield from window(lanes)


def _tick(lanes: Lanes, now: float) -> Iterator[Effect]:
    for lane in list(lanes.queue.due(now)):
        lanes.place(lane, now)
    if not lanes.all_held:  # while no relay takes anything, no ticket is in another's way
        relieve_window(lanes, now)
        relieve_base(lanes, now)
    yield from refresh(lanes, now)
    yield from loads_of_all(lanes, now)
    yield from window(lanes)
