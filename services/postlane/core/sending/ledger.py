"""What the status topic and the journal prove about partition p, and the pointers from which that can be read again.

`done` holds origins (offsets of the current main topic) whose end stands in the status topic; `live` holds the journal offset of
each parked mail's newest `put`. A batch is staged, then kept or undone as a whole.
"""

import heapq
from collections.abc import Callable, Iterable
from functools import partial

from postlane.core.events.status import Origin
from postlane.core.sending.pointers import Pointers


class Ledger:
    """The pointers of one partition, exact at every commit."""

    def __init__(
        self, topic_id: str, done: dict[int, int], live: dict[Origin, int], ends: tuple[int, int]
    ) -> None:
        """`ends` = (end of status-p, end of retry-p): where the next records will stand at the earliest."""
        self._topic_id = topic_id
        self._done = dict(done)
        self._live = dict(live)
        self._status_end, self._retry_end = ends
        # Lowest offset first; entries that no longer hold are dropped when they come to the top.
        self._status_heap = [(status_offset, offset) for offset, status_offset in done.items()]
        self._retry_heap = [(retry_offset, origin) for origin, retry_offset in live.items()]
        heapq.heapify(self._status_heap)
        heapq.heapify(self._retry_heap)
        self._undo: list[Callable[[], None]] = []

    def is_done(self, offset: int) -> bool:
        """Whether the request at this offset of the current main topic has ended."""
        return offset in self._done

    @property
    def journal_span(self) -> tuple[int, int]:
        """From the lowest live put to the journal's end: what a new owner reads."""
        return self._lowest_put(), self._retry_end

    @property
    def live(self) -> int:
        """How many puts are live."""
        return len(self._live)

    def oldest_puts(self, count: int) -> list[tuple[int, Origin]]:
        """The `count` lowest live puts as (journal offset, origin), ascending."""
        heap, oldest = self._retry_heap, list[tuple[int, Origin]]()
        while heap and len(oldest) < count:
            entry = heapq.heappop(heap)
            if self._live.get(entry[1]) == entry[0] and (not oldest or oldest[-1] != entry):
                oldest.append(entry)
        for entry in oldest:
            heapq.heappush(heap, entry)
        return oldest

    def stage(
        self,
        ends: Iterable[tuple[Origin, int]],
        puts: Iterable[tuple[Origin, int]],
        dones: Iterable[Origin],
        base: int,
    ) -> Pointers:
        """Apply a batch (origins with the offsets of their records) and return the pointers to commit with `base`."""
        for origin, status_offset in ends:
            self._status_end = max(self._status_end, status_offset + 1)
            if origin.topic_id == self._topic_id:
                self._set_done(origin.offset, status_offset)
        for origin, retry_offset in puts:
            self._retry_end = max(self._retry_end, retry_offset + 1)
            self._set_live(origin, retry_offset)
        for origin in dones:
            self._set_live(origin, None)
        return Pointers(
            topic_id=self._topic_id, status_from=self._lowest_status(base), retry_from=self._lowest_put()
        )

    def keep(self) -> None:
        """The staged batch is durable."""
        self._undo.clear()

    def undo(self) -> None:
        """The staged batch did not happen."""
        while self._undo:
            self._undo.pop()()

    def _set_done(self, offset: int, status_offset: int) -> None:
        self._done[offset] = status_offset
        heapq.heappush(self._status_heap, (status_offset, offset))
        self._undo.append(partial(self._forget_done, offset))

    def _forget_done(self, offset: int) -> None:
        self._done.pop(offset, None)

    def _set_live(self, origin: Origin, retry_offset: int | None) -> None:
        before = self._live.pop(origin, None)
        if retry_offset is not None:
            self._live[origin] = retry_offset
            heapq.heappush(self._retry_heap, (retry_offset, origin))

        def restore() -> None:
            self._live.pop(origin, None)
            if before is not None:
                self._live[origin] = before
                heapq.heappush(self._retry_heap, (before, origin))

        self._undo.append(restore)

    def _lowest_status(self, base: int) -> int:
        heap = self._status_heap
        while heap and (heap[0][1] < base or self._done.get(heap[0][1]) != heap[0][0]):
            status_offset, offset = heapq.heappop(heap)
            if self._done.get(offset) == status_offset:
                del self._done[offset]
                self._undo.append(partial(self._restore_done, offset, status_offset))
        return heap[0][0] if heap else self._status_end

    def _restore_done(self, offset: int, status_offset: int) -> None:
        self._done[offset] = status_offset
        heapq.heappush(self._status_heap, (status_offset, offset))

    def _lowest_put(self) -> int:
        heap = self._retry_heap
        while heap and self._live.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else self._retry_end
