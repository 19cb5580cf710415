"""What the relay remembers: every mail that it took, in order, and every step that it refused."""

from collections import deque
from dataclasses import dataclass, field

REFUSALS_KEPT = 10_000
RAW_BYTES_KEPT = 64 * 1024 * 1024  # the newest mails; a demo or test looks at mails that it just sent


@dataclass(frozen=True, slots=True)
class AcceptedMail:
    sequence: int  # 1, 2, 3 ... in the order in which the relay took them
    at: float  # unix seconds
    connection: int  # which of the relay's connections brought it
    sender: str  # "" = the empty sender of a bounce
    recipients: tuple[str, ...]
    message_id: str
    subject: str
    sha256: str  # of the mail as received, dot-stuffing removed
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Refusal:
    sequence: int
    at: float
    connection: int
    phase: str
    sender: str
    recipients: tuple[str, ...]
    reply: str  # or "hang", "cut"


@dataclass(slots=True)
class RelayJournal:
    connections: int = 0  # opened since the start
    open: int = 0
    most_open: int = 0  # at once, since the start or the last `forget`
    accepted: list[AcceptedMail] = field(default_factory=list)
    refusals: deque[Refusal] = field(default_factory=lambda: deque(maxlen=REFUSALS_KEPT))
    taken: int = 0  # sequence of the newest accepted mail
    refused: int = 0  # sequence of the newest refusal
    _raw: dict[int, bytes] = field(default_factory=dict)
    _raw_bytes: int = 0

    def open_connection(self) -> int:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return self.connections

    def close_connection(self) -> None:
        self.open -= 1

    def add_accepted(self, mail: AcceptedMail, raw: bytes) -> None:
        self.accepted.append(mail)
        self.taken = mail.sequence
        self._raw[mail.sequence] = raw
        self._raw_bytes += len(raw)
        while self._raw_bytes > RAW_BYTES_KEPT and len(self._raw) > 1:
            self._raw_bytes -= len(self._raw.pop(next(iter(self._raw))))

    def add_refusal(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)
        self.refused = refusal.sequence

    def raw(self, sequence: int) -> bytes | None:
        return self._raw.get(sequence)

    def forget(self) -> None:
        """Drop the records; sequences go on, so that a number never means two mails."""
        self._raw.clear()
        self._raw_bytes = 0
        self.accepted.clear()
        self.refusals.clear()
        self.most_open = self.open
