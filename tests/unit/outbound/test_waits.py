"""Every wait of mail that could go is told, with its reason and the time when it is expected to end."""

from pathlib import Path

import pytest

from postlane.core.limits.permission import Hold
from unit.outbound.sharing_rig import OneSender, begin, limits, site_of


def hold_of(sender: OneSender) -> Hold:
    hold = sender.hold()
    assert hold is not None
    assert hold.until is not None
    return hold


async def test_the_first_mail_under_a_small_rate_waits_visibly(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4, "3 mails/minute")) as site:
        one = await begin(site, "one")
        one.waiting = 1
        await site.until(lambda: not one.send_one() and one.hold() is not None, 30)
        hold = hold_of(one)
        assert hold.cause == "rate"
        assert (
            "3 mails/minute, of which 3 are this sender's once those of its last holder no longer count"
            in hold.reason
        )
        assert hold.until is not None
        assert 30 < hold.until - site.time() <= 61
        await site.until(one.send_one, hold.until - site.time() + 2)


async def test_a_lone_sender_keeps_its_rate_over_a_rest(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4, "3 mails/minute")) as site:
        one = await begin(site, "one")
        for _ in range(180):
            await site.run(1)
            one.governors["r"].may_start(1, one.sharing.clock())
        one.waiting = 1
        await site.until(one.send_one, 2)
        two = await begin(site, "two")
        one.waiting, two.waiting = 0, 5
        await site.until(lambda: two.sharing.shares["r"].holder.lease.amounts.get("mails/minute") == 3, 120)


async def test_without_an_allocator_mail_says_so_within_seconds(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        one = await begin(site, "one")
        await one.allocation.close()
        await site.until(lambda: one.connections("r") == 0, 120)
        one.waiting = 1
        await site.until(lambda: one.hold() is not None, 20)
        hold = hold_of(one)
        assert hold.cause == "no_lease"
        assert "what this one asked in mail.relays is not answered yet" in hold.reason
        since = hold.since
        await site.run(60)
        assert hold_of(one).since == pytest.approx(since, abs=1.0)


async def test_mail_that_goes_at_once_is_told_of_nowhere(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4, "600 mails/minute")) as site:
        one = await begin(site, "one")
        one.waiting = 50
        await site.until(one.send_one)
        for _ in range(30):
            await site.run(1)
            one.send_one()
            assert one.hold() is None
