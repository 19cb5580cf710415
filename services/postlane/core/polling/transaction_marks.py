"""What an inbound record says of its transaction, and what became of a transaction whose end the broker forgot to mark.

Kafka (4.3.1) writes no end into a partition that has no leader at the end of a transaction (docs/decisions/0024-forgotten-transactions.md).
"""

from collections.abc import Iterable, Mapping
from enum import Enum, auto

from postlane.core.events.trail import Headers

TRANSACTION = "x-postlane-transaction"  # <cursor partition>-<what no other try has>
BESIDE = "x-postlane-beside"  # on cursors and reports: where else the transaction wrote, as topic/partition
REPEATS = "x-postlane-repeats"  # the offset of the record that is said again, in the same partition


class Sight(Enum):
    """What can be seen of a transaction in one partition."""

    VISIBLE = auto()
    GONE = auto()
    HIDDEN = auto()  # no end is marked
    UNKNOWN = auto()  # its end may be marked, but cannot be seen


class End(Enum):
    """How a transaction ended, or may be taken to have ended."""

    COMMITTED = auto()
    ABORTED = auto()


def conclude(sights: Iterable[Sight]) -> End:
    """One partition that shows the end shows it for all.

    Where none does, nobody can tell: a commit loses nothing, and a settled mail may be gone from its mailbox.
    """
    seen = frozenset(sights)
    if Sight.VISIBLE in seen:
        return End.COMMITTED
    return End.ABORTED if Sight.GONE in seen else End.COMMITTED


def with_marks(headers: Headers, marks: Mapping[str, str]) -> Headers:
    """The headers with these marks instead of those that a repeated record brings along."""
    ours = {TRANSACTION, BESIDE, REPEATS}
    kept = tuple((name, value) for name, value in headers if name not in ours)
    return (*kept, *((name, value.encode()) for name, value in marks.items()))


def transaction_of(headers: Headers) -> str | None:
    """The try that wrote the record; None where an older Postlane, or somebody else, did."""
    return _mark(headers, TRANSACTION)


def is_of(headers: Headers, partition: int) -> bool:
    """Whether the owner of that cursor partition wrote the record."""
    return (transaction_of(headers) or "").startswith(f"{partition}-")


def is_repetition(headers: Headers) -> bool:
    """Whether the record only says again, for the sake of its transaction's end, what stands before it in its partition."""
    return _mark(headers, REPEATS) is not None


def beside_text(places: Iterable[tuple[str, int]]) -> str:
    """Topics and partitions as the mark lists them."""
    return ",".join(f"{topic}/{partition}" for topic, partition in places)


def beside_of(headers: Headers) -> tuple[tuple[str, int], ...]:
    """Where else the transaction wrote."""
    split = [place.rpartition("/") for place in (_mark(headers, BESIDE) or "").split(",")]
    return tuple((topic, int(number)) for topic, _, number in split if number.isdecimal())


def _mark(headers: Headers, wanted: str) -> str | None:
    return next((value.decode("utf-8", "replace") for name, value in headers if name == wanted), None)
