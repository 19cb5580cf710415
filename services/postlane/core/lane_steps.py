"""`step(lanes, event, now)`: what each event does to the lanes of a partition, and what must be done about it."""

from collections.abc import Iterator
from typing import assert_never

from postlane.core.aftermath import Aftermath, expires_at, weigh
from postlane.core.attempt import RelayHeld
from postlane.core.committing import Outcome
from postlane.core.lane_mail import (
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
    LaneMail,
    Load,
    Loaded,
    PauseFetching,
    RelayHolds,
    RelayOpens,
    ResumeFetching,
    SlotsFree,
    Staged,
    Stillborn,
    Tick,
)
from postlane.core.lane_queue import Lane
from postlane.core.lanes import Lanes
from postlane.core.status import MailState, Origin

LOADS_MAX = 256  # parked mails read ahead of a free slot; bounds their memory
RELIEF_SHARE = 0.75  # of the window: above it, waiting lanes are parked to let others in
RESUME_SHARE = 0.5  # of the window: far enough below it that fetching does not flutter
RELIEF_READY_MIN = 32  # lanes that could start: with so many, a full window is a backlog, not a blockage
BASE_SECONDS_MAX = 60.0  # a mail that holds the offset back for longer is parked

BEHIND = ("behind_parked", "an earlier mail of this ticket waits")


def step(lanes: Lanes, event: Event, now: float) -> list[Effect]:  # noqa: C901, PLR0911 - one case per event
    """Apply one event (`now` in seconds since 1970) and return what the loop must do, in this order."""
    match event:
        case Arrived():
            return [*_arrived(lanes, event, now)]
        case SlotsFree():
            return [*_slots_free(lanes, event.count, now)]
        case Loaded():
            return [*_loaded(lanes, event, now)]
        case AttemptEnded():
            return [*_attempt_ended(lanes, event, now)]
        case RelayHolds():
            return [*_relay_holds(lanes, event, now)]
        case RelayOpens():
            return [*_relay_opens(lanes, now)]
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
        origin = Origin(lanes.topic_id, arrival.offset)
        known = lanes.committing.ledger.is_done(arrival.offset) or origin in lanes.mails
        if arrival.offset >= lanes.position and not known:
            _take_in(lanes, arrival, origin, now)
    lanes.position = max(lanes.position, event.position)
    lanes.committing.advance(lanes.position)
    for lane in list(lanes.queue.passed(lanes.position)):
        lanes.place(lane, now)
    yield from _window(lanes)


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
    )
    lanes.committing.read(mail)
    duplicate = None if arrival.replay else _duplicate(lanes, arrival.content, origin, now)
    if duplicate is not None:  # never to be sent, so its place in the lane does not matter
        lanes.committing.add(Outcome(mail, lanes.scribe.stillborn(mail, duplicate, now), now, ends=True))
        return
    lane = lanes.add(mail)
    lanes.remember(mail, arrival.content)
    if start - now > lanes.policy.retry.memory_delay_seconds:
        lanes.park_mail(lane, mail, now, ("scheduled", "the request's not_before has not come"))
    elif lane.journaled:
        lanes.park_mail(lane, mail, now, BEHIND)
    elif lanes.hold is not None:
        lanes.committing.add(Outcome(mail, lanes.scribe.held(mail, lanes.hold, now), now))
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
    reason = f"event id {content.request.event_id} was already requested at offset {first.offset}"
    return Stillborn(MailState.DUPLICATE, "duplicate_event_id", reason, dead=False)


def _slots_free(lanes: Lanes, count: int, now: float) -> Iterator[Effect]:
    for lane in list(lanes.queue.due(now)):
        lanes.place(lane, now)
    ready = lanes.queue.ready
    while count and ready and lanes.may_start(now):
        lane = ready.popleft()
        lane.queued = False
        if lanes.startable(lane, now) and not _ends_unsent(lanes, lane, now):
            mail = lane.mails[0]
            lane.busy = mail
            lanes.in_flight += 1
            count -= 1
            assert mail.content is not None
            yield Attempt(mail.origin, mail.content, mail.attempt + 1, mail.remaining)
        lanes.place(lane, now)
    # A held relay is probed with a slot: where all mail lies in the journal, the probe must be fetched from there.
    yield from _loads(lanes, count if lanes.hold is not None else LOADS_MAX)


