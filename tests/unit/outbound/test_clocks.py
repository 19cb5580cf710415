"""Senders whose machines' clocks are hours off, or are set while they run, share a relay as if all were right."""

from pathlib import Path

import pytest

from postlane.outbound.kafka_clock import KafkaClock
from unit.outbound.sharing_rig import begin, limits, site_of

TWO_HOURS = 7200.0


@pytest.mark.parametrize("skew_seconds", [TWO_HOURS, -TWO_HOURS])
async def test_a_sender_learns_the_brokers_time_whatever_its_own_clock_shows(
    tmp_path: Path, skew_seconds: float
) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        clock = site.clock(skew_seconds)
        await begin(site, "one", clock)
        await site.until(clock.known.is_set, 60)
        assert abs(clock() - site.time()) < 5.0
        assert abs(clock.skew_seconds() - skew_seconds) < 5.0


async def test_a_clock_that_is_set_while_the_sender_runs_moves_nothing(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        moved = 0.0
        clock = KafkaClock(lambda: site.now, lambda: site.time() + moved)
        await begin(site, "one", clock)
        await site.until(clock.known.is_set, 60)
        moved, before, at = -TWO_HOURS, clock(), site.now
        await site.run(60)
        assert clock() - before == pytest.approx(site.now - at, abs=2.0)
        assert clock.skew_seconds() == pytest.approx(-TWO_HOURS, abs=5.0)


@pytest.mark.parametrize("skew_seconds", [TWO_HOURS, -TWO_HOURS])
async def test_a_used_up_budget_is_told_with_its_true_end_by_a_sender_with_a_wrong_clock(
    tmp_path: Path, skew_seconds: float
) -> None:
    async with site_of(tmp_path, limits("r", 4, "10 mails/hour")) as site:
        clock = site.clock(skew_seconds)
        one, two = await begin(site, "one"), await begin(site, "two", clock)
        await site.until(clock.known.is_set, 60)
        one.waiting = two.waiting = 20
        sent = 0

        def used_up() -> bool:
            nonlocal sent
            sent += sum(sender.send_one() for sender in (one, two))
            return two.hold() is not None

        await site.until(used_up, 300)
        hold = two.hold()
        assert hold is not None
        assert hold.until is not None
        assert sent == 10
        assert hold.cause == "quota"
        assert 3000 < hold.until - site.time() < 3900
