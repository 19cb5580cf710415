"""The relay's journal: one JSON line for every mail it took, in the order in which it took them, written before the 250."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """`confirmed` = nothing kept the sender from hearing of it; `sender` is the name from EHLO; `digest` of the content."""

    number: int
    at: float
    mail_id: str
    subject: str
    recipients: tuple[str, ...]
    digest: str
    confirmed: bool
    sender: str

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


class JournalTail:
    """Reads what was added since the last time."""

    def __init__(self, path: Path) -> None:
        self.acceptances: list[Acceptance] = []
        self.cured: Cured | None = None
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
            else:
                new.append(Acceptance(**{**fields, "recipients": tuple(fields["recipients"])}))
        self.acceptances += new
        return new
