"""One run: delivers, disturbs, waits for the end, and hands everything to the judge."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from chaos.fleet import Fleet, Member
from chaos.inbound.audit import Auditor, Tail
from chaos.inbound.mail_server import MailServer
from chaos.inbound.mailboxes import PLACES
from chaos.inbound.post import OtherClient, Postman
from chaos.inbound.schedule import POLLERS, Disturbance, Kind, plan_schedule
from chaos.inbound.verdict import Findings
from chaos.inbound.wire import Wire
from chaos.inbound.workload import Letter, plan_bursts, plan_letters
from chaos.run import LOOK_SECONDS, RunFault, pick_when_free, say, until
from chaos.site import SESSION_TIMEOUT_SECONDS, Site
from postlane.ports import LogUnavailable

MAILS_PER_SECOND = (
    40.0  # on average: so many that every kill hits work, so few that there is work at every kill
)
BACKLOG_SHARE, BACKLOG_MAILS = (
    0.08,
    range(40, 400),
)  # delivered and not yet events: less, so that there is work at every kill
VISIT_SECONDS_MAX = 1.0
AUDIT_SECONDS = 1.0
FETCH_SECONDS_MAX = 5.0  # so long a kill waits for a poller at work
WORK_SECONDS_MAX = 0.3  # a few mails are made events, committed and settled within it
GOES_ON_MAILS = 5  # become events while one of three brokers is away
RENUMBERED = 3  # folders of all that there are
GAP_SECONDS_MAX = (
    2.0  # between two disturbances, when many are due at once: a poller must come to work to be hit there
)
QUIET_SECONDS_MAX = 45.0  # nothing went on for so long: what is missing now does not come any more


class Run:
    """Everything here runs on one event loop; what blocks goes to threads."""

    def __init__(
        self, site: Site, server: MailServer, wire: Wire, fleet: Fleet, order: tuple[int, int]
    ) -> None:
        mails, self.seed = order
        self.site = site
        self.server = server
        self.wire = wire
        self.fleet = fleet
        self.letters = plan_letters(mails, self.seed)
        self.schedule = plan_schedule(mails, self.seed, SESSION_TIMEOUT_SECONDS, len(site.cluster.brokers))
        self.delivered: list[Letter] = []
        self._backlog = max(BACKLOG_MAILS.start, min(BACKLOG_MAILS.stop, round(BACKLOG_SHARE * mails)))
        self.done: Counter[Kind] = Counter()
        self.trouble: list[str] = []
        self.unrest: list[str] = []
        self.tail = Tail(site)
        self.other = OtherClient(server, self.seed)
        # Only these: a folder that is scanned again would get back what had been lost.
        self._renumbered = random.Random(f"{self.seed}:renumbered").sample(PLACES, RENUMBERED)
        self._stands_still = False  # no mail became an event for long: what is missing does not come any more
        self._broker = asyncio.Lock()
        self._mailboxes = asyncio.Lock()  # who delivers, visits, stops the mail server or changes its numbers

    @property
    def progress(self) -> int:
        """How many mails are events."""
        return len(self.tail.digests)

    async def play(self) -> Findings:
        """Play the whole run and read everything at its end. Raises RunFault, ServerFault."""
        await self.wire.listen()
        for _ in range(POLLERS):
            await asyncio.to_thread(self.fleet.start)
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._watch()), tasks.create_task(self._visit())]
            deliver = tasks.create_task(self._deliver())
            await self._disturb(tasks)
            await deliver
            beside.pop().cancel()
            self.wire.calm()
            findings = await self._wait_for_end()
            beside.pop().cancel()
        return findings

    # What goes on all the time

    async def _deliver(self) -> None:
        postman, letters = Postman(self.server), iter(self.letters)
        for size in plan_bursts(len(self.letters), self.seed):
            began = time.monotonic()
            await until(self._has_room)
            burst = [next(letters) for _ in range(size)]
            async with self._mailboxes:
                await asyncio.to_thread(postman.deliver, burst)
            self.delivered += burst
            await asyncio.sleep(max(0.0, size / MAILS_PER_SECOND - (time.monotonic() - began)))

    def _has_room(self) -> bool:
        return self._stands_still or len(self.delivered) - self.progress <= self._backlog

    async def _visit(self) -> None:
        rnd = random.Random(f"{self.seed}:visits")
        while True:
            await asyncio.sleep(rnd.uniform(0.0, VISIT_SECONDS_MAX))
            async with self._mailboxes:
                await asyncio.to_thread(self.other.act, tuple(self.tail.events))

    async def _watch(self) -> None:
        before, since = -1, time.monotonic()
        while True:
            if died := self.fleet.died():
                raise RunFault(died[0])
            if self.progress != before or self._broker.locked():
                before, since = self.progress, time.monotonic()
            self._stands_still = time.monotonic() - since > QUIET_SECONDS_MAX
            await asyncio.sleep(LOOK_SECONDS)

    async def _wait_for_end(self) -> Findings:
        """Until every mail is an event and settled, or nothing goes on any more."""
        auditor = Auditor(self.site, self.server)
        unsettled_since, before = time.monotonic(), [""]
        while True:
            await asyncio.sleep(AUDIT_SECONDS)
            try:
                self.unrest = await asyncio.to_thread(self._unrest, auditor)
                if self.unrest != before:
                    unsettled_since, before = time.monotonic(), self.unrest
                if self.unrest and time.monotonic() - unsettled_since < QUIET_SECONDS_MAX:
                    continue
                await until(self._all_have_begun)
                self.trouble += await asyncio.to_thread(self.fleet.end)
                return await asyncio.to_thread(auditor.read_all, self.other.removed)
            except LogUnavailable:
                continue

    def _all_have_begun(self) -> bool:
        return len(self.fleet.free()) == len(self.fleet.members)

    def _unrest(self, auditor: Auditor) -> list[str]:
        missing = len(self.delivered) - self.progress
        waiting = [f"{missing} mails are no events yet"] if missing > 0 else []
        return [*waiting, *auditor.unsettled(), *auditor.open_transactions()]

    # Disturbing

    async def _disturb(self, tasks: asyncio.TaskGroup) -> None:
        """Each in its turn, when enough mails are events; what takes long goes on beside the next ones."""
        rnd = random.Random(f"{self.seed}:gaps")
        running: list[asyncio.Task[None]] = []
        for disturbance in self.schedule:
            await until(partial(self._has_reached, disturbance.at))
            if self._stands_still:
                break
            say(f"{self.progress} events of {len(self.delivered)} mails: {disturbance.kind.value}")
            running.append(tasks.create_task(self._carry_out(disturbance)))
            await asyncio.sleep(rnd.uniform(0.0, GAP_SECONDS_MAX))
        await asyncio.gather(*running)

    def _has_reached(self, mails: int) -> bool:
        return self._stands_still or self.progress >= mails

    async def _carry_out(self, disturbance: Disturbance) -> None:
        act: dict[Kind, Callable[[Disturbance], Coroutine[Any, Any, None]]] = {
            Kind.KILL: self._kill,
            Kind.STOP: self._stop,
            Kind.LEAVE: self._leave,
            Kind.BROKER_RESTART: self._restart_broker,
            Kind.BROKER_CRASH: self._restart_broker,
            Kind.BROKER_LOSS: self._lose_brokers,
            Kind.IMAP_CUT: self._cut,
            Kind.IMAP_STALL: self._stall,
            Kind.MAIL_SERVER_RESTART: self._restart_mail_server,
            Kind.RENUMBER: self._renumber,
            Kind.RESTORE: self._restart_mail_server,
        }
        await act[disturbance.kind](disturbance)
        self.done[disturbance.kind] += 1

    async def _kill(self, disturbance: Disturbance) -> None:
        poller = await self._at_work(disturbance)
        await asyncio.to_thread(self.fleet.kill, poller)
        await asyncio.sleep(disturbance.pause_seconds)
        await asyncio.to_thread(self.fleet.start)

    async def _stop(self, disturbance: Disturbance) -> None:
        poller = await self._at_work(disturbance)
        self.fleet.pause(poller)
        await asyncio.sleep(disturbance.pause_seconds)
        self.fleet.resume(poller)

    async def _at_work(self, disturbance: Disturbance) -> Member:
        """One that takes mail: somewhere between the fetch and what is done after the commit."""
        rnd = random.Random(f"{self.seed}:{disturbance.kind}:{disturbance.at}")
        port = await self.wire.next_fetch(FETCH_SECONDS_MAX)
        await asyncio.sleep(rnd.uniform(0.0, WORK_SECONDS_MAX))
        return (port and self.fleet.pick_at(port)) or await pick_when_free(self.fleet)

    async def _leave(self, disturbance: Disturbance) -> None:
        del disturbance
        poller = await pick_when_free(self.fleet)
        await asyncio.to_thread(self.fleet.leave, poller)
        await asyncio.to_thread(self.fleet.start)

    async def _restart_broker(self, disturbance: Disturbance) -> None:
        async with self._broker:
            await self.site.cluster.restart(
                self.site.cluster.brokers[0].node_id,
                crash=disturbance.kind is Kind.BROKER_CRASH,
                pause_seconds=disturbance.pause_seconds,
            )

    async def _lose_brokers(self, disturbance: Disturbance) -> None:
        """One is killed; with it away everything goes on. Then another one, killed or shut down in its turn: nothing can be committed."""
        async with self._broker:
            nodes = [broker.node_id for broker in self.site.cluster.brokers]
            turn = self.done[Kind.BROKER_LOSS]
            first, second = nodes[turn % len(nodes)], nodes[(turn + 1) % len(nodes)]
            await asyncio.to_thread(self.site.cluster.take_away, first, crash=True)
            await asyncio.sleep(disturbance.alone_seconds)
            enough = min(self.progress + GOES_ON_MAILS, len(self.letters))
            await until(partial(self._has_reached, enough))
            await asyncio.to_thread(self.site.cluster.take_away, second, crash=turn % 2 == 0)
            say(f"brokers {first} and {second} are away")
            await asyncio.sleep(disturbance.pause_seconds)
            await asyncio.to_thread(self.site.cluster.give_back, first)
            await asyncio.to_thread(self.site.cluster.give_back, second)
            say("all brokers are back")

    async def _cut(self, disturbance: Disturbance) -> None:
        await self.wire.cut(disturbance.pause_seconds)

    async def _stall(self, disturbance: Disturbance) -> None:
        await self.wire.stall(disturbance.pause_seconds)

    async def _restart_mail_server(self, disturbance: Disturbance) -> None:
        async with self._mailboxes:
            await asyncio.to_thread(self.server.take_away)
            if disturbance.kind is Kind.RESTORE:
                self.server.forget_uids(*self._next_renumbered())
            await asyncio.sleep(disturbance.pause_seconds)
            await asyncio.to_thread(self.server.give_back)

    async def _renumber(self, disturbance: Disturbance) -> None:
        del disturbance
        async with self._mailboxes:
            await asyncio.to_thread(self.server.renumber, *self._next_renumbered())

    def _next_renumbered(self) -> tuple[str, str]:
        self._renumbered = self._renumbered[1:] + self._renumbered[:1]
        return self._renumbered[0]
