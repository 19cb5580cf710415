"""What a way of telling people looks like to the notifier."""

from dataclasses import dataclass
from typing import Protocol

from postlane.core.alerts.notice import Notice


@dataclass(frozen=True, slots=True)
class Told:
    """Somebody has taken it; `words` say who has not."""

    words: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not taken, and would not be next time. `words` are free of secrets."""

    words: str


@dataclass(frozen=True, slots=True)
class Away:
    """Nobody took it now. `words` are free of secrets."""

    words: str


Outcome = Told | Refused | Away


class NoticeChannel(Protocol):
    """One way to people; `name` is a metric's label."""

    name: str

    async def tell(self, notice: Notice) -> Outcome:
        """Make one attempt; never raises for what the other side or the network does."""

    async def close(self) -> None:
        """Give up what is under way."""
