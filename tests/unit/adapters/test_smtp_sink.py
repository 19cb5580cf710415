"""The pool of the SMTP sink: its bounds, its idle sessions, its end. What single answers mean stands in tests/dialogs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from fakes.relay_script import RelayScript
from fakes.scripted_relay import ScriptedRelay
from postlane.adapters.smtp_sink import SmtpSink
from postlane.config.relay_section import RelaySection
from postlane.config.sections import Tls
from postlane.config.settings import ConfigError
from postlane.core.smtp.transcript import Envelope, Lost, Phase

ENVELOPE = Envelope("desk@example.com", ("a@x.example",))
CONTENT = b"Subject: x\r\n\r\nhi\r\n"
LARGE = b"Subject: x\r\n\r\n" + b"a line of text\r\n" * 100_000


@pytest.fixture
async def relay() -> AsyncIterator[ScriptedRelay]:
    relay = ScriptedRelay(RelayScript())
    yield relay
    await relay.stop()


async def sink_to(relay: ScriptedRelay, **settings: float | str | None) -> SmtpSink:
    fields = {"host": "127.0.0.1", "port": await relay.start(), "tls": Tls.NONE, "ehlo_name": "desk.example"}
    return SmtpSink("main", RelaySection.model_validate(fields | settings))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the other side's state, seen from outside
            await asyncio.sleep(0.005)


async def test_never_more_sessions_than_allowed(relay: ScriptedRelay) -> None:
    sink = await sink_to(relay, connections=3, mails_per_connection=4)
    transcripts = await asyncio.gather(*(sink.send(ENVELOPE, CONTENT) for _ in range(60)))
    await sink.close()
    assert all(transcript.accepted for transcript in transcripts)
    assert len(relay.taken) == 60
    assert relay.open_at_once_max <= 3
    assert relay.sessions == 15


async def test_sessions_are_used_again(relay: ScriptedRelay) -> None:
    sink = await sink_to(relay, connections=4)
    for _ in range(20):
        await sink.send(ENVELOPE, CONTENT)
    assert relay.sessions == 1
    await sink.close()


async def test_sessions_count_until_their_goodbye_is_over(relay: ScriptedRelay) -> None:
    sink = await sink_to(relay, connections=4)
    assert sink.sessions == 0
    relay.script.hangs = Phase.CONNECT
    opening = asyncio.create_task(sink.send(ENVELOPE, CONTENT))
    await until(lambda: relay.open_now == 1)
    assert sink.sessions == 1
    opening.cancel()
    await asyncio.wait({opening})
    assert sink.sessions == 0
    relay.script.hangs = None
    await until(lambda: relay.open_now == 0)
    relay.judges.clear()
    working = [asyncio.create_task(sink.send(ENVELOPE, CONTENT)) for _ in range(2)]
    await until(lambda: relay.open_now == 2)
    assert sink.sessions == 2
    relay.judges.set()
    await asyncio.gather(*working)
    assert sink.sessions == 2, "idle ones are open, too"
    sink.trim(0)
    assert sink.sessions == 2, "they are saying goodbye"
    await until(lambda: sink.sessions == 0)
    await until(lambda: relay.open_now == 0)
    await sink.close()


async def test_trim_ends_the_oldest_idle_sessions_and_no_mail(relay: ScriptedRelay) -> None:
    sink = await sink_to(relay, connections=4)
    await asyncio.gather(*(sink.send(ENVELOPE, CONTENT) for _ in range(4)))
    sink.trim(4)
    assert relay.open_now == sink.sessions == 4
    relay.judges.clear()
    sending = [asyncio.create_task(sink.send(ENVELOPE, CONTENT)) for _ in range(2)]
    await until(lambda: len(relay.taken) == 6)
    sink.trim(3)
    await until(lambda: relay.open_now == 3)
    sink.trim(1)
    await until(lambda: relay.open_now == 2)
    relay.judges.set()
    assert all(transcript.accepted for transcript in await asyncio.gather(*sending))
    assert relay.sessions == 4
    await sink.close()


@pytest.mark.parametrize("settings", [{"mails_per_connection": 1}, {"idle_seconds": 0}])
async def test_a_goodbye_takes_the_place_of_a_session(
    relay: ScriptedRelay, settings: dict[str, float]
) -> None:
    sink = await sink_to(relay, connections=4, **settings)
    sink.trim(1)
    assert (await sink.send(ENVELOPE, CONTENT)).accepted
    relay.lets_go.clear()
    assert sink.sessions == 1
    sending = asyncio.create_task(sink.send(ENVELOPE, CONTENT))
    await until(lambda: relay.goodbyes == 1)
    assert not sending.done()
    relay.lets_go.set()
    assert (await asyncio.wait_for(sending, timeout=5)).accepted
    assert relay.open_at_once_max == 1
    await sink.close()


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.MAIL, Phase.FINAL])
async def test_cut_ends_what_is_under_way_and_the_sink_goes_on(
    relay: ScriptedRelay, phase: Phase, kept: bool
) -> None:
    sink = await sink_to(relay, connections=1)
    if kept and phase is not Phase.CONNECT:
        await sink.send(ENVELOPE, CONTENT)
    relay.script.hangs, opened = phase, relay.sessions
    sending = [asyncio.create_task(sink.send(ENVELOPE, CONTENT)) for _ in range(2)]
    await asyncio.wait_for(relay.script.hanging.wait(), timeout=5)
    sink.cut()
    stops = [(await asyncio.wait_for(task, timeout=5)).stopped for task in sending]
    assert all(isinstance(stopped, Lost) for stopped in stops)
    assert [stopped.phase for stopped in stops if stopped] == [
        phase if not kept or phase is Phase.FINAL else Phase.CONNECT,
        Phase.CONNECT,
    ], "a mail that waits for a session and one whose kept session was cut open none any more"
    await until(lambda: relay.open_now == 0)
    assert sink.sessions == 0
    assert relay.sessions - opened <= 1
    relay.script.hangs = None
    assert (await sink.send(ENVELOPE, CONTENT)).accepted
    await sink.close()


async def test_idle_sessions_are_ended(relay: ScriptedRelay) -> None:
    sink = await sink_to(relay, connections=4, idle_seconds=0.05)
    await asyncio.gather(*(sink.send(ENVELOPE, CONTENT) for _ in range(4)))
    await until(lambda: relay.open_now == 0)
    assert (await sink.send(ENVELOPE, CONTENT)).accepted
    await until(lambda: relay.open_now == 0)
    await sink.close()


async def test_a_cancelled_mail_frees_its_slot_and_its_session_is_not_used_again(
    relay: ScriptedRelay,
) -> None:
    for phase in (Phase.CONNECT, Phase.MAIL, Phase.FINAL):
        relay.script.hangs = phase
        relay.script.hanging.clear()
        sink = await sink_to(relay, connections=1)
        sending = asyncio.create_task(sink.send(ENVELOPE, CONTENT))
        await asyncio.wait_for(relay.script.hanging.wait(), timeout=5)
        sending.cancel()
        await asyncio.wait({sending})
        assert sending.cancelled()
        relay.script.hangs = None
        assert (await asyncio.wait_for(sink.send(ENVELOPE, CONTENT), timeout=5)).accepted
        await sink.close()


async def test_mails_that_wait_for_a_session_are_refused_when_the_sink_closes(relay: ScriptedRelay) -> None:
    relay.script.hangs = Phase.MAIL
    sink = await sink_to(relay, connections=1)
    sending = [asyncio.create_task(sink.send(ENVELOPE, CONTENT)) for _ in range(3)]
    await asyncio.wait_for(relay.script.hanging.wait(), timeout=5)
    await sink.close()
    transcripts = await asyncio.wait_for(asyncio.gather(*sending), timeout=5)
    stops = [transcript.stopped for transcript in transcripts]
    assert all(isinstance(stopped, Lost) for stopped in stops)
    assert stops[1:] == [Lost(Phase.CONNECT, "Postlane is shutting down")] * 2


async def test_nobody_listens() -> None:
    relay = ScriptedRelay()
    sink = await sink_to(relay)
    await relay.stop()
    stopped = (await sink.send(ENVELOPE, CONTENT)).stopped
    assert isinstance(stopped, Lost)
    assert stopped.phase is Phase.CONNECT
    assert "refused" in stopped.error.lower() or "connect call failed" in stopped.error.lower()
    await sink.close()


async def test_a_host_that_cannot_be(relay: ScriptedRelay) -> None:
    sink = await sink_to(relay, host="x" * 80 + ".invalid")
    stopped = (await sink.send(ENVELOPE, CONTENT)).stopped
    assert isinstance(stopped, Lost)
    assert stopped.phase is Phase.CONNECT
    await sink.close()


async def test_the_own_name_is_found_when_none_is_given(relay: ScriptedRelay) -> None:
    sink = await sink_to(relay, ehlo_name=None)
    assert (await sink.send(ENVELOPE, CONTENT)).accepted
    assert "." in relay.greeted_as[0]
    await sink.close()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_bad_certificate_file_is_named(tmp_path: Path, content: str | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    relay = RelaySection(host="127.0.0.1", ca_file=ca_file)
    with pytest.raises(ConfigError, match=r"relays\.main\.ca_file: .*ca\.pem cannot be used"):
        SmtpSink("main", relay)


def test_it_runs_on_uvloop() -> None:
    async def run() -> None:
        relay = ScriptedRelay()
        sink = await sink_to(relay, connections=2)
        for content in (CONTENT, LARGE):
            assert (await sink.send(ENVELOPE, content)).accepted
        relay.script.hangs = Phase.FINAL
        sending = asyncio.create_task(sink.send(ENVELOPE, LARGE))
        await asyncio.wait_for(relay.script.hanging.wait(), timeout=5)
        await sink.close()
        stopped = (await asyncio.wait_for(sending, timeout=5)).stopped
        assert isinstance(stopped, Lost)
        assert stopped.phase is Phase.FINAL
        assert [mail.content for mail in relay.taken] == [CONTENT, LARGE, LARGE]
        await relay.stop()

    uvloop.run(run())
