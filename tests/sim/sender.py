"""One owner of partition p in the simulation: takes over step by step, then drives the real lanes with random events."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from postlane.core.attempt import Attempted, Judgement, RecipientTrouble, RelayHeld
from postlane.core.lane_mail import (
    Aborted,
    Arrival,
    Arrived,
    Attempt,
    AttemptEnded,
    CommitBatch,
    Committed,
    Content,
    CutDue,
    Effect,
    Event,
    Load,
    Loaded,
    Recovered,
    RelayHolds,
    RelayOpens,
    SlotsFree,
    Staged,
    Tick,
    WriteBatch,
)
from postlane.core.lane_steps import step
from postlane.core.lanes import Lanes, LanesPolicy
from postlane.core.mail import Address
from postlane.core.pointers import encode_pointers
from postlane.core.recovery import Found, JournalFold, StatusFold, conclude, plan_recovery
from postlane.core.request import MailRequested
from postlane.core.retry import RetryPolicy
from postlane.core.scribe import Scribe
from postlane.core.status import Origin, SmtpReply
from sim.broker import Broker, MainRecord

CONNECTIONS = 3
UNCOMMITTED_MAX = 4  # K, small so that the bound is often reached
RECIPIENTS = ("a@example.org", "b@example.org")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH_SECONDS = EPOCH.timestamp()

POLICY = LanesPolicy(
    retry=RetryPolicy(
        delays_seconds=(2.0, 30.0), jitter_share=0.5, age_max_seconds=1e9, memory_delay_seconds=5.0
    ),
    window_mails=8,
    window_bytes=1_000_000,
    uncommitted_max=UNCOMMITTED_MAX,
    duplicate_window_seconds=1e9,
    recommit_seconds=500.0,
)
OK = SmtpReply(phase="final", code=250, enhanced_code="2.0.0", text="queued")
LATER = SmtpReply(phase="rcpt", code=451, enhanced_code="4.3.0", text="later")
NEVER = SmtpReply(phase="rcpt", code=550, enhanced_code="5.1.1", text="unknown")


class Relay(Protocol):
    """What the simulation's world wants to know."""

    def accepted(self, sender: "Sender", record: MainRecord, recipient: str) -> None: ...

    def starting(self, sender: "Sender", record: MainRecord, origin: Origin) -> None: ...

    def died(self, sender: "Sender", record: MainRecord, recipients: tuple[str, ...]) -> None: ...

    def committed(self, batch: WriteBatch) -> None: ...


@dataclass
class Transaction:
    """A batch on its way through the phases of a Kafka transaction."""

    number: int
    batch: WriteBatch
    phase: str = "append"
    offsets: list[tuple[str, int]] = field(default_factory=list)
    commit: CommitBatch | None = None


