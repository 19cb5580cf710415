"""Notices when too much dies at once: a fault of ours, or a relay gone mad, must not pour all mail into the dead letters.

After arroyo's DlqLimit; but here nothing crashes: the relay is held, visibly, and probed with one mail at a time.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeadLimitPolicy:
    """At most `share` of the last `mails` judged mails may have died; `mails` 0 switches the limit off."""

    mails: int
    share: float


class DeadLimit:
    """What became of the last mails that one relay judged for good."""

    def __init__(self, policy: DeadLimitPolicy) -> None:
        self._policy = policy
        self._died: deque[bool] = deque(maxlen=policy.mails)

    def note(self, *, died: bool) -> str | None:
        """Take one more; what to tell people if it is the one death too many, else None."""
        if self._policy.mails == 0:
            return None
        self._died.append(died)
        dead, known = sum(self._died), len(self._died)
        if not died or known < self._policy.mails or dead <= known * self._policy.share:
            return None
        return f"{dead} of the last {known} mails were refused for good; more than {self._policy.share:.0%} is taken for a fault"

    def forget(self) -> None:
        """A mail went out: begin anew."""
        self._died.clear()
