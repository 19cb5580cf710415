"""What a ticketing system imports: produce mail requests, consume received mail and statuses.

Blocking calls only, so that it works in any framework. Make one producer per process; a consumer belongs to one thread.
"""

from postlane.adapters.avro_codec import Undecodable
from postlane.client.building import request
from postlane.client.consumer import Consumed, FeedbackConsumer, MailConsumer, StatusConsumer, Unreadable
from postlane.client.producer import MailProducer, NotDelivered, Receipt, RequestRefused
from postlane.config.sections import KafkaSection
from postlane.core.events.feedback import FeedbackKind, MailFeedback, Permanence
from postlane.core.events.mail import Address, BlobRef, Disposition, Header
from postlane.core.events.received import (
    Classification,
    Label,
    MailReceived,
    MatchCandidate,
    MatchKind,
    ParseStatus,
    ReceivedAttachment,
    Verdicts,
)
from postlane.core.events.request import AutoSubmitted, MailRequested, RequestedAttachment
from postlane.core.events.status import MailState, MailStatus, RecipientOutcome, RecipientState, SmtpReply
from postlane.ports import LogUnavailable

__all__ = [
    "Address",
    "AutoSubmitted",
    "BlobRef",
    "Classification",
    "Consumed",
    "Disposition",
    "FeedbackConsumer",
    "FeedbackKind",
    "Header",
    "KafkaSection",
    "Label",
    "LogUnavailable",
    "MailConsumer",
    "MailFeedback",
    "MailProducer",
    "MailReceived",
    "MailRequested",
    "MailState",
    "MailStatus",
    "MatchCandidate",
    "MatchKind",
    "NotDelivered",
    "ParseStatus",
    "Permanence",
    "Receipt",
    "ReceivedAttachment",
    "RecipientOutcome",
    "RecipientState",
    "RequestRefused",
    "RequestedAttachment",
    "SmtpReply",
    "StatusConsumer",
    "Undecodable",
    "Unreadable",
    "Verdicts",
    "request",
]
