"""What one SMTP attempt means for each recipient, for the mail and for the relay.

said by          HOLD x relay, sender   RETRY, HOLD x other       FAIL                  no reply (Lost)
connect ... auth relay held             relay held                relay held            relay held
MAIL, DATA       held                   all wait                  all fail              all wait: connection_lost
RCPT             held if none served    that recipient waits      that recipient fails  the rest waits: connection_lost
final dot        held                   all wait                  all fail              all wait: outcome_unknown

"All" are the recipients that RCPT did not refuse. Held is the relay, else the mail's sender. A hold counts no attempt, so it is said
only when nobody can have been served by this attempt; otherwise the others wait and the next attempt tells what the relay wants.

Recipients whose domain takes no mail, as DNS says, are not part of the dialogue. They have failed, unless relay or sender is held: then
the whole mail waits, and is looked at anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from postlane.core.events.status import SmtpReply
from postlane.core.routing.mail_domains import TakesNoMail
from postlane.core.smtp.smtp_reply import Outcome, Scope, Verdict
from postlane.core.smtp.transcript import Answer, Lost, Phase, Transcript

Classify = Callable[[SmtpReply], Verdict]

CAUSE_AUTH = "auth"
CAUSE_CONNECTION = "connection"
CAUSE_TLS = "tls"
CAUSE_CONNECTION_LOST = "connection_lost"
CAUSE_OUTCOME_UNKNOWN = "outcome_unknown"
CAUSE_TOO_MANY_RECIPIENTS = "too_many_recipients"
CAUSE_SUPPRESSED = "suppressed"
CAUSE_SAFETY = "safety"
CAUSE_REDIRECTED = "redirected"

SENDER_HOLD_SECONDS = (
    900.0  # where a rule names no time: somebody has to allow the sender, and that takes a while
)

BEFORE_MAIL = frozenset({Phase.CONNECT, Phase.TLS, Phase.EHLO, Phase.AUTH})


@dataclass(frozen=True, slots=True)
class RecipientTrouble:
    """Why one recipient was not served: what the relay answered, or DNS said before anybody asked a relay.

    `wait_seconds` is None where nobody named a time; 0 = send at once.
    """

    address: str
    cause: str
    answer: Answer | TakesNoMail
    wait_seconds: float | None


@dataclass(frozen=True, slots=True)
class SuppressedRecipient:
    """A recipient who must not be mailed and so was not tried. `reason` is a phrase that can follow the address."""

    address: str
    cause: str
    reason: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """What these recipients would have got went to another address: a staging system mails no customers."""

    to: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """An attempt that counts: every recipient stands in exactly one of delivered, waiting, failed and suppressed.

    `accepted` is the reply to the final dot. `unknown`: the connection broke after the final dot, so those who wait may have
    the mail already; they are sent the same bytes again. Of those in `redirect` the others say what became of the mail in their place.
    """

    delivered: tuple[str, ...]
    waiting: tuple[RecipientTrouble, ...]
    failed: tuple[RecipientTrouble, ...]
    accepted: SmtpReply | None
    unknown: bool
    suppressed: tuple[SuppressedRecipient, ...] = ()
    redirect: Redirect | None = None

    @property
    def asked(self) -> bool:
        """Whether anybody was tried, and so a relay was asked."""
        return bool(self.delivered or self.waiting or self.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayHeld:
    """The relay as a whole must wait; nothing about this mail is counted. `auth`: a person must repair the account."""

    cause: str
    reason: str
    reply: Answer
    wait_seconds: float | None
    auth: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderHeld:
    """The relay refuses mail of this sender, and that alone; nothing about this mail is counted.

    `asked`: it has just said so. Otherwise it was not asked again, and `reply` is what it said before.
    """

    cause: str
    reason: str
    reply: SmtpReply
    wait_seconds: float
    asked: bool = True


Judgement = Attempted | RelayHeld | SenderHeld


def judge(transcript: Transcript, recipients: tuple[str, ...], classify: Classify) -> Judgement:
    """Decide what the relay's answers mean; `recipients` are those of the envelope, in order."""
    refused = dict(transcript.refused)
    taken = tuple(address for address in recipients if address not in refused)
    if transcript.accepted is not None:
        waiting, failed = _troubles(transcript.refused, classify, served=True)
        return Attempted(
            delivered=taken, waiting=waiting, failed=failed, accepted=transcript.accepted, unknown=False
        )
    stopped = transcript.stopped
    unknown = isinstance(stopped, Lost) and stopped.phase is Phase.FINAL
    if not unknown and (held := _hold(transcript, classify)):
        return held
    all_of_them = transcript.refused
    if stopped is not None:
        all_of_them += tuple((address, stopped) for address in taken)
    waiting, failed = _troubles(all_of_them, classify, served=False)
    return Attempted(delivered=(), waiting=waiting, failed=failed, accepted=None, unknown=unknown)


