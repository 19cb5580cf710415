"""A server or a blob store that gives nothing without saying why: no mail is lost by it, none is blamed for it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from fakes.inbound_process import wait_until
from fakes.memory_mailbox import MemoryMailbox
from postlane.adapters.blob_directory import BlobDirectory
from postlane.core.polling.quarantine import decode_quarantine
from postlane.inbound.oversize import PART_BYTES
from postlane.inbound.store_probe import PROBE_BYTES, store_works
from unit.inbound.test_inbound_loop import World, mail, numbers

OVERSIZE = {"oversize_bytes": 70_000, "chunk_bytes": 1_048_576}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("postlane.core.reconnect.SECONDS_MAX", 0.01)
    return World(tmp_path)


async def test_a_mail_that_comes_empty_is_fetched_again_before_it_is_deleted(world: World) -> None:
    world.server.hollow_calls = {("fetch", 1)}
    raw = mail(1)
    world.server.deliver(raw)
    async with world.process(start="all", after="delete"):
        (event,) = await world.produced(1)
        await wait_until(lambda: not world.server.folder().mails)
    assert len(world.reader.events()) == 1
    assert await BlobDirectory(world.folder / "blobs").get(event.raw) == raw


@pytest.mark.parametrize("hollow_part", [1, 2, 3, 4, 5])
async def test_an_oversize_mail_that_comes_short_is_fetched_again_before_it_is_deleted(
    world: World, hollow_part: int
) -> None:
    """Three parts, the empty one behind them, and the header."""
    world.server.hollow_calls = {("fetch_part", hollow_part)}
    raw = mail(1, "x" * (2 * PART_BYTES + 1000))
    world.server.deliver(raw)
    async with world.process(start="all", after="delete", inbound=OVERSIZE):
        (event,) = await world.produced(1)
        await wait_until(lambda: not world.server.folder().mails)
    assert numbers(world.reader.events()) == [1]
    assert await BlobDirectory(world.folder / "blobs").get(event.raw) == raw


async def test_an_oversize_mail_that_others_remove_meanwhile_is_skipped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = MemoryMailbox.fetch_part

    async def removed_behind_the_first_part(self: MemoryMailbox, uid: int, start: int, size: int) -> bytes:
        if start:
            world.server.folder().mails.pop(uid, None)
        return await whole(self, uid, start, size)

    monkeypatch.setattr(MemoryMailbox, "fetch_part", removed_behind_the_first_part)
    world.server.deliver(mail(1, "x" * 3 * PART_BYTES))
    world.server.deliver(mail(2))
    async with world.process(start="all", inbound=OVERSIZE):
        events = await world.produced(1)
    cursor = world.reader.cursor("support")
    assert numbers(events) == [2]
    assert (cursor.listed, cursor.produced, cursor.skipped) == (2, 1, 1)


async def test_a_removed_mail_does_not_hide_a_withheld_one_behind_oversize_mail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = MemoryMailbox.fetch

    async def one_removed_one_withheld(self: MemoryMailbox, uids: list[int]) -> dict[int, bytes]:
        world.server.folder().mails.pop(1, None)
        contents = await whole(self, uids)
        return contents if len(uids) == 1 else {uid: raw for uid, raw in contents.items() if uid != 5}

    monkeypatch.setattr(MemoryMailbox, "fetch", one_removed_one_withheld)
    for number, body in enumerate(["words", *["x" * 100_000] * 3, "words"], 1):
        world.server.deliver(mail(number, body))
    async with world.process(start="all", inbound=OVERSIZE):
        events = await world.produced(4)
    assert numbers(events) == [2, 3, 4, 5]


async def test_a_mail_that_always_comes_empty_goes_to_quarantine_and_the_others_pass(world: World) -> None:
    for number in range(1, 4):
        world.server.deliver(mail(number))
    world.server.hollow_uids = {1, 2}
    async with world.process(start="all", after="delete"):
        await wait_until(lambda: len(world.reader.records("mail.inbound.dlq")) == 2)
        await wait_until(lambda: 3 not in world.server.folder().mails)
    assert numbers(world.reader.events()) == [3]
    assert set(world.server.folder().mails) == {1, 2}  # for people
    entries = [decode_quarantine(record.headers) for record in world.reader.records("mail.inbound.dlq")]
    assert {(entry.uid, entry.cause) for entry in entries} == {(1, "fetch"), (2, "fetch")}


@pytest.mark.parametrize("mails", [1, 3])
async def test_a_server_that_gives_nothing_for_any_mail_quarantines_nothing(world: World, mails: int) -> None:
    for number in range(mails):
        world.server.deliver(mail(number))
    world.server.hollow_uids = set(range(1, mails + 1))
    async with world.process(start="all", after="delete") as process:
        await wait_until(
            lambda: process.metric("postlane_inbound_errors_total", mailbox="support", kind="fetch") > 12
        )
        world.server.hollow_uids = set()
        events = await world.produced(mails)
    assert numbers(events) == list(range(mails))
    assert world.reader.records("mail.inbound.dlq") == []


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many bytes the disk still takes."""
    left = {"bytes": 10**9}
    really = os.write

    def write(descriptor: int, content: Any) -> int:
        if left["bytes"] < len(content):
            raise OSError(28, "No space left on device")
        left["bytes"] -= len(content)
        return really(descriptor, content)

    monkeypatch.setattr("postlane.adapters.blob_directory.os.write", write)
    return left


async def test_a_disk_that_has_filled_up_does_not_pass_for_working(
    tmp_path: Path, room: dict[str, int]
) -> None:
    probed = BlobDirectory(tmp_path)
    assert await store_works(probed)
    room["bytes"] = 0
    assert not await store_works(probed)


async def test_a_disk_without_room_for_the_mail_does_not_pass_for_working(
    tmp_path: Path, room: dict[str, int]
) -> None:
    probed = BlobDirectory(tmp_path)
    room["bytes"] = 3 * PART_BYTES
    assert not await store_works(probed, 3 * PART_BYTES + 1)


def test_a_probe_leaves_little_behind(tmp_path: Path) -> None:
    assert asyncio.run(store_works(BlobDirectory(tmp_path), 3 * PART_BYTES + 1))
    assert [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()] == [PROBE_BYTES]


async def test_mail_waits_for_room_on_a_full_disk_and_is_not_blamed(
    world: World, room: dict[str, int]
) -> None:
    world.server.deliver(mail(1))
    async with world.process(start="all") as process:
        await world.produced(1)
        room["bytes"] = 10_000
        world.server.deliver(mail(2, "x" * 20_000))
        await wait_until(
            lambda: process.metric("postlane_inbound_errors_total", mailbox="support", kind="blob-store") > 12
        )
        room["bytes"] = 10**9
        events = await world.produced(2)
    assert numbers(events) == [1, 2]
    assert world.reader.records("mail.inbound.dlq") == []
