"""What the relay does wrong, all from the seed: per mail and attempt, and per connection (chaos.limits has what concerns all).

A mail's faults are used up attempt by attempt, so that every mail that may live gets through in the end.
"""

import random
from dataclasses import dataclass
from enum import StrEnum

FAULTY_MAIL_SHARE = 0.12
FAULTS_MAX = 4  # in a row for one mail: longer than the delays that wait in memory
FAULTY_CONNECTION_SHARE = 0.02


class Phase(StrEnum):
    """Where in the dialogue; CONTENT is between 354 and the final dot."""

    CONNECT = "connect"
    EHLO = "ehlo"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    FINAL = "final"


class Act(StrEnum):
    """REPLY says something else; the others break the conversation."""

    REPLY = "reply"
    CUT = "cut"
    HANG = "hang"
    GARBAGE = "garbage"
    DRIP = "drip"


@dataclass(frozen=True, slots=True)
class Fault:
    """`recipient` is the index of the RCPT that it hits; `accepted` = at the final dot the mail is taken before the act."""

    phase: Phase
    act: Act
    reply: bytes = b""
    recipient: int = 0
    accepted: bool = False

    @property
    def hides_acceptance(self) -> bool:
        """Whether the sender cannot know that the mail was taken, and so must send it again."""
        return self.accepted and self.act is not Act.DRIP


LATER = b"451 4.3.0 chaos wants this mail once more"
RECIPIENT_LATER = b"450 4.2.0 chaos wants this recipient once more"
CLOSING = (
    b"421 4.3.2 chaos.test Service not available, closing transmission channel"  # RFC 5321 section 4.2.2
)
GARBAGE = b"\x00\xff what? \x80"

_REPLIES = (Phase.MAIL, Phase.DATA, Phase.FINAL)
_BREAKS = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL)
_BREAKS_CONTENT = frozenset({"cut", "hang"})  # there is nothing to answer in the middle of content


def mail_faults(seed: int, mail_id: str) -> tuple[Fault, ...]:
    """The faults of this mail's first attempts; most mails have none."""
    rnd = random.Random(f"{seed}:mail:{mail_id}")
    if rnd.random() >= FAULTY_MAIL_SHARE:
        return ()
    return tuple(_mail_fault(rnd) for _ in range(rnd.randint(1, FAULTS_MAX)))


def _mail_fault(rnd: random.Random) -> Fault:
    kind = rnd.choices(
        ("later", "recipient", "cut", "garbage", "drip", "hang", "closing", "accepted"),
        (30, 25, 12, 5, 5, 3, 2, 18),
    )[0]
    match kind:
        case "later":
            return Fault(rnd.choice(_REPLIES), Act.REPLY, LATER)
        case "recipient":
            return Fault(Phase.RCPT, Act.REPLY, RECIPIENT_LATER, recipient=rnd.choice((0, 0, 1)))
        case "closing":
            return Fault(rnd.choice((Phase.MAIL, Phase.RCPT, Phase.DATA)), Act.REPLY, CLOSING)
        case "accepted":
            act = rnd.choices((Act.CUT, Act.HANG, Act.GARBAGE, Act.DRIP), (6, 1, 2, 2))[0]
            return Fault(Phase.FINAL, act, accepted=True)
        case _:
            in_content = kind in _BREAKS_CONTENT and rnd.random() < 0.3
            return Fault(Phase.CONTENT if in_content else rnd.choice(_BREAKS), Act(kind))


def connection_fault(seed: int, number: int) -> Fault | None:
    """What is wrong with the `number`-th connection from its start."""
    rnd = random.Random(f"{seed}:connection:{number}")
    if rnd.random() >= FAULTY_CONNECTION_SHARE:
        return None
    act = rnd.choice(tuple(Act))
    return Fault(rnd.choice((Phase.CONNECT, Phase.EHLO)), act, CLOSING if act is Act.REPLY else b"")
