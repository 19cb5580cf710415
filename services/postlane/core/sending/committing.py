"""The pure part of the committer: which outcomes and journal records go into the next transaction, and how far the offset may move.

At most one batch is open. Nothing counts as done before it is committed; an aborted batch goes back and is cut again.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from postlane.core.events.status import Origin
from postlane.core.events.trail import Done, Put
from postlane.core.sending.lane_mail import CommitBatch, DeadCopy, KeyedStatus, LaneMail, PutCopy, WriteBatch
from postlane.core.sending.ledger import Ledger


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Something that happened and must become durable.

    `ends` = the mail is over; `blocks` = its lane starts nothing before this is durable; `at` in seconds since 1970.
    """

    mail: LaneMail
    status: KeyedStatus
    at: float
    dead: DeadCopy | None = None
    ends: bool = False
    blocks: bool = False


@dataclass(slots=True, eq=False)
class _OpenBatch:
    outcomes: list[Outcome]
    puts: dict[Origin, LaneMail]
    dones: list[LaneMail]
    base: int
    put_offsets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Durable:
    """What a commit has made durable: mails that the journal now holds, and mails whose blocking outcome is written."""

    parked: list[LaneMail]
    unblocked: list[LaneMail]


class Committing:
    """Outcomes on their way into Kafka, and the mails that hold the committed offset back."""

    def __init__(self, ledger: Ledger, topic_id: str, base: int) -> None:
        self.ledger = ledger
        self._topic_id = topic_id
        self._outcomes: list[Outcome] = []
        self._wanted: dict[Origin, LaneMail] = {}
        self._open: _OpenBatch | None = None
        # Mails read from the current main topic whose end or `put` is not yet in a batch, by offset.
        self._unsettled: dict[int, LaneMail] = {}
        self._unsettled_heap: list[int] = []
        self._committed_base = base
        self._position = base

    def read(self, mail: LaneMail) -> None:
        """The mail came from the main topic: the offset must not pass it."""
        self._unsettled[mail.origin.offset] = mail
        heapq.heappush(self._unsettled_heap, mail.origin.offset)

    def advance(self, position: int) -> None:
        """Everything below `position` has been read."""
        self._position = max(self._position, position)

    def add(self, outcome: Outcome) -> None:
        """Something happened; an ended mail no longer needs a `put`."""
        self._outcomes.append(outcome)
        if outcome.ends:
            self._wanted.pop(outcome.mail.origin, None)

    def want_put(self, mail: LaneMail) -> None:
        """The mail shall be written to the journal with the next batch."""
        self._wanted[mail.origin] = mail

    def wants_put(self, mail: LaneMail) -> bool:
        """Whether a `put` of this mail is to be written, or is in the open batch, which may yet be cut again."""
        return mail.origin in self._wanted or (self._open is not None and mail.origin in self._open.puts)

    @property
    def uncommitted(self) -> int:
        """How many outcomes are not yet durable."""
        return len(self._outcomes) + (len(self._open.outcomes) if self._open else 0)

    @property
    def oldest_at(self) -> float | None:
        """When the oldest outcome that is not yet durable happened."""
        if self._open is not None and self._open.outcomes:
            return self._open.outcomes[0].at
        return self._outcomes[0].at if self._outcomes else None

    @property
    def base(self) -> int:
        """The lowest offset that is neither done nor parked nor in the open batch as one of these."""
        heap = self._unsettled_heap
        while heap and heap[0] not in self._unsettled:
            heapq.heappop(heap)
        return heap[0] if heap else self._position

    def oldest_unsettled(self) -> LaneMail | None:
        """The mail that holds the base back."""
        return self._unsettled.get(self.base)

    def cut(self, is_busy: Callable[[LaneMail], bool], *, even_empty: bool) -> WriteBatch | None:
        """Take all that happened into a batch; None if a batch is open or nothing happened and nothing moved.

        A `put` of a busy mail waits: its attempt will end it or change what the `put` has to say.
        """
        if self._open is not None:
            return None
        puts = [mail for mail in self._wanted.values() if not is_busy(mail)]
        outcomes, self._outcomes = self._outcomes, []
        for mail in puts:
            del self._wanted[mail.origin]
            self._settle(mail)
        for outcome in outcomes:
            if outcome.ends:
                self._settle(outcome.mail)
        base = self.base
        if not (outcomes or puts or even_empty or base > self._committed_base):
            return None
        dones = [outcome.mail for outcome in outcomes if outcome.ends and outcome.mail.parked]
        written = {mail.origin: mail for mail in puts}
        self._open = _OpenBatch(outcomes=outcomes, puts=written, dones=dones, base=base)
        return WriteBatch(
            statuses=tuple(outcome.status for outcome in outcomes),
            puts=tuple(_put_copy(mail) for mail in puts),
            dones=tuple((mail.key, Done(origin=mail.origin)) for mail in dones),
            dead=tuple(outcome.dead for outcome in outcomes if outcome.dead is not None),
        )

    def stage(self, status_offsets: tuple[int, ...], put_offsets: tuple[int, ...]) -> CommitBatch:
        """The open batch lies in Kafka: what to commit with it."""
        batch = self._require_open()
        batch.put_offsets = put_offsets
        ends = (
            (outcome.mail.origin, offset)
            for outcome, offset in zip(batch.outcomes, status_offsets, strict=True)
            if outcome.ends
        )
        puts = zip(batch.puts, put_offsets, strict=True)
        pointers = self.ledger.stage(ends, puts, (mail.origin for mail in batch.dones), batch.base)
        return CommitBatch(base=batch.base, pointers=pointers)

    def commit(self) -> Durable:
        """The open batch is durable."""
        batch = self._require_open()
        self._open = None
        self.ledger.keep()
        self._committed_base = batch.base
        parked = [*batch.puts.values()]
        for mail, offset in zip(parked, batch.put_offsets, strict=True):
            mail.retry_offset = offset
        return Durable(parked, [outcome.mail for outcome in batch.outcomes if outcome.blocks])

    def abort(self) -> None:
        """The open batch did not happen: its outcomes come first in the next one; puts of mails that ended since are dropped."""
        batch = self._require_open()
        self._open = None
        self.ledger.undo()
        self._outcomes[:0] = batch.outcomes
        ended = {outcome.mail.origin for outcome in self._outcomes if outcome.ends}
        for mail in batch.puts.values():
            if mail.origin not in ended:
                self._wanted.setdefault(mail.origin, mail)
            self._unsettle(mail)
        for outcome in batch.outcomes:
            if outcome.ends:
                self._unsettle(outcome.mail)

    def _settle(self, mail: LaneMail) -> None:
        if mail.origin.topic_id == self._topic_id:
            self._unsettled.pop(mail.origin.offset, None)

    def _unsettle(self, mail: LaneMail) -> None:
        # A mail whose put is already durable never held the base; any other did.
        if mail.origin.topic_id == self._topic_id and not mail.parked:
            self.read(mail)

    def _require_open(self) -> _OpenBatch:
        if self._open is None:
            raise RuntimeError("no batch is open")
        return self._open


def _put_copy(mail: LaneMail) -> PutCopy:
    if mail.content is None:
        raise RuntimeError(f"the bytes of {mail.origin} are not in memory, so it cannot be put")
    return PutCopy(
        key=mail.key,
        content=mail.content,
        put=Put(
            origin=mail.origin,
            attempt=mail.attempt,
            first_seen_ms=round(mail.first_seen * 1000),
            due_ms=round(mail.due * 1000),
            remaining=mail.remaining,
            held=mail.held,
            topic_rank=mail.topic_rank,
            cause=mail.cause,
            reason=mail.reason,
            retried_by=mail.retried_by,
            route=mail.route,
            replay=mail.replay,
        ),
    )
