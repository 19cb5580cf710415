"""Every alert, once, from what the sender sees to what people get: a line in the log, a metric, a webhook and a mail."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from fakes.alert_receiver import AlertReceiver
from fakes.scripted_relay import ScriptedRelay
from postlane.adapters.metrics import Metrics
from postlane.adapters.notifier import Notifier, channels_of
from postlane.adapters.token_source import Standing
from postlane.config.notify_section import NotifySection
from postlane.core.alerts.catalogue import KINDS, AlertName
from postlane.core.alerts.conditions import RelaySeen, Seen
from postlane.core.limits.permission import Hold, TurnedAway
from postlane.core.metrics import OUTBOUND_METRICS
from postlane.outbound.alarms import Alarms, look
from postlane.outbound.gauges import Gauges
from unit.core.limits.parts import governor, refusal

T0 = 1_800_000_000.0
LONG = T0 - 86_400
WELL = Seen(relays=(RelaySeen(relay="main"),))


def held(cause: str, reason: str) -> Seen:
    hold = Hold(relay="main", cause=cause, reason=reason, since=LONG, until=T0 + 60)
    return Seen(relays=(RelaySeen(relay="main", hold=hold),))


TROUBLES: Mapping[AlertName, Seen] = {
    AlertName.RELAY_HELD: held("quota", "550 5.4.5 Daily limit exceeded (mail)"),
    AlertName.RELAY_LOGIN_BROKEN: held("auth", "535 5.7.8 Not accepted (auth)"),
    AlertName.RELAY_CIRCUIT_OPEN: held("connection", "Connection refused (connect)"),
    AlertName.RELAY_GRANT_ENDS: Seen(relays=(RelaySeen(relay="main", grant_days_left=6.0),)),
    AlertName.RELAY_DISTRUSTED: Seen(relays=(RelaySeen(relay="main", distrusted=11, distrust="spam: no"),)),
    AlertName.DEAD_LETTERS_GROW: Seen(dead_letters=21),
    AlertName.RELAY_SECTIONS_DIFFER: Seen(relays=(RelaySeen(relay="main", differing="b-1 in budgets"),)),
    AlertName.CLOCK_OFF: Seen(clock_skew_seconds=-7200.0),
    AlertName.BACKLOG_OLD: Seen(oldest_ready_seconds=1801.0),
}


@dataclass
class Desk:
    """Alarms with both channels; `now` is moved by tests."""

    receiver: AlertReceiver
    relay: ScriptedRelay
    metrics: Metrics
    alarms: Alarms
    notifier: Notifier
    now: float = T0

    def look(self, seen: Seen, after: float = 0.0) -> None:
        self.now += after
        self.alarms.observe(seen)

    async def told(self, count: int) -> list[dict[str, Any]]:
        """What the webhook got, once it and the mailbox have both got so many."""
        await until(lambda: len(self.receiver.requests) == count == len(self.relay.taken))
        return [request.document for request in self.receiver.requests]

    def raised(self, alert: AlertName, subject: str) -> float | None:
        labels = {"alert": alert.value, "subject": subject}
        return self.metrics.registry.get_sample_value("postlane_alert_raised", labels)


async def until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not seen():  # noqa: ASYNC110 - the other side's state, seen from outside
            await asyncio.sleep(0.005)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    receiver, relay, metrics = AlertReceiver(), ScriptedRelay(), Metrics(OUTBOUND_METRICS)
    mail = {
        "host": "127.0.0.1",
        "port": await relay.start(),
        "tls": "none",
        "sender": "desk@example.com",
        "recipients": ["ops@example.com"],
    }
    section = NotifySection.model_validate({"webhook": {"url": receiver.url}, "mail": mail})
    notifier = Notifier(channels_of(section), metrics)
    alarms = Alarms(section, notifier, metrics, "host-1", clock=lambda: made.now)
    made = Desk(receiver, relay, metrics, alarms, notifier)
    yield made
    await notifier.close()
    receiver.stop()
    await relay.stop()


@pytest.mark.parametrize("alert", TROUBLES)
async def test_each_alert_is_told_by_every_way_once(desk: Desk, alert: AlertName) -> None:
    trouble = TROUBLES[alert]
    subject = "main" if trouble.relays else ""
    desk.look(WELL)
    with capture_logs() as logs:
        for _ in range(20):
            desk.look(trouble, after=5)
    (document,) = await desk.told(1)
    assert (document["type"], document["data"]["alert"], document["data"]["subject"]) == (
        "alert.raised",
        alert.value,
        subject,
    )
    assert document["text"].encode() in b" ".join(desk.relay.taken[0].content.split())
    (line,) = [line for line in logs if line["event"] == "alert_raised"]
    assert (line["log_level"], line["alert"], line["action"]) == (
        "warning",
        alert,
        KINDS[alert].action.replace("{subject}", subject),
    )
    assert desk.raised(alert, subject) == 1


async def test_from_raise_over_reminder_to_the_end(desk: Desk) -> None:
    trouble = TROUBLES[AlertName.RELAY_HELD]
    desk.look(trouble)
    desk.look(trouble, after=14_399)
    desk.look(trouble, after=1)
    desk.look(WELL, after=299)
    desk.look(WELL, after=300)
    documents = await desk.told(3)
    assert [document["type"] for document in documents] == ["alert.raised", "alert.reminded", "alert.cleared"]
    assert len({document["data"]["fingerprint"] for document in documents}) == 1
    assert desk.raised(AlertName.RELAY_HELD, "main") is None


async def test_of_two_processes_the_speaker_tells_people_and_both_keep_their_log_and_metric(
    desk: Desk,
) -> None:
    spoken_for: set[str] = set()
    other_metrics = Metrics(OUTBOUND_METRICS)
    other = Alarms(
        NotifySection(),
        desk.notifier,
        other_metrics,
        "host-2",
        is_speaker=lambda relay: relay in spoken_for,
        clock=lambda: desk.now,
    )
    trouble = TROUBLES[AlertName.RELAY_LOGIN_BROKEN]
    with capture_logs() as logs:
        desk.look(trouble)
        other.observe(trouble)
    assert [document["data"]["instance"] for document in await desk.told(1)] == ["host-1"]
    assert [line["event"] for line in logs].count("alert_raised") == 2
    labels = {"alert": AlertName.RELAY_LOGIN_BROKEN.value, "subject": "main"}
    assert other_metrics.registry.get_sample_value("postlane_alert_raised", labels) == 1
    spoken_for.add("main")
    other.observe(trouble)
    documents = await desk.told(2)
    assert [document["data"]["instance"] for document in documents] == ["host-1", "host-2"]
    assert len({document["data"]["fingerprint"] for document in documents}) == 1


async def test_people_hear_of_it_though_one_way_is_dead(desk: Desk) -> None:
    await desk.relay.stop()
    desk.look(TROUBLES[AlertName.RELAY_LOGIN_BROKEN])
    await until(lambda: len(desk.receiver.requests) == 1)
    assert desk.receiver.requests[0].document["data"]["severity"] == "critical"


async def test_without_a_way_the_log_and_the_metric_remain() -> None:
    metrics = Metrics(OUTBOUND_METRICS)
    alarms = Alarms(NotifySection(), Notifier([], metrics), metrics, "host-1")
    with capture_logs() as logs:
        alarms.observe(Seen(oldest_ready_seconds=1e6))
    assert [line["event"] for line in logs] == ["alert_raised"]
    labels = {"alert": "BacklogOld", "subject": ""}
    assert metrics.registry.get_sample_value("postlane_alert_raised", labels) == 1


@pytest.mark.parametrize(
    ("broken", "warns", "trouble", "days"),
    [(False, False, None, None), (True, False, "refuses the grant", None), (False, True, None, 3.0)],
)
def test_a_look_at_the_sender(broken: bool, warns: bool, trouble: str | None, days: float | None) -> None:
    gauges = Gauges(Metrics(OUTBOUND_METRICS))
    standing = Standing(
        ok=not broken,
        broken=broken,
        words="refuses the grant",
        ends_at=T0,
        days_left=3.0,
        warns=warns,
        unkept=False,
    )
    gauges.grant("main", standing)
    gauges.dead_letters = 7
    gauges.distrusted["main"], gauges.distrust_words["main"] = 3, "spam: no"
    governors = {name: governor() for name in ("main", "other")}
    other = governors["other"]
    other.ended(other.started(1, LONG), TurnedAway(refusal("quota"), counted=True), LONG)
    hold = other.hold(LONG + 1)
    other.pause("p", None, LONG + 1)
    pause = other.hold(LONG + 1)
    assert hold is not None
    assert pause is not None
    assert look(gauges, governors, LONG + 1) == Seen(
        relays=(
            RelaySeen(
                relay="main", login_trouble=trouble, grant_days_left=days, distrusted=3, distrust="spam: no"
            ),
            RelaySeen(relay="other", hold=pause, beneath=hold),
        ),
        oldest_ready_seconds=0.0,
        dead_letters=7,
    )
