"""The judge must see what it is there to see: each violation is planted once."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chaos.inbound.mailboxes import FOLDERS, PLACES
from chaos.inbound.schedule import FULL_RUN, FULL_RUN_MAILS, Kind, counts, plan_schedule
from chaos.inbound.verdict import Event, Findings, Verdict, judge
from chaos.inbound.wire import plan_snag
from chaos.inbound.workload import Letter, plan_bursts, plan_letters
from chaos.site import SESSION_TIMEOUT_SECONDS
from postlane.core.events.received import MailboxCursor, ParseStatus


def letter(number: int, mailbox: str) -> Letter:
    return Letter(
        number=number, mailbox=mailbox, folder=FOLDERS[0], raw=b"mail %d" % number, appended=False, flags=""
    )


LETTERS = (letter(0, "flagged"), letter(1, "flagged"), letter(2, "deleted"))


def event(number: int, uid: int) -> Event:
    return Event(
        partition=0,
        offset=uid * 10,
        mailbox=LETTERS[number].mailbox,
        folder=FOLDERS[0],
        uid_validity=7,
        uid=uid,
        digest=LETTERS[number].digest,
        parse_status=ParseStatus.OK,
    )


EVENTS = (event(0, 1), event(1, 2), event(2, 1))


def cursor(mailbox: str, produced: int) -> MailboxCursor:
    return MailboxCursor(
        mailbox=mailbox,
        folder=FOLDERS[0],
        uid_validity=7,
        uid=produced,
        settled_uid=produced,
        updated_at=datetime(2026, 11, 21, tzinfo=UTC),
        instance="poller-1",
        listed=produced,
        produced=produced,
    )


def findings(events: tuple[Event, ...] = EVENTS) -> Findings:
    produced = Counter(one.mailbox for one in events)
    return Findings(
        events=events,
        cursors=[cursor(mailbox, count) for mailbox, count in produced.items()],
        kept={"flagged": {LETTERS[0].digest, LETTERS[1].digest}},
    )


def verdict(found: Findings) -> Verdict:
    return judge(LETTERS, found)


def test_a_clean_run_breaks_nothing() -> None:
    assert verdict(findings()).violations == []


def test_a_mail_without_an_event_is_lost() -> None:
    assert verdict(findings(EVENTS[1:])).lost == ["mail 0 of flagged has no event"]


def test_an_event_whose_raw_bytes_are_not_there_is_lost() -> None:
    found = findings()
    found.unreadable = [LETTERS[1].digest]
    assert len(verdict(found).lost) == 1


def test_a_second_event_for_the_same_bytes_is_a_duplicate() -> None:
    again = replace(EVENTS[0], uid_validity=8)
    assert len(verdict(findings((*EVENTS, again))).duplicates) == 1
    assert len(verdict(findings((*EVENTS, again, replace(again, uid=5, offset=99)))).duplicates) == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (replace(EVENTS[0], digest="0" * 64), "nobody delivered"),
        (replace(EVENTS[0], mailbox="moved"), "was delivered to flagged/INBOX"),
        (replace(EVENTS[0], parse_status=ParseStatus.FAILED), "has FAILED"),
        (replace(EVENTS[0], parse_status=ParseStatus.HEADERS_ONLY), "has HEADERS_ONLY"),
        (replace(EVENTS[0], offset=25), "comes after"),
    ],
)
def test_an_event_that_is_not_that_of_its_mail(changed: Event, words: str) -> None:
    assert any(words in line for line in verdict(findings((changed, *EVENTS[1:]))).faults)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"listed": 3}, "3 listed, but 2 ended"),
        ({"produced": 1, "skipped": 1}, "says 1 produced, there are 2 events"),
        ({"produced": 1, "quarantined": 1}, "in quarantine"),
    ],
)
def test_books_that_do_not_balance(changes: dict[str, int], words: str) -> None:
    found = findings()
    found.cursors = [replace(cursor("flagged", 2), **changes), cursor("deleted", 1)]  # type: ignore[arg-type]
    assert any(words in line for line in verdict(found).faults)


def test_a_mail_that_vanished_from_its_mailbox() -> None:
    found = findings()
    found.kept = {"flagged": {LETTERS[1].digest}}
    assert verdict(found).faults == ["1 mails vanished from flagged: [0]"]
    found.removed = {LETTERS[0].digest}
    assert verdict(found).faults == []


def test_what_was_left_open_is_a_fault() -> None:
    found = findings()
    found.unsettled, found.open_transactions = ["3 mails are not settled"], ["mail.inbound 0"]
    assert verdict(found).faults == ["3 mails are not settled", "open transaction: mail.inbound 0"]


def test_an_oversize_mail_has_only_its_headers() -> None:
    big = replace(LETTERS[0], raw=b"x" * 70_000)
    seen = replace(EVENTS[0], digest=big.digest, parse_status=ParseStatus.HEADERS_ONLY)
    found = findings((seen, *EVENTS[1:]))
    found.kept = {"flagged": {big.digest, LETTERS[1].digest}}
    assert judge((big, *LETTERS[1:]), found).violations == []
    found.events = (replace(seen, parse_status=ParseStatus.OK), *EVENTS[1:])
    assert judge((big, *LETTERS[1:]), found).faults


def test_the_seed_decides_everything() -> None:
    assert plan_letters(60, 3) == plan_letters(60, 3) != plan_letters(60, 4)
    assert plan_bursts(60, 3) == plan_bursts(60, 3)
    schedule = plan_schedule(500, 3, SESSION_TIMEOUT_SECONDS)
    assert schedule == plan_schedule(500, 3, SESSION_TIMEOUT_SECONDS)
    assert [plan_snag(3, number) for number in range(50)] == [plan_snag(3, number) for number in range(50)]


def test_letters_differ_and_reach_every_mailbox() -> None:
    letters = plan_letters(300, 1)
    assert len({one.digest for one in letters}) == 300
    assert {(one.mailbox, one.folder) for one in letters} == set(PLACES)
    assert {one.appended for one in letters} == {True, False}
    assert any(one.oversize for one in letters)
    assert sum(plan_bursts(300, 1)) == 300
    assert all(b"\n" not in one.raw.replace(b"\r\n", b"") for one in letters)  # what the server hands out


def test_a_full_run_has_all_that_was_promised_and_a_small_one_some_of_all() -> None:
    assert counts(FULL_RUN_MAILS) == FULL_RUN
    assert FULL_RUN[Kind.KILL] >= 20
    assert FULL_RUN[Kind.STOP] >= 5
    assert all(counts(100)[kind] for kind in Kind if kind is not Kind.BROKER_LOSS)
    stops = [it for it in plan_schedule(FULL_RUN_MAILS, 1, 4.0) if it.kind is Kind.STOP]
    assert {it.pause_seconds > 4.0 for it in stops} == {True, False}


def test_of_three_brokers_some_are_lost_instead_of_restarted() -> None:
    assert counts(800, 3) == counts(800) | {
        Kind.BROKER_RESTART: 0,
        Kind.BROKER_CRASH: 0,
        Kind.BROKER_LOSS: 3,
    }
    losses = [it for it in plan_schedule(800, 7, 4.0, 3) if it.kind is Kind.BROKER_LOSS]
    assert len(losses) == 3
    assert all(0 < it.at < 800 * 0.95 for it in losses)
