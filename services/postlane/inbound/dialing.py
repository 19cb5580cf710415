"""When a session may be opened: not all mailboxes at once at a start or after a server's restart, and not again soon after a refusal."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator

from postlane.ports import Clock

SESSIONS_OPENED_AT_ONCE = 8  # per server and process; a login costs a server more than an hour of IDLE
ACCOUNT_REST_SECONDS_MAX = 900.0  # what a server asks for beyond this is not believed


class Dialing:
    """Shared by all folders of a process. Logins of one account go one after the other, and all wait while it rests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hosts: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(SESSIONS_OPENED_AT_ONCE)
        )
        self._accounts: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._rests_until: dict[str, float] = {}

    @contextlib.asynccontextmanager
    async def turn(self, host: str, mailbox: str) -> AsyncIterator[None]:
        """Open a session within the block."""
        async with self._accounts[mailbox]:
            while (rest := self._rests_until.get(mailbox, 0.0) - self._clock()) > 0:  # noqa: ASYNC110 - a time, not an event
                await asyncio.sleep(rest)
            async with self._hosts[host]:
                yield

    def rest(self, mailbox: str, seconds: float) -> None:
        """Leave the account alone: it was refused, or its server asked for a pause; none of its folders is tried before."""
        until = self._clock() + min(seconds, ACCOUNT_REST_SECONDS_MAX)
        self._rests_until[mailbox] = max(until, self._rests_until.get(mailbox, 0.0))
