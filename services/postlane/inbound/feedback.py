"""What a received mail brings along for the outbound side: MailFeedback in the event's own transaction, and recipients who are gone, after it."""

import threading
from collections.abc import Callable, Sequence

from postlane.adapters.avro_codec import Codec, Unencodable
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.core.events.feedback import MailFeedback
from postlane.core.events.received import MailReceived
from postlane.core.reading.parsed_mail import MailReading
from postlane.core.reports.feedback import build_feedback
from postlane.inbound.intake import Companions
from postlane.inbound.records import SOURCE
from postlane.inbound.topics import InboundTopics
from postlane.ports import NewRecord

NOTED_MAX = 10_000  # mails between reading and commit; beyond it the oldest was given up with its partition

Tell = Callable[[MailFeedback], None]


def no_listener(_feedback: MailFeedback) -> None:
    """Nobody needs to hear it; it is in Kafka."""


class FeedbackDesk:
    """Makes the companions, and says of each feedback when it has become durable."""

    def __init__(self, codec: Codec, topics: InboundTopics, tell: Tell) -> None:
        self._codec = codec
        self._topics = topics
        self._tell = tell
        self._lock = threading.Lock()  # companions are made in threads
        self._noted: dict[str, tuple[MailFeedback, ...]] = {}

    @property
    def companions(self) -> Companions:
        """What the intake asks for each event."""
        return self._records

    def committed(self, event: MailReceived) -> None:
        """The event and what it brought along are in Kafka."""
        with self._lock:
            noted = self._noted.pop(event.event_id, ())
        for feedback in noted:
            self._tell(feedback)

    def _records(self, event: MailReceived, reading: MailReading) -> Sequence[NewRecord]:
        if reading.report is None:
            return ()
        feedback = build_feedback(event, reading.report)
        with self._lock:
            self._noted[event.event_id] = feedback
            if len(self._noted) > NOTED_MAX:
                del self._noted[next(iter(self._noted))]
        return [record for one in feedback if (record := self._record(one)) is not None]

    def _record(self, feedback: MailFeedback) -> NewRecord | None:
        try:
            value = self._codec.encode(feedback)
        except Unencodable:
            return None  # it must not cost the mail its event, which holds the same words
        key = feedback.ticket_id.encode()
        return NewRecord(
            to=self._topics.feedback_for(key),
            key=key,
            value=value,
            headers=cloud_event_headers(feedback, SOURCE),
        )
