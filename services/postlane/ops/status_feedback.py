"""What other machines reported later about mails that a relay had taken: read beside their statuses."""

from collections.abc import Iterable, Mapping, Sequence

from postlane.adapters.avro_codec import Undecodable
from postlane.core.events.feedback import MailFeedback
from postlane.core.history import MailHistory
from postlane.core.partitioner import partition_of
from postlane.ops.decoded import feedback_words
from postlane.ops.output import moment_text
from postlane.ops.scanning import scan
from postlane.ops.session import Session
from postlane.ops.topic_names import FEEDBACK
from postlane.ports import Bounds, LogRecord, TopicPartition


def read_feedback(session: Session, histories: Sequence[MailHistory]) -> list[MailFeedback]:
    """All feedback about the tickets of these mails since the oldest of them was first spoken of, oldest first. Raises LogUnavailable."""
    tickets = {one.ticket_id for one in histories if one.ticket_id is not None}
    if not tickets:
        return []
    topic = session.topic(FEEDBACK)
    count = session.log.partition_count(topic)
    keys = {ticket.encode() for ticket in tickets}
    began = [step.occurred_at for one in histories for step in one.steps]
    spans: dict[TopicPartition, Bounds] = {}
    for partition in sorted({partition_of(key, count) for key in keys}):
        at = TopicPartition(topic, partition)
        span = session.log.bounds(at)
        low = session.log.offset_at(at, round(min(began).timestamp() * 1000)) if began else span.low
        spans[at] = Bounds(low=max(span.low, min(low, span.end)), end=span.end)

    def keep(record: LogRecord) -> MailFeedback | None:
        try:
            return session.codec.decode(MailFeedback, record.value) if record.key in keys else None
        except Undecodable:
            return None  # `postlane tail feedback` shows it with its fault

    found = scan(session.log, spans, keep, wanted=lambda key, _value: key in keys)
    return sorted(found, key=lambda feedback: feedback.reported_at)


def by_mail(
    feedback: Iterable[MailFeedback], histories: Sequence[MailHistory]
) -> Mapping[int, list[MailFeedback]]:
    """The feedback of each history, by its place; what names no mail stands with the newest one of its ticket that had been sent by then."""
    placed: dict[int, list[MailFeedback]] = {index: [] for index in range(len(histories))}
    for one in feedback:
        index = _place(one, histories)
        if index is not None:
            placed[index].append(one)
    return placed


def feedback_lines(feedback: Iterable[MailFeedback]) -> list[str]:
    """One line each, beneath the steps of its mail."""
    return [
        f"    {moment_text(one.reported_at)}  {feedback_words(one)}"
        + (
            ""
            if one.message_id or one.request_event_id
            else "  (which mail of the ticket it was is not said)"
        )
        for one in feedback
    ]


def _place(one: MailFeedback, histories: Sequence[MailHistory]) -> int | None:
    if one.message_id is not None or one.request_event_id is not None:
        mails = enumerate(histories)
        return next((index for index, history in mails if _is_about(one, history)), None)
    earlier = [
        index
        for index, history in enumerate(histories)
        if history.ticket_id == one.ticket_id
        and any(step.occurred_at <= one.reported_at for step in history.steps)
    ]
    return max(earlier, default=None)


def _is_about(one: MailFeedback, history: MailHistory) -> bool:
    if one.message_id is not None and history.message_id is not None:
        return one.message_id.lower() == history.message_id.lower()
    return one.request_event_id is not None and one.request_event_id == history.event_id
