"""What an attempt's judgement means for its mail: an end, or another attempt."""

from dataclasses import dataclass

from postlane.core.events.status import MailState, RecipientOutcome, RecipientState, SmtpReply
from postlane.core.sending.lane_mail import LaneMail
from postlane.core.sending.retry import GiveUp, RetryPolicy, Wait
from postlane.core.smtp.attempt import CAUSE_REDIRECTED, Attempted, RecipientTrouble, describe

CAUSE_ACCEPTED = "accepted"
NAMED_MAX = 5  # recipients in a sentence for people; the status lists all


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Recipients that an attempt has ended, and the words for their dead-letter copy; others of the mail may still wait."""

    recipients: tuple[str, ...]
    cause: str
    reason: str
    reply: SmtpReply | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """`again_at` None = the mail has ended. `dead` = whose copy goes to the DLQ, `remaining` = those still to be served.

    `partial`: recipients fared differently, and were this forgotten, another attempt could serve one whose later mail is out already.
    """

    state: MailState
    cause: str
    reason: str
    attempt: int
    reply: SmtpReply | None
    recipients: tuple[RecipientOutcome, ...]
    again_at: float | None = None
    remaining: tuple[str, ...] = ()
    dead: Death | None = None
    partial: bool = False
    unknown: bool = False

    @property
    def ends(self) -> bool:
        """Whether the mail is over."""
        return self.again_at is None


def weigh(
    mail: LaneMail,
    attempted: Attempted,
    policy: RetryPolicy,
    now: float,
    jitter: float,
    *,
    held_since: float | None = None,
) -> Aftermath:
    """Decide what follows an attempt in which the relay judged the mail or the connection broke over it.

    `held_since`: its route is held, but for mail that goes out bit by bit; what has passed since then is no age.
    Where everybody is suppressed no relay was asked, and no attempt counts.
    """
    # More recipients than a mail may have: those who were not tried are next, at once where this attempt got somewhere.
    untried = any(trouble.wait_seconds == 0 for trouble in attempted.waiting)
    counts = attempted.asked and not (untried and (attempted.delivered or attempted.suppressed))
    attempt = mail.attempt + (1 if counts else 0)
    if not attempted.waiting:
        return _ended(attempted, attempt)
    at_once = untried and bool(attempted.delivered or attempted.failed or attempted.suppressed)
    named = [trouble.wait_seconds for trouble in attempted.waiting if trouble.wait_seconds]
    wait = Wait(
        cause=attempted.waiting[0].cause,
        jitter=jitter,
        asked_seconds=0.0 if at_once else max(named, default=None),
        expires_at=expires_at(mail),
    )
    aged_until = now if held_since is None else min(now, max(held_since, mail.first_seen))
    decision = policy.after_failure(max(attempt, 1), now, aged_until - mail.first_seen, wait)
    waiting = tuple(trouble.address for trouble in attempted.waiting)
    first = attempted.waiting[0]
    if isinstance(decision, GiveUp):
        reason = f"{decision.reason}; last: {told(first)}"
        everybody = waiting + tuple(trouble.address for trouble in attempted.failed)
        return Aftermath(
            state=MailState.EXPIRED,
            cause="expired",
            reason=_completed(reason, attempted),
            attempt=attempt,
            reply=reply_of(first),
            recipients=_outcomes(attempted, RecipientState.FAILED),
            dead=Death(recipients=everybody, cause="expired", reason=reason, reply=reply_of(first)),
            unknown=attempted.unknown,
        )
    return Aftermath(
        state=MailState.DEFERRED,
        cause=first.cause,
        reason=_completed(told(first), attempted),
        attempt=attempt,
        reply=reply_of(first),
        recipients=_outcomes(attempted, RecipientState.WAITING),
        again_at=decision.due,
        remaining=waiting,
        dead=_death(attempted),
        partial=bool(attempted.delivered or attempted.failed or attempted.suppressed),
        unknown=attempted.unknown,
    )


def _death(attempted: Attempted) -> Death | None:
    if not attempted.failed:
        return None
    first = attempted.failed[0]
    refused = tuple(trouble.address for trouble in attempted.failed)
    return Death(recipients=refused, cause=first.cause, reason=told(first), reply=reply_of(first))


def _ended(attempted: Attempted, attempt: int) -> Aftermath:
    state, cause, reason, reply = _end_words(attempted)
    return Aftermath(
        state=state,
        cause=cause,
        reason=_completed(reason, attempted),
        attempt=attempt,
        reply=reply,
        recipients=_outcomes(attempted, RecipientState.WAITING),
        dead=_death(attempted),
        partial=bool(attempted.suppressed),
    )


def _end_words(attempted: Attempted) -> tuple[MailState, str, str, SmtpReply | None]:
    """One who failed makes the mail FAILED; one who was served makes it SENT, whoever else was suppressed."""
    if attempted.failed:
        first = attempted.failed[0]
        return MailState.FAILED, first.cause, told(first), reply_of(first)
    if attempted.suppressed and not attempted.delivered:
        return MailState.SUPPRESSED, attempted.suppressed[0].cause, "", None
    text = "" if attempted.accepted is None else attempted.accepted.text
    cause = CAUSE_ACCEPTED if attempted.redirect is None else CAUSE_REDIRECTED
    return MailState.SENT, cause, f"the relay accepted it: {text}", attempted.accepted


def _completed(reason: str, attempted: Attempted) -> str:
    """The reason, and who did not get the mail although no relay refused it: nobody is left out in silence."""
    parts = [reason] if reason else []
    if attempted.suppressed:
        first, others = attempted.suppressed[0], len(attempted.suppressed) - 1
        more = f" (and {others} more)" if others else ""
        parts.append(f"not sent to {first.address}{more}: {first.reason}")
    if attempted.redirect is not None:
        names = ", ".join(attempted.redirect.recipients[:NAMED_MAX])
        more = ", ..." if len(attempted.redirect.recipients) > NAMED_MAX else ""
        parts.append(f"sent to {attempted.redirect.to} in the place of {names}{more}, as [safety] wants it")
    return "; ".join(parts)


def _outcomes(attempted: Attempted, waiting_as: RecipientState) -> tuple[RecipientOutcome, ...]:
    delivered = tuple(
        RecipientOutcome(address=address, state=RecipientState.DELIVERED, reply=attempted.accepted)
        for address in attempted.delivered
    )
    troubled = tuple(
        RecipientOutcome(address=trouble.address, state=state, reply=reply_of(trouble))
        for troubles, state in ((attempted.waiting, waiting_as), (attempted.failed, RecipientState.FAILED))
        for trouble in troubles
    )
    suppressed = tuple(
        RecipientOutcome(address=one.address, state=RecipientState.SUPPRESSED) for one in attempted.suppressed
    )
    return delivered + troubled + suppressed


def expires_at(mail: LaneMail) -> float | None:
    """The request's own end of life in seconds since 1970, where it is known and set."""
    request = mail.content.request if mail.content is not None else None
    return None if request is None or request.expires_at is None else request.expires_at.timestamp()


def told(trouble: RecipientTrouble) -> str:
    """The trouble in words: who, and what the relay or the network said."""
    return f"{trouble.address}: {describe(trouble.answer)}"


def reply_of(trouble: RecipientTrouble) -> SmtpReply | None:
    """The relay's words, if it spoke."""
    return trouble.answer if isinstance(trouble.answer, SmtpReply) else None
