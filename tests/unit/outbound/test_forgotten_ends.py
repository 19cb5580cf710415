"""Nothing is begun before what was committed can be read: the abort of a later transaction would undo it where the broker forgot the end."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fakes.memory_log import MemoryLog, MemoryWriter
from fakes.recording_listener import RecordingListener
from postlane.core.events.status import MailState
from postlane.core.sending.pointers import Pointers, encode_pointers
from postlane.outbound import committer, forgotten_ends
from postlane.outbound.forgotten_ends import CommittedEnds, EndsParts, EndUndone
from postlane.ports import CommitPoint, Fenced, TopicPartition, TransactionAborted
from unit.outbound.sender_rig import SOON_AGAIN, Site, running, until
from unit.outbound.test_takeover import DLQ, MAIN, RETRY, STATUS, TOPICS, dead, put, sent, site, take_over

BEFORE, AFTER = 4, 5  # the committed offset without and with the mail at offset 4


@pytest.fixture(autouse=True)
def _quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(forgotten_ends, "STILL_SECONDS", 0.02)
    monkeypatch.setattr(forgotten_ends, "OTHERS_SECONDS", 0.1)
    monkeypatch.setattr(committer, "BACK_OFF_SECONDS", (0.001,))
    with capture_logs():
        yield


class Owner:
    """Of the partition, after a first commit; its next one loses its end in the journal, while the offset passes."""

    def __init__(self) -> None:
        self.log = site()
        self.member = self.log.join("g", "main", RecordingListener())
        self.writer = self.log.writer("g-0")
        self.writer.take_over()
        self.writer.stage([sent(self.log, 3)])
        self.writer.commit(self.member, ((MAIN, self.point(BEFORE)),))
        parts = EndsParts(
            event_log=self.log, topics=TOPICS, writer=self.writer, member=self.member, main=MAIN
        )
        self.ends = CommittedEnds(parts, self.point(BEFORE))

    def point(self, offset: int) -> CommitPoint:
        pointers = Pointers(topic_id=self.log.topic_id("main"), status_from=0, retry_from=0)
        return CommitPoint(offset, encode_pointers(pointers))

    def put(self, *leaderless: TopicPartition) -> dict[TopicPartition, int]:
        (offset,) = self.writer.stage([put(self.log, 4)])
        self.log.leaderless = set(leaderless)
        self.writer.commit(self.member, ((MAIN, self.point(AFTER)),))
        self.log.leaderless = set()
        return {RETRY: offset}

    def see(self, written: dict[TopicPartition, int]) -> None:
        self.ends.see(written, self.point(AFTER))

    def committed(self) -> int:
        point = self.log.committed("g", MAIN)
        assert point is not None
        return point.offset


@pytest.fixture
def owner() -> Iterator[Owner]:
    owner = Owner()
    yield owner
    owner.member.close()


def parked(log: MemoryLog) -> list[int]:
    return [entry.origin.offset for _, _, entry in take_over(log).recovered.parked]


def failing_at(operation: str, number: int, error: Exception) -> Callable[[str], None]:
    """Fails at the so-manieth call of this operation."""
    left = [number]

    def before(called: str) -> None:
        left[0] -= called == operation
        if called == operation and left[0] == 0:
            raise error

    return before


def test_without_it_a_later_abort_takes_back_what_was_committed(owner: Owner) -> None:
    """What this is about: the offset has passed, and the mail is in no journal."""
    owner.put(RETRY)
    owner.writer.stage([put(owner.log, 5)])
    assert parked(owner.log) == []
    assert owner.committed() == AFTER


def test_what_can_be_read_takes_no_further_transaction(owner: Owner) -> None:
    written = owner.put()
    end = owner.log.bounds(RETRY).end
    owner.see(written)
    assert owner.log.bounds(RETRY).end == end


def test_a_forgotten_end_is_marked_before_anything_else_is_begun(owner: Owner) -> None:
    owner.see(owner.put(RETRY))
    assert owner.log.hidden(RETRY) is None
    assert owner.committed() == AFTER
    owner.writer.stage([put(owner.log, 5)])
    assert parked(owner.log) == [4]


@pytest.mark.parametrize("commit", [1, 2])
def test_nothing_is_lost_where_marking_the_end_fails(owner: Owner, commit: int) -> None:
    written = owner.put(RETRY)
    owner.log.before = failing_at("commit", commit, TransactionAborted("timed out"))
    with pytest.raises((EndUndone, TransactionAborted)):
        owner.see(written)
    taken = take_over(owner.log)
    offsets = [entry.origin.offset for _, _, entry in taken.recovered.parked]
    assert offsets == [4] or taken.recovered.base == BEFORE


@pytest.mark.parametrize("stage", [1, 2])
def test_nothing_is_lost_where_the_owner_dies_meanwhile(owner: Owner, stage: int) -> None:
    written = owner.put(RETRY)
    owner.log.before = failing_at("stage", stage, Fenced("killed"))
    with pytest.raises(Fenced):
        owner.see(written)
    assert parked(owner.log) == [4]


def test_a_replay_that_an_operator_has_open_is_not_waited_for_for_ever(owner: Owner) -> None:
    operator = owner.log.writer("operator")
    operator.take_over()
    operator.stage([dead(owner.log, 1)])
    (offset,) = owner.writer.stage([dead(owner.log, 4)])
    owner.writer.commit(owner.member, ((MAIN, owner.point(AFTER)),))
    owner.see({DLQ: offset})
    operator.commit()
    assert [record.offset for record in owner.log.fetch_at(DLQ, [offset])] == [offset]


def test_whoever_waits_can_be_told_to_give_up(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgotten_ends, "STILL_SECONDS", 3600.0)
    written = owner.put(RETRY)
    threading.Timer(0.05, owner.ends.give_up).start()
    with pytest.raises(Fenced, match="given up"):
        owner.see(written)


async def test_a_sender_loses_no_outcome_to_an_abort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first commit loses its end among the statuses, and the one that comes next fails."""
    commits = 0
    really = MemoryWriter.commit

    def commit(self: MemoryWriter, *args: object) -> None:
        nonlocal commits
        commits += bool(args)  # an owner's
        self._log.leaderless = {STATUS} if args and commits == 1 else set()
        if args and commits == 2:
            self.abort()
            raise TransactionAborted("timed out")
        really(self, *args)  # type: ignore[arg-type]

    async with running(tmp_path, SOON_AGAIN) as rig:
        monkeypatch.setattr(MemoryWriter, "commit", commit)
        rig.produce("t", "u")
        await until(lambda: ended(rig) == {0, 1})
        rig.produce("v")
        await until(lambda: ended(rig) == {0, 1, 3})
        assert commits > 2
        assert len(rig.sink.taken) == 3
        assert rig.log.hidden(STATUS) is None
        assert rig.faults("fault") == 0


def ended(rig: Site) -> set[int]:
    return {status.offset for status in rig.statuses() if status.state is MailState.SENT}
