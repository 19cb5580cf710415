"""What an IMAP source asks a server and makes of its answers, with either client: a clear error in bounded time, never more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fakes.scripted_imap import ScriptedImap, ok
from postlane.adapters.aioimaplib_session import AioimaplibSession
from postlane.adapters.imap_account import ImapAccount
from postlane.adapters.imap_client import ImapClient, PostlaneClient
from postlane.adapters.imap_source import ImapSource
from postlane.config.sections import Tls
from postlane.ports import MailSourceError

PASSWORD = "a secret password"
TEST_SECONDS = 30.0  # far above every deadline used here
Opened = Callable[..., Awaitable[ImapSource]]
Source = Callable[..., ImapSource]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedImap]:
    async with ScriptedImap().serve() as server:
        yield server


def account(server: ScriptedImap, seconds: float = 10.0, **keys: Any) -> ImapAccount:
    keys = {"username": 'us"er', "password": PASSWORD, "tls": Tls.NONE} | keys
    return ImapAccount(host="127.0.0.1", port=server.port, command_timeout_seconds=seconds, **keys)


@pytest.fixture(params=[PostlaneClient, AioimaplibSession])
def source(request: pytest.FixtureRequest, server: ScriptedImap) -> Source:
    make: Callable[[ImapAccount], ImapClient] = request.param
    return lambda seconds=10.0: ImapSource(make(account(server, seconds)))


@pytest.fixture
def opened(source: Source) -> Opened:
    async def open_one(seconds: float = 10.0) -> ImapSource:
        made = source(seconds)
        await made.open("INBOX")
        return made

    return open_one


async def test_select_tells_where_the_folder_stands(server: ScriptedImap, source: Source) -> None:
    state = await source().open("Büro")
    assert (state.uid_validity, state.uid_next, state.exists) == (7, 4, 3)
    assert 'LOGIN "us\\"er" "a secret password"' in server.commands
    assert 'SELECT "B&APw-ro"' in server.commands


async def test_a_connection_lost_in_the_middle_of_a_command_is_noticed_at_once(
    server: ScriptedImap, opened: Opened
) -> None:
    """Aioimaplib alone waits for ever."""
    server.rules["SEARCH"] = lambda _tag, _command: None
    mailbox = await opened(seconds=3600.0)
    async with asyncio.timeout(TEST_SECONDS):
        with pytest.raises(MailSourceError, match="connection lost during UID SEARCH"):
            await mailbox.list_since(0, 10)
        with pytest.raises(MailSourceError, match="not open"):
            await mailbox.list_since(0, 10)


@pytest.mark.parametrize(
    "word", ["CAPABILITY", "LOGIN", "SELECT", "SEARCH", "FETCH", "STORE", "MOVE", "EXPUNGE"]
)
async def test_a_server_that_falls_silent_ends_the_session_by_the_deadline(
    server: ScriptedImap, source: Source, word: str
) -> None:
    server.rules |= {"SEARCH": lambda tag, _: b"* SEARCH 1\r\n" + ok(tag), "STORE": lambda tag, _: ok(tag)}
    server.rules = {word: lambda _tag, _command: b""} | {
        other: rule for other, rule in server.rules.items() if other != word
    }

    async def use(mailbox: ImapSource) -> None:
        await mailbox.open("INBOX")
        await mailbox.list_since(0, 10)
        await mailbox.fetch([1])
        await mailbox.move([1], "Done")
        await mailbox.delete([1])

    async with asyncio.timeout(TEST_SECONDS):
        with pytest.raises(MailSourceError, match=r"not answered within|no answer in time"):
            await use(source(seconds=0.2))


async def test_a_server_that_falls_silent_during_idle_ends_the_session(
    server: ScriptedImap, opened: Opened
) -> None:
    server.rules["IDLE"] = lambda _tag, _command: b"+ idling\r\n"
    mailbox = await opened(seconds=0.3)
    async with asyncio.timeout(TEST_SECONDS):
        with pytest.raises(MailSourceError, match="IDLE was not answered"):
            await mailbox.wait_for_change(0.1)


async def test_a_refusal_carries_the_servers_words_without_the_password(
    server: ScriptedImap, source: Source
) -> None:
    server.rules["LOGIN"] = lambda tag, command: (
        f"{tag} NO [AUTHENTICATIONFAILED] cannot {command}\r\n".encode()
    )
    with pytest.raises(MailSourceError) as refused:
        await source().open("INBOX")
    assert refused.value.auth
    assert "AUTHENTICATIONFAILED" in str(refused.value)
    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(account(server))


async def test_a_throttled_request_says_how_long_to_wait(server: ScriptedImap, opened: Opened) -> None:
    server.rules["SEARCH"] = lambda tag, _: (
        f"{tag} NO Request is throttled. Suggested Backoff Time: 5500 milliseconds\r\n".encode()
    )
    mailbox = await opened()
    with pytest.raises(MailSourceError) as refused:
        await mailbox.list_since(0, 10)
    assert refused.value.retry_after_seconds == 5.5


async def test_a_folder_without_uid_validity_is_refused(server: ScriptedImap, source: Source) -> None:
    server.rules["SELECT"] = lambda tag, _: b"* 3 EXISTS\r\n" + ok(tag)
    with pytest.raises(MailSourceError, match="UIDVALIDITY"):
        await source().open("INBOX")


async def test_a_missing_uid_next_is_worked_out(server: ScriptedImap, source: Source) -> None:
    server.rules["SELECT"] = lambda tag, _: b"* OK [UIDVALIDITY 7] x\r\n" + ok(tag)
    server.rules["SEARCH"] = lambda tag, _: b"* SEARCH 41\r\n" + ok(tag)
    assert (await source().open("INBOX")).uid_next == 42


async def test_the_newest_mail_is_not_listed_again_by_the_quirk_of_open_ranges(
    server: ScriptedImap, opened: Opened
) -> None:
    server.rules["SEARCH"] = lambda tag, _: b"* SEARCH 3\r\n" + ok(tag)
    assert await (await opened()).list_since(3, 10) == []


async def test_listing_again_from_further_back_searches_again(server: ScriptedImap, opened: Opened) -> None:
    server.rules["SEARCH"] = lambda tag, _: b"* SEARCH 1 2 3\r\n" + ok(tag)
    server.rules["FETCH"] = lambda tag, command: (
        b"".join(
            f'* {uid} FETCH (UID {uid} RFC822.SIZE 9 INTERNALDATE "21-Nov-2026 10:00:00 +0000")\r\n'.encode()
            for uid in (1, 2, 3)
            if str(uid) in command or ":" in command
        )
        + ok(tag)
    )
    mailbox = await opened()
    assert [one.uid for one in await mailbox.list_since(2, 10)] == [3]
    assert [one.uid for one in await mailbox.list_since(0, 10)] == [1, 2, 3]
    assert (await mailbox.list_since(2, 10))[0].received_at == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert sum("SEARCH" in command for command in server.commands) == 2


async def test_expunging_is_left_alone_where_it_could_take_others_mail(
    server: ScriptedImap, opened: Opened
) -> None:
    server.rules["CAPABILITY"] = lambda tag, _: b"* CAPABILITY IMAP4rev1\r\n" + ok(tag)
    server.rules["STORE"] = lambda tag, _: ok(tag)
    mailbox = await opened()
    await mailbox.delete([1, 2, 5])
    assert "UID STORE 1:2,5 +FLAGS.SILENT (\\Deleted)" in server.commands
    assert not any("EXPUNGE" in command for command in server.commands)


async def test_a_folder_that_is_missing_is_created_before_moving(
    server: ScriptedImap, opened: Opened
) -> None:
    answers = iter([b"NO [TRYCREATE] no such folder", b"OK moved"])
    server.rules["MOVE"] = lambda tag, _: tag.encode() + b" " + next(answers) + b"\r\n"
    server.rules["CREATE"] = lambda tag, _: ok(tag)
    mailbox = await opened()
    await mailbox.move([1], "Done")
    assert server.commands[-3:] == ['UID MOVE 1 "Done"', 'CREATE "Done"', 'UID MOVE 1 "Done"']


async def test_a_mail_that_is_a_quoted_string_is_read_and_one_that_is_nil_is_not_there(
    server: ScriptedImap,
    opened: Opened,
) -> None:
    server.rules["FETCH"] = lambda tag, _: (
        b'* 1 FETCH (UID 1 BODY[] "Subject: x")\r\n* 2 FETCH (UID 2 BODY[] NIL)\r\n' + ok(tag)
    )
    mailbox = await opened()
    assert await mailbox.fetch([1, 2, 3]) == {1: b"Subject: x"}
    assert await mailbox.fetch_part(2, 0, 100) == b""


def listing(*uids: int) -> bytes:
    return b"".join(b"* %d FETCH (UID %d RFC822.SIZE 9)\r\n" % (uid, uid) for uid in uids)


@pytest.mark.parametrize(
    ("answers", "sizes"),
    [
        ([listing(1, 3), listing(2)], {1: 9, 2: 9, 3: 9}),
        ([listing(1, 3), b"* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n"], {1: 9, 2: 0, 3: 9}),
        ([listing(1, 2, 3) + b"* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n"], {1: 9, 2: 9, 3: 9}),
        ([b"", b""], {1: 0, 2: 0, 3: 0}),
    ],
)
async def test_a_mail_that_search_names_and_fetch_leaves_out_is_listed(
    server: ScriptedImap, opened: Opened, answers: list[bytes], sizes: dict[int, int]
) -> None:
    """The next listing begins above it: nobody would ever take it."""
    left = iter(answers)
    server.rules["SEARCH"] = lambda tag, _: b"* SEARCH 1 2 3\r\n" + ok(tag)
    server.rules["FETCH"] = lambda tag, _: next(left) + ok(tag)
    listed = await (await opened()).list_since(0, 10)
    assert {one.uid: one.size_bytes for one in listed} == sizes


async def test_a_mail_that_search_does_not_name_any_more_is_gone(
    server: ScriptedImap, opened: Opened
) -> None:
    server.rules["UID 2"] = lambda tag, _: b"* SEARCH\r\n" + ok(tag)
    server.rules["SEARCH"] = lambda tag, _: b"* SEARCH 1 2 3\r\n" + ok(tag)
    server.rules["FETCH"] = lambda tag, _: listing(1, 3) + ok(tag)
    listed = await (await opened()).list_since(0, 10)
    assert [one.uid for one in listed] == [1, 3]
    assert "UID SEARCH UID 2" in server.commands


async def test_nothing_is_asked_for_nothing(server: ScriptedImap, opened: Opened) -> None:
    mailbox = await opened()
    before = len(server.commands)
    assert await mailbox.fetch([]) == {}
    await mailbox.flag([], "\\Seen")
    await mailbox.move([], "Done")
    await mailbox.delete([])
    assert len(server.commands) == before
