"""Which parked mails' bytes are read back from the journal, and when they are let go again."""

from collections.abc import Iterator

from postlane.core.events.status import MailState
from postlane.core.routing.routes import route_of
from postlane.core.sending.lane_mail import Content, Effect, LaneMail, Load, Loaded, Stillborn
from postlane.core.sending.lane_queue import Lane
from postlane.core.sending.lanes import Lanes

LOADS_MAX = 256  # parked mails asked for at a time: so far the window may be passed


def loads_of_all(lanes: Lanes, now: float) -> Iterator[Effect]:
    """Ask for the bytes of lanes whose head is due and whose route takes mail."""
    for route in [name for name, unloaded in lanes.queue.unloaded.items() if unloaded]:
        if route not in lanes.holds:
            yield from loads(lanes, now, route, LOADS_MAX)


def loads(lanes: Lanes, now: float, route: str, most: int) -> Iterator[Effect]:
    """The same for the lanes of one route, up to `most` at a time; with a full window only where nothing else of it is ready."""
    unloaded, ready = lanes.queue.unloaded[route], lanes.queue.ready[route]
    while unloaded and lanes.loading[route] < most and (lanes.fill < 1 or not ready):
        lane = unloaded.popleft()
        lane.queued = False
        head = lane.mails[0] if lane.mails else None
        if head is None or lane.busy or lane.awaiting or lanes.is_held(lane):
            continue
        if head.content is not None or head.retry_offset is None or head.route != route:
            lanes.place(lane, now)  # its bytes have come since, to be written again, or an earlier mail has
            continue
        lane.busy = head
        lanes.loading[route] += 1
        yield Load(head.origin, head.retry_offset)


def loaded(lanes: Lanes, event: Loaded, now: float) -> Iterator[Effect]:
    """The bytes of a parked mail have come, or are gone."""
    if event.refresh:
        _refreshed(lanes, event)
        return
    mail = lanes.mails[event.origin]
    lanes.loading[mail.route] -= 1
    lane = lanes.lanes[mail.lane]
    lane.busy = None
    gone = Stillborn(
        MailState.FAILED, "journal_record_lost", "its journal record was deleted or damaged", dead=True
    )
    lanes.remember(mail, event.content or Content(value=None, headers=(), stillborn=gone))
    mail.route = route_of(
        lanes.policy.routes, mail.request
    )  # the configuration may have changed since it was parked
    lanes.place(lane, now)
    yield from ()


def _refreshed(lanes: Lanes, event: Loaded) -> None:
    lanes.refreshing.discard(event.origin)
    mail = lanes.mails.get(event.origin)
    if (
        mail is None
        or event.content is None
        or mail.content is not None
        or lanes.lanes[mail.lane].busy is mail
    ):
        return  # over, gone, or on its way out: then it needs no new put, or gets one anyway
    lanes.remember(mail, event.content)
    lanes.committing.want_put(mail)


def release_bytes(lanes: Lanes, lane: Lane, mail: LaneMail, now: float) -> None:
    """The journal holds this mail: forget its bytes."""
    open_now = not lanes.is_held(lane) and mail.route not in lanes.holds
    may_start = open_now and mail.due <= now and lanes.guard_position(mail) is None
    if lane.mails[0] is mail and may_start:
        return  # about to start: reading it back would only cost time
    lanes.forget(mail)
    mail.content = None
