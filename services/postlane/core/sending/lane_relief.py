"""How a partition keeps moving: waiting lanes make room in the window, and the committed offset does not stand still."""

from collections.abc import Iterator

from postlane.core.sending.lane_mail import Effect, Load, PauseFetching, ResumeFetching
from postlane.core.sending.lane_queue import Lane
from postlane.core.sending.lanes import Lanes, Why

RELIEF_SHARE = 0.75  # of the window: above it, waiting lanes are parked to let others in
RESUME_SHARE = 0.5  # of the window: far enough below it that fetching does not flutter
INDEX_RESUME_SHARE = (
    0.99  # what is parked for days leaves slowly; whoever is not parked should not wait for it
)
RELIEF_READY_MIN = 32  # lanes that could start: with so many, a full window is a backlog, not a blockage
BASE_SECONDS_MAX = 60.0  # a mail that holds the offset back for longer is parked
REFRESH_SECONDS = 10.0
REFRESH_MAX = 200  # puts written again at a time
DEAD_RECORDS_MIN = 100_000  # a new owner reads so many in about a second
LIVE_SHARE_MIN = 0.1  # of the journal's span

WINDOW_FULL = Why("window_full", "the window is full and this ticket waits longest")
HOLDS_BASE = Why("holds_base", "it waits for long, so it waits in the journal")


def relieve_window(lanes: Lanes, now: float) -> None:
    """Park the longest lanes when the window is nearly full and little of it could start."""
    policy = lanes.policy
    if lanes.fill <= RELIEF_SHARE or _could_start(lanes) >= min(RELIEF_READY_MIN, policy.window_mails // 4):
        return
    surplus = lanes.memory_mails - int(policy.window_mails * RESUME_SHARE)
    burdens = [lane for lane in lanes.lanes.values() if len(lane.mails) > lane.journaled]
    for lane in sorted(burdens, key=lambda lane: _burden(lanes, lane), reverse=True):
        fresh = len(lane.mails) - lane.journaled
        if surplus <= 0 and lanes.memory_bytes <= policy.window_bytes * RESUME_SHARE:
            return
        lanes.park(lane, now, WINDOW_FULL)
        surplus -= fresh


def _could_start(lanes: Lanes) -> int:
    return sum(len(ready) for route, ready in lanes.queue.ready.items() if route not in lanes.holds)


def _burden(lanes: Lanes, lane: Lane) -> tuple[bool, int]:
    """Lanes whose route takes nothing go first, then the longest ones."""
    held = bool(lane.mails) and lane.mails[0].route in lanes.holds
    return held, len(lane.mails) - lane.journaled


def relieve_base(lanes: Lanes, now: float) -> None:
    """Park the lane of the mail that has held the committed offset back for long."""
    base, holding = lanes.committing.base, lanes.committing.oldest_unsettled()
    if holding is None or base != lanes.base_since[0]:  # where nothing waits, nothing holds it back
        lanes.base_since = (base, now)
        return
    if now - lanes.base_since[1] < BASE_SECONDS_MAX or holding.origin not in lanes.mails:
        return
    lane = lanes.lanes[holding.lane]
    if lane.busy is not holding:
        lanes.park(lane, now, HOLDS_BASE)


def window(lanes: Lanes) -> Iterator[Effect]:
    """Stop reading when the window is full, and go on when there is room."""
    fill = lanes.fill
    # What waits for the position to pass it (rule 3) would wait for ever, were nothing read any more.
    index = 0.0 if lanes.queue.guarded else len(lanes.mails) / lanes.policy.index_mails
    if not lanes.paused and (fill >= 1 or index >= 1):
        lanes.paused = True
        yield PauseFetching(index_full=index >= 1)
    elif lanes.paused and fill <= RESUME_SHARE and index <= INDEX_RESUME_SHARE:
        lanes.paused = False
        yield ResumeFetching(lanes.position)


def refresh(lanes: Lanes, now: float) -> Iterator[Effect]:
    """Write the oldest puts again before retention takes them, or where a new owner would read mostly dead records."""
    if now - lanes.refreshed_at < REFRESH_SECONDS:
        return
    lanes.refreshed_at = now
    ledger = lanes.committing.ledger
    low, end = ledger.journal_span
    mostly_dead = end - low > DEAD_RECORDS_MIN and ledger.live < (end - low) * LIVE_SHARE_MIN
    old_below = (
        end if mostly_dead else lanes.journal_age.written_before(now - lanes.policy.refresh_age_seconds)
    )
    if low >= old_below:
        return
    for retry_offset, origin in ledger.oldest_puts(REFRESH_MAX):
        mail = lanes.mails.get(origin)
        if retry_offset >= old_below or mail is None or lanes.committing.wants_put(mail):
            continue
        if origin in lanes.refreshing:  # asked for, and not come yet
            continue
        if mail.content is not None:
            lanes.committing.want_put(mail)
        elif lanes.lanes[mail.lane].busy is not mail:
            lanes.refreshing.add(origin)
            yield Load(origin, retry_offset, refresh=True)
