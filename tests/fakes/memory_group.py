"""A cooperative consumer group in memory: partitions move one rebalance at a time, the rest keep working."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from postlane.ports import (
    CommitPoint,
    Fenced,
    GroupListener,
    LogRecord,
    TopicPartition,
    TransactionAborted,
)

IDLE_SECONDS = 0.005

Fetch = Callable[[TopicPartition, int], tuple[list[LogRecord], int]]


@dataclass(slots=True)
class Group:
    """Who is in the group, who owns what, and the committed offsets."""

    name: str
    lock: "threading.RLock"
    members: list["MemoryGroupMember"] = field(default_factory=list)
    owners: dict[int, "MemoryGroupMember"] = field(default_factory=dict)
    points: dict[TopicPartition, CommitPoint] = field(default_factory=dict)

    def wanted(self, member: "MemoryGroupMember", partitions: int) -> set[int]:
        """What this member should own: an even share, as much as possible of what it has (sticky)."""
        share, rest = divmod(partitions, len(self.members))
        wanted: dict[MemoryGroupMember, set[int]] = {}
        free = list(range(partitions))
        # Those with most keep most, so that as little as possible moves.
        for place, each in enumerate(sorted(self.members, key=lambda each: -len(each.owned))):
            kept = set(sorted(each.owned)[: share + (place < rest)])
            wanted[each] = kept
            free = [partition for partition in free if partition not in kept]
        for each in sorted(wanted, key=lambda each: len(wanted[each])):
            room = share + (len([w for w in wanted.values() if len(w) > share]) < rest)
            while free and len(wanted[each]) < room:
                wanted[each].add(free.pop(0))
        return wanted[member]


class MemoryGroupMember:
    """See ports.GroupMember."""

    _numbers = count(1)

    def __init__(
        self, group: Group, topic: str, partitions: int, listener: GroupListener, fetch: Fetch
    ) -> None:
        self.group = group
        self.owned: set[int] = set()
        self._topic = topic
        self._partitions = partitions
        self._listener = listener
        self._fetch = fetch
        self._positions: dict[int, int] = {}
        self._sessions: dict[int, int] = {}
        self._next_session = count(1)
        self._closing = threading.Event()
        self._closed = False
        self._serving = threading.RLock()
        self._thread: threading.Thread | None = None
        group.members.append(self)

    def run_in_thread(self) -> None:
        """Serve this member from a thread of its own until it is closed."""
        name = f"memory-member-{next(self._numbers)}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def start(self, partition: int, offset: int) -> int:
        """See ports.GroupMember.start."""
        with self.group.lock:
            session = next(self._next_session)
            if partition in self.owned:
                self._positions[partition] = offset
                self._sessions[partition] = session
            return session

    def pause(self, partition: int) -> None:
        """See ports.GroupMember.pause."""
        with self.group.lock:
            self._positions.pop(partition, None)

    def close(self) -> None:
        """See ports.GroupMember.close."""
        self._closing.set()
        if self._thread is None:
            self.step()
        elif threading.current_thread() is not self._thread:
            self._thread.join()

    def expel(self) -> None:
        """What the coordinator does after a session timeout; the member hears of it at its next step."""
        with self.group.lock:
            self.group.members.remove(self)
            for partition in self.owned:
                self.group.owners.pop(partition, None)

    def check_membership(self, partitions: list[int]) -> None:
        """As the coordinator checks offsets in a transaction. Raises Fenced, TransactionAborted."""
        if self._closed:
            raise Fenced("the group membership is closed")
        if self not in self.group.members:
            if self.owned.issuperset(partitions):
                raise TransactionAborted("the coordinator does not know this member")
            raise Fenced("the coordinator does not know this member")

    def step(self) -> bool:
        """Do one thing that is due: leave, lose, give up, take, or fetch; True if there was one."""
        with self._serving:
            if self._closed:
                return False
            if self._closing.is_set():
                self._leave()
                return True
            if self not in self.group.members:
                return self._hear_of_expulsion()
            return self._rebalance() or self._deliver()

    def _run(self) -> None:
        while not self._closed:
            if not self.step():
                self._closing.wait(IDLE_SECONDS)

    def _leave(self) -> None:
        expelled = self not in self.group.members
        self._give_up(set(self.owned), lost=expelled)
        with self.group.lock:
            if not expelled:
                self.group.members.remove(self)
            self._closed = True

    def _hear_of_expulsion(self) -> bool:
        self._give_up(set(self.owned), lost=True)
        with self.group.lock:
            self.group.members.append(self)
        return True

    def _rebalance(self) -> bool:
        with self.group.lock:
            wanted = self.group.wanted(self, self._partitions)
            surplus = self.owned - wanted
            fresh = {partition for partition in wanted - self.owned if partition not in self.group.owners}
            if not surplus:
                self.owned |= fresh
                self.group.owners.update(dict.fromkeys(fresh, self))
        if surplus:
            self._give_up(surplus, lost=False)
        elif fresh:
            self._listener.assigned(sorted(fresh))
        return bool(surplus or fresh)

    def _give_up(self, partitions: set[int], *, lost: bool) -> None:
        with self.group.lock:
            for partition in partitions:
                self._positions.pop(partition, None)
            if lost:
                self.owned -= partitions
        if partitions:
            (self._listener.lost if lost else self._listener.revoked)(sorted(partitions))
        with self.group.lock:
            self.owned -= partitions
            for partition in partitions:
                if self.group.owners.get(partition) is self:
                    del self.group.owners[partition]

    def _deliver(self) -> bool:
        with self.group.lock:
            for partition, position in list(self._positions.items()):
                batch, reached = self._fetch(TopicPartition(self._topic, partition), position)
                self._positions[partition] = reached
                if batch:
                    session = self._sessions[partition]
                    break
            else:
                return False
        self._listener.fetched(partition, session, batch)
        return True
