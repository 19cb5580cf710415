"""What has become of mails, for people: statuses and waiting requests folded into one answer per request.

A request is known by its origin. One event id may have several (a repeated request, an operator's replay); each has a
history of its own, and an original and its replay name each other by way of the dead letter between them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from postlane.core.dlq import DeadMail, Place
from postlane.core.events.status import MailState, MailStatus, Origin, RecipientOutcome, RecipientState
from postlane.core.events.trail import Dead, ReplayOf, Resolution
from postlane.core.instants import moment


class Where(StrEnum):
    """Where a mail is now."""

    UNREAD = "unread"  # in the main topic; its sender has not said anything about it
    SENDER = "sender"  # with the sender of its partition, whose committed offset waits for it
    JOURNAL = "journal"  # parked in the retry topic
    OPERATOR = "operator"  # held until somebody decides
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it stands in the main topic; `event_id` and what follows are None where it cannot be decoded."""

    partition: int
    origin: Origin
    at: datetime
    ticket_id: str | None
    event_id: str | None = None
    subject: str | None = None
    recipients: tuple[str, ...] = ()
    replay_of: ReplayOf | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A mail's copy in the dead-letter topic, and what operators last did about it; `replays` stand in the main topic."""

    place: Place
    resolution: Resolution | None
    resolved_at: datetime | None
    replays: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a request repeats; `original` is None where the dead letter is gone."""

    dead_letter: Place
    original: Place | None


@dataclass(frozen=True, slots=True)
class SendersSeen:
    """How many senders have asked for a share of a relay within the last lease, and when any did last (None: nobody knows of one)."""

    count: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionView:
    """How far the senders' group has come in a partition, and the hold that now stands there, if any; `senders` None: nobody looked."""

    topic_id: str
    committed: int | None
    hold: MailStatus | None = None
    senders: SendersSeen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailHistory:
    """One request's life. `state` is None while nothing has been said about it; `steps` are its statuses, oldest first."""

    partition: int
    origin: Origin
    where: Where
    state: MailState | None
    cause: str
    reason: str
    ticket_id: str | None
    event_id: str | None
    attempt: int = 0
    next_attempt_at: datetime | None = None
    relay: str | None = None
    message_id: str | None = None
    provider_message_id: str | None = None
    outcome_unknown: bool = False
    recipients: tuple[RecipientOutcome, ...] = ()
    request: Request | None = None
    steps: tuple[MailStatus, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    replay_of: Replay | None = None


@dataclass(slots=True)
class _Known:
    request: Request | None = None
    steps: list[MailStatus] = field(default_factory=list)


def may_be_dead(status: MailStatus) -> bool:
    """Whether a copy for somebody may lie in the dead-letter topic after this step."""
    return status.state in {MailState.FAILED, MailState.EXPIRED, MailState.SKIPPED} or any(
        outcome.state is RecipientState.FAILED for outcome in status.recipients
    )


def fold_histories(
    statuses: Iterable[MailStatus],
    requests: Iterable[Request],
    partitions: Mapping[int, PartitionView],
    dead: Iterable[DeadMail] = (),
) -> list[MailHistory]:
    """One history per request, in the order of the log; `statuses` come as they were written.

    `partitions` has a view for every partition that occurs; `dead` are the dead letters that may concern these mails.
    """
    known: dict[tuple[int, Origin], _Known] = {}
    for request in requests:
        known.setdefault((request.partition, request.origin), _Known()).request = request
    for status in statuses:
        place = (status.partition, Origin(status.topic_id, status.offset))
        known.setdefault(place, _Known()).steps.append(status)
    histories = [
        _history(partition, origin, life, partitions[partition])
        for (partition, origin), life in known.items()
    ]
    return sorted(_linked(histories, list(dead)), key=_began)


def _linked(histories: list[MailHistory], dead: list[DeadMail]) -> list[MailHistory]:
    """The same histories with their dead letters, and originals and replays with each other."""
    replays: dict[Place, list[Place]] = {}
    for history in histories:
        source = None if history.request is None else history.request.replay_of
        if source is not None:
            at = Place(history.partition, history.origin.offset)
            replays.setdefault(Place(source.partition, source.offset), []).append(at)
    letters: dict[tuple[int, Origin], list[DeadLetter]] = {}
    originals: dict[Place, Place] = {}
    for mail in dead:
        if isinstance(mail.obituary, Dead):
            partition, origin = mail.obituary.partition, mail.obituary.origin
            originals[mail.place] = Place(partition, origin.offset)
            letter = _dead_letter(mail, tuple(replays.get(mail.place, ())))
            letters.setdefault((partition, origin), []).append(letter)
    return [
        replace(
            history,
            dead_letters=tuple(letters.get((history.partition, history.origin), ())),
            replay_of=_replay(history.request, originals),
        )
        for history in histories
    ]


def _dead_letter(mail: DeadMail, replays: tuple[Place, ...]) -> DeadLetter:
    last = mail.resolutions[-1] if mail.resolutions else None
    return DeadLetter(
        place=mail.place,
        resolution=None if last is None else last.resolution,
        resolved_at=None if last is None else moment(last.resolved_at_ms / 1000),
        replays=replays,
    )


def _replay(request: Request | None, originals: Mapping[Place, Place]) -> Replay | None:
    if request is None or request.replay_of is None:
        return None
    source = Place(request.replay_of.partition, request.replay_of.offset)
    return Replay(dead_letter=source, original=originals.get(source))


def tells_of_hold(status: MailStatus) -> bool:
    """Whether a status says that a relay takes nothing, and nothing about the mail itself: no reply, nobody's outcome."""
    if status.state is not MailState.DEFERRED or status.relay is None:
        return False
    return status.reply is None and not status.recipients


def hold_of(newest: MailStatus | None, now: datetime) -> MailStatus | None:
    """The hold that a partition's newest status tells of, if its time has not come."""
    if newest is None or not tells_of_hold(newest):
        return None
    return newest if newest.next_attempt_at is not None and newest.next_attempt_at > now else None


def _history(partition: int, origin: Origin, life: _Known, view: PartitionView) -> MailHistory:
    if not life.steps:
        assert life.request is not None, "a history begins with a request or a status"
        return _unread(life.request, view)
    last = life.steps[-1]
    latest = {outcome.address: outcome for step in life.steps for outcome in step.recipients}
    return MailHistory(
        partition=partition,
        origin=origin,
        where=_where(last, origin, view),
        state=last.state,
        cause=last.cause,
        reason=last.reason,
        ticket_id=last.ticket_id,
        event_id=last.request_event_id,
        attempt=last.attempt,
        next_attempt_at=last.next_attempt_at,
        relay=last.relay,
        message_id=next((step.message_id for step in reversed(life.steps) if step.message_id), None),
        provider_message_id=last.provider_message_id,
        outcome_unknown=last.outcome_unknown,
        recipients=tuple(latest.values()),
        request=life.request,
        steps=tuple(life.steps),
    )


def _where(last: MailStatus, origin: Origin, view: PartitionView) -> Where:
    if last.final:
        return Where.ENDED
    if last.state is MailState.HELD:
        return Where.OPERATOR
    # The committed offset passes a mail that is not done only when the journal holds it.
    passed = view.committed is not None and origin.offset < view.committed
    return Where.JOURNAL if passed or origin.topic_id != view.topic_id else Where.SENDER


def _unread(request: Request, view: PartitionView) -> MailHistory:
    cause, reason, next_attempt_at = _why_unread(request, view)
    return MailHistory(
        partition=request.partition,
        origin=request.origin,
        where=Where.UNREAD,
        state=None,
        cause=cause,
        reason=reason,
        ticket_id=request.ticket_id,
        event_id=request.event_id,
        next_attempt_at=next_attempt_at,
        relay=None if view.hold is None else view.hold.relay,
        request=request,
    )


def _why_unread(request: Request, view: PartitionView) -> tuple[str, str, datetime | None]:
    if view.hold is not None:
        words = f"relay {view.hold.relay} is held: {view.hold.reason}"
        return view.hold.cause, words, view.hold.next_attempt_at
    ahead = max(0, request.origin.offset - (view.committed or 0))
    before = f"up to {ahead} requests of its partition stand before it"
    if view.senders is not None and view.senders.count == 0:
        return (
            "no_sender",
            f"{_absent_words(view.senders)}: is `postlane outbound` running? Then {before}",
            None,
        )
    if view.committed is not None:
        return "queued", before, None
    if view.senders is None:
        return (
            "no_sender",
            "no sender has ever worked on this partition; is `postlane outbound` running?",
            None,
        )
    run = "1 sender runs" if view.senders.count == 1 else f"{view.senders.count} senders run"
    words = f"{run}, and none has finished anything in this partition yet: one takes it over and reads what operators want, within a minute or its log and /readyz say why not; then {before}"
    return "queued", words, None


def _absent_words(senders: SendersSeen) -> str:
    if senders.last_at is None:
        return "no sender runs: mail.relays knows of none"
    return f"no sender runs by this machine's clock: the last asked for a share of a relay at {senders.last_at:%Y-%m-%d %H:%M:%SZ}"


def _began(history: MailHistory) -> tuple[float, int, int]:
    """By time where it is known; requests of one partition and topic by offset in any case come in log order."""
    at = history.request.at if history.request is not None else history.steps[0].occurred_at
    return (at.timestamp(), history.partition, history.origin.offset)
