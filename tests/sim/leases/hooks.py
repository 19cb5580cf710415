"""Where bugs can be planted: what goes on around the real core, as it ought to be done."""

from collections.abc import Iterator
from contextlib import contextmanager

from postlane.core.sharing.allocator import Allocator, Office
from postlane.core.sharing.holder import Holder
from postlane.core.sharing.terms import Terms
from sim.leases.partition import Partition


class Planted:
    """No bug; subclasses in sim.leases.planted plant one each."""

    holder_type: type[Holder] = Holder
    dirty_reads = False
    fences = True
    sleeps_uncounted = False  # a clock that stands still while its process is stopped
    unknown_is_aborted = False

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Change the core for as long as a schedule is played."""
        yield

    def allocator(self, terms: Terms, name: str) -> Allocator:
        return Allocator(terms, name)

    def read_from(self, partition: Partition) -> int:
        """Where a new allocator starts to read."""
        return partition.low if partition.committed is None else max(partition.low, partition.committed)

    def caught_up(self, position: int, end: int) -> bool:
        """Whether a new allocator has read enough."""
        return position >= end

    def may_write(self, allocator: Allocator) -> bool:
        return allocator.office is not Office.DEPOSED
