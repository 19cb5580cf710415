"""A relay takes our mail for spam: counted, told in the log once an hour, an alert when it is many; nobody is suppressed."""

import time
from pathlib import Path

from structlog.testing import capture_logs

from fakes.memory_sink import MemorySink
from fakes.relay_script import RelayScript
from postlane.core.events.status import MailState
from postlane.core.sending.rest import RestPolicy
from postlane.core.smtp.transcript import Phase
from unit.outbound.sender_rig import Limits, running, until

SPAM = RelayScript(stops={Phase.FINAL: "550 5.7.1 This message looks like spam"})
MANY = 11


async def test_many_mails_that_a_relay_does_not_want_raise_an_alert(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with running(
            tmp_path, RestPolicy(), MemorySink(SPAM), limits=Limits(dead_limit_mails=1000)
        ) as site:
            site.produce(*(f"t{n}" for n in range(MANY)))
            await until(lambda: site.ends() == [MailState.FAILED] * MANY)
            raised = b'postlane_alert_raised{alert="RelayDistrusted",subject="r"} 1.0'
            await until(lambda: raised in site.metrics.exposition())
            counted = f'postlane_outbound_distrusted_total{{cause="spam",relay="r"}} {MANY}.0'
            assert counted.encode() in site.metrics.exposition()
            for address in ("a@x", "b@x"):
                assert site.sender.parts.control.suppressed(address, time.time()) is None
    (line,) = [line for line in logs if line["event"] == "relay_distrusts"]
    assert (line["log_level"], line["relay"], line["cause"]) == ("warning", "r", "spam")
    assert "looks like spam" in line["reason"]
