"""When the records of the journal were written, to the hour: enough to write them again long before retention takes them."""

from collections import deque
from collections.abc import Iterable

MARK_SECONDS = 3600.0


class JournalAge:
    """Marks (written at, offset), both growing; times are seconds since 1970."""

    def __init__(self, marks: Iterable[tuple[float, int]] = ()) -> None:
        self._marks: deque[tuple[float, int]] = deque()
        for at, offset in marks:
            self.note(at, offset)

    def note(self, at: float, offset: int) -> None:
        """A record was written; most say nothing new."""
        if not self._marks or at - self._marks[-1][0] >= MARK_SECONDS:
            self._marks.append((at, offset))

    def written_before(self, at: float) -> int:
        """The offset up to which (excluded) all records were surely written before that time."""
        while len(self._marks) > 1 and self._marks[1][0] <= at:
            self._marks.popleft()
        return self._marks[0][1] + 1 if self._marks and self._marks[0][0] <= at else 0

    @property
    def marks(self) -> tuple[tuple[float, int], ...]:
        """For a new owner."""
        return tuple(self._marks)
