"""Writes down what happens to the mails of one partition: statuses and dead-letter obituaries."""

import re
from dataclasses import dataclass, replace

from postlane.core.events.status import MailState, MailStatus, SmtpReply
from postlane.core.events.trail import Dead
from postlane.core.instants import moment
from postlane.core.sending.aftermath import Aftermath, Death
from postlane.core.sending.lane_mail import (
    AttemptEnded,
    DeadCopy,
    KeyedStatus,
    LaneMail,
    RouteHolds,
    Stillborn,
)
from postlane.core.smtp.attempt import SenderHeld

# What relays call the mail they took: Postfix and Exim name a queue id, Exchange Online and SES an id.
_PROVIDER_ID = re.compile(
    r"queued as (?P<queue>[\w.-]+)|id=(?P<id>[\w.-]+)|(?P<message><[^<>\s]+@[^<>\s]+>)|^Ok (?P<ses>[\w-]{30,})$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scribe:
    """`topic` and `topic_id` are the main topic's; `instance` names this sender process in every status."""

    topic: str
    topic_id: str
    partition: int
    instance: str

    def attempted(self, mail: LaneMail, after: Aftermath, event: AttemptEnded, now: float) -> KeyedStatus:
        """The status after an attempt."""
        accepted = after.reply if after.state is MailState.SENT else None
        return self._status(
            mail,
            now,
            state=after.state,
            final=after.ends,
            cause=after.cause,
            reason=after.reason,
            attempt=after.attempt,
            next_attempt_at=None if after.again_at is None else moment(after.again_at),
            relay=None if after.state is MailState.SUPPRESSED else event.relay,
            reply=after.reply,
            message_id=event.message_id,
            provider_message_id=None if accepted is None else provider_id(accepted),
            outcome_unknown=after.unknown,
            recipients=after.recipients,
        )

    def stillborn(self, mail: LaneMail, stillborn: Stillborn, now: float) -> KeyedStatus:
        """The status of a mail that ends without an attempt."""
        return self._status(
            mail,
            now,
            state=stillborn.state,
            final=True,
            cause=stillborn.cause,
            reason=stillborn.reason,
            attempt=mail.attempt,
        )

    def waits(
        self, mail: LaneMail, now: float, next_at: float | None, state: MailState = MailState.DEFERRED
    ) -> KeyedStatus:
        """The status of a mail that waits for the cause it bears, or for a person (HELD)."""
        return self._status(
            mail,
            now,
            state=state,
            final=False,
            cause=mail.cause,
            reason=mail.reason,
            attempt=mail.attempt,
            next_attempt_at=None if next_at is None else moment(next_at),
        )

    def held(self, mail: LaneMail, hold: RouteHolds, now: float) -> KeyedStatus:
        """The status of a mail whose relay takes nothing: no attempt is counted."""
        return self._status(
            mail,
            now,
            state=MailState.DEFERRED,
            final=False,
            cause=hold.cause,
            reason=hold.reason,
            attempt=mail.attempt,
            next_attempt_at=None if hold.until is None else moment(max(hold.until, mail.due)),
            relay=hold.relay,
        )

    def sender_held(self, mail: LaneMail, held: SenderHeld, ended: AttemptEnded, now: float) -> KeyedStatus:
        """The status of a mail whose sender the relay refuses: no attempt is counted."""
        return self._status(
            mail,
            now,
            state=MailState.DEFERRED,
            final=False,
            cause=held.cause,
            reason=held.reason,
            attempt=mail.attempt,
            next_attempt_at=moment(mail.due),
            relay=ended.relay,
            reply=held.reply,
            message_id=ended.message_id,
        )

    def dies_held(self, mail: LaneMail, after: Aftermath, event: AttemptEnded, now: float) -> KeyedStatus:
        """The status of a mail that an attempt would have ended, were it not to wait for a person."""
        kept = replace(self.attempted(mail, after, event, now).status, state=MailState.HELD, final=False)
        return KeyedStatus(key=mail.key, status=replace(kept, status_id=_status_id(kept)))

    def dead(self, mail: LaneMail, stillborn: Stillborn, now: float) -> DeadCopy:
        """The dead-letter copy of a mail that ends without an attempt."""
        return self._dead_copy(
            mail, now, cause=stillborn.cause, reason=stillborn.reason, remaining=mail.remaining
        )

    def dead_recipients(self, mail: LaneMail, death: Death, now: float) -> DeadCopy:
        """The dead-letter copy for the recipients that an attempt has ended."""
        reply = None if death.reply is None else words(death.reply)
        return self._dead_copy(
            mail, now, cause=death.cause, reason=death.reason, remaining=death.recipients, reply=reply
        )

    def _dead_copy(
        self,
        mail: LaneMail,
        now: float,
        *,
        cause: str,
        reason: str,
        remaining: tuple[str, ...] | None,
        reply: str | None = None,
    ) -> DeadCopy:
        assert mail.content is not None, "a mail that dies has its bytes in memory"
        dead = Dead(
            origin=mail.origin,
            origin_topic=self.topic,
            partition=self.partition,
            attempt=mail.attempt,
            first_seen_ms=round(mail.first_seen * 1000),
            died_ms=round(now * 1000),
            remaining=remaining,
            cause=cause,
            reason=reason,
            reply=reply,
        )
        return DeadCopy(key=mail.key, content=mail.content, dead=dead)

    def _status(self, mail: LaneMail, now: float, **fields: object) -> KeyedStatus:
        request = None if mail.content is None else mail.content.request
        ticket = (
            request.ticket_id
            if request is not None
            else None
            if mail.key is None
            else mail.key.decode("utf-8", "replace")
        )
        status = MailStatus(
            status_id="",
            occurred_at=moment(now),
            topic_id=mail.origin.topic_id,
            partition=self.partition,
            offset=mail.origin.offset,
            instance=self.instance,
            request_event_id=None if request is None else request.event_id,
            ticket_id=ticket,
            metadata={} if request is None else request.metadata,
            **fields,  # type: ignore[arg-type]  # the callers above name fields of MailStatus
        )
        return KeyedStatus(key=mail.key, status=replace(status, status_id=_status_id(status)))


def _status_id(status: MailStatus) -> str:
    at_ms = round(status.occurred_at.timestamp() * 1000)
    return f"{status.topic_id}:{status.partition}:{status.offset}:{at_ms}:{status.state}"


def provider_id(reply: SmtpReply) -> str | None:
    """The name under which the relay took the mail, where its 2xx says one."""
    match = _PROVIDER_ID.search(reply.text)
    return None if match is None else next(group for group in match.groups() if group)


def words(reply: SmtpReply) -> str:
    """A reply as one line."""
    enhanced = f" {reply.enhanced_code}" if reply.enhanced_code else ""
    return f"{reply.code}{enhanced} {reply.text}"
