"""Faults of our own, which nobody foresaw: no mail is lost for them, and none is sent again and again."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fakes.memory_sink import MemorySink
from fakes.relay_script import RelayScript
from postlane.core.events.status import MailState
from postlane.core.sending import lanes
from postlane.core.smtp.transcript import Envelope, Transcript
from postlane.outbound import committer, sender
from postlane.ports import LogUnavailable, TransactionAborted
from unit.outbound.sender_rig import ATTEMPTS_MAX, CONNECTIONS, SOON_AGAIN, UNCOMMITTED_MAX, running, until


def failing(operation: str, error: Exception) -> Callable[[str], None]:
    def before(called: str) -> None:
        if called == operation:
            raise type(error)(*error.args)

    return before


@pytest.fixture(autouse=True)
def _quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(committer, "BACK_OFF_SECONDS", (0.001,))
    with capture_logs():  # a traceback in colours takes longer than the test
        yield


@pytest.mark.parametrize("operation", ["stage", "commit"])
async def test_a_commit_that_fails_for_good_does_not_mail_the_same_again_and_again(
    tmp_path: Path, operation: str
) -> None:
    """Seen once: a schema registry that refused us after the fact, and the same mail 650 times an hour."""
    async with running(tmp_path, SOON_AGAIN) as site:
        site.log.before = failing(operation, ZeroDivisionError("nobody thought of it"))
        site.produce(*(f"t{n}" for n in range(30)))
        await until(lambda: site.faults("fault") == 3)
        most = UNCOMMITTED_MAX + CONNECTIONS  # when the fault first showed
        assert len(site.sink.taken) <= most + 2  # one at a time after the first take-over
        assert not site.health.ready()
        assert "rests after fault 3" in site.health.components()["partitions"].reason
    assert site.ends() == []


async def test_after_a_fault_all_mail_goes_out_in_the_end(tmp_path: Path) -> None:
    async with running(tmp_path, SOON_AGAIN) as site:
        site.log.before = failing("commit", ZeroDivisionError("nobody thought of it"))
        site.produce("t", "t", "u")
        await until(lambda: site.faults("fault") == 1)
        site.log.before = lambda _operation: None
        await until(lambda: site.ends() == [MailState.SENT] * 3)
        assert site.health.ready()


async def test_a_passing_fault_of_a_commit_repeats_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, SOON_AGAIN) as site:
        errors = [ZeroDivisionError("once"), LogUnavailable("twice")]

        def before(called: str) -> None:
            if called == "stage" and errors:
                raise errors.pop()

        site.log.before = before
        site.produce("t", "u")
        await until(lambda: site.ends() == [MailState.SENT] * 2)
        assert len(site.sink.taken) == 2
        assert site.faults("fault") == 0


async def test_a_kafka_that_takes_no_commit_is_told_once_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may still answer everything else: too few copies are in sync, and no connection breaks."""
    monkeypatch.setattr(lanes, "UNCOMMITTED_SECONDS_MAX", 0.05)
    monkeypatch.setattr(sender, "REPORT_SECONDS", 0.01)
    async with running(tmp_path, SOON_AGAIN) as site:
        site.log.before = failing("commit", TransactionAborted("not enough replicas"))
        site.produce("t", "u")
        await until(lambda: "commits" in site.health.components())
        await until(lambda: not site.health.components()["commits"].ok)
        assert "partitions [0]" in site.health.components()["commits"].reason
        assert not site.health.ready()
        site.log.before = lambda _operation: None
        await until(lambda: site.ends() == [MailState.SENT] * 2 and site.health.ready())
        assert len(site.sink.taken) == 2


class FaultySink(MemorySink):
    """Fails as no relay does, after it took the mail."""

    async def send(self, envelope: Envelope, message: bytes) -> Transcript:
        await super().send(envelope, message)
        raise ZeroDivisionError("nobody thought of it")


async def test_a_fault_in_an_attempt_counts_as_an_attempt(tmp_path: Path) -> None:
    async with running(tmp_path, SOON_AGAIN, FaultySink()) as site:
        site.produce("t")
        await until(lambda: site.ends() == [MailState.EXPIRED])
        assert len(site.sink.taken) == ATTEMPTS_MAX
        assert site.faults("fault") == 0


async def test_words_that_no_event_can_carry_are_left_out(tmp_path: Path) -> None:
    script = RelayScript(accepts="250 taken by \udcff")  # half a character, which UTF-8 does not have
    async with running(tmp_path, SOON_AGAIN, MemorySink(script)) as site:
        site.produce("t", "u")
        await until(lambda: site.ends() == [MailState.SENT] * 2)
        assert len(site.sink.taken) == 2
        assert site.faults("fault") == 0
