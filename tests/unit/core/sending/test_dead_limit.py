"""How many of the last mails may die."""

from postlane.core.sending.dead_limit import DeadLimit, DeadLimitPolicy


def limit_after(story: str, mails: int = 4, share: float = 0.5) -> str | None:
    """What the last note says; `+` went out, `-` died."""
    limit, said = DeadLimit(DeadLimitPolicy(mails, share)), None
    for letter in story:
        said = limit.note(died=letter == "-")
    return said


def test_half_may_die() -> None:
    assert limit_after("++--") is None


def test_one_more_than_half_is_a_fault() -> None:
    said = limit_after("+---")
    assert said == "3 of the last 4 mails were refused for good; more than 50% is taken for a fault"


def test_nothing_is_said_before_enough_is_known() -> None:
    assert limit_after("---") is None


def test_a_mail_that_went_out_is_no_reason_to_stop() -> None:
    assert limit_after("---+") is None


def test_only_the_last_ones_count() -> None:
    assert limit_after("----++--") is None


def test_it_can_be_switched_off() -> None:
    assert limit_after("-" * 50, mails=0) is None


def test_all_may_die_where_that_is_wanted() -> None:
    assert limit_after("-" * 50, share=1.0) is None


def test_it_begins_anew() -> None:
    limit = DeadLimit(DeadLimitPolicy(2, 0.5))
    limit.note(died=True)
    limit.forget()
    assert limit.note(died=True) is None
    assert limit.note(died=True) is not None
