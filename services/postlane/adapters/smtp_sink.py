"""MailSink on aiosmtplib: a bounded pool of sessions to one relay.

A session is kept for the next mail until it has carried `mails_per_connection` or been idle for `idle_seconds`. Relays drop idle sessions
without a word, so a kept session that turns out dead before anything of a mail was sent is replaced once, and no attempt is lost.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Coroutine

from postlane.adapters.relay_tls import relay_tls
from postlane.adapters.smtp_link import GOODBYE_SECONDS, SmtpLink
from postlane.adapters.smtp_session import CLOSING, SmtpSession
from postlane.adapters.token_source import Standing, TokenSource
from postlane.config.relay_section import RelaySection
from postlane.core.smtp.transcript import Answer, Envelope, Lost, Phase, Transcript

_SHUTTING_DOWN = Lost(Phase.CONNECT, "Postlane is shutting down")
_CUT = Lost(Phase.CONNECT, "this sender may not use the relay any longer")


class SmtpSink:
    """The sessions to the relay `name`. Raises ConfigError for a certificate or token file that cannot be used.

    `note_grant` hears how the grant stands of a relay that is logged in to by OAuth 2.
    """

    def __init__(
        self, name: str, relay: RelaySection, *, note_grant: Callable[[Standing], None] | None = None
    ) -> None:
        self._name = name
        self._relay = relay
        self._tls = relay_tls(name, relay)
        self._tokens = None if relay.oauth is None else TokenSource(name, relay.oauth, note=note_grant)
        self._own_name = relay.ehlo_name
        self._allowed = relay.connections
        self._slots = asyncio.Semaphore(relay.connections)  # each open session holds one, except idle ones
        self._idle: deque[tuple[float, SmtpSession]] = deque()  # oldest first, with the time it became idle
        self._busy: set[SmtpSession] = set()
        self._opening: set[asyncio.Timeout] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._cuts = 0

    async def send(self, envelope: Envelope, message: bytes) -> Transcript:
        """Make one attempt and return what the relay said; never raises for what a relay or the network does."""
        cuts = self._cuts
        await self._slots.acquire()
        session: SmtpSession | None = None
        try:
            session = self._kept_session()
            if session is not None:
                transcript = await self._attempt(session, envelope, message)
                if not _was_dead(transcript.stopped):
                    return transcript
                session.cut()
            session, refusal = await self._fresh_session(cuts)
            if refusal is not None:
                return Transcript(relay=self._name, stopped=refusal)
            return await self._attempt(session, envelope, message)
        finally:
            self._give_back(session)

    async def close(self) -> None:
        """End idle sessions politely and cut the rest."""
        self._closed = True
        if self._tokens is not None:
            self._tokens.close()
        if self._sweep is not None:
            self._sweep.cancel()
        while self._idle:
            self._leave(self._idle.pop()[1].quit())
        self.cut()
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=2 * GOODBYE_SECONDS)

    @property
    def sessions(self) -> int:
        """How many connections the relay may be counting: at work, idle, opening or saying goodbye."""
        return len(self._busy) + len(self._idle) + len(self._opening) + len(self._leaving)

    def trim(self, sessions: int) -> None:
        """Keep to so many in all from now on: idle ones above it are ended, the oldest first."""
        self._allowed = sessions
        while self._idle and len(self._busy) + len(self._idle) + len(self._opening) > sessions:
            self._leave(self._idle.popleft()[1].quit())

    def cut(self) -> None:
        """Drop every connection at once; attempts end as lost, also those that have none yet."""
        self._cuts += 1
        for opening in self._opening:
            opening.reschedule(0)
        for session in self._busy:
            session.cut()
        while self._idle:
            self._idle.pop()[1].cut()

    async def _attempt(self, session: SmtpSession, envelope: Envelope, message: bytes) -> Transcript:
        self._busy.add(session)
        try:
            return await session.send(envelope, message)
        except BaseException:  # cancelled midway: the session's state is unknown
            session.cut()
            raise
        finally:
            self._busy.discard(session)

    def _kept_session(self) -> SmtpSession | None:
        """The idle session used last, so that the others can grow old."""
        while self._idle:
            _, session = self._idle.pop()
            if session.alive:
                return session
            session.cut()
        return None

    async def _fresh_session(self, cuts: int) -> tuple[SmtpSession, Answer | None]:
        """A session for a mail that came when there had been so many cuts: one that was meant for it opens none."""
        if self._own_name is None:
            self._own_name = await asyncio.to_thread(_host_name)
        # A relay counts a session until its QUIT: the next one waits for that where it would be one too many.
        while self._leaving and self.sessions >= self._allowed:
            await asyncio.wait(self._leaving, return_when=asyncio.FIRST_COMPLETED)
        link = SmtpLink(self._relay, self._own_name, self._tls, self._tokens)
        session = SmtpSession(self._name, link)
        if self._closed:
            return session, _SHUTTING_DOWN
        if cuts != self._cuts:
            return session, _CUT
        try:
            async with asyncio.timeout(None) as deadline:  # close() ends it by setting the time
                self._opening.add(deadline)
                try:
                    return session, await session.open()
                finally:
                    self._opening.discard(deadline)
        except TimeoutError:
            session.cut()
            return session, _SHUTTING_DOWN if self._closed else _CUT
        except asyncio.CancelledError:
            session.cut()
            raise

    def _give_back(self, session: SmtpSession | None) -> None:
        """Keep the session for the next mail, or end it; its slot is free once it is."""
        if session is None or not session.alive:
            self._slots.release()
        elif (
            self._closed or session.mails >= self._relay.mails_per_connection or not self._relay.idle_seconds
        ):
            self._leave(self._retire(session))
        else:
            loop = asyncio.get_running_loop()
            self._idle.append((loop.time(), session))
            self._slots.release()
            if self._sweep is None:
                self._sweep = loop.call_later(self._relay.idle_seconds, self._sweep_idle)

    def _sweep_idle(self) -> None:
        """End what has been idle too long, and look again when the next one will have been."""
        loop = asyncio.get_running_loop()
        self._sweep = None
        while self._idle and self._idle[0][0] + self._relay.idle_seconds <= loop.time():
            self._leave(self._idle.popleft()[1].quit())
        if self._idle:
            self._sweep = loop.call_at(self._idle[0][0] + self._relay.idle_seconds, self._sweep_idle)

    async def _retire(self, session: SmtpSession) -> None:
        """QUIT while the slot is still held: a relay that allows three connections must not see a fourth."""
        try:
            await session.quit()
        finally:
            self._slots.release()

    def _leave(self, goodbye: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(goodbye)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def _was_dead(stopped: Answer | None) -> bool:
    """Whether a kept session had ended before it was used again: nothing but RSET or MAIL was said in it."""
    match stopped:
        case Lost(phase=Phase.MAIL):
            return True
        case Lost() | None:
            return False
        case _:
            return stopped.phase == Phase.MAIL.value and stopped.code == CLOSING


def _host_name() -> str:
    """The name for EHLO: fully qualified, else an address literal (RFC 5321 section 4.1.4)."""
    name = socket.getfqdn()
    return name if "." in name and name.isascii() and not any(map(str.isspace, name)) else "[127.0.0.1]"
