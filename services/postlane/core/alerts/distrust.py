"""Which answers say that a relay distrusts us: our address is on a block list, our content is taken for spam, our signature is missing.

Such mail fails or waits as the reply says; its recipients are never to blame for it. One is an accident, many are a matter for people.
"""

from collections.abc import Mapping
from typing import assert_never

from postlane.core.events.status import SmtpReply
from postlane.core.routing.mail_domains import TakesNoMail
from postlane.core.smtp.attempt import Attempted, Judgement, RelayHeld, SenderHeld, describe
from postlane.core.smtp.smtp_reply import ALARM_CAUSES
from postlane.core.smtp.transcript import Answer

TELL_SECONDS = 3600.0  # a relay that distrusts us does so mail after mail; the metric counts them all


def distrust(judgement: Judgement) -> Mapping[str, str]:
    """The causes of distrust in an attempt, each with the relay's words; empty: the relay has nothing against us."""
    said: list[tuple[str, Answer | TakesNoMail]]
    match judgement:
        case SenderHeld(asked=False):
            said = []
        case RelayHeld() | SenderHeld():
            said = [(judgement.cause, judgement.reply)]
        case Attempted():
            said = [(trouble.cause, trouble.answer) for trouble in (*judgement.failed, *judgement.waiting)]
        case _:
            assert_never(judgement)
    found: dict[str, str] = {}
    for cause, answer in said:
        if cause in ALARM_CAUSES and isinstance(answer, SmtpReply):
            found.setdefault(cause, describe(answer))
    return found


class Seldom:
    """Lets the same thing be told once in a while."""

    def __init__(self, seconds: float = TELL_SECONDS) -> None:
        self._seconds = seconds
        self._told: dict[str, float] = {}

    def due(self, what: str, now: float) -> bool:
        """Whether it is time to tell this (again); the caller does."""
        before = self._told.get(what)
        if before is not None and now - before < self._seconds:
            return False
        self._told[what] = now
        return True
