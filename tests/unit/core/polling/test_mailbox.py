"""The course of one folder: tables for where it starts, and a folder that lives through random crashes."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.received import MailboxCursor
from postlane.core.polling.folder import FolderState, ListedMail
from postlane.core.polling.mailbox import (
    Ending,
    Identity,
    Limits,
    Progress,
    after_chunk,
    after_passing_over,
    after_quarantine,
    after_rescan,
    is_repeat,
    plan_chunk,
    rescan_from,
    with_settled,
)
from postlane.core.polling.mailbox_opening import (
    RESCAN_MARGIN,
    Begin,
    BeginAtDate,
    Renumbered,
    Resume,
    begin_at,
    open_folder,
)
from postlane.core.polling.suspects import FAILURES_MAX, Suspect, suspect_after, under_suspicion

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
ME = Identity("support", "INBOX", "one")
LIMITS = Limits(chunk_mails=100, chunk_bytes=1000, oversize_bytes=500)


def folder(uid_validity: int = 7, uid_next: int = 11) -> FolderState:
    return FolderState(uid_validity=uid_validity, uid_next=uid_next, exists=0)


def cursor(uid: int = 5, settled_uid: int = 5, uid_validity: int = 7) -> MailboxCursor:
    return MailboxCursor(
        mailbox="support",
        folder="INBOX",
        uid_validity=uid_validity,
        uid=uid,
        settled_uid=settled_uid,
        updated_at=NOW,
        instance="zero",
        listed=5,
        produced=4,
        quarantined=0,
        skipped=1,
    )


def listed(*uids: int, size_bytes: int = 10, received_at: datetime = NOW) -> list[ListedMail]:
    return [ListedMail(uid=uid, size_bytes=size_bytes, received_at=received_at) for uid in uids]


def resumed(held: MailboxCursor | None = None) -> Progress:
    opening = open_folder(ME, held or cursor(), folder(), "new", NOW)
    assert isinstance(opening, Resume)
    return opening.progress


class TestOpening:
    def test_new_starts_behind_what_is_there(self) -> None:
        opening = open_folder(ME, None, folder(uid_next=11), "new", NOW)
        assert isinstance(opening, Begin)
        assert (opening.progress.uid, opening.progress.settled_uid) == (10, 10)
        assert opening.progress.cursor.uid_validity == 7
        assert opening.progress.cursor.listed == 0

    def test_all_starts_at_the_first_mail(self) -> None:
        opening = open_folder(ME, None, folder(), "all", NOW)
        assert isinstance(opening, Begin)
        assert opening.progress.uid == 0

    def test_a_date_must_be_looked_up(self) -> None:
        opening = open_folder(ME, None, folder(), date(2026, 11, 1), NOW)
        assert opening == BeginAtDate(datetime(2026, 11, 1, tzinfo=UTC))

    @pytest.mark.parametrize("start", ["new", "all", date(2026, 1, 1)])
    def test_a_known_folder_resumes_whatever_the_start_rule_says(self, start: date) -> None:
        opening = open_folder(ME, cursor(uid=9, settled_uid=6), folder(), start, NOW)
        assert isinstance(opening, Resume)
        assert (opening.progress.uid, opening.progress.settled_uid) == (9, 6)

    @pytest.mark.parametrize(
        ("start", "since"),
        [
            ("new", NOW - RESCAN_MARGIN),
            ("all", None),
            (date(2026, 11, 1), datetime(2026, 11, 1, tzinfo=UTC)),
        ],
    )
    def test_another_uid_validity_means_a_bounded_scan(self, start: date, since: datetime | None) -> None:
        opening = open_folder(ME, cursor(), folder(uid_validity=8, uid_next=21), start, NOW)
        assert isinstance(opening, Renumbered)
        assert opening.progress.rescan is not None
        assert (opening.progress.rescan.until_uid, opening.progress.rescan.since) == (20, since)
        assert opening.progress.cursor == cursor()  # untouched until the scan is over


class TestChunks:
    def test_bounded_by_count(self) -> None:
        chunk = plan_chunk(resumed(), listed(6, 7, 8), Limits(2, 1000, 500))
        assert [mail.uid for mail in chunk.whole] == [6, 7]
        assert chunk.last_uid == 7

    def test_bounded_by_bytes_but_never_empty(self) -> None:
        first = plan_chunk(resumed(), listed(6, 7, size_bytes=400), Limits(100, 300, 500))
        assert [mail.uid for mail in first.whole] == [6]
        assert plan_chunk(resumed(), listed(6, 7, 8, size_bytes=400), LIMITS).last_uid == 7

    def test_oversize_mail_is_set_apart(self) -> None:
        chunk = plan_chunk(resumed(), [*listed(6), *listed(7, size_bytes=501)], Limits(100, 100_000, 500))
        assert [mail.uid for mail in chunk.whole] == [6]
        assert [mail.uid for mail in chunk.oversize] == [7]
        assert chunk.last_uid == 7

    def test_gaps_in_the_numbers_are_no_mails(self) -> None:
        after = after_chunk(resumed(), 900, {6: Ending.PRODUCED, 900: Ending.SKIPPED}, ME, NOW)
        assert (after.uid, after.cursor.uid, after.cursor.listed) == (900, 900, 7)
        assert (after.cursor.produced, after.cursor.skipped) == (5, 2)
        assert after.cursor.settled_uid == 5
        assert after.cursor.instance == "one"


class TestRescan:
    def scanning(self, since: datetime | None = None) -> Progress:
        opening = open_folder(ME, cursor(), folder(uid_validity=8, uid_next=21), "all", NOW)
        assert isinstance(opening, Renumbered)
        assert opening.progress.rescan is not None
        rescan = type(opening.progress.rescan)(until_uid=20, since=since)
        return rescan_from(
            Progress(cursor=cursor(), uid_validity=8, uid=0, settled_uid=0, rescan=rescan),
            1,
        )

    def test_the_cursor_keeps_the_old_numbers_until_the_end(self) -> None:
        during = after_chunk(self.scanning(), 10, {10: Ending.PRODUCED}, ME, NOW + timedelta(1))
        assert (during.cursor.uid_validity, during.cursor.uid, during.cursor.updated_at) == (7, 5, NOW)
        assert during.cursor.produced == 5
        during = with_settled(during, 10)
        assert during.cursor.settled_uid == 5
        end = after_chunk(during, 20, {20: Ending.SKIPPED}, ME, NOW + timedelta(1))
        assert (end.cursor.uid_validity, end.cursor.uid, end.rescan) == (8, 20, None)
        assert end.cursor.settled_uid == 10

    def test_it_may_end_without_a_last_mail(self) -> None:
        end = after_rescan(after_chunk(self.scanning(), 10, {10: Ending.PRODUCED}, ME, NOW), NOW)
        assert (end.cursor.uid_validity, end.cursor.uid, end.cursor.settled_uid) == (8, 20, 20)

    def test_repeats_are_those_known_within_the_scan(self) -> None:
        progress = self.scanning()
        assert is_repeat(progress, 20, "aa", frozenset({"aa"}))
        assert not is_repeat(progress, 20, "bb", frozenset({"aa"}))
        assert not is_repeat(progress, 21, "aa", frozenset({"aa"}))  # sent again since then: another mail
        assert not is_repeat(resumed(), 6, "aa", frozenset({"aa"}))

    def test_old_mails_are_passed_over_by_themselves_and_never_settled(self) -> None:
        progress = self.scanning(since=NOW)
        old = listed(1, 2, received_at=NOW - timedelta(days=1))
        chunk = plan_chunk(progress, [*old, *listed(3)], LIMITS)
        assert chunk.passed_over == tuple(old)
        assert chunk.whole == ()
        after = after_passing_over(progress, chunk, ME, NOW)
        assert (after.uid, after.settled_uid, after.cursor.skipped) == (2, 2, 3)
        later = plan_chunk(after, [*listed(3), *listed(4, received_at=NOW - timedelta(days=1))], LIMITS)
        assert [mail.uid for mail in later.whole] == [3]
        assert later.passed_over == ()

    def test_unsettled_mails_are_given_up_rather_than_reaching_over_old_ones(self) -> None:
        progress = after_chunk(self.scanning(since=NOW), 3, {3: Ending.PRODUCED}, ME, NOW)
        chunk = plan_chunk(progress, listed(4, received_at=NOW - timedelta(days=1)), LIMITS)
        after = after_chunk(after_passing_over(progress, chunk, ME, NOW), 20, {20: Ending.PRODUCED}, ME, NOW)
        assert after.cursor.settled_uid == 4


class TestFailures:
    def test_one_mail_alone_is_to_blame_after_so_many_failures(self) -> None:
        suspect = None
        for _ in range(FAILURES_MAX):
            assert suspect is None or not suspect.is_poison
            suspect = suspect_after(suspect, 6, 6)
        assert suspect is not None
        assert suspect.is_poison

    def test_of_a_chunk_every_mail_is_tried_alone(self) -> None:
        suspect = suspect_after(None, 6, 9)
        assert not suspect.is_poison
        assert [mail.uid for mail in under_suspicion(suspect, listed(6, 7, 8))] == [6]
        assert [mail.uid for mail in under_suspicion(suspect, listed(9, 10))] == [9]
        assert [mail.uid for mail in under_suspicion(suspect, listed(10, 11))] == [10, 11]
        assert [mail.uid for mail in under_suspicion(None, listed(6, 7))] == [6, 7]

    def test_failures_of_another_mail_begin_at_one(self) -> None:
        suspect = suspect_after(Suspect(6, 4, 9), 7, 7)
        assert (suspect.failures, suspect.alone_until_uid) == (1, 9)

    def test_quarantine_leaves_nothing_to_settle(self) -> None:
        after = after_quarantine(resumed(cursor(uid=5, settled_uid=3)), 6, ME, NOW)
        assert (after.cursor.uid, after.cursor.settled_uid, after.cursor.quarantined) == (6, 6, 1)
        assert after.settled_uid == 6


@dataclass
class Kafka:
    """What transactions have made durable."""

    cursor: MailboxCursor
    produced: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)


@given(
    steps=st.lists(st.sampled_from(["deliver", "chunk", "settle", "crash", "renumber"]), max_size=60),
    chunk_mails=st.integers(1, 5),
)
def test_whatever_crashes_every_mail_is_produced_once_and_only_produced_mail_is_settled(
    steps: list[str], chunk_mails: int
) -> None:
    """`crash` forgets everything but Kafka and the folder; `renumber` is another UIDVALIDITY."""
    numbers = iter(range(1_000_000))
    mails: dict[int, str] = {}
    state = folder(uid_validity=1, uid_next=1)
    kafka = Kafka(begin_at(ME, state, 1, NOW).cursor)
    progress: Progress | None = None
    for step in [*steps, *["crash", "chunk", "settle"] * 30]:
        if step == "deliver":
            mails[state.uid_next] = f"mail {next(numbers)}"
            state = folder(state.uid_validity, state.uid_next + 1)
        elif step == "crash":
            progress = None
        elif step == "renumber":
            mails = dict(enumerate(mails.values(), 1))
            state = folder(state.uid_validity + 1, len(mails) + 1)
            progress = None  # a SELECT that shows it is a new session
        else:
            progress = progress or reopened(kafka, state)
            progress = (take if step == "chunk" else settle)(progress, kafka, mails, chunk_mails)
            end_of_scan = max(mails, default=0) <= progress.uid
            if step == "chunk" and progress.rescan and end_of_scan:
                progress = after_rescan(progress, NOW)
                kafka.cursor = progress.cursor
        books = kafka.cursor
        assert books.listed == books.produced + books.quarantined + books.skipped
        assert set(kafka.settled) <= set(kafka.produced)
    while progress is not None and progress.uid < max(mails, default=0):
        progress = take(progress, kafka, mails, chunk_mails)
    assert Counter(kafka.produced) == Counter(mails.values())


def reopened(kafka: Kafka, state: FolderState) -> Progress:
    opening = open_folder(ME, kafka.cursor, state, "all", NOW)
    assert isinstance(opening, Resume | Renumbered)
    return opening.progress


def take(progress: Progress, kafka: Kafka, mails: dict[int, str], chunk_mails: int) -> Progress:
    uids = [uid for uid in sorted(mails) if uid > progress.uid]
    if not uids:
        return progress
    chunk = plan_chunk(progress, listed(*uids), Limits(chunk_mails, 10_000, 500))
    known = frozenset(kafka.produced)
    endings = {
        mail.uid: Ending.SKIPPED if is_repeat(progress, mail.uid, mails[mail.uid], known) else Ending.PRODUCED
        for mail in chunk.whole
    }
    after = after_chunk(progress, chunk.last_uid, endings, ME, NOW)
    kafka.produced += [mails[uid] for uid, ending in endings.items() if ending is Ending.PRODUCED]
    kafka.cursor = after.cursor
    return after


def settle(progress: Progress, kafka: Kafka, mails: dict[int, str], _chunk_mails: int) -> Progress:
    kafka.settled += [mails[uid] for uid in mails if progress.settled_uid < uid <= progress.uid]
    return with_settled(progress, progress.uid)
