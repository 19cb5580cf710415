"""Senders that a relay refuses: held, probed with one mail, free."""

from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.status import SmtpReply
from postlane.core.limits.circuit import WAIT_SECONDS_MIN
from postlane.core.limits.held_senders import (
    JITTER_SHARE,
    PROBE_SECONDS,
    SENDERS_MAX,
    HeldSenders,
    Trial,
    sender_of,
)
from postlane.core.smtp.attempt import Attempted, Judgement, RelayHeld, SenderHeld
from unit.core.lane_bench import HELD, deferred, sent
from unit.core.limits.parts import NOW

DENIED = SmtpReply(phase="final", code=550, enhanced_code="5.7.60", text="not as this sender")
MOST = 3600.0
KIM, LEE = "kim@example.com", "lee@example.com"


def refusal(wait_seconds: float = 900.0) -> SenderHeld:
    return SenderHeld(cause="sender_denied", reason="relay r: no", reply=DENIED, wait_seconds=wait_seconds)


def trial(senders: HeldSenders, now: float = NOW, sender: str = KIM) -> Trial:
    """A mail that may be tried."""
    begun = senders.begin(sender, now, 0.0)
    assert isinstance(begun, Trial)
    return begun


def wait_of(judgement: Judgement | Trial) -> float:
    assert isinstance(judgement, SenderHeld)
    return judgement.wait_seconds


def attempt(senders: HeldSenders, judgement: Judgement, now: float = NOW) -> Judgement:
    """A mail of Kim's is tried, and this comes of it."""
    mail = trial(senders, now)
    judged = senders.judged(mail, judgement, now, 0.0)
    senders.ended(mail)
    return judged


def test_a_refused_sender_waits_and_nobody_else_does() -> None:
    senders = HeldSenders(MOST)
    assert attempt(senders, refusal()) == refusal()
    held = senders.begin(KIM, NOW + 100, 0.0)
    assert isinstance(held, SenderHeld)
    assert (held.asked, held.cause, held.reply, held.wait_seconds) == (False, "sender_denied", DENIED, 800.0)
    assert held.reason == "mail from kim@example.com is held: relay r: no"
    assert trial(senders, sender=LEE)


def test_a_single_mail_probes() -> None:
    senders = HeldSenders(MOST)
    attempt(senders, refusal())
    probe = trial(senders, NOW + 900)
    assert wait_of(senders.begin(KIM, NOW + 900, 0.0)) == PROBE_SECONDS
    senders.judged(probe, sent(), NOW + 901, 0.0)
    assert trial(senders, NOW + 901)
    assert trial(senders, NOW + 901)
    assert len(senders) == 0


def test_each_refused_probe_doubles_the_wait_up_to_the_maximum() -> None:
    senders, now, waits = HeldSenders(MOST), NOW, []
    for _ in range(4):
        waits.append(wait_of(attempt(senders, refusal(), now)))
        now += waits[-1]
    assert waits == [900.0, 1800.0, MOST, MOST]


def test_an_accepted_mail_lets_it_begin_anew() -> None:
    senders = HeldSenders(MOST)
    attempt(senders, refusal())
    attempt(senders, refusal(), NOW + 900)
    attempt(senders, sent(), NOW + 2700)
    assert wait_of(attempt(senders, refusal(), NOW + 2700)) == 900.0


def test_refusals_of_mail_that_was_in_flight_are_one() -> None:
    senders = HeldSenders(MOST)
    first, second, third = trial(senders), trial(senders), trial(senders)
    assert wait_of(senders.judged(first, refusal(), NOW, 0.0)) == 900.0
    assert wait_of(senders.judged(second, refusal(), NOW + 5, 0.0)) == 895.0
    probe = trial(senders, NOW + 900)
    assert wait_of(senders.judged(third, refusal(), NOW + 901, 0.0)) == PROBE_SECONDS
    senders.ended(third)
    assert wait_of(senders.begin(KIM, NOW + 902, 0.0)) == PROBE_SECONDS
    assert wait_of(senders.judged(probe, refusal(), NOW + 903, 0.0)) == 1800.0


