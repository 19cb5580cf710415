"""Of three brokers one is lost, then a second one, and they come back: what the senders did meanwhile.

With one away everything goes on. With two away nothing can be committed: senders must stop within their bounds (decision 10), say why, and
neither end nor burn the processor. Afterwards they must go on by themselves.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from chaos.acceptances import Acceptance
from chaos.cluster import Cluster
from chaos.fleet import Fleet, Member
from chaos.relays import CONNECTIONS
from chaos.schedule import Disturbance
from chaos.site import UNCOMMITTED_MAX

STOPPED_SECONDS = 6.0  # the senders start nothing once an outcome has been uncommitted for 5 s
PROCESSOR_SHARE_MAX = 0.5  # of one core, for a sender that has nothing to do but wait
AT_WORK_SECONDS = 10.0  # a sender whose mail the relay took within this time has something to wait with
WAITING_WORDS = ('"commit_failed"', '"component_health"', '"take_over_failed"')

GoesOn = Callable[[], Awaitable[None]]
"""Returns when the relay has taken some mails more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """`first` is killed; `second` is killed or, `second_in_order`, shut down, so that the third one knows it is alone."""

    first: int
    second: int
    second_in_order: bool
    alone_seconds: float
    both_seconds: float
    stood_still_seconds: float
    taken_meanwhile: int
    processor_share_max: float


@dataclass(slots=True)
class Losses:
    """Each broker is the first in turn, and so is the one that leads the coordinators, whichever it is."""

    cluster: Cluster
    fleet: Fleet
    relays: int
    acceptances: list[Acceptance]
    played: list[Loss] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    async def play(self, disturbance: Disturbance, say: Callable[[str], None], goes_on: GoesOn) -> None:
        """Play one loss to its end. Raises ServerFault."""
        first = len(self.played) % len(self.cluster.brokers) + 1
        second = first % len(self.cluster.brokers) + 1
        in_order = len(self.played) % 2 == 1
        said = {sender: _size(sender.server.log) for sender in self.fleet.members}
        await asyncio.to_thread(self.cluster.take_away, first, crash=True)
        first_gone = time.time()
        say(f"broker {first} is lost")
        await asyncio.sleep(disturbance.alone_seconds)
        await goes_on()
        ended = self.fleet.started - len(self.fleet.members)
        await asyncio.to_thread(self.cluster.take_away, second, crash=not in_order)
        both_gone = time.time()
        say(f"broker {second} is {'shut down' if in_order else 'lost'}, too")
        share = await self._wait(disturbance.pause_seconds, said, both_gone - AT_WORK_SECONDS)
        returns = time.time()
        await asyncio.to_thread(self.cluster.give_back, first)
        say(f"broker {first} is back")
        await goes_on()
        self.played.append(
            Loss(
                first=first,
                second=second,
                second_in_order=in_order,
                alone_seconds=round(both_gone - first_gone, 1),
                both_seconds=round(returns - both_gone, 1),
                stood_still_seconds=round(standstill_seconds(self.acceptances, returns), 1),
                taken_meanwhile=self._taken_meanwhile(both_gone, returns, self.fleet.started - ended),
                processor_share_max=round(share, 3),
            )
        )
        await asyncio.to_thread(self.cluster.give_back, second)
        say(f"broker {second} is back; {self.played[-1]}")

    async def _wait(self, seconds: float, said: dict[Member, int], at_work_since: float) -> float:
        """The largest share of a core that a sender took; what is wrong with the waiting goes to `trouble`."""
        await asyncio.sleep(STOPPED_SECONDS)
        before = {sender: _processor_seconds(sender) for sender in self._waiting()}
        began = time.monotonic()
        await asyncio.sleep(seconds - STOPPED_SECONDS)
        shares = [0.0]
        for sender in self._waiting():
            if sender not in before:
                continue
            share = (_processor_seconds(sender) - before[sender]) / (time.monotonic() - began)
            shares.append(share)
            if share > PROCESSOR_SHARE_MAX:
                self.trouble.append(f"{sender.name} took {share:.0%} of a core while it waited for Kafka")
            worked = any(
                it.at > at_work_since and it.sender == f"{sender.name}.test"
                for it in reversed(self.acceptances)
            )
            if worked and not _has_said(sender.server.log, said.get(sender, 0)):
                self.trouble.append(f"{sender.name} waited for Kafka without a word")
        return max(shares)

    def _waiting(self) -> list[Member]:
        return [sender for sender in self.fleet.free() if sender.process.is_running()]

    def _taken_meanwhile(self, since: float, until: float, senders: int) -> int:
        """How many mails so many senders sent while nothing could be committed."""
        taken = sum(since < acceptance.at < until for acceptance in self.acceptances)
        bound = senders * (CONNECTIONS * self.relays + UNCOMMITTED_MAX)
        if taken > bound:
            self.trouble.append(f"{taken} mails went out while nothing could be committed: over {bound}")
        return taken


def standstill_seconds(acceptances: Sequence[Acceptance], moment: float) -> float:
    """How long nothing was taken around this moment."""
    before = max((it.at for it in acceptances if it.at <= moment), default=moment)
    after = min((it.at for it in acceptances if it.at > moment), default=moment)
    return after - before


def _processor_seconds(sender: Member) -> float:
    try:
        times = sender.process.cpu_times()
    except psutil.Error:  # it is being killed
        return 0.0
    return float(times.user + times.system)


def _size(log: Path) -> int:
    return log.stat().st_size


def _has_said(log: Path, offset: int) -> bool:
    with log.open("rb") as lines:
        lines.seek(offset)
        text = lines.read().decode("utf-8", "replace")
    return any(words in text for words in WAITING_WORDS)
