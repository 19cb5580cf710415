"""The relay of the simulation: it takes, defers, refuses, holds itself or a sender, or breaks the connection over a mail; some it is not asked about."""

import random
from dataclasses import dataclass

from postlane.core.events.status import SmtpReply
from postlane.core.smtp.attempt import (
    Attempted,
    Judgement,
    RecipientTrouble,
    RelayHeld,
    SenderHeld,
    SuppressedRecipient,
)

CAUSE_SENDER = "sender_denied"
OK = SmtpReply(phase="final", code=250, enhanced_code="2.0.0", text="queued")
LATER = SmtpReply(phase="rcpt", code=451, enhanced_code="4.3.0", text="later")
SUPPRESSED_FROM = 0.96  # of the dice: these are on the suppression list just now
NEVER = SmtpReply(phase="rcpt", code=550, enhanced_code="5.1.1", text="unknown")
DENIED = SmtpReply(phase="mail", code=550, enhanced_code="5.7.60", text="not as this sender")


@dataclass(frozen=True)
class Answered:
    """What the sender believes, and who has the mail all the same."""

    judgement: Judgement
    accepted: tuple[str, ...] = ()
    unsure: bool = False


def answer(rnd: random.Random, todo: tuple[str, ...], *, calm: bool, denied_share: float) -> Answered:
    """Answer an attempt for the recipients in `todo`; of `denied_share` of the mails the relay minds the sender."""
    if not calm and rnd.random() < 0.08:
        held = RelayHeld(cause="quota", reason="quota", reply=LATER, wait_seconds=5.0, auth=False)
        return Answered(held)
    if not calm and denied_share and rnd.random() < denied_share:
        wait_seconds = rnd.choice([2.0, 10.0, 40.0])
        denied = SenderHeld(cause=CAUSE_SENDER, reason="no", reply=DENIED, wait_seconds=wait_seconds)
        return Answered(denied)
    ok, dead = (0.9, 0.02) if calm else (0.5, 0.15)
    delivered: list[str] = []
    waiting: list[RecipientTrouble] = []
    failed: list[RecipientTrouble] = []
    suppressed: list[SuppressedRecipient] = []
    for recipient in todo:
        dice = rnd.random()
        if dice < ok:
            delivered.append(recipient)
        elif dice < ok + dead:
            failed.append(RecipientTrouble(recipient, "c", NEVER, None))
        elif dice >= SUPPRESSED_FROM:
            suppressed.append(SuppressedRecipient(recipient, "suppressed", "on the list"))
        else:
            waiting.append(RecipientTrouble(recipient, "c", LATER, rnd.choice([None, 0.0, 20.0])))
    taken = tuple(delivered)
    unsure = bool(taken) and rnd.random() < 0.05
    if unsure:  # the connection broke after the final dot: those who were served seem to wait
        waiting += [RecipientTrouble(recipient, "outcome_unknown", LATER, None) for recipient in taken]
        delivered = []
    judgement = Attempted(
        delivered=tuple(delivered),
        waiting=tuple(waiting),
        failed=tuple(failed),
        accepted=OK if delivered else None,
        unknown=unsure,
        suppressed=tuple(suppressed),
    )
    return Answered(judgement, taken, unsure)