def _ends_unsent(lanes: Lanes, lane: Lane, now: float) -> bool:
    mail = lane.mails[0]
    stillborn = None if mail.content is None else mail.content.stillborn
    expiry = expires_at(mail)
    if stillborn is None and expiry is not None and now >= expiry:
        stillborn = Stillborn(
            MailState.EXPIRED, "expired", "the request's own expires_at has passed", dead=True
        )
    if stillborn is None:
        return False
    status = lanes.scribe.stillborn(mail, stillborn, now)
    dead = lanes.scribe.dead(mail, stillborn, now) if stillborn.dead else None
    lanes.end(lane, Outcome(mail, status, now, dead, ends=True, blocks=True))
    return True


def _loads(lanes: Lanes, most: int | None = None) -> Iterator[Effect]:
    unloaded = lanes.queue.unloaded
    limit = most if most is not None else LOADS_MAX if lanes.hold is None else 0
    while unloaded and lanes.loading < limit:
        lane = unloaded.popleft()
        lane.queued = False
        head = lane.mails[0] if lane.mails else None
        if (
            head is None
            or head.content is not None
            or head.retry_offset is None
            or lane.busy
            or lane.awaiting
        ):
            continue
        lane.busy = head
        lanes.loading += 1
        yield Load(head.origin, head.retry_offset)


def _loaded(lanes: Lanes, event: Loaded, now: float) -> Iterator[Effect]:
    lanes.loading -= 1
    mail = lanes.mails[event.origin]
    lane = lanes.lanes[mail.lane]
    lane.busy = None
    gone = Stillborn(
        MailState.FAILED, "journal_record_lost", "its journal record was deleted or damaged", dead=True
    )
    lanes.remember(mail, event.content or Content(value=None, headers=(), stillborn=gone))
    lanes.place(lane, now)
    yield from ()


def _attempt_ended(lanes: Lanes, event: AttemptEnded, now: float) -> Iterator[Effect]:
    mail = lanes.mails[event.origin]
    lane = lanes.lanes[mail.lane]
    lane.busy = None
    lanes.in_flight -= 1
    if not isinstance(event.judgement, RelayHeld):  # a held relay counts no attempt: the mail is as it was
        after = weigh(mail, event.judgement, lanes.policy.retry, now, event.jitter)
        _apply(lanes, lane, after, event, now)
    lanes.place(lane, now)
    yield from _window(lanes)


def _apply(lanes: Lanes, lane: Lane, after: Aftermath, event: AttemptEnded, now: float) -> None:
    mail = lanes.mails[event.origin]
    mail.attempt, mail.cause, mail.reason = after.attempt, after.cause, after.reason
    status = lanes.scribe.attempted(mail, after, event, now)
    dead = lanes.scribe.dead_recipients(mail, after, now) if after.dead else None
    if after.again_at is None:
        blocks = after.state is not MailState.SENT
        lanes.end(lane, Outcome(mail, status, now, dead, ends=True, blocks=blocks))
        return
    mail.due, mail.remaining = after.again_at, after.remaining
    lanes.record(Outcome(mail, status, now, dead, blocks=after.partial))
    if after.partial or after.again_at - now > lanes.policy.retry.memory_delay_seconds:
        lanes.journal(lane, mail)
        lanes.park(lane, now, *BEHIND)


def _relay_holds(lanes: Lanes, event: RelayHolds, now: float) -> Iterator[Effect]:
    before, lanes.hold = lanes.hold, event
    if before is not None and before.since == event.since and before.cause == event.cause:
        return  # the same hold, extended: one note per mail is enough
    for mail in lanes.mails.values():
        if mail.content is not None:
            lanes.committing.add(Outcome(mail, lanes.scribe.held(mail, event, now), now))
    yield from ()


