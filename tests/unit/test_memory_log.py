"""What the fake log offers beyond the contract: members without threads, expulsion, faults on demand."""

import pytest

from fakes.memory_log import MemoryLog
from fakes.recording_listener import RecordingListener
from postlane.ports import (
    CommitPoint,
    Fenced,
    LogUnavailable,
    NewRecord,
    TopicPartition,
    TransactionAborted,
)

AT = TopicPartition("t", 0)


def stepped_log() -> MemoryLog:
    log = MemoryLog(threaded=False)
    log.create_topic("t", 2)
    return log


def test_nothing_moves_before_pump() -> None:
    log, listener = stepped_log(), RecordingListener()
    writer = log.writer("w")
    writer.take_over()
    writer.stage([NewRecord(to=AT, key=b"k", value=b"v")])
    writer.commit()
    member = log.join("g", "t", listener)
    assert listener.calls == []
    assert log.pump()
    assert listener.calls == [("assigned", [0, 1])]
    member.start(0, 0)
    assert listener.records == []
    assert log.pump()
    assert [record.value for record in listener.records] == [b"v"]
    assert not log.pump()
    member.close()
    assert listener.calls[-1] == ("revoked", [0, 1])


def test_an_expelled_member_is_aborted_then_fenced_then_back() -> None:
    log, listener = stepped_log(), RecordingListener()
    writer = log.writer("w")
    writer.take_over()
    member = log.join("g", "t", listener)
    log.pump()
    member.expel()
    writer.stage([])
    with pytest.raises(TransactionAborted):
        writer.commit(member, [(AT, CommitPoint(1, ""))])
    member.step()
    assert listener.calls[-1] == ("lost", [0, 1])
    log.join("g", "t", RecordingListener())
    log.pump()
    assert len(listener.owned) == 1
    member.close()
    writer.stage([])
    with pytest.raises(Fenced):
        writer.commit(member, [(AT, CommitPoint(1, ""))])


def test_faults_come_on_demand() -> None:
    log = stepped_log()

    def fail(operation: str) -> None:
        if operation == "commit":
            raise TransactionAborted("on demand")
        if operation == "bounds":
            raise LogUnavailable("on demand")

    writer = log.writer("w")
    writer.take_over()
    writer.stage([NewRecord(to=AT, key=b"k", value=b"v")])
    log.before = fail
    with pytest.raises(TransactionAborted):
        writer.commit()
    with pytest.raises(LogUnavailable):
        log.bounds(AT)
    log.before = lambda _: None
    assert list(log.read(AT, 0, log.bounds(AT).end, 0)) == []


def test_retention_and_recreation() -> None:
    log = stepped_log()
    writer = log.writer("w")
    writer.take_over()
    writer.stage([NewRecord(to=AT, key=b"k", value=b"%d" % number) for number in range(3)])
    writer.commit()
    log.delete_before(AT, 2)
    assert log.bounds(AT).low == 2
    assert [r.value for batch in log.read(AT, 0, 4, 0) for r in batch] == [b"2"]
    before = log.topic_id("t")
    log.create_topic("t", 2)
    assert log.topic_id("t") != before
    assert log.bounds(AT).end == 0
