"""The watch over mail.control, on a log in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from fakes.memory_log import MemoryLog
from postlane.adapters.avro_codec import Codec
from postlane.core.control.standing import Pause
from postlane.core.events.command import Command, Wish, command_key, partition_for_all
from postlane.outbound import control_watch
from postlane.outbound.control_watch import ControlWatch, ControlWatchParts
from postlane.ports import LogUnavailable, NewRecord, TopicPartition
from unit.core.control.test_standing import AT, KIM, NOW, command
from unit.outbound.sender_rig import until

CODEC = Codec()
PARTITIONS = 4


@pytest.fixture(autouse=True)
def _follow_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_watch, "FOLLOW_SECONDS", 0.01)


class Site:
    """A log with the topic, a clock that the test moves, and what the watch told of relays."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.log.create_topic("control", PARTITIONS)
        self.now = NOW
        self.told: list[tuple[str, Pause | None]] = []
        self.resumed: list[str] = []
        self.watch = self.another()

    def another(self) -> ControlWatch:
        return ControlWatch(
            ControlWatchParts(
                event_log=self.log,
                codec=CODEC,
                topic="control",
                relay_changed=lambda relay, pause: self.told.append((relay, pause)),
                relay_resumed=lambda relay, _now: self.resumed.append(relay),
                clock=lambda: self.now,
            )
        )

    def give(self, *commands: Command, value: bytes | None = None) -> None:
        before, self.log.before = self.log.before, lambda _operation: None
        writer = self.log.writer("operator")
        writer.take_over()
        keys = [command_key(one) for one in commands]
        values = [CODEC.encode(one) if value is None else value for one in commands]
        places = [TopicPartition("control", partition_for_all(key, PARTITIONS)) for key in keys]
        writer.stage(
            [NewRecord(to=at, key=key, value=v) for at, key, v in zip(places, keys, values, strict=True)]
        )
        writer.commit()
        self.log.before = before

    def listed(self, address: str = KIM) -> str | None:
        return self.watch.suppressed(address, self.now)


@asynccontextmanager
async def watching(site: Site) -> AsyncIterator[None]:
    task = asyncio.create_task(site.watch.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()


async def test_it_is_ready_once_every_partition_is_read() -> None:
    site = Site()
    site.give(*(command(Wish.SUPPRESS_RECIPIENT, f"k{n}@x.example", cause="bounced") for n in range(50)))
    assert not site.watch.ready
    async with watching(site):
        await until(lambda: site.watch.ready)
        assert {site.listed(f"K{n}@x.example") for n in range(50)} == {"bounced"}


async def test_it_is_not_ready_while_kafka_is_away() -> None:
    site = Site()
    site.give(command(Wish.SUPPRESS_RECIPIENT, KIM))
    asked: list[str] = []
    site.log.before = away(asked)
    async with watching(site):
        await until(lambda: len(asked) > 3)
        assert not site.watch.ready
        site.log.before = lambda _operation: None
        await until(lambda: site.watch.ready)
        assert site.listed() == "unnamed"


def away(asked: list[str]) -> Callable[[str], None]:
    def before(operation: str) -> None:
        asked.append(operation)
        raise LogUnavailable("away")

    return before


async def test_what_was_known_holds_while_kafka_is_away_later() -> None:
    site = Site()
    site.give(command(Wish.SUPPRESS_RECIPIENT, KIM))
    async with watching(site):
        await until(lambda: site.watch.ready)
        asked: list[str] = []
        site.log.before = away(asked)
        site.give(command(Wish.ALLOW_RECIPIENT, KIM))
        await until(lambda: len(asked) > 3)
        assert site.listed() == "unnamed"
        site.log.before = lambda _operation: None
        await until(lambda: site.listed() is None)


async def test_it_follows_and_tells_of_relays() -> None:
    site = Site()
    site.give(command(Wish.PAUSE_RELAY, "main"))
    async with watching(site):
        pause = Pause("because", "kim@desk", NOW, None)
        await until(lambda: site.told == [("main", pause)])
        assert site.watch.pause_of("main", site.now) == pause
        site.give(command(Wish.PAUSE_RELAY, "main", seconds=60), command(Wish.PAUSE_RELAY, "backup"))
        shorter = Pause("because", "kim@desk", NOW, NOW + 60)
        await until(lambda: {*site.told[1:]} == {("backup", pause), ("main", shorter)})
        site.now += 60
        await until(lambda: site.told[3:] == [("main", None)])
        site.give(command(Wish.RESUME_RELAY, "backup"))
        await until(lambda: site.told[4:] == [("backup", None)])
        assert site.watch.pause_of("backup", site.now) is None


async def test_a_bad_record_is_passed_over_and_others_hold() -> None:
    site = Site()
    site.give(command(Wish.SUPPRESS_RECIPIENT, KIM), value=b"?")
    site.give(command(Wish.SUPPRESS_RECIPIENT, "b@x.example"))
    async with watching(site):
        await until(lambda: site.watch.ready)
        assert site.listed() is None
        assert site.listed("b@x.example") == "unnamed"


async def test_a_topic_that_was_created_anew_is_read_anew() -> None:
    site = Site()
    site.give(command(Wish.SUPPRESS_RECIPIENT, KIM), command(Wish.PAUSE_RELAY, "main"))
    async with watching(site):
        await until(lambda: site.watch.ready and len(site.told) == 1)
        site.log.create_topic("control", PARTITIONS)
        await until(lambda: site.listed() is None)
        await until(lambda: site.told[1:] == [("main", None)])
        site.give(command(Wish.SUPPRESS_RECIPIENT, KIM))
        await until(lambda: site.listed() == "unnamed")


async def test_commands_about_tickets_are_not_its_business() -> None:
    site = Site()
    held = Command(command_id="c", issued_at=AT, issued_by="k", wish=Wish.HOLD_TICKET, ticket_id="T-1")
    site.give(held, held, value=b"not even Avro")
    async with watching(site):
        await until(lambda: site.watch.ready)
        assert site.told == []


async def test_a_word_to_go_on_is_told_once_and_only_when_it_comes_while_watching() -> None:
    site = Site()
    site.give(command(Wish.RESUME_RELAY, "main"))
    async with watching(site):
        await until(lambda: site.watch.ready)
        site.give(replace(command(Wish.RESUME_RELAY, "backup"), command_id="d"))
        await until(lambda: site.resumed == ["backup"])
        site.give(replace(command(Wish.RESUME_RELAY, "main"), command_id="e"))
        await until(lambda: site.resumed == ["backup", "main"])
        site.give(command(Wish.PAUSE_RELAY, "other"))
        await until(lambda: len(site.told) == 1)
        assert site.resumed == ["backup", "main"]
