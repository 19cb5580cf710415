"""Folders in trouble: restored, missing, with neighbours that break every session, with sizes that are estimates; each on its own."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fakes.inbound_process import wait_until
from fakes.memory_mailbox import MemoryMailbox
from postlane.adapters.blob_directory import BlobDirectory
from postlane.core.events.received import MailboxReport, MailReceived
from postlane.core.polling.quarantine import Quarantined, decode_quarantine
from postlane.inbound import reporting
from postlane.inbound.cursors import CursorReader
from postlane.inbound.intake import Intake
from postlane.inbound.oversize import PART_BYTES
from postlane.ports import MailSourceError, MailTrouble
from unit.inbound.test_inbound_loop import World, mail, numbers

OVERSIZE = {"oversize_bytes": 70_000, "chunk_bytes": 1_048_576}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("postlane.core.reconnect.SECONDS_MAX", 0.01)
    monkeypatch.setattr("postlane.core.reconnect.AUTH_SECONDS_MAX", 0.01)
    monkeypatch.setattr(reporting, "NEWS_SECONDS", 0.02)
    return World(tmp_path)


def quarantined(world: World) -> list[Quarantined]:
    return [decode_quarantine(record.headers) for record in world.reader.records("mail.inbound.dlq")]


async def reported(world: World, wanted: Any) -> MailboxReport:
    await wait_until(lambda: any(wanted(one) for one in world.reader.reports()))
    return [one for one in world.reader.reports() if wanted(one)][-1]


async def test_a_new_owner_says_soon_that_it_has_looked_through_what_another_one_left(world: World) -> None:
    async with world.process(start="all"):
        world.server.deliver(mail(1))
        await world.produced(1)
        await reported(world, lambda one: one.connected and one.lag == 0)
        world.server.deliver(mail(2))  # its cursor says when the folder was looked through before
        await world.produced(2)
    before = len(list(world.reader.reports()))
    async with world.process(start="all"):
        await wait_until(lambda: any(one.lag == 0 for one in list(world.reader.reports())[before:]))
    first, *_ = list(world.reader.reports())[before:]
    assert not first.connected
    assert first.lag is None


async def test_each_folder_has_a_cursor_and_a_pace_of_its_own(world: World) -> None:
    world.server.folder("Billing")
    async with world.process(start="all", more_folders=["Billing"]) as process:
        world.server.deliver(mail(1))
        world.server.deliver(mail(2), folder="Billing")
        world.server.deliver(mail(3), folder="Billing")
        await world.produced(3)
        await wait_until(
            lambda: all("\\Seen" in one.flags for one in world.server.folder("Billing").mails.values())
        )
        ended = process.metric(
            "postlane_inbound_ended_mails_total", mailbox="support", folder="Billing", outcome="produced"
        )
    assert (world.reader.cursor("support").produced, world.reader.cursor("support", "Billing").produced) == (
        1,
        2,
    )
    assert ended == 2


async def test_a_missing_folder_is_reported_and_holds_no_other_up(world: World) -> None:
    async with world.process(start="all", more_folders=["Gone"]):
        world.server.deliver(mail(1))
        await world.produced(1)
        report = await reported(world, lambda one: one.folder == "Gone" and one.error_kind is not None)
        assert "Gone" in report.error
        world.server.deliver(mail(2), folder="Gone")  # it is created
        events = await world.produced(2)
    assert Counter(numbers(events)) == Counter([1, 2])


async def test_how_many_mails_wait_is_not_known_while_no_session_is_open(world: World) -> None:
    async with world.process(start="all"):
        await reported(world, lambda one: one.lag == 0)
        world.server.fail("list_since", MailSourceError("connection lost"), times=1)
        world.server.fail("open", MailSourceError("no route"), times=10_000)
        world.server.deliver(mail(1))
        report = await reported(world, lambda one: one.error_kind is not None)
    assert (report.connected, report.lag) == (False, None)


async def test_a_process_that_ends_takes_its_alerts_back(world: World) -> None:
    world.server.fail("open", MailSourceError("LOGIN refused: no", trouble=MailTrouble.AUTH), times=10_000)
    with capture_logs() as logs:
        async with world.process() as process:
            alert = {"alert": "MailboxLoginBroken", "subject": "support"}
            await wait_until(lambda: process.metric("postlane_alert_raised", **alert) == 1)
    (line,) = [line for line in logs if line["event"] == "alert_cleared"]
    assert "no longer polled by this process" in line["summary"]


async def test_a_refused_login_is_reported_until_it_works(world: World) -> None:
    refused = MailSourceError("LOGIN refused: no", trouble=MailTrouble.AUTH)
    world.server.fail("open", refused, times=10_000)
    async with world.process(start="all") as process:
        report = await reported(world, lambda one: one.error_kind == "auth")
        assert (report.connected, report.checked_at) == (False, None)
        assert process.metric("postlane_inbound_errors_total", mailbox="support", kind="auth") >= 1
        world.server.fail_next["open"].clear()
        well = await reported(world, lambda one: one.checked_at is not None and one.error_kind is None)
        assert (well.connected, well.lag) == (True, 0)


@pytest.mark.parametrize("after", ["flag", "delete"])
async def test_a_folder_restored_under_its_old_numbers_gives_no_second_event(
    world: World, after: str
) -> None:
    for number in range(6):
        world.server.deliver(mail(number))
    async with world.process(start="all", after="flag"):
        await world.produced(6)
        await world.settled()
    world.server.restore(3)
    world.server.deliver(mail(7))  # with a number that mail 3 had
    async with world.process(start="all", after=after, instance="two") as process:
        await world.produced(7)
        await wait_until(lambda: world.reader.cursor("support").uid_validity == 1)
        for number in (8, 9, 10):
            world.server.deliver(mail(number))
        events = await world.produced(10)
        assert process.metric("postlane_inbound_uid_validity_changes_total", mailbox="support") == 1
        await reported(world, lambda one: one.instance == "two" and not one.scanning and one.lag == 0)
    assert Counter(numbers(events)) == Counter([*range(6), 7, 8, 9, 10])
    cursor = world.reader.cursor("support")
    assert cursor.listed == cursor.produced + cursor.skipped == 10 + 3


async def test_a_restore_that_goes_on_behind_the_scan_gives_no_second_event(world: World) -> None:
    raws = [mail(number) for number in range(8)]
    for raw in raws:
        world.server.deliver(raw)
    async with world.process(start="all"):
        await world.produced(8)
    place = world.server.folder()
    place.mails, place.uid_next, place.uid_validity = {}, 1, 2
    for raw in raws[:2]:
        world.server.deliver(raw)
    async with world.process(start="all", instance="two"):
        await wait_until(lambda: world.reader.cursor("support").uid_validity == 2)
        for raw in raws[2:5]:
            world.server.deliver(raw)
        await wait_until(lambda: world.reader.cursor("support").skipped == 5)
    async with world.process(start="all", instance="three"):
        for raw in (*raws[5:], mail(9)):
            world.server.deliver(raw)
        events = await world.produced(9)
        await wait_until(lambda: world.reader.cursor("support").skipped == 8)
    assert sorted(numbers(events)) == [*range(8), 9]


async def test_a_crash_in_the_scan_of_a_restored_folder_is_no_way_to_lose_mail(world: World) -> None:
    for number in range(20):
        world.server.deliver(mail(number))
    async with world.process(start="all"):
        await world.produced(20)
    world.server.restore(5)
    for number in range(20, 25):
        world.server.deliver(mail(number))
    async with world.process(start="all", instance="two", inbound={"chunk_mails": 1}) as process:
        await wait_until(lambda: len(world.reader.events()) > 20)
        await process.dies()
    for number in range(25, 50):  # now the folder looks as if nothing had happened
        world.server.deliver(mail(number))
    async with world.process(start="all", instance="three"):
        await world.produced(50)
    assert Counter(numbers(world.reader.events())) == Counter(range(50))


@pytest.mark.parametrize(("poison", "mails"), [({2, 3}, 4), ({3, 4}, 4), ({1, 2, 3}, 5), ({1, 2}, 2)])
async def test_neighbours_that_break_every_session_go_to_quarantine(
    world: World, poison: set[int], mails: int
) -> None:
    for number in range(1, mails + 1):
        world.server.deliver(mail(number))
    world.server.poison_uids = poison
    async with world.process(start="all", after="delete"):
        await wait_until(lambda: {entry.uid for entry in quarantined(world)} == poison)
        await wait_until(lambda: set(world.server.folder().mails) == poison)
        world.server.deliver(mail(99))
        events = await world.produced(mails - len(poison) + 1)
    assert numbers(events) == [*(one for one in range(1, mails + 1) if one not in poison), 99]
    assert len(quarantined(world)) == len(poison)


async def test_a_fault_of_ours_in_one_mail_costs_that_mail_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = Intake._event

    def faulty(self: Intake, *parts: Any) -> MailReceived:
        event = really(self, *parts)
        if event.subject == "mail 2":
            raise ZeroDivisionError
        return event

    monkeypatch.setattr(Intake, "_event", faulty)
    for number in (1, 2, 3):
        world.server.deliver(mail(number))
    async with world.process(start="all"):
        await world.produced(2)
        await wait_until(lambda: bool(quarantined(world)))
    (entry,) = quarantined(world)
    assert (entry.uid, entry.cause) == (2, "fault")
    assert numbers(world.reader.events()) == [1, 3]


async def test_a_size_that_is_an_estimate_is_no_reason_for_quarantine(world: World) -> None:
    raw = mail(1, "x" * 2 * PART_BYTES)
    uid = world.server.deliver(raw)
    world.server.announced[uid] = len(raw) + 5000
    world.server.deliver(mail(2))
    async with world.process(start="all", after="delete", inbound=OVERSIZE):
        first, _ = await world.produced(2)
        await wait_until(lambda: not world.server.folder().mails)
    assert quarantined(world) == []
    assert await BlobDirectory(world.folder / "blobs").get(first.raw) == raw
    assert any("announces" in defect for defect in first.defects)


async def test_a_mail_that_is_cut_off_again_and_again_is_not_deleted(world: World) -> None:
    raw = mail(1, "x" * 2 * PART_BYTES)
    uid = world.server.deliver(raw)
    world.server.announced[uid] = 3 * len(raw)
    world.server.deliver(mail(2))
    async with world.process(start="all", after="delete", inbound=OVERSIZE):
        await world.produced(1)
        await wait_until(lambda: bool(quarantined(world)))
    assert list(world.server.folder().mails) == [uid]


async def test_only_produced_mail_is_settled_after_a_crash(world: World) -> None:
    """A mail that comes to light late lies between the produced ones, and was never listed."""
    world.server.fail("delete", MailSourceError("connection lost during UID STORE"), times=1000)
    for number in (1, 2, 3):
        world.server.deliver(mail(number))
    world.server.hidden_uids = {2}
    async with world.process(start="all", after="delete") as process:
        await world.produced(2)
        await wait_until(lambda: "delete" in world.server.calls)
        await process.dies()
    assert world.reader.cursor("support").unsettled == "1,3"
    world.server.hidden_uids = set()
    world.server.fail_next.clear()
    async with world.process(start="all", after="delete", instance="two"):
        await wait_until(lambda: list(world.server.folder().mails) == [2])
        world.server.deliver(mail(4))
        await world.produced(3)
        await wait_until(lambda: world.reader.cursor("support").unsettled == "")
    assert list(world.server.folder().mails) == [2]


async def test_mail_before_a_poisoned_one_is_settled_in_the_end(world: World) -> None:
    world.server.fail("flag", MailSourceError("connection lost during UID STORE"), times=1)
    world.server.poison_uids = {2}
    for number in (1, 2, 3):
        world.server.deliver(mail(number))
    async with world.process(start="all"):
        await world.produced(2)
        await wait_until(lambda: "\\Seen" in world.server.folder().mails[1].flags)
        await wait_until(lambda: "\\Seen" in world.server.folder().mails[3].flags)
    assert world.server.folder().mails[2].flags == set()


async def test_chunks_follow_each_other_in_order_though_they_are_read_side_by_side(world: World) -> None:
    for number in range(40):
        world.server.deliver(mail(number))
    async with world.process(start="all", inbound={"chunk_mails": 2}):
        events = await world.produced(40)
        cursors = [cursor.uid for cursor in world.reader.cursors()]
    assert numbers(events) == list(range(40))
    assert cursors == sorted(cursors)


async def test_a_session_lost_while_chunks_are_under_way_loses_and_repeats_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = MemoryMailbox.fetch, Counter[str]()

    async def breaks_often(self: MemoryMailbox, uids: list[int]) -> dict[int, bytes]:
        calls["fetch"] += 1
        if calls["fetch"] % 3 == 0:
            raise self._broken("connection lost during UID FETCH")
        return await whole(self, uids)

    monkeypatch.setattr(MemoryMailbox, "fetch", breaks_often)
    for number in range(30):
        world.server.deliver(mail(number))
    async with world.process(start="all", inbound={"chunk_mails": 2}):
        events = await world.produced(30)
        await world.settled()
    assert numbers(events) == list(range(30))
    assert quarantined(world) == []


async def test_an_older_cursor_is_settled_by_its_range(world: World) -> None:
    """What Postlane wrote before cursors had sets of UIDs."""
    world.server.fail("flag", MailSourceError("no"), times=1000)
    for number in (1, 2):
        world.server.deliver(mail(number))
    async with world.process(start="all") as process:
        await world.produced(2)
        await wait_until(lambda: "flag" in world.server.calls)
        await process.dies()
    world.server.fail_next.clear()
    really = CursorReader.cursors

    def older(self: CursorReader, partition: int) -> Any:
        return {
            key: replace(cursor, unsettled=None, settled_uid=0)
            for key, cursor in really(self, partition).items()
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CursorReader, "cursors", older)
        async with world.process(start="all", instance="two"):
            await world.settled()
    assert numbers(world.reader.events()) == [1, 2]