def with_unreachable(judgement: Judgement | None, unreachable: Mapping[str, TakesNoMail]) -> Judgement:
    """The judgement of the whole mail, with those who were left out of the envelope because DNS says that their domain takes no mail.

    `judgement` is None where nobody was left to be sent to, and so no relay was asked.
    """
    failed = tuple(
        RecipientTrouble(address, refusal.cause, refusal, None) for address, refusal in unreachable.items()
    )
    match judgement:
        case RelayHeld() | SenderHeld():
            return judgement
        case None:
            return Attempted(delivered=(), waiting=(), failed=failed, accepted=None, unknown=False)
        case Attempted():
            return replace(judgement, failed=(*judgement.failed, *failed))
        case _:
            assert_never(judgement)


def describe(answer: Answer | TakesNoMail) -> str:
    """An answer in one line for people: `550 5.1.1 No such user (rcpt)`."""
    match answer:
        case SmtpReply():
            words = (str(answer.code), answer.enhanced_code, answer.text)
            return f"{' '.join(word for word in words if word)} ({answer.phase})"
        case Lost():
            return f"{answer.error} ({answer.phase})"
        case TakesNoMail():
            return f"{answer.words} (dns)"
        case _:
            assert_never(answer)


def _hold(transcript: Transcript, classify: Classify) -> RelayHeld | SenderHeld | None:
    """The hold that the answers ask for, if they do: the relay's before the sender's."""
    stopped = () if transcript.stopped is None else (transcript.stopped,)
    answers = (*stopped, *(answer for _, answer in transcript.refused))
    relay_holds = (_relay_hold(transcript.relay, answer, classify) for answer in answers)
    sender_holds = (_sender_hold(transcript.relay, answer, classify) for answer in answers)
    return next(filter(None, relay_holds), None) or next(filter(None, sender_holds), None)


def _relay_hold(relay: str, answer: Answer, classify: Classify) -> RelayHeld | None:
    wait_seconds = None
    match answer:
        case Lost() if answer.phase not in BEFORE_MAIL:
            return None
        case Lost():
            cause = CAUSE_TLS if answer.phase is Phase.TLS else CAUSE_CONNECTION
        case SmtpReply():
            verdict = classify(answer)
            holds = verdict.outcome is Outcome.HOLD and verdict.scope is Scope.RELAY
            if not holds and answer.phase not in BEFORE_MAIL:
                return None
            cause, wait_seconds = verdict.cause, verdict.wait_seconds
        case _:
            assert_never(answer)
    return RelayHeld(
        cause=cause,
        reason=f"relay {relay}: {describe(answer)}",
        reply=answer,
        wait_seconds=wait_seconds,
        auth=cause == CAUSE_AUTH,
    )


def _sender_hold(relay: str, answer: Answer, classify: Classify) -> SenderHeld | None:
    if not isinstance(answer, SmtpReply):
        return None
    verdict = classify(answer)
    if verdict.outcome is not Outcome.HOLD or verdict.scope is not Scope.SENDER:
        return None
    named = verdict.wait_seconds
    return SenderHeld(
        cause=verdict.cause,
        reason=f"relay {relay}: {describe(answer)}",
        reply=answer,
        wait_seconds=SENDER_HOLD_SECONDS if named is None else named,
    )


def _troubles(
    answers: tuple[tuple[str, Answer], ...], classify: Classify, *, served: bool
) -> tuple[tuple[RecipientTrouble, ...], tuple[RecipientTrouble, ...]]:
    """Who waits and who has failed."""
    waiting: list[RecipientTrouble] = []
    failed: list[RecipientTrouble] = []
    for address, answer in answers:
        match answer:
            case Lost():
                cause = CAUSE_OUTCOME_UNKNOWN if answer.phase is Phase.FINAL else CAUSE_CONNECTION_LOST
                waiting.append(RecipientTrouble(address, cause, answer, None))
            case SmtpReply():
                verdict = classify(answer)
                trouble = RecipientTrouble(address, verdict.cause, answer, _wait(verdict, served=served))
                (failed if verdict.outcome is Outcome.FAIL else waiting).append(trouble)
            case _:
                assert_never(answer)
    return tuple(waiting), tuple(failed)


def _wait(verdict: Verdict, *, served: bool) -> float | None:
    """More recipients than a mail may have are sent at once (RFC 5321 section 4.5.3.1.10), but only if some were taken."""
    if verdict.cause == CAUSE_TOO_MANY_RECIPIENTS:
        return 0.0 if served else None
    return verdict.wait_seconds
