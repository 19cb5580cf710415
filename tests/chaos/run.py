"""One run: produces, disturbs, waits for the end, and hands everything to the judge."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from chaos.acceptances import JournalTail
from chaos.audit import Auditor, Findings
from chaos.fleet import Fleet, Member
from chaos.losses import Losses
from chaos.schedule import SENDERS, Disturbance, Kind, plan_schedule
from chaos.site import SESSION_TIMEOUT_SECONDS, Site
from chaos.workload import PlannedMail, now, plan_workload
from localstack.server import Server
from postlane.adapters.avro_codec import Codec
from postlane.ops.exits import Exit
from postlane.ports import LogUnavailable

BACKLOG_MAILS = 1200  # requests ahead of the relay, so that there is work at every disturbance
LOOK_SECONDS = 0.05
AUDIT_SECONDS = 2.0
REPLAY_TRIES = 30
REPLAY_SECONDS = 60.0
GOES_ON_SHARE = 0.005  # of all mails: taken after a broker was lost, that counts as going on


class RunFault(Exception):
    """Something broke that no disturbance of ours explains."""


@dataclass(slots=True)
class Done:
    """What was done to the senders and the broker."""

    counts: Counter[Kind] = field(default_factory=Counter)

    @property
    def duplicates_allowed_by(self) -> int:
        """Disturbances after which mails may be repeated; a broker that is away is no reason to send one twice."""
        return self.counts[Kind.KILL] + self.counts[Kind.STOP]


class Run:
    """Everything here runs on one event loop; what blocks goes to threads."""

    def __init__(self, site: Site, sink: Server, journal: Path, mails: int, seed: int) -> None:
        self.site = site
        self.sink = sink
        self.tail = JournalTail(journal)
        self.records = plan_workload(mails, seed)
        self.planned = [record for record in self.records if isinstance(record, PlannedMail)]
        self.schedule = plan_schedule(mails, seed, len(site.cluster.brokers))
        self.fleet = Fleet(
            site.folder,
            random.Random(f"{seed}:victims"),
            ("-m", "postlane.ops", "--config", str(site.config), "outbound"),
            "sender",
            self._greeting,
        )
        self.losses = Losses(site.cluster, self.fleet, len(site.settings.relays), self.tail.acceptances)
        self.done = Done()
        self.produced = 0
        self.unrest: list[str] = []
        self.trouble: list[str] = []
        self._living = {mail.mail_id for mail in self.planned if not mail.doomed}
        self._taken: set[str] = set()
        self._doomed_produced = 0
        self._broker = asyncio.Lock()

    @property
    def progress(self) -> int:
        """How many mails the relay has taken, those that must die among them counted as produced."""
        return len(self._taken) + self._doomed_produced

    def _greeting(self, sender: str) -> dict[str, str]:
        """The relays' journal knows senders by the name that they give themselves."""
        return {
            f"POSTLANE_RELAYS__{relay.upper()}__EHLO_NAME": f"{sender}.test"
            for relay in self.site.settings.relays
        }

    async def play(self) -> Findings:
        """Play the whole run and read Kafka at its end. Raises RunFault."""
        for _ in range(SENDERS):
            await asyncio.to_thread(self.fleet.start)
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch())
            produce = tasks.create_task(self._produce())
            await self._disturb(tasks)
            await produce
            findings = await self._wait_for_end()
            watch.cancel()
        return findings

    # Producing and watching

    async def _produce(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self.site.cluster.bootstrap,
                "partitioner": "murmur2_random",
                # Not idempotent: after two quick restarts of a broker such a producer once sent nothing any more. What it then
                # may write twice has the same event id, and the senders end it as a duplicate.
                "acks": "all",
                "max.in.flight.requests.per.connection": 1,
                "message.timeout.ms": 0,  # however long Kafka is away
                "log_level": 0,
            }
        )
        codec, topic = Codec(), self.site.settings.kafka.topic("mail.outbound")
        for record in self.records:
            while self.produced - self.progress > BACKLOG_MAILS:
                producer.poll(0)
                await asyncio.sleep(LOOK_SECONDS)
            if isinstance(record, PlannedMail):
                value = codec.encode(record.request(now()))
                for _ in range(record.copies):
                    producer.produce(topic, key=record.ticket.encode(), value=value)
                self.produced += 1
                self._doomed_produced += record.mail_id not in self._living
            else:
                producer.produce(topic, key=record.key, value=record.value)
            producer.poll(0)
        while await asyncio.to_thread(producer.flush, 1.0):
            pass

    async def _watch(self) -> None:
        while True:
            for acceptance in self.tail.read():
                if acceptance.mail_id in self._living:
                    self._taken.add(acceptance.mail_id)
            if died := self.fleet.died():
                raise RunFault(died[0])
            if not self.sink.running:
                raise RunFault(str(self.sink.fault("ended by itself")))
            await asyncio.sleep(LOOK_SECONDS)

    async def _wait_for_end(self) -> Findings:
        """Until everything is at its end in Kafka, be it delivered or lost; the overall time limit ends it otherwise."""
        auditor = Auditor(self.site)
        while True:
            before = self.progress
            await asyncio.sleep(AUDIT_SECONDS)
            if before < self.progress < len(self.planned):
                continue
            try:
                self.unrest = await asyncio.to_thread(auditor.unrest)
                if self.unrest:
                    continue
                self.trouble += await asyncio.to_thread(self.fleet.end)
                findings = await asyncio.to_thread(auditor.read_all)
            except LogUnavailable:
                continue
            self.tail.read()
            return findings

    # Disturbing

    async def _disturb(self, tasks: asyncio.TaskGroup) -> None:
        """Each in its turn, when the relay has taken enough; what takes long goes on beside the next ones."""
        running: list[asyncio.Task[None]] = []
        for disturbance in self.schedule:
            await until(partial(self._has_reached, disturbance.at))
            say(f"{self.progress} mails: {disturbance.kind.value}")
            running.append(tasks.create_task(self._carry_out(disturbance)))
        await asyncio.gather(*running)

    def _has_reached(self, mails: int) -> bool:
        return self.progress >= mails

    async def _carry_out(self, disturbance: Disturbance) -> None:
        act: dict[Kind, Callable[[Disturbance], Coroutine[Any, Any, None]]] = {
            Kind.KILL: self._kill,
            Kind.STOP: self._stop,
            Kind.JOIN: self._join,
            Kind.LEAVE: self._leave,
            Kind.BROKER_RESTART: self._restart_broker,
            Kind.BROKER_CRASH: self._restart_broker,
            Kind.BROKER_LOSS: self._lose_brokers,
            Kind.REPLAY: self._replay,
        }
        await act[disturbance.kind](disturbance)
        self.done.counts[disturbance.kind] += 1

    async def _kill(self, disturbance: Disturbance) -> None:
        sender = await pick_when_free(self.fleet)
        await asyncio.to_thread(self.fleet.kill, sender)
        await asyncio.sleep(disturbance.pause_seconds)
        await asyncio.to_thread(self.fleet.start)

    async def _stop(self, disturbance: Disturbance) -> None:
        sender = await pick_when_free(self.fleet)
        self.fleet.pause(sender)
        await asyncio.sleep(SESSION_TIMEOUT_SECONDS + disturbance.pause_seconds)
        self.fleet.resume(sender)

    async def _join(self, disturbance: Disturbance) -> None:
        del disturbance
        await asyncio.to_thread(self.fleet.start)

    async def _leave(self, disturbance: Disturbance) -> None:
        del disturbance
        sender = await pick_when_free(self.fleet)
        await asyncio.to_thread(self.fleet.leave, sender)
        if len(self.fleet.members) < SENDERS:
            await asyncio.to_thread(self.fleet.start)

    async def _restart_broker(self, disturbance: Disturbance) -> None:
        async with self._broker:
            await self.site.cluster.restart(
                self.site.cluster.brokers[0].node_id,
                crash=disturbance.kind is Kind.BROKER_CRASH,
                pause_seconds=disturbance.pause_seconds,
            )

    async def _lose_brokers(self, disturbance: Disturbance) -> None:
        async with self._broker:
            await self.losses.play(disturbance, say, self._goes_on)

    async def _goes_on(self) -> None:
        """Some mails more, or all there are."""
        more = self.progress + max(1, round(len(self.planned) * GOES_ON_SHARE))
        await until(partial(self._has_reached, min(more, len(self.planned))))

    async def _replay(self, disturbance: Disturbance) -> None:
        """The cure, then replay all; again while Kafka is away."""
        del disturbance
        self.sink.process().send_signal(signal.SIGUSR1)
        await until(lambda: self.tail.cured is not None)
        for _ in range(REPLAY_TRIES):
            # No restart now: nobody would end what a broker forgets of this transaction (docs/decisions/0006).
            async with self._broker:
                code, words = await asyncio.to_thread(_run_replay, self.site.config)
            if code in (Exit.OK, Exit.NOT_FOUND):
                say(words)
                return
            await asyncio.sleep(1.0)
        raise RunFault(f"postlane dlq replay failed {REPLAY_TRIES} times, at last: {words}")


async def pick_when_free(fleet: Fleet) -> Member:
    """One of them, as soon as one is."""
    await until(fleet.free)
    return fleet.pick()


async def until(look: Callable[[], object]) -> None:
    """Wait for something that lies in other processes."""
    while not look():  # noqa: ASYNC110 - what is waited for lies in other processes
        await asyncio.sleep(LOOK_SECONDS)


def _run_replay(config: Path) -> tuple[int, str]:
    command = (
        sys.executable,
        "-m",
        "postlane.ops",
        "--config",
        str(config),
        "dlq",
        "replay",
        "--all",
        "--yes",
    )
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=REPLAY_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Exit.FAILED, f"no end within {REPLAY_SECONDS:g} s"
    lines = done.stderr.strip().splitlines()
    return done.returncode, f"dlq replay: {lines[-1] if lines else done.returncode}"


def end_when_asked() -> None:
    """SIGTERM ends the run as Ctrl-C does, and everything that it started with it."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)


STARTED = time.monotonic()


def say(words: str) -> None:
    """One line of what happens."""
    print(f"{time.monotonic() - STARTED:7.1f} s  {words}", flush=True)
