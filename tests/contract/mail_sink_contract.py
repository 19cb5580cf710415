"""What every MailSink must do; a subclass gives a `rig`."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from fakes.relay_script import RelayScript, TakenMail
from postlane.core.smtp.smtp_reply import read_reply
from postlane.core.smtp.transcript import Envelope, Lost, Phase
from postlane.ports import MailSink

A, B, C = "a@x.example", "b@x.example", "c@x.example"
ENVELOPE = Envelope("desk@example.com", (A, B, C))
CONTENT = b"Subject: x\r\n\r\nfirst\r\n.\r\n..dots\r\n"
NO_SUCH = "550 5.1.1 No such user"
LATER = "451 4.3.0 Try later"
SPOKEN = [Phase.CONNECT, Phase.EHLO, Phase.MAIL, Phase.DATA, Phase.FINAL]
LOSABLE = [Phase.CONNECT, Phase.EHLO, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL]


@dataclass(slots=True)
class Rig:
    """A sink, the script of its relay, and what that relay took."""

    sink: MailSink
    script: RelayScript
    taken: Sequence[TakenMail]


class MailSinkContract:
    """Run by `Test...` classes, one per implementation."""

    async def test_a_mail_arrives_as_it_is(self, rig: Rig) -> None:
        transcript = await rig.sink.send(ENVELOPE, CONTENT)
        assert transcript.accepted == read_reply(Phase.FINAL, 250, "2.0.0 Ok: queued as 4XyZ")
        assert (transcript.stopped, transcript.refused) == (None, ())
        assert list(rig.taken) == [TakenMail("desk@example.com", (A, B, C), CONTENT)]

    async def test_the_null_sender_and_non_ascii_addresses(self, rig: Rig) -> None:
        await rig.sink.send(Envelope("", ("jürgen@x.example",)), CONTENT)
        assert [(mail.mail_from, mail.recipients) for mail in rig.taken] == [("", ("jürgen@x.example",))]

    async def test_refused_recipients_are_named_and_the_others_served(self, rig: Rig) -> None:
        rig.script.refused = {A: NO_SUCH, C: LATER}
        transcript = await rig.sink.send(ENVELOPE, CONTENT)
        assert transcript.refused == (
            (A, read_reply(Phase.RCPT, 550, "5.1.1 No such user")),
            (C, read_reply(Phase.RCPT, 451, "4.3.0 Try later")),
        )
        assert transcript.accepted is not None
        assert [mail.recipients for mail in rig.taken] == [(B,)]

    async def test_nothing_is_sent_when_everybody_is_refused(self, rig: Rig) -> None:
        rig.script.refused = dict.fromkeys((A, B, C), NO_SUCH)
        transcript = await rig.sink.send(ENVELOPE, CONTENT)
        assert (transcript.stopped, transcript.accepted) == (None, None)
        assert [address for address, _ in transcript.refused] == [A, B, C]
        assert not rig.taken

    @pytest.mark.parametrize("phase", SPOKEN)
    async def test_the_answer_that_ends_an_attempt(self, rig: Rig, phase: Phase) -> None:
        rig.script.stops = {phase: LATER}
        transcript = await rig.sink.send(ENVELOPE, CONTENT)
        assert transcript.stopped == read_reply(phase, 451, "4.3.0 Try later")
        assert transcript.accepted is None
        assert not rig.taken

    @pytest.mark.parametrize("phase", LOSABLE)
    async def test_a_broken_connection_names_its_phase(self, rig: Rig, phase: Phase) -> None:
        rig.script.stops = {phase: None}
        transcript = await rig.sink.send(ENVELOPE, CONTENT)
        assert isinstance(transcript.stopped, Lost)
        assert transcript.stopped.phase is phase
        assert transcript.stopped.error
        assert transcript.accepted is None
        assert len(rig.taken) == (1 if phase is Phase.FINAL else 0)

    @pytest.mark.parametrize("line", [LATER, NO_SUCH, "421 4.3.2 Closing", None])
    @pytest.mark.parametrize("phase", LOSABLE)
    async def test_the_next_mail_is_sent_after_any_trouble(
        self, rig: Rig, phase: Phase, line: str | None
    ) -> None:
        await rig.sink.send(ENVELOPE, b"Subject: 1\r\n\r\n")
        rig.script.stops = {phase: line}
        await rig.sink.send(ENVELOPE, b"Subject: 2\r\n\r\n")
        rig.script.stops = {}
        transcript = await rig.sink.send(ENVELOPE, CONTENT)
        assert transcript.accepted is not None
        assert rig.taken[-1] == TakenMail("desk@example.com", (A, B, C), CONTENT)

    async def test_many_at_once_arrive_once_each(self, rig: Rig) -> None:
        contents = [b"Subject: %d\r\n\r\n" % number for number in range(60)]
        transcripts = await asyncio.gather(*(rig.sink.send(ENVELOPE, content) for content in contents))
        assert all(transcript.accepted for transcript in transcripts)
        assert sorted(mail.content for mail in rig.taken) == sorted(contents)

    @pytest.mark.parametrize("phase", LOSABLE)
    async def test_closing_cuts_what_is_on_its_way(self, rig: Rig, phase: Phase) -> None:
        rig.script.hangs = phase
        sending = asyncio.create_task(rig.sink.send(ENVELOPE, CONTENT))
        await asyncio.wait_for(rig.script.hanging.wait(), timeout=5)
        assert not sending.done()
        await rig.sink.close()
        transcript = await asyncio.wait_for(sending, timeout=5)
        assert isinstance(transcript.stopped, Lost)
        assert transcript.accepted is None

    async def test_a_closed_sink_sends_nothing_and_may_be_closed_again(self, rig: Rig) -> None:
        await rig.sink.send(ENVELOPE, CONTENT)
        await rig.sink.close()
        await rig.sink.close()
        transcript = await rig.sink.send(ENVELOPE, CONTENT)
        assert isinstance(transcript.stopped, Lost)
        assert transcript.stopped.phase is Phase.CONNECT
        assert len(rig.taken) == 1
