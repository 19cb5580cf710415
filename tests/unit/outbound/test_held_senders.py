"""A relay refuses one sender: its mail waits, everybody else's goes, and a single mail asks again."""

import asyncio
from dataclasses import replace
from pathlib import Path

from fakes.memory_sink import MemorySink
from postlane.core.events.command import Wish
from postlane.core.events.mail import Address
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState
from postlane.core.sending.rest import RestPolicy
from postlane.core.smtp.smtp_reply import read_reply
from postlane.core.smtp.transcript import Envelope, Phase, Transcript
from unit.core.lane_bench import request
from unit.outbound.sender_rig import Limits, running, until

DENIED = "5.7.60 SMTP; Client does not have permissions to send as this sender"


class ChoosySink(MemorySink):
    """Takes no mail of the senders in `denied`; `tried` counts mails by sender. A mail waits for `answers` before it is judged."""

    def __init__(self, *denied: str, words: str = DENIED) -> None:
        super().__init__()
        self.denied = set(denied)
        self.tried: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self._words = words

    async def send(self, envelope: Envelope, message: bytes) -> Transcript:
        self.tried.append(envelope.mail_from)
        await self.answers.wait()
        if envelope.mail_from not in self.denied:
            return await super().send(envelope, message)
        return Transcript(relay="choosy", stopped=read_reply(Phase.FINAL, 550, self._words))


def mail(ticket: str, sender: str) -> MailRequested:
    plain = request(ticket, f"{ticket}-{sender}")
    return replace(plain, from_address=Address(address=sender))


async def test_a_refused_sender_waits_and_the_others_go(tmp_path: Path) -> None:
    sink = ChoosySink("kim@x")
    async with running(tmp_path, RestPolicy(), sink) as site:
        site.ask(mail("a", "kim@x"))
        await until(lambda: len(site.statuses()) == 1)
        site.ask(mail("b", "kim@X"), mail("c", "lee@x"), mail("a", "lee@x"), mail("d", "kim@x"))
        await until(lambda: len(site.statuses()) == 5)
        assert sink.tried == ["kim@x", "lee@x"]
        said = {status.request_event_id: status for status in site.statuses()}
        assert {name: (status.state, status.cause) for name, status in said.items()} == {
            "a-kim@x": (MailState.DEFERRED, "sender_denied"),
            "b-kim@X": (MailState.DEFERRED, "sender_denied"),
            "c-lee@x": (MailState.SENT, "accepted"),
            "a-lee@x": (MailState.DEFERRED, "behind_parked"),
            "d-kim@x": (MailState.DEFERRED, "sender_denied"),
        }
        for name in ("a-kim@x", "b-kim@X", "d-kim@x"):
            status = said[name]
            assert (status.attempt, status.relay) == (0, "r")
            assert status.reply is not None
            assert status.reply.enhanced_code == "5.7.60"
            assert status.next_attempt_at is not None
            assert 800 < (status.next_attempt_at - status.occurred_at).total_seconds() < 1000
        assert "mail from kim@x is held" in said["d-kim@x"].reason
        asked = b'postlane_outbound_attempts_total{cause="sender_denied",relay="r"} 1.0'
        assert asked in site.metrics.exposition()


async def test_they_cost_nothing_of_a_budget(tmp_path: Path) -> None:
    sink = ChoosySink("kim@x")
    async with running(tmp_path, RestPolicy(), sink, limits=Limits(budgets=("3 mails/hour",))) as site:
        site.ask(mail("a", "kim@x"))
        await until(lambda: len(site.statuses()) == 1)
        site.ask(*(mail(f"b{n}", "kim@x") for n in range(20)), mail("c", "lee@x"))
        await until(lambda: len(site.statuses()) == 22)
        assert sink.tried == ["kim@x", "lee@x"]
        assert {status.cause for status in site.statuses()} == {"sender_denied", "accepted"}


async def test_when_the_hold_ends_one_mail_asks_and_then_all_go(tmp_path: Path) -> None:
    sink = ChoosySink("kim@x", words=f"{DENIED}, try again in 1 seconds")
    async with running(tmp_path, RestPolicy(), sink) as site:
        site.ask(mail("a", "kim@x"))
        await until(lambda: len(site.statuses()) == 1)
        sink.answers.clear()
        sink.denied.clear()
        await until(lambda: len(sink.tried) == 2)
        site.ask(*(mail(f"b{n}", "kim@x") for n in range(5)))
        await until(lambda: len(site.statuses()) >= 6)
        assert len(sink.tried) == 2
        sink.answers.set()
        await until(lambda: site.ends() == [MailState.SENT])
        site.ask(*(mail(f"c{n}", "kim@x") for n in range(5)))
        await until(lambda: site.ends() == [MailState.SENT] * 6)
        assert {status.attempt for status in site.statuses() if status.final} == {1}
        assert {status.attempt for status in site.statuses() if not status.final} == {0}


async def test_a_person_who_has_allowed_the_sender_lets_its_mail_go_at_once(tmp_path: Path) -> None:
    sink = ChoosySink("kim@x")
    async with running(tmp_path, RestPolicy(), sink) as site:
        site.ask(mail("a", "kim@x"))
        await until(lambda: len(site.statuses()) == 1)
        site.ask(mail("a", "kim@X"), mail("b", "lee@x"))
        await until(lambda: len(site.statuses()) == 3)
        sink.denied.clear()
        site.command(Wish.RESUME_RELAY, relay="r")
        await until(lambda: site.ends() == [MailState.SENT] * 3)
        assert [s.request_event_id for s in site.statuses() if s.final] == ["b-lee@x", "a-kim@x", "a-kim@X"]
        assert sink.tried == ["kim@x", "lee@x", "kim@x", "kim@x"]
