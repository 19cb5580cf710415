"""Records that a mail brings along stand in the transaction of its event, and never cost it that event."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from postlane.core.events.received import MailReceived
from postlane.core.reading.parsed_mail import MailReading
from postlane.inbound import wiring
from postlane.inbound.intake import Intake
from postlane.ports import NewRecord, TopicPartition
from unit.inbound.test_inbound_loop import World, mail, numbers

AT = TopicPartition("mail.inbound.dlq", 0)  # any topic will do


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    def brings(event: MailReceived, _reading: MailReading) -> Sequence[NewRecord]:
        size = 30_000 if event.subject == "mail 2" else 10
        return [NewRecord(to=AT, key=event.event_id.encode(), value=b"x" * size)]

    def intake(*parts: Any, **_others: Any) -> Intake:
        return Intake(*parts, companions=brings)

    monkeypatch.setattr(wiring, "Intake", intake)
    return World(tmp_path)


async def test_a_mail_brings_its_records_along_once(world: World) -> None:
    world.server.deliver(mail(1))
    async with world.process(start="all"):
        (event,) = await world.produced(1)
        assert [record.key for record in world.reader.records(AT.topic)] == [event.event_id.encode()]


async def test_a_companion_that_is_refused_is_left_out(world: World) -> None:
    world.log.record_bytes_max = 20_000
    for number in (1, 2, 3):
        world.server.deliver(mail(number))
    async with world.process(start="all"):
        events = await world.produced(3)
        companions = {record.key for record in world.reader.records(AT.topic)}
    assert numbers(events) == [1, 2, 3]
    assert companions == {events[0].event_id.encode(), events[2].event_id.encode()}
