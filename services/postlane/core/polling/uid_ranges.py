"""Sets of UIDs as ascending ranges, written as IMAP writes them (`sequence-set`, RFC 9051 section 9): `1:3,7`."""

from collections.abc import Iterable, Iterator, Sequence

Ranges = tuple[tuple[int, int], ...]  # ascending, apart from each other, both ends included
TEXT_MAX = 64 * 1024  # of one set; what is longer was not written by us


def ranges_of(uids: Iterable[int]) -> Ranges:
    """The set of these UIDs."""
    runs: list[tuple[int, int]] = []
    for uid in sorted(set(uids)):
        if runs and uid == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], uid)
        else:
            runs.append((uid, uid))
    return tuple(runs)


def joined(left: Ranges, right: Ranges) -> Ranges:
    """What lies in either."""
    runs: list[tuple[int, int]] = []
    for first, last in sorted((*left, *right)):
        if runs and first <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], max(runs[-1][1], last))
        else:
            runs.append((first, last))
    return tuple(runs)


def without(ranges: Ranges, taken: Ranges) -> Ranges:
    """What lies in the first alone."""
    left: list[tuple[int, int]] = []
    for first, last in ranges:
        start = first
        for low, high in taken:
            if high < start or low > last:
                continue
            if low > start:
                left.append((start, low - 1))
            start = high + 1
        if start <= last:
            left.append((start, last))
    return tuple(left)


def first_uids(ranges: Ranges, count: int) -> list[int]:
    """The lowest UIDs, at most so many."""
    return [uid for uid, _ in zip(_each(ranges), range(count), strict=False)]


def _each(ranges: Ranges) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


def count(ranges: Ranges) -> int:
    """How many UIDs the set has."""
    return sum(last - first + 1 for first, last in ranges)


def write(ranges: Ranges) -> str:
    """As text; empty for the empty set."""
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in ranges)


def read(text: str) -> Ranges:
    """Read it back. Raises ValueError."""
    if len(text) > TEXT_MAX:
        raise ValueError("a set of UIDs is too long")
    ranges: Ranges = ()
    for item in filter(None, text.split(",")):
        ends: Sequence[str] = item.split(":")
        if len(ends) > 2 or not all(end.isdecimal() for end in ends):
            raise ValueError(f"{item[:50]!r} is no UID and no range of them")
        low, high = sorted((int(ends[0]), int(ends[-1])))
        ranges = joined(ranges, ((low, high),))
    return ranges