def test_a_probe_that_says_nothing_about_the_sender_gives_its_place_to_the_next() -> None:
    for silent in (deferred(), HELD):
        senders = HeldSenders(MOST)
        attempt(senders, refusal())
        assert attempt(senders, silent, NOW + 900) is silent
        assert wait_of(attempt(senders, refusal(), NOW + 901)) == 1800.0
    cut_off = trial(HeldSenders(MOST))
    senders.ended(cut_off)


def test_what_the_relay_names_counts_even_above_the_maximum() -> None:
    assert wait_of(attempt(HeldSenders(MOST), refusal(7200.0))) == 7200.0
    senders = HeldSenders(MOST)
    assert wait_of(attempt(senders, refusal(0.0))) == WAIT_SECONDS_MIN
    assert wait_of(attempt(senders, refusal(0.0), NOW + 1)) == 2 * WAIT_SECONDS_MIN


def test_they_do_not_come_back_together() -> None:
    senders = HeldSenders(MOST)
    attempt(senders, refusal())
    assert wait_of(senders.begin(KIM, NOW + 450, 0.5)) == 450 + 0.5 * JITTER_SHARE * 900


def test_a_person_may_have_every_sender_tried_at_once_by_one_mail() -> None:
    senders = HeldSenders(MOST)
    assert not senders.probe_now(NOW)
    attempt(senders, refusal())
    assert senders.probe_now(NOW + 1)
    probe = senders.begin(KIM, NOW + 1, 0.0)
    assert isinstance(probe, Trial)
    assert isinstance(senders.begin(KIM, NOW + 1, 0.0), SenderHeld)
    senders.judged(probe, sent(), NOW + 2, 0.0)
    assert isinstance(senders.begin(KIM, NOW + 2, 0.0), Trial)


def test_what_it_remembers_is_bounded() -> None:
    senders = HeldSenders(MOST)
    for number in range(SENDERS_MAX + 5):
        mail = trial(senders, sender=f"{number}@x")
        senders.judged(mail, refusal(), NOW, 0.0)
    assert len(senders) == SENDERS_MAX
    assert trial(senders, sender="4@x")
    assert wait_of(senders.begin("5@x", NOW, 0.0)) == 900.0


def test_a_sender_is_the_author_and_the_envelope_sender() -> None:
    assert sender_of("Kim@Example.COM", None) == "Kim@example.com"
    assert sender_of("kim@example.com", "kim@EXAMPLE.com") == "kim@example.com"
    assert sender_of("kim@straße.example", None) == "kim@xn--strae-oqa.example"
    assert sender_of("kim@example.com", "bounces@example.com") == "kim@example.com by <bounces@example.com>"
    assert sender_of("kim@example.com", "") == "kim@example.com by <>"
    assert sender_of("no address", None) == "no address"


ends = st.sampled_from(["refused", "accepted", "silent", "relay"])


@given(st.lists(st.tuples(st.floats(0, 1000), st.sampled_from([KIM, LEE]), st.integers(0, 3), ends)))
def test_after_a_refusal_at_most_one_mail_is_in_flight_until_one_is_accepted(
    moves: list[tuple[float, str, int, str]],
) -> None:
    senders, now = HeldSenders(MOST), NOW
    flying: dict[str, list[Trial]] = {KIM: [], LEE: []}
    refused: dict[str, set[Trial]] = {}  # who was in flight when the sender was refused first
    answers: dict[str, Attempted | RelayHeld | SenderHeld] = {
        "refused": refusal(),
        "accepted": sent(),
        "silent": deferred(),
        "relay": HELD,
    }
    for step, sender, choice, end in moves:
        now += step
        begun = senders.begin(sender, now, 0.0)
        if isinstance(begun, Trial):
            flying[sender].append(begun)
        else:
            assert sender in refused
            assert begun.wait_seconds > 0
        probes = set(flying[sender]) - refused.get(sender, set(flying[sender]))
        assert len(probes) <= 1
        if len(flying[sender]) > choice:
            mail = flying[sender].pop(choice)
            senders.judged(mail, answers[end], now, 0.0)
            senders.ended(mail)
            if end == "refused":
                refused.setdefault(sender, set(flying[sender]))
            elif end == "accepted":
                refused.pop(sender, None)
