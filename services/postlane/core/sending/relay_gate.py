"""Whether a relay takes mail now: open, held until a time, or being probed with a single mail.

OPEN     --relay refuses-->        HELD (until now + wait)
HELD     --time is over-->         PROBING (exactly one mail may start)
PROBING  --relay refuses-->        HELD (twice as long, up to the maximum)
PROBING  --relay answers a mail--> OPEN (width 1, doubled by every answer: no wave at release)
"""

from dataclasses import dataclass
from enum import Enum


class GateState(Enum):
    """See the module's table."""

    OPEN = "open"
    HELD = "held"
    PROBING = "probing"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """`jitter_share` lengthens a hold by up to that share, so that senders do not probe together."""

    connections: int
    hold_seconds: float
    hold_seconds_max: float
    jitter_share: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a relay takes nothing, in words for people, and when it will be probed (seconds since 1970)."""

    relay: str
    cause: str
    reason: str
    since: float
    until: float


class RelayGate:
    """The state of one relay as one sender process knows it."""

    def __init__(self, relay: str, policy: GatePolicy) -> None:
        self.relay = relay
        self.state = GateState.OPEN
        self.hold: Hold | None = None
        self._policy = policy
        self._width = policy.connections
        self._refusals = 0

    def free_slots(self, in_flight: int, now: float) -> int:
        """How many mails may start now, with `in_flight` on their way."""
        if self.state is GateState.HELD and self.hold is not None and now >= self.hold.until:
            self.state = GateState.PROBING
        width = {GateState.OPEN: self._width, GateState.HELD: 0, GateState.PROBING: 1}[self.state]
        return max(0, width - in_flight)

    def refused(self, cause: str, reason: str, wait_seconds: float | None, now: float, jitter: float) -> Hold:
        """The relay took nothing at all: hold it. Replies to mails that were in flight together count once."""
        if self.state is GateState.HELD and self.hold is not None:
            return self.hold
        own = min(self._policy.hold_seconds * 2**self._refusals, self._policy.hold_seconds_max)
        wait = own if wait_seconds is None else max(wait_seconds, own if self._refusals else 0.0)
        since = self.hold.since if self.hold is not None else now
        until = now + wait * (1 + self._policy.jitter_share * jitter)
        self.hold = Hold(relay=self.relay, cause=cause, reason=reason, since=since, until=until)
        self.state = GateState.HELD
        self._refusals += 1
        return self.hold

    def answered(self) -> bool:
        """The relay judged a mail on its merits; True when that ends a hold."""
        if self.state is GateState.HELD:
            return False  # a late answer from before the hold proves nothing about now
        released = self.state is GateState.PROBING
        if released:
            self.state, self.hold, self._refusals, self._width = GateState.OPEN, None, 0, 1
        else:
            self._width = min(self._width * 2, self._policy.connections)
        return released
