"""What anybody can see of a shared relay who reads its records: how much of each budget is gone, whether it is held, who is there.

For people and forecasts: no right to send comes from here.
"""

from collections import deque
from typing import assert_never

from postlane.core.events.relay_lease import (
    LeaseGrant,
    LeaseRequest,
    RelayHold,
    RelayReport,
    RelaySnapshot,
    body_of,
)
from postlane.core.sharing.allocator import Entry
from postlane.core.sharing.books import Books
from postlane.core.sharing.snapshots import SNAPSHOT_RECORDS, restore_snapshot
from postlane.core.sharing.terms import Terms
from postlane.core.sharing.windows import Span

# A snapshot comes sooner; without an allocator none comes, and the oldest words are those that matter least.
SAID_MAX = 2 * SNAPSHOT_RECORDS


class Onlooker:
    """Begins with the newest snapshot or before it; `version` counts what was heard. `now` is a monotonic clock."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.books = Books(terms)
        self.version = 0
        self._heard_at = 0.0
        self._said: deque[Entry] = deque(maxlen=SAID_MAX)  # by senders, since the last snapshot

    @property
    def hold(self) -> RelayHold | None:
        """Why nobody sends, as the allocator knows it."""
        return self.books.hold

    def hear(self, entry: Entry, now: float) -> None:
        """The relay's next committed record."""
        self.version += 1
        self._heard_at = now
        body = body_of(entry.lease)
        match body:
            case RelaySnapshot():
                self.books = Books(self.terms)
                restore_snapshot(self.books, body, now)
                # What senders wrote while it was on its way is not in it.
                self._said = deque((said for said in self._said if said.offset >= body.read_to), SAID_MAX)
                for said in self._said:
                    self._apply(said, now)
            case LeaseRequest() | RelayReport():
                self._said.append(entry)
                self._apply(entry, now)
            case LeaseGrant():
                self.books.grant(body, now)
            case None:
                pass
            case _:
                assert_never(body)

    def used(self, budget: str) -> dict[Span, int]:
        """Units granted and not given back, by the spans in which they are counted."""
        return {span: units for (name, span), units in self.books.tallies.items() if name == budget and units}

    def spent(self, budget: str) -> dict[Span, int]:
        """The same without what living senders say that they have not spent: their word is as old as their last request."""
        in_hand = sum(
            need.has + self.books.unseen(name, budget, request)
            for name, request in self.books.live(self._heard_at).items()
            for need in request.needs
            if need.budget == budget
        )
        spent = self.used(budget)
        for span in sorted(spent, reverse=True):
            taken = min(in_hand, spent[span])
            spent[span] -= taken
            in_hand -= taken
        return spent

    def _apply(self, entry: Entry, now: float) -> None:
        body, writer = body_of(entry.lease), entry.lease.written_by
        if isinstance(body, LeaseRequest):
            self.books.request(writer, body, now)
            return
        assert isinstance(body, RelayReport), "senders say nothing else"
        self.books.report(writer, body, entry.written_at, now)
