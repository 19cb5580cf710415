"""Too much mail of one sender or ticket changes the advice, and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from postlane.core.events.mail import Address, BlobRef
from postlane.core.events.received import Label, MailReceived
from postlane.core.reading.arrival_rates import ArrivalRates, RateLimits
from postlane.core.reading.mail_class import ClassRules
from postlane.core.reading.mail_event import Place, build_event
from postlane.core.reading.mail_reading import ReadRequest, read_mail
from postlane.core.ticket_marks import SigningKeys

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RULES = ClassRules(frozenset(), frozenset(), SigningKeys("k1", {}, "desk.example"))
LIMITS = RateLimits(per_sender=3, per_ticket=2, window=timedelta(hours=1))


def arrived(
    number: int, minutes: float = 0.0, sender: str = "ann@example.org", ticket: str | None = None
) -> MailReceived:
    at = NOW + timedelta(minutes=minutes)
    place = Place(mailbox="m", folder="INBOX", uid_validity=1, uid=number, received_at=at)
    reading = read_mail(ReadRequest(b"Subject: x\r\n\r\nwords"), RULES)
    event = build_event(place, BlobRef(sha256="0" * 64, size_bytes=1), reading, (), NOW)
    senders = (Address(address=sender),) if sender else ()
    return replace(event, from_addresses=senders, ticket_id=ticket)


def advice(rates: ArrivalRates, event: MailReceived) -> tuple[bool, bool, bool]:
    verdicts = rates.weigh(event).verdicts
    return verdicts.may_open, verdicts.may_reopen, verdicts.may_auto_answer


def test_the_mail_beyond_the_limit_is_not_answered_but_may_open() -> None:
    rates = ArrivalRates(LIMITS)
    assert [advice(rates, arrived(n)) for n in range(4)] == [(True, True, True)] * 3 + [(True, False, False)]
    told = rates.weigh(arrived(5, sender="ANN@example.org"))
    (reason,) = told.classifications
    assert (reason.label, reason.reason) == (
        Label.OTHER,
        "4 mails from ann@example.org within 1 h: perhaps a loop",
    )


def test_senders_that_change_are_caught_by_their_ticket() -> None:
    rates = ArrivalRates(LIMITS)
    events = [arrived(n, sender=f"{n}@loop.test", ticket="4711") for n in range(3)]
    assert [advice(rates, event)[2] for event in events] == [True, True, False]
    assert advice(rates, arrived(9, sender="9@loop.test", ticket="other"))[2]


def test_who_takes_his_time_is_no_machine() -> None:
    rates = ArrivalRates(LIMITS)
    assert all(advice(rates, arrived(n, minutes=30 * n))[2] for n in range(20))


def test_the_same_mail_read_again_counts_once() -> None:
    rates = ArrivalRates(LIMITS)
    assert all(advice(rates, arrived(1))[2] for _ in range(20))


def test_a_limit_of_zero_is_none_and_mail_without_sender_is_not_counted() -> None:
    unlimited = ArrivalRates(RateLimits(0, 0))
    assert all(advice(unlimited, arrived(n, ticket="1"))[2] for n in range(50))
    rates = ArrivalRates(LIMITS)
    assert all(advice(rates, arrived(n, sender=""))[2] for n in range(50))


def test_what_is_remembered_is_bounded() -> None:
    rates = ArrivalRates(LIMITS, counted_max=2)
    for n in range(3):
        rates.weigh(arrived(n))
    for n in range(2):
        rates.weigh(arrived(10 + n, sender=f"{n}@other.test"))
    assert advice(rates, arrived(4))[2]  # forgotten, so it counts anew
