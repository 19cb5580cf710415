"""An alert in words: for a webhook as a JSON document, for people as a subject and a text."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import assert_never

from postlane.core.alerts.catalogue import KINDS, AlertName, Severity
from postlane.core.alerts.raising import Clear, Effect, Raise, Remind
from postlane.core.instants import iso_utc

FINGERPRINT_CHARACTERS = 16
ID_CHARACTERS = 32

ELSEWHERE = "Mailbox {subject} is no longer polled by this process; the one that polls it says anew what is still wrong"


class NoticeEvent(StrEnum):
    """What has become of the alert."""

    RAISED = "raised"
    REMINDED = "reminded"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One telling. `fingerprint` is the same for every telling of one alert and subject, from whatever process; `id` is this telling's own.

    `since`: when it began, `raised_at`: when people were first told, `at`: now (seconds since 1970).
    """

    id: str
    event: NoticeEvent
    alert: AlertName
    severity: Severity
    subject: str
    cause: str
    summary: str
    reason: str
    action: str
    since: float
    raised_at: float
    at: float
    reminders: int
    fingerprint: str
    instance: str


def notice(effect: Effect, now: float, *, instance: str) -> Notice:
    """What is told of this effect; `instance` names the process."""
    alert, event = effect.alert, _event(effect)
    condition, kind = alert.condition, KINDS[alert.condition.alert]
    words = kind.cleared if event is NoticeEvent.CLEARED else kind.raised
    if isinstance(effect, Clear) and effect.elsewhere:
        words = ELSEWHERE
    fingerprint = _digest(condition.alert, condition.subject)[:FINGERPRINT_CHARACTERS]
    number = alert.reminders if event is NoticeEvent.REMINDED else 0
    return Notice(
        id=_digest(fingerprint, instance, f"{alert.raised_at:.3f}", event, str(number))[:ID_CHARACTERS],
        event=event,
        alert=condition.alert,
        severity=kind.severity,
        subject=condition.subject,
        cause=condition.cause,
        summary=words.replace("{subject}", condition.subject),
        reason=condition.reason,
        action=kind.action.replace("{subject}", condition.subject),
        since=condition.since,
        raised_at=alert.raised_at,
        at=now,
        reminders=alert.reminders,
        fingerprint=fingerprint,
        instance=instance,
    )


def document(notice: Notice) -> dict[str, object]:
    """The body of a webhook; docs/operations.md explains each field."""
    return {
        "type": f"alert.{notice.event}",
        "timestamp": iso_utc(notice.at),
        "text": headline(notice),
        "data": {
            "id": notice.id,
            "alert": notice.alert,
            "severity": notice.severity,
            "subject": notice.subject,
            "cause": notice.cause,
            "summary": notice.summary,
            "reason": notice.reason,
            "action": notice.action,
            "since": iso_utc(notice.since),
            "raised_at": iso_utc(notice.raised_at),
            "reminders": notice.reminders,
            "fingerprint": notice.fingerprint,
            "instance": notice.instance,
        },
    }


def headline(notice: Notice) -> str:
    """One line, also the subject of a mail."""
    match notice.event:
        case NoticeEvent.RAISED:
            return f"[{notice.severity}] {notice.summary} ({notice.cause})"
        case NoticeEvent.REMINDED:
            return f"[{notice.severity}] Still: {notice.summary} ({notice.cause})"
        case NoticeEvent.CLEARED:
            return f"[over] {notice.summary}"
        case _:
            assert_never(notice.event)


def text(notice: Notice) -> str:
    """The whole of it for people."""
    over = notice.event is NoticeEvent.CLEARED
    lines = [
        f"{notice.summary}.",
        "",
        f"{'It was' if over else 'Reason'}: {notice.reason}",
        f"Since:  {iso_utc(notice.since)}",
        *([f"Over:   {iso_utc(notice.at)}"] if over else []),
        f"Alert:  {notice.alert} {notice.subject}".rstrip(),
        f"Seen by {notice.instance}",
    ]
    if not over:
        lines += ["", notice.action]
    return "\n".join(lines) + "\n"


def _event(effect: Effect) -> NoticeEvent:
    match effect:
        case Raise():
            return NoticeEvent.RAISED
        case Remind():
            return NoticeEvent.REMINDED
        case Clear():
            return NoticeEvent.CLEARED
        case _:
            assert_never(effect)


def _digest(*words: str) -> str:
    return sha256("\0".join(words).encode()).hexdigest()
