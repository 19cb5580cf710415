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
