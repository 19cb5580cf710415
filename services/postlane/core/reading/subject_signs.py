"""Whether a mail goes on with its thread or takes an old one along into a new matter: forwards and changed subjects.

A forward carries the old thread's ids, markers and tags. Who forwards it to the desk mostly opens a new matter, so these must not decide
(zammad#4965, freescout#4454).
"""

from dataclasses import dataclass
from enum import Enum, auto

from postlane.core.reading.mail_signs import FORWARD_PREFIX, REPLY_PREFIXES, SUBJECT_WAS
from postlane.core.reading.parsed_mail import ParsedMail


class ThreadSign(Enum):
    """What speaks against the thread that a mail names."""

    FORWARDED = auto()
    SUBJECT_CHANGED = auto()


@dataclass(frozen=True, slots=True)
class ThreadDoubt:
    """The sign and the words that show it."""

    sign: ThreadSign
    reason: str


def thread_sign(mail: ParsedMail) -> ThreadDoubt | None:
    """What speaks against the mail's thread, the stronger sign first; None for ordinary mail and answers.

    A changed subject shows where the writer says so, "(was: ...)", or where Outlook keeps the thread's first subject in Thread-Topic.
    """
    if found := FORWARD_PREFIX.match(mail.subject):
        return ThreadDoubt(ThreadSign.FORWARDED, f"Subject: {found[0].strip()} - a forward")
    if not (mail.in_reply_to or mail.references):
        return None
    if found := SUBJECT_WAS.search(mail.subject):
        return ThreadDoubt(ThreadSign.SUBJECT_CHANGED, f"Subject: {found[0]}")
    topic = _bare(next(iter(mail.header_values("Thread-Topic")), ""))
    subject = _bare(mail.subject)
    if topic and subject and topic not in subject and subject not in topic:
        return ThreadDoubt(ThreadSign.SUBJECT_CHANGED, f"Subject is not Thread-Topic: {topic}")
    return None


def _bare(subject: str) -> str:
    return " ".join(REPLY_PREFIXES.sub("", subject).lower().split())
