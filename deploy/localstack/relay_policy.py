"""What the relay does at each phase of an SMTP conversation: pure rules, no sockets and no clock.

Order of judgement at a phase: the first fault that applies, then the quota, then the list of recipients.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

QUOTA_REPLY = "550 5.4.5 Daily sending quota exceeded"
UNKNOWN_RECIPIENT_REPLY = "550 5.1.1 <{}>: Recipient address rejected: User unknown"
REPLY_SHAPE = re.compile(r"[2-5][0-9][0-9] [\x20-\x7e]+(\n[\x20-\x7e]+)*")
NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")


class Phase(StrEnum):
    """Where in a conversation a fault or the quota acts."""

    CONNECT = "connect"  # instead of the greeting
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # instead of 354
    BODY = "body"  # after 354, before the final dot: the mail is not taken
    FINAL = "final"  # after the final dot, instead of taking the mail
    ACCEPTED = "accepted"  # after the mail was taken and passed on, instead of 250


class Act(StrEnum):
    REPLY = "reply"
    HANG = "hang"  # say nothing until the client goes away
    CUT = "cut"  # drop the connection
    DELAY = "delay"  # wait, then go on as if nothing had been


@dataclass(frozen=True, slots=True)
class Fault:
    r"""One misbehaviour: at `phase`, do `act`, `times` times (None = for ever) after letting `skip` pass.

    Further lines of `reply` are set apart by "\n". `recipient` is a pattern such as `*@slow.test`; it narrows
    the fault to mails or RCPT commands for such an address, and only phases from RCPT on know one. Raises ValueError when the fields do not fit together.
    """

    phase: Phase
    act: Act = Act.REPLY
    reply: str = ""
    seconds: float = 0.0
    times: int | None = 1
    skip: int = 0
    recipient: str = "*"

    def __post_init__(self) -> None:
        if self.act is Act.REPLY and not REPLY_SHAPE.fullmatch(self.reply):
            raise ValueError(f"reply {self.reply!r}: want a code and a text, such as '451 4.3.0 Try later'")
        if self.act is Act.DELAY and self.seconds <= 0:
            raise ValueError("a delay wants seconds > 0")
        if self.phase is Phase.BODY and self.act not in (Act.CUT, Act.HANG):
            raise ValueError("in the body a relay can only cut or hang: it has no turn to speak")
        if (self.times is not None and self.times < 1) or self.skip < 0:
            raise ValueError("want times >= 1 (or none) and skip >= 0")
        if self.recipient != "*" and self.phase in (Phase.CONNECT, Phase.EHLO, Phase.AUTH, Phase.MAIL):
            raise ValueError(f"at {self.phase} no recipient is known yet")


@dataclass(frozen=True, slots=True)
class Quota:
    """Take `mails` mails from now on, then answer `reply` at `phase`; 0 = the quota is used up already.

    Mails that passed `phase` before the last unit was used still go through: exact only at FINAL.
    """

    mails: int
    phase: Phase = Phase.MAIL
    reply: str = QUOTA_REPLY

    def __post_init__(self) -> None:
        if self.mails < 0:
            raise ValueError("want mails >= 0")
        if self.phase in (Phase.BODY, Phase.ACCEPTED):
            raise ValueError(f"a quota cannot be told at {self.phase}")
        if not REPLY_SHAPE.fullmatch(self.reply):
            raise ValueError(f"reply {self.reply!r}: want a code and a text")


@dataclass(slots=True)
class _Armed:
    fault: Fault
    met: int = 0


@dataclass(slots=True)
class RelayPolicy:
    """The rules in force. `judge` counts what it hands out, so call it once per phase of a conversation."""

    recipients: tuple[str, ...] = ("*",)  # patterns: `a@b.test`, `*@b.test`, `*`
    quota: Quota | None = None
    _quota_left: int = 0
    _faults: list[_Armed] = field(default_factory=list)

    def judge(self, phase: Phase, recipients: Sequence[str] = ()) -> list[Fault]:
        """Return the delays to sit out and then, if the normal step is not to be taken, what to do instead."""
        verdict: list[Fault] = []
        for armed in tuple(self._faults):
            if armed.fault.phase is phase and _meets(armed.fault, recipients) and self._due(armed):
                verdict.append(armed.fault)
                if armed.fault.act is not Act.DELAY:
                    return verdict
        if self.quota is not None and self.quota.phase is phase and self._quota_left <= 0:
            verdict.append(Fault(phase, Act.REPLY, self.quota.reply))
        elif phase is Phase.RCPT and not self.knows(recipients[0]):
            shown = NOT_PRINTABLE.sub("?", recipients[0])
            verdict.append(Fault(phase, Act.REPLY, UNKNOWN_RECIPIENT_REPLY.format(shown)))
        return verdict

    def expects(self, phase: Phase, recipients: Sequence[str]) -> bool:
        """Whether a fault waits at this phase for such a mail; counts nothing."""
        return any(armed.fault.phase is phase and _meets(armed.fault, recipients) for armed in self._faults)

    def _due(self, armed: _Armed) -> bool:
        """Count a meeting with a fault; whether it acts this time. The last time disarms it."""
        armed.met += 1
        acted = armed.met - armed.fault.skip
        if armed.fault.times is not None and acted >= armed.fault.times:
            self._faults.remove(armed)
        return acted > 0

    def knows(self, recipient: str) -> bool:
        return any(_matches(recipient, pattern) for pattern in self.recipients)

    def count_accepted(self) -> None:
        self._quota_left -= 1

    def set_quota(self, quota: Quota | None) -> None:
        self.quota = quota
        self._quota_left = quota.mails if quota else 0

    def add_fault(self, fault: Fault) -> None:
        self._faults.append(_Armed(fault))

    def clear_faults(self) -> None:
        self._faults.clear()

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(armed.fault for armed in self._faults)


def _meets(fault: Fault, recipients: Sequence[str]) -> bool:
    return fault.recipient == "*" or any(_matches(recipient, fault.recipient) for recipient in recipients)


def _matches(address: str, pattern: str) -> bool:
    return fnmatchcase(address.lower(), pattern.lower())


def render_reply(reply: str) -> str:
    r"""Spell a reply for the wire: "550 5.4.5 a\nb" becomes "550-5.4.5 a", "550 b"; RFC 5321 4.2.1."""
    code, *_ = reply.partition(" ")
    *lines, last = reply[len(code) + 1 :].split("\n")
    return "\r\n".join([*(f"{code}-{line}" for line in lines), f"{code} {last}"])
