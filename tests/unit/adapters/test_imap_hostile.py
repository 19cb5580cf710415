"""Foreign and hostile servers: our own client ends in a MailSourceError with a clear text, in bounded time and memory, or is not harmed."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.scripted_imap import Reply, ScriptedImap, ok
from postlane.adapters.imap_account import ImapAccount, SessionSlots
from postlane.adapters.imap_client import PostlaneClient
from postlane.adapters.imap_source import ImapSource
from postlane.config.sections import Tls
from postlane.ports import MailSourceError, MailTrouble

PASSWORD = "a secret password"
TEST_SECONDS = 30.0  # far above every deadline used here
FETCHED = b"* 1 FETCH (UID 1 RFC822.SIZE 5 BODY[] {5}\r\nhello)\r\n"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedImap]:
    async with ScriptedImap().serve() as server:
        server.rules |= {
            "SEARCH": lambda tag, _: b"* SEARCH 1\r\n" + ok(tag),
            "FETCH": lambda tag, _: FETCHED + ok(tag),
            "STORE": lambda tag, _: ok(tag),
            "MOVE": lambda tag, _: ok(tag),
            "EXPUNGE": lambda tag, _: ok(tag),
            "IDLE": lambda tag, _: idled(tag),
        }
        yield server


def idled(tag: str) -> Any:
    yield b"+ idling\r\n"
    yield ok(tag)


def source(server: ScriptedImap, seconds: float = 5.0, **keys: Any) -> ImapSource:
    keys = {"username": "user", "password": PASSWORD, "tls": Tls.NONE} | keys
    account = ImapAccount(host="127.0.0.1", port=server.port, command_timeout_seconds=seconds, **keys)
    return ImapSource(account)


async def opened(server: ScriptedImap, seconds: float = 5.0, **keys: Any) -> ImapSource:
    made = source(server, seconds, **keys)
    await made.open("INBOX")
    return made


async def used(mailbox: ImapSource) -> dict[int, bytes]:
    """Everything that a poller does, once."""
    await mailbox.open("INBOX")
    await mailbox.list_since(0, 10)
    contents = await mailbox.fetch([1])
    await mailbox.flag([1], "\\Seen")
    await mailbox.wait_for_change(0.01)
    await mailbox.move([1], "Done")
    await mailbox.close()
    return contents


async def broken(mailbox: ImapSource) -> MailSourceError:
    async with asyncio.timeout(TEST_SECONDS):
        with pytest.raises(MailSourceError) as failed:
            await used(mailbox)
    assert PASSWORD not in str(failed.value)
    assert str(failed.value).isprintable()
    assert len(str(failed.value)) < 500
    with pytest.raises(MailSourceError):
        await mailbox.list_since(0, 1)
    return failed.value


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"220 mail.example.com ESMTP ready\r\n", "does not answer as an IMAP server: 220 mail.example.com ESMTP"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n<html>", "does not answer as an IMAP server: HTTP/1.1 400"),
        (b"+OK POP3 ready\r\n", "does not answer as an IMAP server: it begins with +OK POP3"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "does not answer as an IMAP server: SSH-2.0"),
        (b"\x15\x03\x01\x00\x02\x02\x16\n", "does not answer as an IMAP server"),
        (b"* CAPABILITY IMAP4rev1\r\n", "does not answer as an IMAP server: it begins with CAPABILITY"),
        (b"* BYE [UNAVAILABLE] later\r\n", "the server ended the session during the greeting: [UNAVAILABLE] later"),
        (b"* NO go away\r\n", "does not answer as an IMAP server: it begins with"),
        (b"", "the server has not greeted within 0.3 s; so it is where"),
        (b"x" * 100, "the server has not greeted within"),
    ],
)  # fmt: skip
async def test_wrong_greetings_are_said(server: ScriptedImap, greeting: bytes, words: str) -> None:
    server.greeting = greeting
    assert words in str(await broken(source(server, 0.3)))


NOISE = [
    (b"* 4 EXISTS\r\n* 2 EXPUNGE\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* 0 RECENT\r\n* FLAGS (\\Seen)\r\n"),
    (b"* 3 FETCH (FLAGS () UID 9)\r\n* OK still here\r\n* NO nearly full\r\n* BAD what\r\n* \r\n* ?\r\n"),
    (b'* LIST () "/" {5}\r\nInbox\r\n* 7 FETCH (ENVELOPE ({3}\r\na\r\n NIL "x"))\r\n* X {0}\r\n\r\n'),
    (b'* SEARCH\r\n* SEARCH x y\r\n* ESEARCH (TAG "x") UID ALL 1:4\r\n* VANISHED 1:3\r\n+ more?\r\n+\r\n'),
    (b"* OK " + b"x" * 100_000 + b"\r\n"),
    (b"* 5 EXISTS\r\n" * 10_000),
    (b"* OK [CAPABILITY IMAP4rev1 UIDPLUS MOVE IDLE] changed\r\n* CAPABILITY IMAP4rev1 MOVE UIDPLUS IDLE\r\n"),
]  # fmt: skip


@pytest.mark.parametrize("noise", NOISE, ids=range(len(NOISE)))
@pytest.mark.parametrize(
    "word", ["CAPABILITY", "LOGIN", "SELECT", "SEARCH", "FETCH", "STORE", "MOVE", "IDLE"]
)
async def test_what_nobody_asked_for_does_no_harm(server: ScriptedImap, noise: bytes, word: str) -> None:
    answer = server.rules[word]

    def noisy(tag: str, command: str) -> Any:
        said = answer(tag, command)
        return noise + said if isinstance(said, bytes) else noisy_dialog(tag)

    def noisy_dialog(tag: str) -> Any:
        yield b"+ idling\r\n"
        yield noise.replace(b"+", b"* +") + ok(tag)

    server.rules = {word: noisy} | {other: rule for other, rule in server.rules.items() if other != word}
    async with asyncio.timeout(TEST_SECONDS):
        assert await used(source(server)) == {1: b"hello"}


GARBAGE: list[tuple[Reply, str]] = [
    (lambda _tag, _: b"\x00\xff\xfe garbage\r\n", "does not answer as an IMAP server"),
    (lambda _tag, _: b"X999 OK done\r\n", "answers a command that was not given: X999 OK"),
    (lambda _tag, _: b"* BYE shutting down\r\n", "the server ended the session during {name}: shutting down"),
    (lambda _tag, _: b"* BYE [LIMIT] too much\r\n", "the server ended the session during {name}: [LIMIT] too much"),
    (lambda _tag, _: None, "connection lost during {name}: the server closed the connection"),
    (lambda _tag, _: b"* 1 FETCH (UID 1 BODY[] {99999999999}\r\n", "announces 99999999999 bytes at once"),
    (lambda _tag, _: b"* 1 FETCH (UID 1 BODY[] {500}\r\nshort", "{name} was not answered within"),
    (lambda _tag, _: b"* 1 FETCH (" + b"(" * 1000 + b"\r\n", None or ""),
    (lambda tag, _: f"{tag} BAD no such thing\r\n".encode(), "{name} refused: no such thing"),
    (lambda tag, _: f"{tag} NO [THROTTLED] slow down\r\n".encode(), "{name} refused: [THROTTLED] slow down"),
    (lambda _tag, _: b"", "{name} was not answered within"),
]  # fmt: skip
NAMES = {"SEARCH": "UID SEARCH", "FETCH": "UID FETCH", "STORE": "UID STORE"}


@pytest.mark.parametrize("number", range(len(GARBAGE)))
@pytest.mark.parametrize("word", ["CAPABILITY", "LOGIN", "SELECT", "SEARCH", "FETCH", "STORE"])
async def test_garbage_in_any_state_is_one_clear_error(server: ScriptedImap, number: int, word: str) -> None:
    reply, words = GARBAGE[number]
    server.rules = {word: reply} | {other: rule for other, rule in server.rules.items() if other != word}
    error = await broken(source(server, 0.3, answer_bytes_max=10_000_000))
    assert words.format(name=NAMES.get(word, word)) in str(error)


WORDS = st.sampled_from(
    [b"* ", b"P1 ", b"P2 ", b"P3 ", b"+ ", b"OK ", b"NO ", b"BAD ", b"BYE ", b"PREAUTH ", b"[CAPABILITY IDLE]", b"[UIDVALIDITY 7]", b"CAPABILITY X",
     b"7 EXISTS", b"1 EXPUNGE", b"SEARCH 1", b"1 FETCH (UID 1 BODY[] ", b"{3}\r\n", b"abc", b")", b'"', b"\r\n", b"\r\n", b"\xff", b"NAMESPACE NIL"]
)  # fmt: skip
NONSENSE = st.lists(WORDS, max_size=12).map(b"".join)


def nonsense(noise: bytes, *, ends_rightly: bool) -> Reply:
    if not ends_rightly:
        return lambda _tag, _: noise
    return lambda tag, _: noise + b"\r\n* OK [UIDVALIDITY 7]\r\n" + ok(tag)


@given(said=st.lists(NONSENSE, min_size=4, max_size=4), ends_rightly=st.booleans())
@settings(max_examples=60)
def test_whatever_a_server_says_is_an_answer_or_an_error(said: list[bytes], ends_rightly: bool) -> None:
    async def use() -> None:
        async with ScriptedImap().serve() as server:
            if not ends_rightly:
                server.greeting = said[0]
            for word, noise in zip(("CAPABILITY", "SELECT", "SEARCH", "FETCH"), said, strict=True):
                server.rules[word] = nonsense(noise, ends_rightly=ends_rightly)
            mailbox = source(server, 0.05)
            with suppress(MailSourceError):
                await used(mailbox)
            await mailbox.close()

    asyncio.run(asyncio.wait_for(use(), TEST_SECONDS))


async def test_limits_say_how_long_to_wait(server: ScriptedImap) -> None:
    server.rules["SEARCH"] = lambda tag, _: f"{tag} NO [LIMIT] too many requests\r\n".encode()
    error = await broken(source(server))
    assert (error.trouble, error.retry_after_seconds) == (MailTrouble.LIMIT, 60.0)
    server.greeting = b"* BYE Request is throttled. Suggested Backoff Time: 5500 milliseconds\r\n"
    error = await broken(source(server))
    assert (error.trouble, error.retry_after_seconds) == (MailTrouble.LIMIT, 5.5)


async def test_a_limit_at_login_is_no_matter_of_the_password(server: ScriptedImap) -> None:
    server.rules["LOGIN"] = lambda tag, _: (
        f"{tag} NO [ALERT] Too many simultaneous connections. (Failure)\r\n".encode()
    )
    error = await broken(source(server))
    assert (error.trouble, error.auth, error.retry_after_seconds) == (MailTrouble.LIMIT, False, 60.0)


async def test_a_server_that_drips_is_cut_off(server: ScriptedImap) -> None:
    """Each byte is a sign of life, and yet it must end."""
    mailbox = await opened(server, 0.1)
    server.rules["FETCH"] = lambda _tag, _: b"* 1 FETCH (UID 1 BODY[] {100000}\r\n"

    async def drip() -> None:
        while True:
            await asyncio.sleep(0.02)
            server.push(b"x")

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(TEST_SECONDS):
        with pytest.raises(MailSourceError, match="UID FETCH was not answered within"):
            await mailbox.fetch([1])
    dripping.cancel()


async def test_more_than_the_answer_may_hold_is_cut_off(server: ScriptedImap) -> None:
    mail = b"* 1 FETCH (UID 1 BODY[] {50000}\r\n" + b"x" * 50_000 + b")\r\n"
    server.rules["FETCH"] = lambda tag, _: mail * 30 + ok(tag)
    mailbox = await opened(server, answer_bytes_max=1_000_000)
    with pytest.raises(MailSourceError, match="answers UID FETCH with more than 1000000 bytes") as failed:
        await mailbox.fetch([1])
    assert failed.value.trouble is MailTrouble.PROTOCOL


async def test_news_without_end_between_commands_takes_no_memory(server: ScriptedImap) -> None:
    mailbox = await opened(server)
    burst = b"* 1 FETCH (FLAGS (\\Seen) UID 5)\r\n" * 1_000
    tracemalloc.start()
    for _ in range(20):
        server.push(burst)
        await mailbox.flag([1], "\\Seen")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < len(burst) * 10
    await mailbox.close()


async def test_a_lost_connection_is_noticed_during_idle_and_between_commands(server: ScriptedImap) -> None:
    server.rules["IDLE"] = lambda _tag, _: b"+ idling\r\n"
    mailbox = await opened(server)
    waiting = asyncio.create_task(mailbox.wait_for_change(3600.0))
    async with asyncio.timeout(TEST_SECONDS):
        while "IDLE" not in server.commands:  # noqa: ASYNC110 - the other side's state
            await asyncio.sleep(0.005)
        server.hang_up()
        with pytest.raises(MailSourceError, match="connection lost during IDLE"):
            await waiting


@pytest.mark.parametrize("answer", ["NO not now", "BAD unknown command"])
async def test_a_server_that_refuses_the_idle_it_announced_is_polled(
    server: ScriptedImap, answer: str
) -> None:
    server.rules["IDLE"] = lambda tag, _: f"{tag} {answer}\r\n".encode()
    mailbox = await opened(server)
    assert not await mailbox.wait_for_change(0.01)
    assert not await mailbox.wait_for_change(0.01)
    await mailbox.close()
    assert [command for command in server.commands if command in {"IDLE", "NOOP"}] == ["IDLE", "NOOP", "NOOP"]


async def test_a_server_that_ends_every_idle_at_once_makes_nobody_run(server: ScriptedImap) -> None:
    server.rules["IDLE"] = lambda tag, _: b"+ idling\r\n" + ok(tag)
    mailbox = await opened(server)
    waiting = asyncio.create_task(mailbox.wait_for_change(3600.0))
    async with asyncio.timeout(TEST_SECONDS):
        await (await opened(server)).list_since(
            0, 10
        )  # time for the other session to hear the end of its IDLE
        assert not waiting.done()
        server.push(b"* 4 EXISTS\r\n")
        assert await waiting
    assert server.commands.count("IDLE") == 1
    await mailbox.close()


async def test_a_throttled_idle_is_an_error_with_its_wait(server: ScriptedImap) -> None:
    server.rules["IDLE"] = lambda tag, _: f"{tag} NO [THROTTLED] later\r\n".encode()
    mailbox = await opened(server)
    with pytest.raises(MailSourceError) as refused:
        await mailbox.wait_for_change(0.01)
    assert refused.value.retry_after_seconds == 60.0


async def test_an_idle_that_is_cut_off_leaves_a_session_that_works(server: ScriptedImap) -> None:
    mailbox = await opened(server)
    waiting = asyncio.create_task(mailbox.wait_for_change(3600.0))
    async with asyncio.timeout(TEST_SECONDS):
        while "IDLE" not in server.commands:  # noqa: ASYNC110 - the other side's state
            await asyncio.sleep(0.005)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert [one.uid for one in await mailbox.list_since(0, 10)] == [1]
    assert server.lines == ["DONE"]
    await mailbox.close()


async def test_a_command_that_is_cut_off_ends_the_session(server: ScriptedImap) -> None:
    """Its answer would be taken for that to the next one."""
    mailbox = await opened(server)
    server.rules["SEARCH"] = lambda _tag, _: b""
    searching = asyncio.create_task(mailbox.list_since(0, 10))
    async with asyncio.timeout(TEST_SECONDS):
        while not any("SEARCH" in command for command in server.commands):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    searching.cancel()
    await asyncio.gather(searching, return_exceptions=True)
    with pytest.raises(MailSourceError, match="not open"):
        await mailbox.list_since(0, 10)


async def test_news_beside_another_answer_ends_the_wait_at_once(server: ScriptedImap) -> None:
    server.rules["FETCH"] = lambda tag, _: FETCHED + b"* 4 EXISTS\r\n" + ok(tag)
    mailbox = await opened(server)
    await mailbox.list_since(0, 10)
    async with asyncio.timeout(TEST_SECONDS):
        assert await mailbox.wait_for_change(3600.0)
    assert "IDLE" not in server.commands
    await mailbox.close()


async def test_expunges_are_not_news_and_what_fills_their_place_is(server: ScriptedImap) -> None:
    mailbox = await opened(server)
    server.rules["STORE"] = lambda tag, _: b"* 3 EXPUNGE\r\n* 2 EXPUNGE\r\n* 1 EXISTS\r\n" + ok(tag)
    await mailbox.flag([1], "\\Seen")
    assert not await mailbox.wait_for_change(0.01)
    server.rules["STORE"] = lambda tag, _: b"* 2 EXISTS\r\n" + ok(tag)
    await mailbox.flag([1], "\\Seen")
    assert await mailbox.wait_for_change(0.01)
    await mailbox.close()


async def test_a_folder_that_is_renumbered_under_us_ends_the_session(server: ScriptedImap) -> None:
    """Whoever flagged or moved by UID now would hit other mails."""
    mailbox = await opened(server)
    server.rules["STORE"] = lambda tag, _: b"* OK [UIDVALIDITY 8] restored\r\n" + ok(tag)
    with pytest.raises(MailSourceError, match="UIDVALIDITY has changed"):
        await mailbox.flag([1], "\\Seen")


async def test_no_more_sessions_than_the_account_may_have(server: ScriptedImap) -> None:
    slots = SessionSlots()
    account = ImapAccount(
        host="127.0.0.1", port=server.port, username="u", password=PASSWORD, tls=Tls.NONE, command_timeout_seconds=0.2
    )  # fmt: skip

    def session() -> ImapSource:
        return ImapSource(PostlaneClient(account, slots=slots, connections=2))

    first, second, third = session(), session(), session()
    await first.open("INBOX")
    await second.open("INBOX")
    with pytest.raises(MailSourceError, match="all 2 sessions of this account are in use") as refused:
        await third.open("INBOX")
    assert refused.value.trouble is MailTrouble.LIMIT
    await third.close()
    await first.close()
    await first.close()  # gives back no second time
    await third.open("INBOX")
    with pytest.raises(MailSourceError, match="are in use"):
        await session().open("INBOX")
    server.rules["LOGIN"] = lambda tag, _: f"{tag} NO no\r\n".encode()
    await third.close()
    for _ in range(3):  # a login that fails gives its place back
        with pytest.raises(MailSourceError, match="LOGIN"):
            await session().open("INBOX")
    await second.close()