def _relay_opens(lanes: Lanes, now: float) -> Iterator[Effect]:
    if lanes.hold is not None:
        lanes.age_stands_still(now - lanes.hold.since, lanes.hold.since)
        lanes.hold = None
    yield from _loads(lanes)


def _cut(lanes: Lanes, now: float) -> Iterator[Effect]:
    stale = now - lanes.committed_at > lanes.policy.recommit_seconds
    batch = lanes.committing.cut(lambda mail: lanes.lanes[mail.lane].busy is mail, even_empty=stale)
    if batch is not None:
        yield batch


def _committed(lanes: Lanes, now: float) -> Iterator[Effect]:
    durable = lanes.committing.commit()
    lanes.committed_at = now
    for mail in durable.parked:
        lane = lanes.lanes.get(mail.lane)
        still_here = lanes.mails.get(mail.origin) is mail
        if lane is not None and still_here and lane.busy is not mail and not lanes.committing.wants_put(mail):
            _release_bytes(lanes, lane, mail, now)
    for mail in durable.unblocked:
        lane = lanes.lanes[mail.lane]
        lane.awaiting -= 1
        lanes.place(lane, now)
    yield from _loads(lanes)
    yield from _window(lanes)


def _release_bytes(lanes: Lanes, lane: Lane, mail: LaneMail, now: float) -> None:
    if lane.mails[0] is mail and mail.due <= now:
        return  # about to start: reading it back would only cost time
    lanes.forget(mail)
    mail.content = None


def _tick(lanes: Lanes, now: float) -> Iterator[Effect]:
    for lane in list(lanes.queue.due(now)):
        lanes.place(lane, now)
    if lanes.hold is None:  # while the relay takes nothing, no ticket is in another's way
        _relieve_window(lanes, now)
        _relieve_base(lanes, now)
    yield from _loads(lanes)
    yield from _window(lanes)


def _relieve_window(lanes: Lanes, now: float) -> None:
    policy = lanes.policy
    fill = max(lanes.memory_mails / policy.window_mails, lanes.memory_bytes / policy.window_bytes)
    if fill <= RELIEF_SHARE or len(lanes.queue.ready) >= min(RELIEF_READY_MIN, policy.window_mails // 4):
        return
    surplus = lanes.memory_mails - int(policy.window_mails * RESUME_SHARE)
    by_length = sorted(lanes.lanes.values(), key=lambda lane: len(lane.mails) - lane.journaled, reverse=True)
    for lane in by_length:
        fresh = len(lane.mails) - lane.journaled
        if fresh <= 0 or (surplus <= 0 and lanes.memory_bytes <= policy.window_bytes * RESUME_SHARE):
            return
        lanes.park(lane, now, "window_full", "the window is full and this ticket waits longest")
        surplus -= fresh


def _relieve_base(lanes: Lanes, now: float) -> None:
    base = lanes.committing.base
    if base != lanes.base_since[0]:
        lanes.base_since = (base, now)
        return
    holding = lanes.committing.oldest_unsettled()
    if holding is None or now - lanes.base_since[1] < BASE_SECONDS_MAX or holding.origin not in lanes.mails:
        return
    lane = lanes.lanes[holding.lane]
    if lane.busy is not holding:
        lanes.park(lane, now, "holds_base", "it waits for long, so it waits in the journal")


def _window(lanes: Lanes) -> Iterator[Effect]:
    policy = lanes.policy
    fill = max(lanes.memory_mails / policy.window_mails, lanes.memory_bytes / policy.window_bytes)
    if not lanes.paused and fill >= 1:
        lanes.paused = True
        yield PauseFetching()
    elif lanes.paused and fill <= RESUME_SHARE:
        lanes.paused = False
        yield ResumeFetching(lanes.position)
