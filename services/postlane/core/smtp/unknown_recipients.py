"""Which refusals put a recipient on the suppression list: a relay has said, by code, that there is no such mailbox.

All of this must hold:

- It failed for good, and the reply rules call it an unknown mailbox or domain.
- The enhanced code says so, too (RFC 3463 section 3.2): 5.1.1, 5.1.2, 5.1.3, 5.1.6 (moved away) or 5.1.10 (RFC 7505: takes no mail). Words alone
  do not suffice, and 5.7.x never does: a policy changes, and a blocked sender is told that its recipients do not exist.
- It is clear who is meant: said to RCPT, or to the message while the envelope named nobody else.
- A relay said it, not Postlane, and about the recipient, not about an address in his place.
"""

from typing import assert_never

from postlane.core.events.status import SmtpReply
from postlane.core.smtp.attempt import Attempted, Judgement, RecipientTrouble, RelayHeld, SenderHeld
from postlane.core.smtp.smtp_terms import OURS
from postlane.core.smtp.transcript import Phase

SUPPRESSING_CAUSES = frozenset({"no_such_recipient", "no_such_domain"})
SUPPRESSING_CODES = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})

_ABOUT_THE_MESSAGE = frozenset({Phase.DATA.value, Phase.FINAL.value})


def unknown_recipients(judgement: Judgement) -> tuple[RecipientTrouble, ...]:
    """The recipients of an attempt who are to be put on the list, with the reply that says why."""
    match judgement:
        case RelayHeld() | SenderHeld():
            return ()
        case Attempted():
            redirected = frozenset(() if judgement.redirect is None else judgement.redirect.recipients)
            return tuple(
                trouble
                for trouble in judgement.failed
                if trouble.address not in redirected and _is_unknown(trouble, judgement)
            )
        case _:
            assert_never(judgement)


def _is_unknown(trouble: RecipientTrouble, attempted: Attempted) -> bool:
    reply = trouble.answer
    if not isinstance(reply, SmtpReply) or reply.text.startswith(OURS):
        return False
    if trouble.cause not in SUPPRESSING_CAUSES or reply.enhanced_code not in SUPPRESSING_CODES:
        return False
    if reply.phase == Phase.RCPT.value:
        return True
    told_the_same = sum(other.answer == reply for other in attempted.failed)
    return reply.phase in _ABOUT_THE_MESSAGE and told_the_same == 1
