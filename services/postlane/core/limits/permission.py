"""What the governor says and hears: may a mail start, why not, and what became of it."""

from dataclasses import dataclass

from postlane.core.limits.circuit import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a relay takes nothing, in words for people; `until` None = until a person says so (seconds since 1970)."""

    relay: str
    cause: str
    reason: str
    since: float
    until: float | None


# May it start?


@dataclass(frozen=True, slots=True)
class Start:
    """It may start now; `probe`: it alone shows whether the relay takes mail again."""

    probe: bool


@dataclass(frozen=True, slots=True)
class Busy:
    """As many as may be are in flight: ask again when one has ended."""


@dataclass(frozen=True, slots=True)
class Soon:
    """Starts are being spread: ask again at this time. No news for people."""

    until: float


@dataclass(frozen=True, slots=True)
class Wait:
    """The relay is held: ask again at `until` (None = after a person's word), and tell people of the hold.

    For this mail nothing is allowed earlier, unless a mail in flight is given back.
    """

    until: float | None
    hold: Hold


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A mail that would wait for ever: its `recipients` are more than a whole budget. Split it into mails of at most `most`."""

    recipients: int
    most: int
    budget: str

    @property
    def reason(self) -> str:
        """For people."""
        return f"{self.recipients} recipients never fit into the budget of {self.budget}"


Permission = Start | Busy | Soon | Wait | TooLarge


@dataclass(frozen=True, slots=True)
class Ticket:
    """A mail that has started; each is ended exactly once."""

    number: int
    recipients: int
    round: int


# What became of it?


@dataclass(frozen=True, slots=True)
class Answered:
    """The relay judged the mail on its merits: took it, or refused or put off this very mail."""


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The relay takes nothing at all. `counted`: it may have counted the mail (it came as far as MAIL FROM).

    `of_all`: whoever else uses the account would hear the same, so all its senders wait.
    """

    refusal: Refusal
    counted: bool
    of_all: bool = False


@dataclass(frozen=True, slots=True)
class Unheard:
    """The mail came back without a word about the relay, and may have arrived there."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """Nothing of the mail left this process."""


Ending = Answered | TurnedAway | Unheard | Unsent


@dataclass(frozen=True, slots=True)
class Never:
    """A backlog that is not got through, and why."""

    reason: str
