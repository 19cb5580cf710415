"""When people are warned that a grant ends."""

import pytest

from postlane.core.oauth.grant_expiry import DAY_SECONDS, told
from postlane.core.oauth.token_keeper import TokenKeeper
from postlane.core.oauth.token_reply import Granted

NOW = 1_700_000_000.0
HOUR = 3600.0


def test_days_left_are_counted_down_to_none() -> None:
    grant = told(None, 20 * DAY_SECONDS, NOW, rotated=False)
    assert grant.days_left(NOW) == 20
    assert grant.days_left(NOW + 6.5 * DAY_SECONDS) == 13.5
    assert grant.days_left(NOW + 30 * DAY_SECONDS) == 0


@pytest.mark.parametrize(("days", "warns"), [(14.1, False), (14.0, True), (1.0, True), (0.0, True)])
def test_a_fixed_end_is_warned_of_from_fourteen_days_on(days: float, warns: bool) -> None:
    assert told(None, days * DAY_SECONDS, NOW, rotated=False).warns(NOW) is warns


def test_a_fixed_end_is_known_by_standing_still() -> None:
    first = told(None, 10 * DAY_SECONDS, NOW, rotated=True)  # looks like one that moves
    assert not first.warns(NOW)
    later = told(first, 10 * DAY_SECONDS - HOUR + 1, NOW + HOUR, rotated=True)
    assert later.warns(NOW + HOUR)


@pytest.mark.parametrize("seconds", [10.0, HOUR])
def test_an_end_that_each_renewal_puts_off_is_not_warned_of(seconds: float) -> None:
    first = told(None, 1800, NOW, rotated=False)
    assert first.warns(NOW)
    assert not told(first, 1800, NOW + seconds, rotated=False).warns(NOW + seconds)


def test_the_keeper_knows_the_grant_of_the_last_renewal_that_told() -> None:
    keeper = TokenKeeper()
    keeper.answered(Granted(access_token="x", lifetime_seconds=60, grant_seconds=DAY_SECONDS), NOW, 0.0)
    keeper.answered(Granted(access_token="y", lifetime_seconds=60), NOW + 60, 0.0)
    assert keeper.grant is not None
    assert keeper.grant.days_left(NOW) == 1
