"""The journal of the relays: one JSON line for every mail that one of them took, in the order in which they took them, written before the 250.

And one for every attempt at a mail, and for every time a limit turned something away.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """`confirmed` = nothing kept the sender from hearing of it; `sender` is the name from EHLO; `digest` of the content.

    `number` counts the acceptances of all relays together.
    """

    number: int
    at: float
    mail_id: str
    subject: str
    recipients: tuple[str, ...]
    digest: str
    confirmed: bool
    sender: str
    relay: str

    def line(self) -> bytes:
        """As it stands in the journal."""
        return json.dumps(asdict(self)).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Cured:
    """From here on the relay takes what was to be refused until the cure."""

    at: float

    def line(self) -> bytes:
        """As it stands in the journal."""
        return json.dumps({"cured": self.at}).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt at a mail that was about this mail: whatever comes of it, no limit turned it away."""

    mail_id: str

    def line(self) -> bytes:
        """As it stands in the journal."""
        return json.dumps({"tried": self.mail_id}).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A limit of this kind turned something away, or for connections that were refused: it began to."""

    kind: str

    def line(self) -> bytes:
        """As it stands in the journal."""
        return json.dumps({"turned_away": self.kind}).encode() + b"\n"


class JournalTail:
    """Reads what was added since the last time; `tried` counts by mail, `turned_away` by kind of limit."""

    def __init__(self, path: Path) -> None:
        self.acceptances: list[Acceptance] = []
        self.cured: Cured | None = None
        self.tried: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()
        self._path = path
        self._offset = 0

    def read(self) -> list[Acceptance]:
        """The new acceptances; a line that is still being written waits for the next time."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as journal:
            journal.seek(self._offset)
            whole, _, _ = journal.read().rpartition(b"\n")
        if not whole:
            return []
        self._offset += len(whole) + 1
        new: list[Acceptance] = []
        for line in whole.split(b"\n"):
            fields = json.loads(line)
            if "cured" in fields:
                self.cured = Cured(fields["cured"])
            elif "tried" in fields:
                self.tried[fields["tried"]] += 1
            elif "turned_away" in fields:
                self.turned_away[fields["turned_away"]] += 1
            else:
                new.append(Acceptance(**{**fields, "recipients": tuple(fields["recipients"])}))
        self.acceptances += new
        return new
