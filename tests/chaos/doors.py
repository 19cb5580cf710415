"""The relays of a run behind their ports: one recorder for all, so that the order over them can be judged, and the limits of each."""

import asyncio
import os
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaos.acceptances import Acceptance, Cured, Tried, TurnedAway
from chaos.faults import Fault, connection_fault, mail_faults
from chaos.limits import CONNECTIONS_MAX, MAILS_PER_SECOND_MAX, LimitKind, Spell
from chaos.workload import DEAD, LATE
from localstack.ports import HOST


@dataclass(slots=True)
class Plan:
    """What goes wrong; `seed` None = nothing does. `login_wanted`: nothing is taken without one."""

    seed: int | None
    spells: list[Spell]
    login_wanted: bool

    def connection_fault(self, number: int) -> Fault | None:
        """See chaos.faults."""
        return None if self.seed is None else connection_fault(self.seed, number)

    def mail_faults(self, mail_id: str) -> tuple[Fault, ...]:
        """See chaos.faults."""
        return () if self.seed is None else mail_faults(self.seed, mail_id)


class Relay:
    """What all doors share. `spell` is the one that has begun last, at `struck`, over at `spell_ends` once it has turned something away."""

    def __init__(self, plan: Plan, journal: Path) -> None:
        self.plan = plan
        self.cured = False
        self.accepted = 0
        self.spell: Spell | None = None
        self.spell_ends: float | None = None
        self.struck: list[Door] = []
        self.doors: list[Door] = []
        self._connections = 0
        self._attempts: Counter[str] = Counter()
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def cure(self) -> None:
        """From now on take what was refused until the cure."""
        self.cured = True
        os.write(self._journal, Cured(time.time()).line())

    def refuses(self, doom: str) -> bool:
        """Whether an address or mail of this doom is refused for good."""
        return doom == DEAD or (doom == LATE and not self.cured)

    def next_connection_fault(self) -> Fault | None:
        """What is wrong with the connection that is just being made."""
        self._connections += 1
        return self.plan.connection_fault(self._connections)

    def next_fault(self, mail_id: str) -> Fault | None:
        """The fault of this mail's next attempt."""
        faults = self.plan.mail_faults(mail_id)
        attempt = self._attempts[mail_id]
        self._attempts[mail_id] += 1
        return faults[attempt] if attempt < len(faults) else None

    def note_tried(self, mail_id: str) -> None:
        """Write down that a mail was judged by itself."""
        os.write(self._journal, Tried(mail_id).line())

    def note_turned_away(self, kind: LimitKind) -> None:
        """Write it down; from the first time on the spell's time runs."""
        os.write(self._journal, TurnedAway(kind).line())
        if self.spell is not None and self.spell_ends is None:
            self.spell_ends = time.monotonic() + self.spell.seconds

    def take(self, acceptance: Acceptance) -> None:
        """Write it down; it may bring the next spell."""
        self.accepted += 1
        os.write(self._journal, acceptance.line())
        if self.plan.spells and self.accepted >= self.plan.spells[0].after_mails:
            self.spell, self.spell_ends = self.plan.spells.pop(0), None
            self.struck = [it for it in self.doors if self.spell.everywhere or it.name == acceptance.relay]
            if self.spell.kind is LimitKind.REFUSED:
                for door in self.struck:
                    self.note_turned_away(LimitKind.REFUSED)
                    door.close_for(self.spell.seconds)


Converse = Callable[["Door"], asyncio.Protocol]


class Door:
    """One relay, as senders see it; `conversations` are the open connections."""

    def __init__(self, name: str, relay: Relay, converse: Converse) -> None:
        self.name = name
        self.relay = relay
        self.down = False
        self.conversations: set[asyncio.Protocol] = set()
        self._converse = converse
        self._taken: deque[float] = deque(maxlen=MAILS_PER_SECOND_MAX)
        self._server: asyncio.Server | None = None
        self._port = 0
        relay.doors.append(self)

    @property
    def login_wanted(self) -> bool:
        """Whether nothing is taken without a login."""
        return self.relay.plan.login_wanted

    async def listen(self, port: int) -> None:
        """Take connections on this port, or on the same one as before for 0."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self._converse(self), HOST, port or self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.down = False

    def close(self) -> None:
        """Take no connection any more."""
        if self._server is not None:
            self._server.close()

    def close_for(self, seconds: float) -> None:
        """Refuse connections for a while, and close those that there are at their next word."""
        assert self._server is not None
        if self.down:
            return
        self.down = True
        self._server.close()
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, lambda: loop.create_task(self.listen(0)))

    def limits(self, kind: LimitKind) -> bool:
        """Whether this limit turns away what has just come."""
        spell, ends = self.relay.spell, self.relay.spell_ends
        if spell is None or spell.kind is not kind or self not in self.relay.struck:
            return False
        if ends is not None and time.monotonic() > ends:
            return False
        match kind:
            case LimitKind.RATE | LimitKind.RATE_LATE:
                full = len(self._taken) == MAILS_PER_SECOND_MAX
                return full and time.monotonic() - self._taken[0] < 1.0
            case LimitKind.CONNECTIONS:
                return len(self.conversations) > CONNECTIONS_MAX
            case _:
                return True

    def note_turned_away(self, kind: LimitKind) -> None:
        """See Relay."""
        self.relay.note_turned_away(kind)

    def take(self, acceptance: Acceptance) -> None:
        """A mail comes in here."""
        self._taken.append(time.monotonic())
        self.relay.take(acceptance)
