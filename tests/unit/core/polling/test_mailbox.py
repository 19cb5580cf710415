"""The course of one folder: tables for where it starts, and a folder that lives through random crashes."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.received import MailboxCursor
from postlane.core.polling.folder import FolderState, ListedMail
from postlane.core.polling.mailbox import (
    COMPARED_FOR,
    Ending,
    Identity,
    Limits,
    Progress,
    after_chunk,
    after_passing_over,
    after_rescan,
    checked,
    is_repeat,
    no_longer_compared,
    plan_chunk,
    rescan_from,
)
from postlane.core.polling.mailbox_opening import (
    NO_UID_VALIDITY,
    RESCAN_MARGIN,
    Begin,
    BeginAtDate,
    Renumbered,
    Renumbering,
    Resume,
    begin_at,
    open_folder,
)
from postlane.core.polling.suspects import (
    FAILURES_MAX,
    Suspect,
    suspect_after,
    under_suspicion,
    with_breaker,
    witnesses,
)
from postlane.core.polling.uid_ranges import ranges_of
from postlane.core.polling.unsettled import Unsettled, stamped, unsettled_of, with_produced, with_settled

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
        assert opening.progress.uid == 10
        assert opening.progress.cursor.checked_at == NOW  # what is there was left out on purpose
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
        assert opening.progress.uid == 9

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
        assert (opening.why, opening.write_first) == (Renumbering.UID_VALIDITY, False)

    @pytest.mark.parametrize("start", ["new", "all", date(2026, 11, 1)])
    def test_what_was_looked_through_bounds_the_scan(self, start: date) -> None:
        looked = replace(cursor(), checked_at=NOW - timedelta(days=5), updated_at=NOW)
        opening = open_folder(ME, looked, folder(uid_validity=8), start, NOW)
        assert isinstance(opening, Renumbered)
        assert opening.progress.rescan is not None
        assert opening.progress.rescan.since == NOW - timedelta(days=5) - RESCAN_MARGIN

    def test_a_folder_behind_its_own_cursor_was_restored(self) -> None:
        opening = open_folder(ME, cursor(uid=15), folder(uid_next=11), "all", NOW)
        assert isinstance(opening, Renumbered)
        assert (opening.why, opening.write_first) == (Renumbering.RESTORED, True)
        void = opening.progress.cursor
        assert (void.uid_validity, void.uid, void.produced) == (NO_UID_VALIDITY, 0, 4)
        again = open_folder(ME, void, folder(uid_next=30), "all", NOW)  # after a crash, with new mail
        assert isinstance(again, Renumbered)
        assert (again.why, again.write_first) == (Renumbering.RESTORED, False)

    def test_a_server_that_names_no_next_uid_proves_nothing(self) -> None:
        derived = FolderState(uid_validity=7, uid_next=3, exists=0, uid_next_told=False)
        assert isinstance(open_folder(ME, cursor(), derived, "all", NOW), Resume)

    def test_the_next_uid_may_be_just_behind_the_cursor(self) -> None:
        assert isinstance(open_folder(ME, cursor(uid=10), folder(uid_next=11), "all", NOW), Resume)


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
        assert after.cursor.instance == "one"


class TestRescan:
    def scanning(self, since: datetime | None = None) -> Progress:
        opening = open_folder(ME, cursor(), folder(uid_validity=8, uid_next=21), "all", NOW)
        assert isinstance(opening, Renumbered)
        assert opening.progress.rescan is not None
        rescan = type(opening.progress.rescan)(until_uid=20, since=since)
        return rescan_from(
            Progress(cursor=cursor(), uid_validity=8, uid=0, rescan=rescan),
            1,
        )

    def test_the_cursor_keeps_the_old_numbers_until_the_end(self) -> None:
        during = after_chunk(self.scanning(), 10, {10: Ending.PRODUCED}, ME, NOW + timedelta(1))
        assert (during.cursor.uid_validity, during.cursor.uid, during.cursor.updated_at) == (7, 5, NOW)
        assert during.cursor.produced == 5
        assert checked(during, NOW) == during
        end = after_chunk(during, 20, {20: Ending.SKIPPED}, ME, NOW + timedelta(1))
        assert (end.cursor.uid_validity, end.cursor.uid, end.rescan) == (8, 20, None)
        assert checked(end, NOW).cursor.checked_at == NOW

    def test_it_may_end_without_a_last_mail(self) -> None:
        end = after_rescan(after_chunk(self.scanning(), 10, {10: Ending.PRODUCED}, ME, NOW), NOW)
        assert (end.cursor.uid_validity, end.cursor.uid) == (8, 20)

    def test_repeats_are_those_known_while_mails_are_compared(self) -> None:
        progress = self.scanning()
        assert is_repeat(progress, "aa", frozenset({"aa"}))
        assert not is_repeat(progress, "bb", frozenset({"aa"}))
        assert not is_repeat(resumed(), "aa", frozenset({"aa"}))

    def test_a_restore_may_go_on_behind_the_scan(self) -> None:
        since = NOW - timedelta(days=1)
        end = after_rescan(self.scanning(since), NOW)
        assert is_repeat(end, "aa", frozenset({"aa"}))
        old = listed(21, received_at=since - timedelta(days=1))
        assert plan_chunk(end, old, LIMITS).passed_over == tuple(old)
        later = NOW + COMPARED_FOR / 2
        on = after_chunk(end, 21, {21: Ending.SKIPPED}, ME, later)
        assert no_longer_compared(on, NOW + COMPARED_FOR) == on  # the repeat has put it off
        over = no_longer_compared(on, later + COMPARED_FOR)
        assert not is_repeat(over, "aa", frozenset({"aa"}))
        assert plan_chunk(over, old, LIMITS).whole == tuple(old)
        assert (
            no_longer_compared(after_chunk(end, 21, {21: Ending.PRODUCED}, ME, later), NOW + COMPARED_FOR)
            != end
        )

    def test_old_mails_are_passed_over_by_themselves(self) -> None:
        progress = self.scanning(since=NOW)
        old = listed(1, 2, received_at=NOW - timedelta(days=1))
        chunk = plan_chunk(progress, [*old, *listed(3)], LIMITS)
        assert chunk.passed_over == tuple(old)
        assert chunk.whole == ()
        after = after_passing_over(progress, chunk, ME, NOW)
        assert (after.uid, after.cursor.skipped) == (2, 3)
        later = plan_chunk(after, [*listed(3), *listed(4, received_at=NOW - timedelta(days=1))], LIMITS)
        assert [mail.uid for mail in later.whole] == [3]
        assert later.passed_over == ()


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

    def test_neighbours_that_break_the_session_too_are_no_witnesses(self) -> None:
        suspect = with_breaker(Suspect(6, 5, 9), 9)
        assert witnesses(suspect, listed(6, 7, 8, 9), [1, 2]) == [8, 7, 1, 2]
        assert suspect_after(suspect, 6, 6).breakers == {9}


class TestUnsettled:
    def test_it_is_exactly_what_was_produced(self) -> None:
        waiting = with_produced(
            Unsettled(7), ranges_of([6, 7, 9])
        )  # 8 is in quarantine, or comes to light later
        held = stamped(cursor(uid=9), waiting)
        assert (held.unsettled, held.settled_uid) == ("6:7,9", 5)
        assert unsettled_of(held) == waiting
        done = stamped(held, with_settled(waiting, ranges_of([6, 7, 9])))
        assert (done.unsettled, done.settled_uid) == ("", 9)

    def test_an_older_cursor_means_a_range(self) -> None:
        left = unsettled_of(cursor(uid=9, settled_uid=5))
        assert left.legacy == (5, 9)
        assert stamped(cursor(uid=9, settled_uid=5), left).unsettled is None
        assert not unsettled_of(cursor(uid=9, settled_uid=9))

    def test_numbers_of_another_uid_validity_are_left_alone(self) -> None:
        assert stamped(cursor(), Unsettled(8, ((1, 5),))) == cursor()


@dataclass
class Kafka:
    """What transactions have made durable."""

    cursor: MailboxCursor
    produced: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    bad: set[str] = field(default_factory=set)


@dataclass
class Poller:
    """What a process knows while it runs."""

    progress: Progress
    unsettled: Unsettled


STEPS = ["deliver", "deliver bad", "chunk", "settle", "crash", "renumber", "restore"]


@given(steps=st.lists(st.sampled_from(STEPS), max_size=60), chunk_mails=st.integers(1, 5))
def test_whatever_crashes_every_mail_is_produced_once_and_only_produced_mail_is_settled(
    steps: list[str], chunk_mails: int
) -> None:
    """`crash` forgets everything but Kafka and the folder; `renumber` is another UIDVALIDITY, `restore` an older state under the same one."""
    numbers = iter(range(1_000_000))
    mails: dict[int, str] = {}
    state = folder(uid_validity=1, uid_next=1)
    kafka = Kafka(begin_at(ME, state, 1, NOW).cursor)
    poller: Poller | None = None
    for step in [*steps, *["crash", "chunk", "settle"] * 30]:
        if step.startswith("deliver"):
            mails[state.uid_next] = f"mail {next(numbers)}"
            kafka.bad |= {mails[state.uid_next]} if "bad" in step else set()
            state = folder(state.uid_validity, state.uid_next + 1)
        elif step == "crash":
            poller = None
        elif step == "renumber":
            mails = dict(enumerate(mails.values(), 1))
            state = folder(state.uid_validity + 1, len(mails) + 1)
            poller = None  # a SELECT that shows it is a new session
        elif step == "restore":
            mails = {uid: mails[uid] for uid in sorted(mails)[: len(mails) // 2]}
            state = folder(state.uid_validity, max(mails, default=0) + 1)
            poller = reopened(kafka, state)
        else:
            poller = poller or reopened(kafka, state)
            (take if step == "chunk" else settle)(poller, kafka, mails, chunk_mails)
        books = kafka.cursor
        assert books.listed == books.produced + books.quarantined + books.skipped
        assert set(kafka.settled) <= set(kafka.produced)
    poller = poller or reopened(kafka, state)
    while poller.progress.uid < max(mails, default=0):
        take(poller, kafka, mails, chunk_mails)
    assert max(Counter(kafka.produced).values(), default=1) == 1
    assert set(mails.values()) <= set(kafka.produced) | kafka.bad
    settle(poller, kafka, mails, chunk_mails)
    assert not set(kafka.settled) & kafka.bad
    assert set(mails.values()) <= set(kafka.settled) | kafka.bad


def reopened(kafka: Kafka, state: FolderState) -> Poller:
    opening = open_folder(ME, kafka.cursor, state, "all", NOW)
    if isinstance(opening, Renumbered):
        if opening.write_first:
            kafka.cursor = opening.progress.cursor
        return Poller(opening.progress, Unsettled(opening.progress.uid_validity))
    assert isinstance(opening, Resume)
    return Poller(opening.progress, unsettled_of(kafka.cursor))


def take(poller: Poller, kafka: Kafka, mails: dict[int, str], chunk_mails: int) -> None:
    progress = poller.progress
    uids = [uid for uid in sorted(mails) if uid > progress.uid]
    if not uids:
        if progress.rescan:
            write(poller, kafka, after_rescan(progress, NOW), {})
        return
    chunk = plan_chunk(progress, listed(*uids), Limits(chunk_mails, 10_000, 500))
    known = frozenset(kafka.produced)

    def ending(uid: int) -> Ending:
        if mails[uid] in kafka.bad:
            return Ending.QUARANTINED
        return Ending.SKIPPED if is_repeat(progress, mails[uid], known) else Ending.PRODUCED

    endings = {mail.uid: ending(mail.uid) for mail in chunk.whole}
    kafka.produced += [mails[uid] for uid, ended in endings.items() if ended is Ending.PRODUCED]
    write(poller, kafka, after_chunk(progress, chunk.last_uid, endings, ME, NOW), endings)


def write(poller: Poller, kafka: Kafka, after: Progress, endings: dict[int, Ending]) -> None:
    ours = [uid for uid, ending in endings.items() if ending is not Ending.QUARANTINED]
    poller.unsettled = with_produced(poller.unsettled, ranges_of(ours))
    kafka.cursor = stamped(after.cursor, poller.unsettled)
    poller.progress = after


def settle(poller: Poller, kafka: Kafka, mails: dict[int, str], _chunk_mails: int) -> None:
    for first, last in poller.unsettled.uids:
        kafka.settled += [mails[uid] for uid in range(first, last + 1) if uid in mails]
    poller.unsettled = with_settled(poller.unsettled, poller.unsettled.uids)
