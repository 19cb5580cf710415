"""Looks at all relays from outside the senders: pauses in mail.control, the newest statuses, and what waits in the topics.

Bounded, so that it answers at once: of each partition the newest statuses, and the first requests above the committed offset.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.config.relay_section import RelaySection
from postlane.config.settings import Settings
from postlane.core.control.standing import Standing
from postlane.core.events.command import RELAY, Command, partition_for_all
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailStatus, Origin
from postlane.core.limits.circuit import CircuitPolicy
from postlane.core.limits.governor import Governor, GovernorPolicy
from postlane.core.limits.permission import Never
from postlane.core.relays.backlog import Parked, Unread, Waiting, seconds_through, waiting_by_route
from postlane.core.relays.relay_state import RelayState, RelayView, cut_short, hear, view_relay, with_hold
from postlane.core.routing.routes import Route, route_of
from postlane.core.sending.pointers import BadPointers, decode_pointers
from postlane.ops.relay_usage import RelayUsage, UsageReader
from postlane.ops.scanning import Step, bounds_of, partitions_of, scan
from postlane.ops.session import Session
from postlane.ops.ticket_waits import ParkedMail, read_parked
from postlane.ops.topic_names import CONTROL, OUTBOUND, RELAYS, RETRY, STATUS
from postlane.ports import Bounds, CommitPoint, EventLog, LogRecord, TopicPartition

STATUSES_MAX = 500  # of each partition: at least the last seconds of a busy one, hours of a quiet one
UNREAD_MAX = (
    300  # requests of each partition whose route is looked up; of further ones only the number is taken
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayReport:
    """One relay. `usage` is what all senders have used of it. `routes` in their order; `waiting` = their mails together; `through_seconds` None: no budget bounds it."""

    view: RelayView
    section: RelaySection
    routes: dict[str, Waiting]
    waiting: Waiting
    through_seconds: float | Never | None
    usage: RelayUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All relays as of `now`; `estimated`: so many unread requests were counted and not looked at."""

    now: datetime
    relays: tuple[RelayReport, ...]
    routes: tuple[Route, ...]
    estimated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyor:
    """`main`, `status`, `retry` and `control` are full topic names, `group` the senders' consumer group. Calls raise LogUnavailable."""

    log: EventLog
    codec: Codec
    main: str
    status: str
    retry: str
    control: str
    group: str
    usage: UsageReader
    step: Step | None = None

    def hold_of(self, relay: str, settings: Settings, now: datetime) -> RelayView | None:
        """What senders said of a hold of this relay that is not over, be it for a limit or a fault; a person's pause is none."""
        routes = settings.mail_routes()
        resumptions = read_pauses(self.log, self.codec, self.control, [relay]).resumptions
        heard = cut_short(hear(self._newest_statuses(), routes), resumptions)
        view = with_hold(
            view_relay(relay, None, heard, routes, now), self.usage.read(settings, now)[relay].hold, now
        )
        return view if view.state in {RelayState.HELD, RelayState.DUE} else None

    def survey(self, settings: Settings, now: datetime) -> Survey:
        """Look at everything."""
        routes = settings.mail_routes()
        standing = read_pauses(self.log, self.codec, self.control, settings.relays)
        statuses = self._newest_statuses()
        waiting, estimated = self._waiting(statuses, routes, now)
        heard = cut_short(hear(statuses, routes), standing.resumptions)
        usage = self.usage.read(settings, now)
        relays = [
            _report(
                with_hold(
                    view_relay(name, standing.pause_of(name, now.timestamp()), heard, routes, now),
                    usage[name].hold,
                    now,
                ),
                usage[name],
                settings.relays[name],
                {route.name: waiting[route.name] for route in routes if name in route.relays},
                now,
            )
            for name in settings.relays
        ]
        return Survey(now=now, relays=tuple(relays), routes=routes, estimated=estimated)

    def _newest_statuses(self) -> list[MailStatus]:
        spans = bounds_of(self.log, partitions_of(self.log, self.status))
        newest = {
            at: Bounds(low=max(span.low, span.end - STATUSES_MAX), end=span.end) for at, span in spans.items()
        }

        def keep(record: LogRecord) -> MailStatus | None:
            try:
                return self.codec.decode(MailStatus, record.value)
            except Undecodable:
                return None  # not a sender's; it says nothing about any relay

        return scan(self.log, newest, keep, self.step)

    def _waiting(
        self, statuses: Iterable[MailStatus], routes: tuple[Route, ...], now: datetime
    ) -> tuple[dict[str, Waiting], int]:
        topic_id = self.log.topic_id(self.main)
        commits = {at: self.log.committed(self.group, at) for at in partitions_of(self.log, self.main)}
        parked = self._parked(commits, topic_id)
        known = {(one.partition, Origin(one.topic_id, one.offset)) for one in statuses if one.final}
        known |= {(mail.partition, mail.origin) for mail in parked}
        unread, more = self._unread(commits, known, topic_id, routes)
        lanes = [Parked((mail.partition, mail.ticket_id), mail.put) for mail in parked]
        return waiting_by_route(unread, more, lanes, [route.name for route in routes], now), more

    def _parked(self, commits: dict[TopicPartition, CommitPoint | None], topic_id: str) -> list[ParkedMail]:
        """What the journal holds, from where the senders' commits say that the first of it stands."""
        starts = {at.partition: _retry_from(point, topic_id) for at, point in commits.items()}
        places = partitions_of(self.log, self.retry)
        return read_parked(self.log, self.codec, places, topic_id, self.step, starts)

    def _unread(
        self,
        commits: dict[TopicPartition, CommitPoint | None],
        known: Collection[tuple[int, Origin]],
        topic_id: str,
        routes: tuple[Route, ...],
    ) -> tuple[list[Unread], int]:
        """The first requests above the committed offsets that have neither ended nor been parked, and the number of further ones."""
        looked: dict[TopicPartition, Bounds] = {}
        more = 0
        for at, point in commits.items():
            bounds = self.log.bounds(at)
            low = max(bounds.low, 0 if point is None else point.offset)
            looked[at] = Bounds(low=low, end=min(bounds.end, low + UNREAD_MAX))
            further = range(looked[at].end, bounds.end)
            accounted = sum(
                number == at.partition and origin.topic_id == topic_id and origin.offset in further
                for number, origin in known
            )
            more += max(0, len(further) - accounted)

        def keep(record: LogRecord) -> Unread | None:
            if (record.at.partition, Origin(topic_id, record.offset)) in known:
                return None
            try:
                request = self.codec.decode(MailRequested, record.value)
            except Undecodable:
                return Unread(route_of(routes, None), 1)
            recipients = len(request.to) + len(request.cc) + len(request.bcc)
            return Unread(route_of(routes, request), recipients)

        return scan(self.log, looked, keep, self.step), more


