"""What a sender that has died leaves behind: whoever knows for sure of its death says in its name that it leaves.

Without that its connections are free only when its lease has ended, for it might merely be cut off from Kafka. Units that it had in hand
stay spent: nobody knows how many of them it used.
"""

from collections.abc import Collection, Iterable

from postlane.core.events.relay_lease import LeaseRequest, RelayLease, lease_of
from postlane.core.sharing.allocator import Entry

LAST_NUMBER = 2**53  # above every number that a sender comes to, and exact in every language


class Estates:
    """Deaths that the allocators of `relays` have not all been told of."""

    def __init__(self, relays: Collection[str]) -> None:
        self._relays = frozenset(relays)
        self._open: dict[str, set[str]] = {}

    def died(self, holders: Iterable[str]) -> list[RelayLease]:
        """The farewells to be written for these, again until they are read back."""
        return [
            lease_of(relay, holder, _farewell())
            for holder in holders
            for relay in sorted(self._open.setdefault(holder, set(self._relays)))
        ]

    def heard(self, entry: Entry) -> str | None:
        """A committed record; the name of the holder for whom it was the last farewell."""
        request, holder = entry.lease.request, entry.lease.written_by
        told = self._open.get(holder)
        if told is None or request is None or not request.leaving:
            return None
        told.discard(entry.lease.relay)
        if told:
            return None
        del self._open[holder]
        return holder


def _farewell() -> LeaseRequest:
    return LeaseRequest(
        number=LAST_NUMBER, seen=LAST_NUMBER, wants=(), using=(), needs=(), returned=(), leaving=True
    )
