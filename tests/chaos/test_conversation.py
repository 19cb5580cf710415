"""The relay must set its limits when they are due, and write down what it turned away."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chaos.acceptances import JournalTail
from chaos.conversation import LOGIN, Conversation
from chaos.doors import Door, Plan, Relay
from chaos.limits import CONNECTIONS_MAX, MAILS_PER_SECOND_MAX, MAIN, SPARE, LimitKind, Spell
from localstack.ports import HOST, free_ports

LOGGED_IN = b64encode(LOGIN.encode()).decode()
RUN_UP = MAILS_PER_SECOND_MAX  # so many mails at once are too fast for a relay that throttles
SAY_MAIL = "MAIL FROM:<b+t-0+ok@desk.test>"


class Talk:
    """An SMTP client that says what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def hear(self) -> str:
        while (line := await self._reader.readline())[3:4] == b"-":
            pass
        return line.decode().rstrip()

    async def say(self, line: str) -> str:
        self._writer.write(line.encode() + b"\r\n")
        return await self.hear()

    async def begin(self) -> None:
        assert (await self.hear()).startswith("220")
        await self.say("EHLO sender-1.test")
        assert (await self.say(f"AUTH PLAIN {LOGGED_IN}")).startswith("235")

    def leave(self) -> None:
        self._writer.close()

    async def send(self) -> str:
        """The answer to MAIL if it is none that lets go on, else to the final dot."""
        answer = await self.say(SAY_MAIL)
        if not answer.startswith("250"):
            return answer
        await self.say("RCPT TO:<r0.ok@customer.test>")
        await self.say("DATA")
        return await self.say("Subject: t-0\r\n\r\nx\r\n.")


@asynccontextmanager
async def relay_at_work(journal: Path, *spells: Spell) -> AsyncIterator[dict[str, int]]:
    """Two doors; the ports by name."""
    relay = Relay(Plan(None, list(spells), login_wanted=True), journal)
    ports = dict(zip((MAIN, SPARE), free_ports(2), strict=True))
    doors = [Door(name, relay, Conversation) for name in ports]
    for door in doors:
        await door.listen(ports[door.name])
    try:
        yield ports
    finally:
        for door in doors:
            door.close()


async def connect(port: int) -> Talk:
    return Talk(*await asyncio.open_connection(HOST, port))


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (LimitKind.QUOTA, "550 5.4.5"),
        (LimitKind.AUTH, "530 5.7.0"),
        (LimitKind.RATE, "454"),
        (LimitKind.RATE_LATE, "454"),
    ],
)
async def test_a_spell_turns_mail_away_at_its_relay_alone(
    tmp_path: Path, kind: LimitKind, answer: str
) -> None:
    tail = JournalTail(tmp_path / "journal")
    async with relay_at_work(tmp_path / "journal", Spell(kind, False, RUN_UP, 60.0)) as ports:
        main, spare = await connect(ports[MAIN]), await connect(ports[SPARE])
        await main.begin()
        await spare.begin()
        for _ in range(RUN_UP):
            assert (await main.send()).startswith("250")
        assert (await main.send()).startswith(answer)
        assert (await spare.send()).startswith("250")
    assert [acceptance.relay for acceptance in tail.read()] == [MAIN] * RUN_UP + [SPARE]
    assert tail.tried == {"t-0": RUN_UP + 1}
    assert tail.turned_away == {kind: 1}


async def test_a_broken_login_lets_nobody_in_until_the_spell_is_over(tmp_path: Path) -> None:
    async with relay_at_work(tmp_path / "journal", Spell(LimitKind.AUTH, True, 1, 0.0)) as ports:
        talk = await connect(ports[SPARE])
        await talk.begin()
        await talk.send()
        locked_out = await connect(ports[MAIN])
        await locked_out.hear()
        assert (await locked_out.say(f"AUTH PLAIN {LOGGED_IN}")).startswith("535")
        assert (await locked_out.say(f"AUTH PLAIN {LOGGED_IN}")).startswith("235")
        assert (await locked_out.say(SAY_MAIL)).startswith("250")


async def test_nothing_is_taken_without_a_login(tmp_path: Path) -> None:
    async with relay_at_work(tmp_path / "journal") as ports:
        talk = await connect(ports[MAIN])
        await talk.hear()
        assert (await talk.say("AUTH PLAIN AGEAYg==")).startswith("535")
        assert (await talk.say(SAY_MAIL)).startswith("530")


async def test_more_connections_than_the_spell_allows_are_closed(tmp_path: Path) -> None:
    spell = Spell(LimitKind.CONNECTIONS, False, 1, 60.0)
    async with relay_at_work(tmp_path / "journal", spell) as ports:
        open_ones = [await connect(ports[MAIN]) for _ in range(CONNECTIONS_MAX)]
        for talk in open_ones:
            await talk.begin()
        await open_ones[0].send()
        one_more = await connect(ports[MAIN])
        assert (await one_more.hear()).startswith("421 4.7.0")
        assert (await one_more.hear()) == ""
        assert (await open_ones[0].send()).startswith("250")


async def test_a_relay_that_is_down_refuses_connections_and_comes_back(tmp_path: Path) -> None:
    spell = Spell(LimitKind.REFUSED, False, 1, 0.2)
    async with relay_at_work(tmp_path / "journal", spell) as ports:
        talk = await connect(ports[MAIN])
        await talk.begin()
        await talk.send()
        with pytest.raises(ConnectionRefusedError):
            await connect(ports[MAIN])
        assert (await talk.say(SAY_MAIL)).startswith("421")
        while True:
            try:
                back = await connect(ports[MAIN])
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
        await back.begin()
        assert (await back.send()).startswith("250")


async def test_a_mail_that_is_left_in_the_middle_counts_as_tried(tmp_path: Path) -> None:
    tail = JournalTail(tmp_path / "journal")
    async with relay_at_work(tmp_path / "journal") as ports:
        talk = await connect(ports[MAIN])
        await talk.begin()
        await talk.say(SAY_MAIL)
        talk.leave()
        while not tail.tried:
            tail.read()
            await asyncio.sleep(0.02)
    assert tail.tried == {"t-0": 1}
