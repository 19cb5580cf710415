"""What a new owner concludes from the journal and the status topic before it starts.

The caller reads, read_committed and after `init_transactions`: the journal from `retry_from` to its end, the statuses from `status_from`
(or from the start of the duplicate window, if that is earlier) to their end. Without usable pointers both are read from their start.
"""

from dataclasses import dataclass, replace

from postlane.core.events.status import MailState, MailStatus, Origin
from postlane.core.events.trail import Done, Put
from postlane.core.sending.journal_age import JournalAge
from postlane.core.sending.lane_mail import Recovered
from postlane.core.sending.pointers import BadPointers, Pointers, decode_pointers


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where to read from. `alarm` = what an operator must know; recovery goes on, preferring a duplicate to a loss."""

    base: int
    status_from: int
    retry_from: int
    main_end: int
    truncated: bool = False  # the main topic has lost its end, so offsets are used anew
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What Kafka holds about p: the group's commit (offset, metadata) or None, the topic's id, low watermarks and ends."""

    commit: tuple[int, str] | None
    topic_id: str
    main_low: int
    main_end: int
    status_low: int
    retry_low: int


def plan_recovery(found: Found) -> Plan:
    """Decide where recovery reads from. Lost pointers never mean that the world is mailed again: everything is read and rebuilt."""
    rebuild = Plan(
        base=found.main_low,
        main_end=found.main_end,
        status_from=found.status_low,
        retry_from=found.retry_low,
    )
    if found.commit is None:
        return rebuild
    offset, metadata = found.commit
    try:
        pointers = decode_pointers(metadata)
    except BadPointers as error:
        return _with_alarm(rebuild, f"{error}: the state is rebuilt from the topics' start")
    if pointers.topic_id != found.topic_id:
        return _with_alarm(
            rebuild, "mail.outbound was recreated: it is read from its start, mail parked before goes first"
        )
    return _within_bounds(found, offset, pointers)


def _with_alarm(plan: Plan, alarm: str) -> Plan:
    return replace(plan, alarms=(*plan.alarms, alarm))


def _within_bounds(found: Found, offset: int, pointers: Pointers) -> Plan:
    alarms = [
        f"{topic} was deleted up to offset {low}, but offset {wanted} was still needed: check its retention"
        for topic, low, wanted in (
            ("mail.outbound", found.main_low, offset),
            ("mail.outbound.status", found.status_low, pointers.status_from),
            ("mail.outbound.retry", found.retry_low, pointers.retry_from),
        )
        if low > wanted
    ]
    base = offset
    if offset > found.main_end:
        alarms.append(
            f"mail.outbound ends at {found.main_end}, below the committed offset {offset}: records were lost there"
        )
        base = found.main_end
    return Plan(
        base=max(base, found.main_low),
        main_end=found.main_end,
        truncated=offset > found.main_end,
        status_from=max(pointers.status_from, found.status_low),
        retry_from=max(pointers.retry_from, found.retry_low),
        alarms=tuple(alarms),
    )


class JournalFold:
    """The live puts of a journal: the newest `put` of every origin that has no `done` after it."""

    def __init__(self) -> None:
        self.age = JournalAge()
        self._live: dict[Origin, tuple[int, bytes | None, Put]] = {}

    def add(self, offset: int, key: bytes | None, entry: Put | Done, written_at: float = 0.0) -> None:
        """Take the next record, in journal order; `written_at` in seconds since 1970."""
        self.age.note(written_at, offset)
        if isinstance(entry, Done):
            self._live.pop(entry.origin, None)
        else:
            self._live[entry.origin] = (offset, key, entry)

    def parked(self, topic_id: str) -> tuple[tuple[int, bytes | None, Put], ...]:
        """Live puts in the order of origin: those of earlier topics first, in their order, then `topic_id`'s."""

        def rank(item: tuple[int, bytes | None, Put]) -> tuple[bool, int, int]:
            put = item[2]
            return put.origin.topic_id == topic_id, put.topic_rank, put.origin.offset

        return tuple(sorted(self._live.values(), key=rank))


class StatusFold:
    """The ends that a status topic proves for the current main topic, and the event ids of the duplicate window."""

    def __init__(self, topic_id: str, window_from: float) -> None:
        self._topic_id = topic_id
        self._window_from = window_from
        self.done: dict[int, int] = {}
        self.seen: dict[str, tuple[Origin, float]] = {}

    def add(self, offset: int, status: MailStatus) -> None:
        """Take the next record. A waiting state proves nothing; another topic's id proves nothing about this one."""
        if status.final and status.topic_id == self._topic_id:
            self.done[status.offset] = offset
        if status.state is MailState.DUPLICATE:
            return  # it speaks of a mail that may itself still have to be sent: were it remembered, that one would be dropped, too
        at = status.occurred_at.timestamp()
        if status.request_event_id is not None and at >= self._window_from:
            self.seen.setdefault(status.request_event_id, (Origin(status.topic_id, status.offset), at))


def conclude(
    plan: Plan, journal: JournalFold, statuses: StatusFold, ends: tuple[int, int], topic_id: str
) -> Recovered:
    """The new owner's state; `ends` = (status-p's end, retry-p's end) as read."""
    parked = journal.parked(topic_id)
    # Statuses before `status_from` are read for the duplicate window alone: they may speak of records lost long ago.
    done = {
        offset: at for offset, at in statuses.done.items() if offset >= plan.base and at >= plan.status_from
    }
    truncated = plan.truncated or any(offset >= plan.main_end for offset in done)
    if truncated:  # which of the others are of lost records cannot be told: rather a duplicate than a loss
        done = {}
    return Recovered(
        base=plan.base,
        status_end=ends[0],
        retry_end=ends[1],
        done=done,
        truncated=truncated,
        parked=parked,
        seen=statuses.seen,
        journal_marks=journal.age.marks,
    )
