"""What operators write to mail.control, and what the sender makes of it."""

from pathlib import Path

import pytest

from fakes.memory_sink import MemorySink
from fakes.relay_script import RelayScript
from postlane.core.events.command import Wish
from postlane.core.events.status import MailState
from postlane.outbound import partition
from unit.outbound.sender_rig import SOON_AGAIN, Site, running, until


@pytest.fixture(autouse=True)
def _obey_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "CONTROL_SECONDS", 0.01)


async def test_a_ticket_that_was_held_before_the_start_waits_for_its_release(tmp_path: Path) -> None:
    def hold(site: Site) -> None:
        site.command(Wish.HOLD_TICKET, "t")
        site.produce("t", "u", "t")

    async with running(tmp_path, SOON_AGAIN, prepare=hold) as site:
        await until(lambda: site.ends() == [MailState.SENT])
        await until(lambda: [s.cause for s in site.statuses() if not s.final] == ["ticket_held"] * 2)
        site.command(Wish.RELEASE_TICKET, "t")
        await until(lambda: site.ends() == [MailState.SENT] * 3)
        assert site.order() == [1, 0, 2]


async def test_a_ticket_whose_mail_waits_is_held_in_its_midst(tmp_path: Path) -> None:
    script = RelayScript(refused={"a@x": "451 4.3.0 later", "b@x": "451 4.3.0 later"})
    async with running(tmp_path, SOON_AGAIN, MemorySink(script)) as site:
        site.produce("t")
        await until(lambda: len(site.statuses()) > 0)
        site.command(Wish.HOLD_TICKET, "t")
        await until(lambda: site.statuses()[-1].state is MailState.HELD)
        attempts = site.sink.attempts
        script.refused.clear()
        site.produce("u")
        await until(lambda: site.ends() == [MailState.SENT])
        assert site.sink.attempts == attempts + 1


async def test_a_dead_mail_is_kept_and_skipped(tmp_path: Path) -> None:
    script = RelayScript(refused={"a@x": "550 5.1.1 unknown", "b@x": "550 5.1.1 unknown"})
    async with running(tmp_path, SOON_AGAIN, MemorySink(script), hold_dead=True) as site:
        site.produce("t", "t")
        await until(lambda: [s.state for s in site.statuses()][:1] == [MailState.HELD])
        script.refused.clear()
        held = site.statuses()[0]
        site.command(Wish.SKIP_MAIL, "t", topic_id=held.topic_id, partition=0, offset=held.offset, held=1)
        await until(lambda: site.ends() == [MailState.SKIPPED, MailState.SENT])
        assert site.order() == [1]


async def test_a_dead_mail_is_kept_and_tried_again(tmp_path: Path) -> None:
    script = RelayScript(refused={"a@x": "550 5.1.1 unknown", "b@x": "550 5.1.1 unknown"})
    async with running(tmp_path, SOON_AGAIN, MemorySink(script), hold_dead=True) as site:
        site.produce("t", "t")
        await until(lambda: [s.state for s in site.statuses()][:1] == [MailState.HELD])
        script.refused.clear()
        held = site.statuses()[0]
        site.command(Wish.RETRY_MAIL, "t", topic_id=held.topic_id, partition=0, offset=held.offset, held=1)
        await until(lambda: site.ends() == [MailState.SENT] * 2)
        assert site.order() == [0, 1]
