"""What holds now of the wishes that concern every sender: paused relays and suppressed recipients.

The newest command of a subject decides. It stands in one partition of mail.control, so commands can be applied partition by
partition. A pause or a suppression with a time ends by itself.

Made for a million suppressed recipients: of each only the address, and a cause and end that many share, are kept.
"""

import math
from dataclasses import dataclass
from sys import intern

from postlane.core.addresses import mailbox_key
from postlane.core.events.command import RECIPIENT, RELAY, Command, Wish, command_key

END_STEP_SECONDS = 60.0  # ends are rounded up to it, so that suppressions can share them


@dataclass(frozen=True, slots=True)
class Pause:
    """A relay that a person has stopped; times in seconds since 1970, `until` None = until somebody resumes it."""

    reason: str
    by: str
    since: float
    until: float | None


@dataclass(frozen=True, slots=True)
class Resumption:
    """A person's word that a relay shall go on, with its time in seconds since 1970."""

    command_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Suppression:
    """Why an address must not be mailed, and until when (seconds since 1970; None = until somebody allows it)."""

    cause: str
    until: float | None


class Standing:
    """The standing wishes; a thread may apply commands while others look up: each look-up is a single one in a dict.

    `resumptions`: the last word to go on for each relay that is not paused; a hold of another cause is to be tried then, too.
    """

    def __init__(self) -> None:
        self.pauses: dict[str, Pause] = {}
        self.resumptions: dict[str, Resumption] = {}
        self._suppressions: dict[str, Suppression] = {}
        self._shared: dict[Suppression, Suppression] = {}

    @property
    def suppressed_count(self) -> int:
        """How many addresses are on the list; also those whose time is over."""
        return len(self._suppressions)

    def apply(self, key: bytes, command: Command | None) -> str | None:
        """Obey one record of mail.control, in the order of its partition; None = the key was cleared. What is wrong with it, if anything is."""
        if command is None:
            name = key.decode("utf-8", "replace")
            self.pauses.pop(name.removeprefix(RELAY), None)
            self.resumptions.pop(name.removeprefix(RELAY), None)
            self._suppressions.pop(name.removeprefix(RECIPIENT), None)
            return None
        if command.wish is Wish.OTHER:
            return None  # a newer wish than we know
        if key != command_key(command):
            return f"the key must be {command_key(command).decode()!r} for what it says"
        match command.wish:
            case Wish.PAUSE_RELAY:
                self.pauses[command.relay or ""] = _pause(command)
                self.resumptions.pop(command.relay or "", None)
            case Wish.RESUME_RELAY:
                self.pauses.pop(command.relay or "", None)
                self.resumptions[command.relay or ""] = Resumption(
                    command.command_id, command.issued_at.timestamp()
                )
            case Wish.SUPPRESS_RECIPIENT:
                self._suppressions[key.decode().removeprefix(RECIPIENT)] = self._suppression(command)
            case Wish.ALLOW_RECIPIENT:
                self._suppressions.pop(key.decode().removeprefix(RECIPIENT), None)
            case _:
                pass  # of a ticket: the owner of its partition obeys
        return None

    def pause_of(self, relay: str, now: float) -> Pause | None:
        """The pause of this relay, if it has one now."""
        pause = self.pauses.get(relay)
        return None if pause is None or _is_over(pause.until, now) else pause

    def suppressed(self, address: str, now: float) -> str | None:
        """Why this address must not be mailed now; None: it may be."""
        key = mailbox_key(address)
        found = None if key is None else self._suppressions.get(key)
        return None if found is None or _is_over(found.until, now) else found.cause

    def _suppression(self, command: Command) -> Suppression:
        end = None if command.expires_at is None else command.expires_at.timestamp()
        until = None if end is None else math.ceil(end / END_STEP_SECONDS) * END_STEP_SECONDS
        made = Suppression(intern(command.cause or "unnamed"), until)
        return self._shared.setdefault(made, made)


def _pause(command: Command) -> Pause:
    until = None if command.expires_at is None else command.expires_at.timestamp()
    return Pause(command.reason, command.issued_by, command.issued_at.timestamp(), until)


def _is_over(until: float | None, now: float) -> bool:
    return until is not None and now >= until
