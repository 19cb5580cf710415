"""One command on its way: what the server has said to it so far, and until when it may take."""

from dataclasses import dataclass, field

from postlane.core.imap.facts import FetchedItem, read_fetch
from postlane.core.imap.responses import Continuation, Data, Response, Status
from postlane.core.imap.stream import ImapSyntaxError

RESPONSE_BYTES = 300  # what a kept response costs beside its bytes
FETCH_DEADLINE_FACTOR = 10  # a chunk may take longer than a command, as long as bytes keep coming
SLOWEST_BYTES_PER_SECOND = 10_000  # and longer still where it is large; a server that drips is cut off


@dataclass(slots=True)
class Exchange:
    """`wanted` are the names of the untagged data that answer the command; everything else is somebody else's news and is dropped."""

    name: str
    tag: str
    wanted: frozenset[str]
    answer_bytes_max: int
    lines: list[Data | Status] = field(default_factory=list)
    items: list[FetchedItem] = field(default_factory=list)
    continuation: Continuation | None = None
    done: Status | None = None
    _bytes: int = 0

    def take(self, response: Response) -> None:
        """Keep what belongs to the answer. Raises ImapSyntaxError where that is more than can be held."""
        match response:
            case Continuation():
                self.continuation = response
            case Status(tag=""):
                self._keep(response, len(response.text))
            case Status():
                self.done = response
            case Data(name="FETCH") if "FETCH" in self.wanted:
                item = read_fetch(response)
                if item is not None:
                    self._weigh(0 if item.content is None else len(item.content))
                    self.items.append(item)
            case Data() if response.name in self.wanted:
                self._keep(response, sum(map(len, response.rest)))

    def _keep(self, line: Data | Status, size: int) -> None:
        self._weigh(size)
        self.lines.append(line)

    def _weigh(self, size: int) -> None:
        self._bytes += size + RESPONSE_BYTES
        if self._bytes > self.answer_bytes_max:
            raise ImapSyntaxError(f"answers {self.name} with more than {self.answer_bytes_max} bytes")


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a command has taken too long; `streams`: bytes that keep coming put it off. Times of the loop's clock."""

    begun_at: float
    seconds: float
    received_before: int = 0
    streams: bool = False

    def at(self, heard_at: float, received_bytes: int) -> float:
        """The moment, given when the server was last heard and how much came from it altogether."""
        if not self.streams:
            return self.begun_at + self.seconds
        longest = self.seconds * FETCH_DEADLINE_FACTOR
        longest += (received_bytes - self.received_before) / SLOWEST_BYTES_PER_SECOND
        return min(max(self.begun_at, heard_at) + self.seconds, self.begun_at + longest)
