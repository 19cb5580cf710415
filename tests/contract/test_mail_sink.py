"""The MailSink contract, on the fake and on the real adapter against a real little server."""

from collections.abc import AsyncIterator

import pytest

from contract.mail_sink_contract import MailSinkContract, Rig
from fakes.memory_sink import MemorySink
from fakes.scripted_relay import ScriptedRelay
from postlane.adapters.smtp_sink import SmtpSink
from postlane.config.relay_section import RelaySection
from postlane.config.sections import Tls


class TestMemorySink(MailSinkContract):
    @pytest.fixture
    def rig(self) -> Rig:
        sink = MemorySink()
        return Rig(sink, sink.script, sink.taken)


class TestSmtpSink(MailSinkContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[Rig]:
        relay = ScriptedRelay()
        port = await relay.start()
        settings = RelaySection(
            host="127.0.0.1", port=port, tls=Tls.NONE, connections=8, ehlo_name="desk.example"
        )
        sink = SmtpSink("main", settings)
        yield Rig(sink, relay.script, relay.taken)
        await sink.close()
        await relay.stop()