class Sender:
    """`lanes_type` is the real Lanes or one with a planted bug; `changes` plants bugs in recovery and pointers."""

    def __init__(self, broker: Broker, relay: Relay, number: int, planted: "Planted") -> None:
        self.broker, self.relay, self.number, self.planted = broker, relay, number, planted
        self.lanes: Lanes | None = None
        self.stage = "init"
        self.reading: tuple[int, int] = (0, 0)
        self.flying: dict[Origin, Attempt] = {}
        self.loads: list[Load] = []
        self.transaction: Transaction | None = None
        self.dead = False
        self.life = 0
        self.held = False
        self.topic_number = broker.topic_number
        self.stats: Counter[str] = Counter()

    # Taking over

    def take_over_step(self, now: float) -> None:
        """One step of recovery; other things happen between the steps."""
        broker = self.broker
        match self.stage:
            case "init":
                if broker.init_transactions(self.number):
                    self.stage = "bounds"
            case "bounds":
                self.topic_number = broker.topic_number
                commit = broker.commit
                self.plan = plan_recovery(
                    Found(
                        commit=None if commit is None else (commit[0], encode_pointers(commit[1])),
                        topic_id=broker.topic_id,
                        main_low=0,
                        main_end=len(broker.main),
                        status_low=0,
                        retry_low=0,
                    )
                )
                self.reading = broker.status.end, broker.retry.end
                self.stage = "read"
            case "read":
                status_end, retry_end = self.reading
                if broker.status.stable_end >= status_end and broker.retry.stable_end >= retry_end:
                    self._recover(now)
                    self.stage = "running"

    def _recover(self, now: float) -> None:
        broker, (status_end, retry_end) = self.broker, self.reading
        statuses = StatusFold(f"topic{self.topic_number}", 0.0)
        for offset, keyed in broker.committed(broker.status, self.plan.status_from, status_end):
            statuses.add(offset, keyed.status)
        journal = JournalFold()
        for offset, (key, entry, _content) in broker.committed(broker.retry, self.plan.retry_from, retry_end):
            journal.add(offset, key, entry)
        recovered = conclude(
            self.plan, journal, statuses, (status_end, retry_end), f"topic{self.topic_number}"
        )
        recovered = self.planted.recovered(recovered)
        scribe = Scribe(
            topic="main", topic_id=f"topic{self.topic_number}", partition=0, instance=f"sender{self.number}"
        )
        self.lanes = self.planted.lanes_type(POLICY, scribe, recovered, now)

    # Running

    def act(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        """One random move; `calm` = no new trouble, so that everything can end."""
        if self.stage != "running" or self.lanes is None:
            self.take_over_step(now)
            return
        dice = rnd.random()
        if dice < 0.22:
            self._fetch(rnd, now)
        elif dice < 0.42:
            free = 0 if self.held else max(0, CONNECTIONS - len(self.flying))
            self._step(SlotsFree(rnd.randint(0, free)), now)
        elif dice < 0.62:
            self._finish_one(rnd, now, calm=calm)
        elif dice < 0.68:
            self._load_one(rnd, now)
        elif dice < 0.72:
            self._step(Tick(), now)
        elif dice < 0.74:
            self._turn_relay(now, calm=calm)
        elif self.transaction is not None:
            self._advance_transaction(rnd, now, calm=calm)
        else:
            self._step(CutDue(), now)

    def _step(self, event: Event, now: float) -> None:
        assert self.lanes is not None
        for effect in step(self.lanes, event, now):
            self._execute(effect)

    def _execute(self, effect: Effect) -> None:
        match effect:
            case Attempt():
                self.relay.starting(self, record_of(effect.content), effect.origin)
                self.flying[effect.origin] = effect
            case Load():
                self.loads.append(effect)
            case WriteBatch():
                self.transaction = Transaction(self.broker.begin(self.number), effect)
            case _:
                pass

    def _fetch(self, rnd: random.Random, now: float) -> None:
        assert self.lanes is not None
        if self.lanes.paused or self.topic_number != self.broker.topic_number:
            return
        start = max(0, self.lanes.position - rnd.choice([0, 0, 2]))  # a restarted fetch may repeat records
        stop = min(len(self.broker.main), start + rnd.randint(1, 4))
        if stop <= self.lanes.position:
            return
        arrivals = tuple(
            Arrival(
                offset=offset,
                key=b"t%d" % record.ticket,
                content=content_of(record, f"topic{self.topic_number}"),
            )
            for offset, record in enumerate(self.broker.main[start:stop], start)
        )
        self._step(Arrived(arrivals, stop), now)

    def _load_one(self, rnd: random.Random, now: float) -> None:
        if self.loads:
            load = self.loads.pop(rnd.randrange(len(self.loads)))
            _, entry = self.broker.retry.entries[load.retry_offset]
            self._step(Loaded(load.origin, entry[2], load.refresh), now)

    def _finish_one(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        if not self.flying:
            return
        origin = rnd.choice(sorted(self.flying))
        attempt = self.flying.pop(origin)
        record = record_of(attempt.content)
        todo = attempt.remaining or RECIPIENTS
        judgement = self._judge(rnd, todo, calm=calm)
        if isinstance(judgement, Attempted):
            for recipient in judgement.delivered:
                self.relay.accepted(self, record, recipient)
            if judgement.failed:
                self.relay.died(self, record, tuple(trouble.address for trouble in judgement.failed))
        event = AttemptEnded(
            origin=origin, judgement=judgement, relay="main", message_id="<m>", jitter=rnd.random()
        )
        self._step(event, now)

    @staticmethod
    def _judge(rnd: random.Random, todo: tuple[str, ...], *, calm: bool) -> Judgement:
        if not calm and rnd.random() < 0.08:
            return RelayHeld(cause="quota", reason="quota", reply=LATER, wait_seconds=5.0, auth=False)
        ok, dead = (0.9, 0.02) if calm else (0.5, 0.15)
        delivered, waiting, failed = [], [], []
        for recipient in todo:
            dice = rnd.random()
            trouble = RecipientTrouble(
                address=recipient, cause="c", answer=LATER, wait_seconds=rnd.choice([None, 0.0, 20.0])
            )
            if dice < ok:
                delivered.append(recipient)
            elif dice < ok + dead:
                failed.append(RecipientTrouble(address=recipient, cause="c", answer=NEVER, wait_seconds=None))
            else:
                waiting.append(trouble)
        return Attempted(
            delivered=tuple(delivered),
            waiting=tuple(waiting),
            failed=tuple(failed),
            accepted=OK if delivered else None,
            unknown=False,
        )

    def _turn_relay(self, now: float, *, calm: bool) -> None:
        if self.held:
            self.held = False
            self._step(RelayOpens(), now)
        elif not calm:
            self.held = True
            self._step(RelayHolds(cause="quota", reason="quota", relay="main", since=now, until=now + 5), now)

    # Committing, one phase at a time

    def _advance_transaction(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        work, broker = self.transaction, self.broker
        assert work is not None
        if broker.fenced(work.number):
            broker.decide(work.number, commit=False)
            self.dead = True
            return
        if (work.phase != "end" and not calm and rnd.random() < 0.05) or rnd.random() < (0 if calm else 0.05):
            broker.decide(work.number, commit=False)
            self.transaction = None
            self._step(Aborted(), now)
            return
        match work.phase:
            case "append":
                self._append(work, now)
                work.phase = "offsets"
            case "offsets":
                assert work.commit is not None
                broker.pending_offsets[work.number] = (
                    self.topic_number,
                    work.commit.base,
                    work.commit.pointers,
                )
                work.phase = "end"
            case "end":
                broker.decide(work.number, commit=True)
                self.relay.committed(work.batch)
                self.transaction = None
                self._step(Committed(), now)

    def _append(self, work: Transaction, now: float) -> None:
        broker, batch = self.broker, work.batch
        statuses = tuple(broker.status.append(work.number, keyed) for keyed in batch.statuses)
        puts = tuple(
            broker.retry.append(work.number, (copy.key, copy.put, copy.content)) for copy in batch.puts
        )
        for key, done in batch.dones:
            broker.retry.append(work.number, (key, done, None))
        assert self.lanes is not None
        (commit,) = step(self.lanes, Staged(statuses, puts), now)
        assert isinstance(commit, CommitBatch)
        work.commit = self.planted.commit(commit, broker)

    @property
    def idle(self) -> bool:
        """Everything read, ended and committed."""
        lanes = self.lanes
        return (
            lanes is not None
            and lanes.position == len(self.broker.main)
            and not lanes.mails
            and not lanes.committing.uncommitted
            and self.transaction is None
        )


class Planted:
    """No bug; subclasses in sim.planted plant one each."""

    lanes_type: type[Lanes] = Lanes

    def recovered(self, recovered: Recovered) -> Recovered:
        """Change what a new owner believes."""
        return recovered

    def commit(self, commit: CommitBatch, broker: Broker) -> CommitBatch:
        """Change what is committed."""
        del broker
        return commit


def content_of(record: MainRecord, topic_id: str) -> Content:
    """A real request for a simulated record."""
    request = MailRequested(
        event_id=f"{topic_id}-t{record.ticket}#{record.number}",
        ticket_id=f"t{record.ticket}",
        requested_at=EPOCH,
        from_address=Address(address="desk@example.org"),
        to=tuple(Address(address=address) for address in RECIPIENTS),
        subject=f"{record.ticket}#{record.number}",
    )
    return Content(value=b"x", headers=(), request=request)


def record_of(content: Content) -> MainRecord:
    """The simulated record that a request stands for."""
    assert content.request is not None
    ticket, _, number = content.request.subject.partition("#")
    return MainRecord(int(ticket), int(number))
