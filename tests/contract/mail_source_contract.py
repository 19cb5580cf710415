"""What every MailSource must do; run on the fake and on real IMAP servers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from postlane.ports import MailSource, MailSourceError


class Postbox(Protocol):
    """One empty account on some server, with mail put in from outside."""

    def session(self) -> MailSource:
        """A new session with the right password, not opened yet."""

    def wrong_password(self) -> MailSource:
        """A session that the server will refuse."""

    async def deliver(self, raw: bytes) -> None:
        """Put a mail into INBOX; return once it is there."""


def mail(number: int, body: str = "words") -> bytes:
    """A small mail whose subject is its number."""
    return (
        f"From: Ann <ann@example.org>\r\nTo: support@example.com\r\nSubject: mail {number}\r\n"
        f"Message-ID: <{number}@example.org>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\n{body}\r\n"
    ).encode()


class MailSourceContract:
    """Subclasses give a `postbox` fixture."""

    async def test_a_folder_says_where_new_mail_will_stand(self, postbox: Postbox) -> None:
        source = postbox.session()
        before = await source.open("INBOX")
        await source.close()
        await postbox.deliver(mail(1))
        source = postbox.session()
        after = await source.open("INBOX")
        listed = await source.list_since(before.uid_next - 1, 100)
        await source.close()
        assert before.exists == 0
        assert after.exists == 1
        assert after.uid_validity == before.uid_validity
        assert [one.uid for one in listed] == list(range(before.uid_next, after.uid_next))

    async def test_mails_are_listed_once_in_order_with_size_and_time(self, postbox: Postbox) -> None:
        for number in range(5):
            await postbox.deliver(mail(number))
        source = postbox.session()
        await source.open("INBOX")
        first = await source.list_since(0, 3)
        rest = await source.list_since(first[-1].uid, 100)
        nothing = await source.list_since(rest[-1].uid, 100)
        contents = await source.fetch([one.uid for one in (*first, *rest)])
        await source.close()
        uids = [one.uid for one in (*first, *rest)]
        assert len(first) == 3
        assert len(rest) == 2
        assert uids == sorted(set(uids))
        assert nothing == []  # `UID n:*` names the newest mail even when it is older
        assert all(one.size_bytes == len(contents[one.uid]) for one in (*first, *rest))
        now = datetime.now(UTC)
        assert all(abs(one.received_at - now) < timedelta(hours=1) for one in (*first, *rest))

    async def test_mail_that_arrives_later_is_listed_by_the_same_session(self, postbox: Postbox) -> None:
        await postbox.deliver(mail(1))
        source = postbox.session()
        await source.open("INBOX")
        first = await source.list_since(0, 100)
        assert await source.list_since(first[-1].uid, 100) == []
        await postbox.deliver(mail(2))
        later = await source.list_since(first[-1].uid, 100)
        await source.close()
        assert len(later) == 1

    async def test_content_is_fetched_whole_in_parts_and_head_only(self, postbox: Postbox) -> None:
        body = "\r\n".join(f"line {number} ((( {{5}} * 1 FETCH (UID 99)" for number in range(300))
        await postbox.deliver(mail(7, body))
        source = postbox.session()
        await source.open("INBOX")
        (listed,) = await source.list_since(0, 10)
        whole = (await source.fetch([listed.uid]))[listed.uid]
        parts = [
            await source.fetch_part(listed.uid, start, 5000) for start in range(0, len(whole) + 5000, 5000)
        ]
        head = await source.fetch_header(listed.uid)
        await source.close()
        assert b"line 299 ((( {5}" in whole
        assert b"".join(parts) == whole
        assert parts[-1] == b""
        assert whole.startswith(head)
        assert b"Subject: mail 7" in head
        assert b"line 0" not in head

    async def test_reading_changes_nothing_and_what_is_gone_is_left_out(self, postbox: Postbox) -> None:
        await postbox.deliver(mail(1))
        await postbox.deliver(mail(2))
        source = postbox.session()
        await source.open("INBOX")
        first, second = await source.list_since(0, 10)
        await source.delete([first.uid])
        contents = await source.fetch([first.uid, second.uid, second.uid + 1000])
        part = await source.fetch_part(first.uid, 0, 1000)
        left = await source.list_since(0, 10)
        await source.close()
        assert list(contents) == [second.uid]
        assert part == b""
        assert [one.uid for one in left] == [second.uid]

    async def test_many_mails_are_fetched_flagged_and_moved_at_once(self, postbox: Postbox) -> None:
        for number in range(120):
            await postbox.deliver(mail(number))
        source = postbox.session()
        await source.open("INBOX")
        listed = await source.list_since(0, 100)
        listed += await source.list_since(listed[-1].uid, 100)
        uids = [one.uid for one in listed]
        contents = await source.fetch(uids)
        await source.flag(uids, "\\Seen")
        await source.flag(uids, "\\Seen")
        await source.move(uids, "Processed")
        left = await source.list_since(0, 100)
        await source.move(uids, "Processed")  # repeated after a crash: nothing is there any more
        await source.close()
        other = postbox.session()
        moved = await other.open("Processed")
        await other.close()
        assert len(uids) == 120
        assert {
            number
            for number in range(120)
            if any(f"mail {number}\r\n".encode() in raw for raw in contents.values())
        } == set(range(120))
        assert left == []
        assert moved.exists == 120

    async def test_dates_find_the_first_mail(self, postbox: Postbox) -> None:
        await postbox.deliver(mail(1))
        source = postbox.session()
        await source.open("INBOX")
        (listed,) = await source.list_since(0, 10)
        today = datetime.now(UTC)
        assert await source.count_since(today - timedelta(days=2)) == 1
        assert await source.first_uid_since(today - timedelta(days=2)) == listed.uid
        assert await source.count_since(today + timedelta(days=3)) == 0
        assert await source.first_uid_since(today + timedelta(days=3)) is None
        await source.close()

    async def test_waiting_ends_when_mail_arrives_or_the_time_is_over(self, postbox: Postbox) -> None:
        source = postbox.session()
        await source.open("INBOX")
        assert not await source.wait_for_change(0.2)
        waiting = asyncio.create_task(source.wait_for_change(30))
        delivered = asyncio.create_task(self._deliver_until(postbox, waiting))
        assert await asyncio.wait_for(waiting, 20)
        await delivered
        assert await source.list_since(0, 10)
        # What was told beside the answer to that search may be in it or not; one more look settles it.
        assert not (await source.wait_for_change(0.2) and await self._looked(source, 0.2))
        await source.close()

    async def _looked(self, source: MailSource, seconds: float) -> bool:
        await source.list_since(1_000_000, 10)
        return await source.wait_for_change(seconds)

    async def test_mail_that_came_while_nobody_waited_ends_the_next_wait(self, postbox: Postbox) -> None:
        await postbox.deliver(mail(1))
        source = postbox.session()
        await source.open("INBOX")
        (listed,) = await source.list_since(0, 10)
        await postbox.deliver(mail(2))
        contents = await source.fetch([listed.uid])
        async with asyncio.timeout(20):
            while not await source.wait_for_change(0.1):  # Dovecot tells it within half a second
                pass
        found = await source.list_since(listed.uid, 10)
        await source.close()
        assert len(contents) == len(found) == 1

    async def _deliver_until(self, postbox: Postbox, waiting: "asyncio.Task[bool]") -> None:
        number = 0
        while not waiting.done() and number < 40:
            await asyncio.sleep(0.25)  # the wait may not have begun; then another mail ends it
            await postbox.deliver(mail(number))
            number += 1

    async def test_a_wait_that_is_cut_off_leaves_a_session_that_works(self, postbox: Postbox) -> None:
        await postbox.deliver(mail(1))
        source = postbox.session()
        await source.open("INBOX")
        await source.list_since(0, 10)
        waiting = asyncio.create_task(source.wait_for_change(30))
        await asyncio.wait({waiting}, timeout=0.2)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert len(await source.list_since(0, 10)) == 1
        await source.close()

    async def test_folders_are_open_side_by_side(self, postbox: Postbox) -> None:
        for number in range(3):
            await postbox.deliver(mail(number))
        first, second = postbox.session(), postbox.session()
        await first.open("INBOX")
        listed = await first.list_since(0, 10)
        await first.move([listed[0].uid], "Other")
        other = await second.open("Other")
        moved = await second.list_since(0, 10)
        left = await first.list_since(0, 10)
        assert other.exists == len(moved) == 1
        assert [one.uid for one in left] == [one.uid for one in listed[1:]]
        assert b"Subject: mail 0" in (await second.fetch([moved[0].uid]))[moved[0].uid]
        assert b"Subject: mail 1" in (await first.fetch([left[0].uid]))[left[0].uid]
        await first.close()
        await second.close()

    async def test_a_wrong_password_is_told_apart_and_not_told(self, postbox: Postbox) -> None:
        with pytest.raises(MailSourceError) as refused:
            await postbox.wrong_password().open("INBOX")
        assert refused.value.auth
        assert "wrong-password" not in str(refused.value)

    async def test_a_missing_folder_is_refused_by_name(self, postbox: Postbox) -> None:
        with pytest.raises(MailSourceError) as refused:
            await postbox.session().open("No such folder")
        assert not refused.value.auth

    async def test_after_closing_every_call_is_refused(self, postbox: Postbox) -> None:
        source = postbox.session()
        await source.open("INBOX")
        await source.close()
        await source.close()
        with pytest.raises(MailSourceError):
            await source.list_since(0, 1)
