"""What an owner has committed and nobody may have been able to read yet, because its transaction lacks its end in its partition."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence

from postlane.ports import EventLog, NewRecord, TopicPartition


class Unseen:
    """By partition. `places` are those in which a former owner may have left something. Thread-safe."""

    def __init__(self, event_log: EventLog, places: Iterable[TopicPartition]) -> None:
        self._event_log = event_log
        self._lock = threading.Lock()
        self._former: dict[TopicPartition, int | None] = dict.fromkeys(places)  # until this offset
        self._written: defaultdict[TopicPartition, list[tuple[int, NewRecord]]] = defaultdict(list)

    def add(self, records: Sequence[NewRecord], offsets: Sequence[int]) -> None:
        """A transaction with these is committed."""
        with self._lock:
            for record, offset in zip(records, offsets, strict=True):
                self._written[record.to].append((offset, record))

    def places(self) -> set[TopicPartition]:
        """Where something may be hidden."""
        with self._lock:
            return {*self._former, *self._written}

    def stable_end(self, at: TopicPartition) -> int:
        """Ask how far records can be read there, and forget about those. Raises LogUnavailable."""
        with self._lock:
            unknown = self._former.get(at, 0) is None
        until = self._event_log.bounds(at).end if unknown else None
        stable = self._event_log.stable_end(at)
        with self._lock:
            if until is not None:
                self._former[at] = until
            if (self._former.get(at) or 0) <= stable:
                self._former.pop(at, None)
            self._written[at] = [one for one in self._written[at] if one[0] >= stable]
            if not self._written[at]:
                del self._written[at]
        return stable

    def undone(self) -> list[NewRecord]:
        """What is not there in spite of its commit: the abort of a later transaction was marked for it as well. Raises LogUnavailable."""
        with self._lock:
            written = {at: list(ones) for at, ones in self._written.items()}
        lost: list[NewRecord] = []
        for at, ones in written.items():
            there = {one.offset for one in self._event_log.fetch_at(at, [offset for offset, _ in ones])}
            lost += [record for offset, record in ones if offset not in there]
        return lost

    def restored(self) -> None:
        """What was undone is written again."""
        with self._lock:
            self._written.clear()