def surveyor_of(session: Session, step: Step | None = None) -> Surveyor:
    """One for the topics of this session."""
    return Surveyor(
        log=session.log,
        codec=session.codec,
        main=session.topic(OUTBOUND),
        status=session.topic(STATUS),
        retry=session.topic(RETRY),
        control=session.topic(CONTROL),
        group=session.settings.kafka.group("outbound"),
        usage=usage_reader_of(session, step),
        step=step,
    )


def usage_reader_of(session: Session, step: Step | None = None) -> UsageReader:
    """One for the mail.relays of this session."""
    return UsageReader(
        log=session.log,
        codec=session.codec,
        topic=session.topic(RELAYS),
        group=session.settings.kafka.group("relays"),
        step=step,
    )


def read_pauses(log: EventLog, codec: Codec, topic: str, relays: Iterable[str]) -> Standing:
    """What mail.control says of these relays. Raises LogUnavailable."""
    keys = {f"{RELAY}{relay}".encode() for relay in relays}
    count = log.partition_count(topic)
    partitions = sorted({partition_for_all(key, count) for key in keys})
    standing = Standing()

    def fold(record: LogRecord) -> None:
        try:
            command = None if record.value is None else codec.decode(Command, record.value)
        except Undecodable:
            return  # the senders pass it over, too, and report it
        standing.apply(record.key or b"", command)

    places = [TopicPartition(topic, partition) for partition in partitions]
    scan(log, bounds_of(log, places), fold, None, lambda key, _value: key in keys)
    return standing


def _report(
    view: RelayView, usage: RelayUsage, section: RelaySection, routes: dict[str, Waiting], now: datetime
) -> RelayReport:
    waiting = sum(routes.values(), Waiting())
    circuit = CircuitPolicy(hold_seconds=section.hold_seconds, hold_seconds_max=section.hold_seconds_max)
    policy = GovernorPolicy(connections=section.connections, circuit=circuit)
    governor = Governor(view.relay, policy, usage.limits)
    return RelayReport(
        view=view,
        section=section,
        routes=routes,
        waiting=waiting,
        through_seconds=seconds_through(governor, view, waiting, now),
        usage=usage,
    )


def _retry_from(point: CommitPoint | None, topic_id: str) -> int:
    try:
        pointers = None if point is None else decode_pointers(point.metadata)
    except BadPointers:
        return 0
    return 0 if pointers is None or pointers.topic_id != topic_id else pointers.retry_from
