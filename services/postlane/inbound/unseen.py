"""What an owner has committed and nobody may have been able to read yet, because its transaction lacks its end in its partition."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from postlane.ports import EventLog, NewRecord, TopicPartition

Written = list[tuple[int, NewRecord]]  # by offset


class Unseen:
    """By partition. `places` are those in which a former owner may have left something. For one thread.

    `in_doubt`: something may have been aborted since it was committed, so it is kept until `lost` has said what.
    """

    def __init__(self, event_log: EventLog, places: Iterable[TopicPartition]) -> None:
        self._event_log = event_log
        self._unasked = frozenset(places)
        self._former: dict[TopicPartition, int] = {}  # until this offset
        self._written: dict[TopicPartition, Written] = {}
        self.in_doubt = False

    def add(self, records: Sequence[NewRecord], offsets: Sequence[int]) -> None:
        """A transaction with these is committed."""
        written = defaultdict(list, self._written)
        for record, offset in zip(records, offsets, strict=True):
            written[record.to].append((offset, record))
        self._written = dict(written)

    def look(self) -> dict[TopicPartition, int]:
        """Ask where something is hidden, and from which offset on; what can be read is forgotten. Raises LogUnavailable."""
        if self._unasked:
            self._former = self._event_log.ends(self._unasked, stable=False)
            self._unasked = frozenset()
        stable = self._event_log.ends(self._former.keys() | self._written.keys(), stable=True)
        self._former = {at: until for at, until in self._former.items() if until > stable[at]}
        hidden = {at: _from(stable[at], ones) for at, ones in self._written.items()}
        if not self.in_doubt:
            self._written = {at: ones for at, ones in hidden.items() if ones}
        return {at: end for at, end in stable.items() if at in self._former or hidden.get(at)}

    def lost(self, own: TopicPartition) -> list[NewRecord]:
        """What is not there in spite of its commit; with it the newest of each key in `own`, which says that all of it is there.

        To be asked when all can be read. Raises LogUnavailable.
        """
        gone: list[NewRecord] = []
        for at, ones in self._written.items():
            there = {one.offset for one in self._event_log.fetch_at(at, [offset for offset, _ in ones])}
            gone += [record for offset, record in ones if offset not in there]
        if not gone:
            return []
        newest = {record.key: record for _, record in self._written.get(own, ())}
        return [*(record for record in gone if record.to != own), *newest.values()]

    def settled(self, records: Sequence[NewRecord] = (), offsets: Sequence[int] = ()) -> None:
        """Nothing was lost, or it is committed again with these."""
        self._written = {}
        self.in_doubt = False
        self.add(records, offsets)


def _from(start: int, ones: Written) -> Written:
    return [one for one in ones if one[0] >= start]
