"""The notifier: nothing that a channel does holds the service up, is repeated for ever, or passes unseen."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from structlog.testing import capture_logs

from postlane.adapters.metrics import Metrics
from postlane.adapters.notice_channel import Away, Outcome, Refused, Told
from postlane.adapters.notifier import WAITING_MAX, Notifier, channels_of
from postlane.config.notify_section import NotifyMailSection, NotifySection, WebhookSection
from postlane.config.sections import Tls
from postlane.core.alerts.catalogue import AlertName
from postlane.core.alerts.notice import Notice, notice
from postlane.core.alerts.raising import Alert, Condition, Raise
from postlane.core.metrics import OUTBOUND_METRICS

CONDITION = Condition(alert=AlertName.BACKLOG_OLD, subject="", since=0.0, cause="backlog", reason="r")
NOTICE = notice(Raise(Alert(CONDITION, 1.0)), 2.0, instance="i")


def numbered(number: int) -> Notice:
    return replace(NOTICE, reminders=number)


@dataclass
class ScriptedChannel:
    """Gives these outcomes, then is told; with `gate` it answers only once that is set."""

    outcomes: list[Outcome | Exception] = field(default_factory=list)
    gate: asyncio.Event | None = None
    name: str = "scripted"
    told: list[int] = field(default_factory=list)
    closed: bool = False

    async def tell(self, notice: Notice) -> Outcome:
        if self.gate is not None:
            await self.gate.wait()
        self.told.append(notice.reminders)
        outcome = self.outcomes.pop(0) if self.outcomes else Told()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(OUTBOUND_METRICS)


def ended(metrics: Metrics, end: str, channel: str = "scripted") -> float:
    labels = {"channel": channel, "end": end}
    return metrics.registry.get_sample_value("postlane_notifications_total", labels) or 0.0


async def until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not seen():  # noqa: ASYNC110 - the other side's state, seen from outside
            await asyncio.sleep(0.002)


async def test_told_in_order(metrics: Metrics) -> None:
    channel = ScriptedChannel()
    notifier = Notifier([channel], metrics)
    for number in range(5):
        notifier.tell(numbered(number))
    await until(lambda: ended(metrics, "sent") == 5)
    notifier.tell(numbered(5))
    await until(lambda: ended(metrics, "sent") == 6)
    assert channel.told == [0, 1, 2, 3, 4, 5]
    await notifier.close()
    assert channel.closed


async def test_tried_again_but_not_for_ever(metrics: Metrics) -> None:
    channel = ScriptedChannel([Away("busy"), Away("busy"), Told(), Away("1"), Away("2"), Away("3")])
    notifier = Notifier([channel], metrics, retry_seconds=(0.0, 0.0))
    with capture_logs() as logs:
        notifier.tell(numbered(1))
        notifier.tell(numbered(2))
        notifier.tell(numbered(3))
        await until(lambda: ended(metrics, "sent") == 2)
    assert channel.told == [1, 1, 1, 2, 2, 2, 3]
    assert ended(metrics, "failed") == 1
    (failed,) = [line for line in logs if line["event"] == "notify_failed"]
    assert (failed["log_level"], failed["reason"], failed["channel"]) == ("warning", "3", "scripted")
    await notifier.close()


async def test_a_refusal_is_not_tried_again(metrics: Metrics) -> None:
    channel = ScriptedChannel([Refused("404")])
    notifier = Notifier([channel], metrics)
    notifier.tell(NOTICE)
    await until(lambda: ended(metrics, "failed") == 1)
    assert len(channel.told) == 1
    await notifier.close()


async def test_a_fault_of_ours_is_logged_without_its_words(metrics: Metrics) -> None:
    channel = ScriptedChannel([ValueError("unknown url type: a-secret-address")])
    notifier = Notifier([channel], metrics)
    with capture_logs() as logs:
        notifier.tell(numbered(1))
        notifier.tell(numbered(2))
        await until(lambda: ended(metrics, "sent") == 1)
    assert ended(metrics, "failed") == 1
    assert "ValueError" in str(logs)
    assert "test_notifier" in str(logs), "where it happened"
    assert "a-secret-address" not in str(logs)
    await notifier.close()


async def test_a_channel_that_stands_holds_nobody_up(metrics: Metrics) -> None:
    standing = ScriptedChannel(gate=asyncio.Event(), name="standing")
    other = ScriptedChannel()
    notifier = Notifier([standing, other], metrics)
    for number in range(WAITING_MAX + 5):
        notifier.tell(numbered(number))
        await asyncio.sleep(0)
    await until(lambda: ended(metrics, "sent") == WAITING_MAX + 5)
    assert ended(metrics, "dropped", "standing") == 4
    assert standing.told == []
    assert standing.gate is not None
    standing.gate.set()
    await until(lambda: ended(metrics, "sent", "standing") == WAITING_MAX + 1)
    assert standing.told == [0, *range(5, WAITING_MAX + 5)], "what is newest is told"
    await notifier.close()


async def test_the_end_waits_a_moment_and_no_longer(metrics: Metrics) -> None:
    standing = ScriptedChannel(gate=asyncio.Event(), name="standing")
    quick = ScriptedChannel()
    notifier = Notifier([standing, quick], metrics)
    notifier.tell(NOTICE)
    with capture_logs() as logs:
        await asyncio.wait_for(notifier.close(), 10)
    assert quick.told == [0]
    assert standing.closed
    assert ended(metrics, "dropped", "standing") == 1
    assert "the service stops" in str(logs)
    notifier.tell(NOTICE)
    assert quick.told == [0]


async def test_without_channels_nothing_happens(metrics: Metrics) -> None:
    notifier = Notifier([], metrics)
    notifier.tell(NOTICE)
    await notifier.close()
    assert ended(metrics, "sent") == 0


def test_the_channels_are_those_configured() -> None:
    webhook = WebhookSection.model_validate({"url": "http://127.0.0.1:9/"})
    mail = NotifyMailSection(host="h", tls=Tls.NONE, sender="a@x.example", recipients=("b@x.example",))
    assert channels_of(NotifySection()) == ()
    names = [channel.name for channel in channels_of(NotifySection(webhook=webhook, mail=mail))]
    assert names == ["webhook", "mail"]
