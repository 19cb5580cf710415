"""What the newest commands about relays and recipients mean."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.control.standing import Pause, Resumption, Standing
from postlane.core.events.command import Command, Wish, command_key, concerns_all, partition_for_all
from postlane.core.sending.wishes import lanes_event

AT = datetime(2026, 1, 1, tzinfo=UTC)
NOW = AT.timestamp()
KIM = "kim@example.org"


def command(
    wish: Wish, subject: str, *, seconds: float | None = None, cause: str = "", reason: str = "because"
) -> Command:
    about_relay = wish in {Wish.PAUSE_RELAY, Wish.RESUME_RELAY}
    return Command(
        command_id="c",
        issued_at=AT,
        issued_by="kim@desk",
        wish=wish,
        reason=reason,
        relay=subject if about_relay else None,
        recipient=None if about_relay else subject,
        cause=cause,
        expires_at=None if seconds is None else AT + timedelta(seconds=seconds),
    )


def standing(*commands: Command) -> Standing:
    made = Standing()
    for one in commands:
        assert made.apply(command_key(one), one) is None
    return made


def test_a_relay_is_paused_until_it_is_resumed() -> None:
    pause = command(Wish.PAUSE_RELAY, "main")
    assert standing(pause).pause_of("main", NOW + 1e9) == Pause("because", "kim@desk", NOW, None)
    assert standing(pause).pause_of("backup", NOW) is None
    assert standing(pause, command(Wish.RESUME_RELAY, "main")).pause_of("main", NOW) is None


def test_the_last_word_to_go_on_is_known_until_the_relay_is_paused_anew() -> None:
    resume = command(Wish.RESUME_RELAY, "main")
    assert standing(resume, command(Wish.PAUSE_RELAY, "backup")).resumptions == {"main": Resumption("c", NOW)}
    assert standing(resume, command(Wish.PAUSE_RELAY, "main")).resumptions == {}
    resumed = standing(resume)
    assert resumed.apply(command_key(resume), None) is None
    assert resumed.resumptions == {}


def test_a_wish_about_a_ticket_changes_nothing() -> None:
    made = standing(command(Wish.PAUSE_RELAY, "main"))
    hold = Command(command_id="c", issued_at=AT, issued_by="k", wish=Wish.HOLD_TICKET, ticket_id="T-1")
    assert made.apply(command_key(hold), hold) is None
    assert set(made.pauses) == {"main"}


def test_or_until_its_time_is_over() -> None:
    paused = standing(command(Wish.PAUSE_RELAY, "main", seconds=7200))
    assert paused.pause_of("main", NOW + 7199) == Pause("because", "kim@desk", NOW, NOW + 7200)
    assert paused.pause_of("main", NOW + 7200) is None


@pytest.mark.parametrize("spelled", [KIM, "Kim@Example.ORG", '"kim"@example.org'])
def test_a_suppressed_recipient_is_known_by_every_spelling(spelled: str) -> None:
    listed = standing(command(Wish.SUPPRESS_RECIPIENT, KIM, cause="complaint"))
    assert listed.suppressed(spelled, NOW) == "complaint"
    assert listed.suppressed("kim+1@example.org", NOW) is None
    assert listed.suppressed("no address", NOW) is None


def test_a_suppression_ends_with_the_minute_of_its_end() -> None:
    listed = standing(command(Wish.SUPPRESS_RECIPIENT, KIM, seconds=61))
    assert listed.suppressed(KIM, NOW + 119) == "unnamed"
    assert listed.suppressed(KIM, NOW + 120) is None


def test_an_allowed_recipient_is_off_the_list() -> None:
    suppress, allow = command(Wish.SUPPRESS_RECIPIENT, KIM), command(Wish.ALLOW_RECIPIENT, KIM)
    assert standing(suppress, allow).suppressed(KIM, NOW) is None
    assert standing(suppress, allow).suppressed_count == 0
    assert standing(suppress, allow, suppress).suppressed(KIM, NOW) == "unnamed"


def test_a_cleared_key_wants_nothing() -> None:
    pause, suppress = command(Wish.PAUSE_RELAY, "main"), command(Wish.SUPPRESS_RECIPIENT, KIM)
    made = standing(pause, suppress)
    for one in (pause, suppress):
        assert made.apply(command_key(one), None) is None
    assert made.pause_of("main", NOW) is None
    assert made.suppressed(KIM, NOW) is None


@pytest.mark.parametrize(
    ("key", "wish", "subject", "right"),
    [
        (b"recipient:Kim@example.org", Wish.SUPPRESS_RECIPIENT, KIM, "recipient:kim@example.org"),
        (b"recipient:None", Wish.SUPPRESS_RECIPIENT, KIM, "recipient:kim@example.org"),
        (b"relay:main", Wish.SUPPRESS_RECIPIENT, KIM, "recipient:kim@example.org"),
        (b"relay:backup", Wish.PAUSE_RELAY, "main", "relay:main"),
    ],
)
def test_a_command_under_a_wrong_key_is_refused(key: bytes, wish: Wish, subject: str, right: str) -> None:
    made = Standing()
    assert made.apply(key, command(wish, subject)) == f"the key must be '{right}' for what it says"
    assert made.suppressed(KIM, NOW) is None
    assert made.pauses == {}


def test_a_newer_wish_changes_nothing() -> None:
    made = standing(command(Wish.SUPPRESS_RECIPIENT, KIM))
    assert made.apply(b"recipient:kim@example.org", command(Wish.OTHER, KIM)) is None
    assert made.suppressed(KIM, NOW) == "unnamed"


def test_many_suppressions_share_what_they_have_in_common() -> None:
    made = standing(
        *(
            command(Wish.SUPPRESS_RECIPIENT, f"k{n}@x.example", seconds=n, cause="bounced")
            for n in range(1, 61)
        )
    )
    assert len({id(one) for one in made._suppressions.values()}) == 1


@pytest.mark.parametrize(
    "wish", [Wish.PAUSE_RELAY, Wish.RESUME_RELAY, Wish.SUPPRESS_RECIPIENT, Wish.ALLOW_RECIPIENT]
)
def test_they_are_for_all_senders_and_not_for_the_lanes(wish: Wish) -> None:
    one = command(wish, KIM)
    assert concerns_all(command_key(one))
    assert lanes_event(one) is None


def test_commands_about_tickets_are_not() -> None:
    held = Command(command_id="c", issued_at=AT, issued_by="k", wish=Wish.HOLD_TICKET, ticket_id="relay:x")
    assert not concerns_all(command_key(held))
    assert not concerns_all(None)


def test_where_they_stand_is_what_murmur2_says() -> None:
    assert [partition_for_all(key, 12) for key in (b"relay:main", b"recipient:kim@example.org")] == [5, 1]


wishes = st.tuples(
    st.sampled_from([Wish.SUPPRESS_RECIPIENT, Wish.ALLOW_RECIPIENT]), st.sampled_from(["a@x", "b@x", "C@x"])
)


@given(st.lists(wishes, max_size=20))
def test_compaction_loses_nothing(given: list[tuple[Wish, str]]) -> None:
    """The newest record of each key says the same as all of them."""
    commands = [command(wish, subject) for wish, subject in given]
    compacted = {command_key(one): one for one in commands}
    whole, rest = standing(*commands), standing(*compacted.values())
    assert all(whole.suppressed(a, NOW) == rest.suppressed(a, NOW) for a in ("a@x", "b@x", "c@x"))
