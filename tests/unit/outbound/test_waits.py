"""Every wait of mail that could go is told, with its reason and the time when it is expected to end."""

from pathlib import Path

import pytest

from postlane.adapters.http_health import Health
from postlane.adapters.metrics import Metrics
from postlane.core.limits.permission import Hold, Wait
from postlane.core.metrics import OUTBOUND_METRICS
from postlane.core.sending.lane_mail import RouteHolds, RouteOpens
from postlane.outbound.gauges import Gauges
from postlane.outbound.holds import Holds
from unit.outbound.sharing_rig import OneSender, begin, limits, site_of
from unit.outbound.test_lease_ends import EndingShare, board_of


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


async def test_senders_with_other_configurations_notice_each_other(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4, "12 mails/hour")) as site:
        one = await begin(site, "one", marks={"budgets": "1", "connections": "2"})
        two = await begin(site, "two", marks={"budgets": "9", "connections": "2"})
        await site.until(lambda: bool(one.sharing.differing("r") and two.sharing.differing("r")), 60)
        assert one.sharing.differing("r") == "two in budgets"
        assert two.sharing.differing("r") == "one in budgets"
        await two.stop()
        await site.until(lambda: not one.sharing.differing("r"), 60)


@pytest.mark.parametrize("budget", ["60 recipients/minute", "100 recipients/hour"])
async def test_who_is_allotted_nothing_of_a_budget_says_so_and_goes_elsewhere(
    tmp_path: Path, budget: str
) -> None:
    """The allocator knows nothing of the budget, so the mail must not wait for it for ever."""
    async with site_of(tmp_path, limits("r", 4)) as site:
        await begin(site, "one")
        two = await begin(site, "two", other={"r": limits("r", 4, budget)})
        await site.until(lambda: two.connections("r") > 0, 60)
        two.waiting = 1
        await site.until(lambda: isinstance(two.governors["r"].may_start(1, two.sharing.clock()), Wait), 60)
        hold = hold_of(two)
        assert hold.cause == "no_lease"
        assert "the sender that allots them has another configuration of it" in hold.reason


def test_what_operators_want_is_waited_for_visibly(tmp_path: Path) -> None:
    metrics = Metrics(OUTBOUND_METRICS)
    known = [False]
    holds = Holds(
        board_of(EndingShare(10**9), tmp_path),
        Gauges(metrics),
        Health(metrics, lambda: 0.0),
        lambda: known[0],
    )
    assert not [*holds.news(1000.0)]
    assert not [*holds.news(1004.0)], "mostly it takes a moment"
    (held,) = holds.news(1006.0)
    assert isinstance(held, RouteHolds)
    assert (held.cause, held.since, held.until) == ("control_unread", 1000.0, 1060.0)
    assert "mail.control" in held.reason
    assert not [*holds.news(1007.0)]
    (again,) = holds.news(1061.0)
    assert isinstance(again, RouteHolds)
    assert (again.since, again.until) == (1000.0, 1121.0)
    known[0] = True
    (opens,) = holds.news(1062.0)
    assert isinstance(opens, RouteOpens)
