"""When nearly everything dies, the sender stops killing mail and says so."""

from pathlib import Path

from fakes.memory_sink import MemorySink
from fakes.relay_script import RelayScript
from postlane.core.events.status import MailState
from unit.outbound.sender_rig import DEAD_LIMIT_MAILS, SOON_AGAIN, Limits, running, until

MAILS = 40


async def test_a_relay_gone_mad_does_not_fill_the_dead_letters(tmp_path: Path) -> None:
    script = RelayScript(refused={"a@x": "550 5.1.1 unknown", "b@x": "550 5.1.1 unknown"})
    async with running(tmp_path, SOON_AGAIN, MemorySink(script), limits=Limits(hold_seconds=0.2)) as site:
        site.produce(*(f"t{n}" for n in range(MAILS)))
        await until(lambda: any(s.cause == "too_many_dead" for s in site.statuses()))
        script.refused.clear()
        await until(lambda: len(site.ends()) == MAILS)
        dead = site.ends().count(MailState.FAILED)
        assert DEAD_LIMIT_MAILS <= dead < MAILS / 2
        assert site.ends().count(MailState.SENT) == MAILS - dead
