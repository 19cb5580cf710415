"""One owner of partition p in the simulation: takes over, then drives the real lanes with random events."""

import random
from dataclasses import dataclass, replace
from typing import Protocol

from postlane.core.events.status import Origin
from postlane.core.limits.held_senders import Trial
from postlane.core.sending.lane_mail import (
    Aborted,
    Arrival,
    Arrived,
    Attempt,
    AttemptEnded,
    CommitBatch,
    Committed,
    CutDue,
    Effect,
    Event,
    Load,
    Loaded,
    NotStarted,
    RouteHolds,
    RouteOpens,
    SendersDue,
    SlotsFree,
    Staged,
    Tick,
    WriteBatch,
)
from postlane.core.sending.lane_steps import step
from postlane.core.sending.lanes import Lanes, LanesPolicy
from postlane.core.smtp.attempt import Judgement, SenderHeld
from sim.lanes.broker import Broker, Command
from sim.lanes.hooks import Planted
from sim.lanes.limits import CONNECTIONS, SENDER_HOLD_SECONDS_MAX
from sim.lanes.records import RECIPIENTS, sender_of_mail
from sim.lanes.relay import Answered, answer
from sim.lanes.takeover import TakeOver
from sim.lanes.transaction import UNKNOWN_SHARE, Progress, Transaction

# How often each move of a running sender is made, in percent; the order is that of Sender.act.
MOVE_PERCENT = (20, 20, 20, 8, 4, 2, 4, 22)
RELAY_OPENS_SHARE = 0.1
RESUME_SHARE = 0.02  # a person wants refused senders to be tried again
NO_ROOM_SHARE = 0.1  # a free slot, but a budget that the mail does not fit into


class Observer(Protocol):
    """Who watches the senders (sim.lanes.witness)."""

    def recovered(self, sender: "Sender") -> None: ...

    def heard(self, sender: "Sender", position: int) -> None: ...

    def starting(self, sender: "Sender", attempt: Attempt, now: float) -> None: ...

    def answered(self, sender: "Sender", attempt: Attempt, answered: Answered, now: float) -> None: ...

    def resumed(self, sender: "Sender", now: float) -> None: ...

    def cut(self, sender: "Sender", batch: WriteBatch) -> None: ...

    def committed(self, sender: "Sender", work: Transaction) -> None: ...


@dataclass(frozen=True)
class Site:
    """What all senders of a schedule share."""

    broker: Broker
    observer: Observer
    policy: LanesPolicy
    planted: Planted
    denied_share: float


class Sender:
    """Lives until it is `dead`; as a zombie it works on for `life` steps without knowing that it is no longer the owner."""

    def __init__(self, site: Site, number: int, cautious_until: float) -> None:
        self.site, self.broker = site, site.broker
        self.number, self.cautious_until = number, cautious_until
        self.taking_over = TakeOver(site.broker, site.policy, number, site.planted)
        self.running: Lanes | None = None
        self.flying: dict[Origin, Attempt] = {}
        self.senders = site.planted.senders_type(SENDER_HOLD_SECONDS_MAX)
        self.trials: dict[Origin, Trial] = {}
        self.loads: list[Load] = []
        self.transaction: Transaction | None = None
        self.control_position = 0
        self.held: set[str] = set()
        self.hears = True
        self.no_room = False
        self.leaving = False
        self.dead = False
        self.life = 0

    @property
    def lanes(self) -> Lanes:
        """Once it has taken over."""
        assert self.running is not None
        return self.running

    @property
    def idle(self) -> bool:
        """Everything read, ended and committed."""
        lanes = self.running
        return (
            lanes is not None
            and not lanes.mails
            and self.transaction is None
            and not lanes.committing.uncommitted
            and not any(self.broker.main[lanes.position :])
        )

    def act(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        """One random move; `calm` = no new trouble, so that everything can end."""
        if self.running is None:
            self._take_over(rnd, now)
            return
        if self.held and rnd.random() < RELAY_OPENS_SHARE:
            self._open_route(min(self.held), now)
        if len(self.senders) and rnd.random() < RESUME_SHARE:
            self.senders.probe_now(now)
            self.site.observer.resumed(self, now)
            self._step(SendersDue(), now)
        moves = (
            self._fetch,
            self._fill_slots,
            self._finish_one,
            self._load_some,
            self._tick,
            self._hold_route,
            self._hear,
            self._commit,
        )
        (move,) = rnd.choices(moves, MOVE_PERCENT)
        move(rnd, now, calm=calm)
        settled = not self.lanes.committing.uncommitted and self.transaction is None
        if self.leaving and not self.flying and settled:  # nothing of it is at risk
            self.dead = True

    def _take_over(self, rnd: random.Random, now: float) -> None:
        work = self.taking_over
        work.step(rnd, now, self.cautious_until)
        if work.stage == "control":
            self.site.observer.recovered(self)
        elif work.stage == "over":
            self.running = work.lanes
            self._obey(work.wishes, work.heard, now)

    def _step(self, event: Event, now: float) -> None:
        for effect in step(self.lanes, event, now):
            self._execute(effect, now)

    def _execute(self, effect: Effect, now: float) -> None:
        match effect:
            case Attempt() if self.no_room:
                self._step(NotStarted(effect.origin), now)
            case Attempt():
                self._begin(effect, now)
            case Load():
                self.loads.append(effect)
            case WriteBatch():
                batch = self.site.planted.batch(effect, self.broker)
                self.transaction = Transaction(self.broker.begin(self.number), self.number, batch)
                self.site.observer.cut(self, batch)
            case _:
                pass  # that reading is paused, the lanes say themselves

    def _begin(self, attempt: Attempt, now: float) -> None:
        trial = self.senders.begin(sender_of_mail(attempt.content), now, 0.0)
        if isinstance(trial, SenderHeld):
            self._end(attempt, trial, now)
            return
        self.site.observer.starting(self, attempt, now)
        self.flying[attempt.origin], self.trials[attempt.origin] = attempt, trial

    def _end(self, attempt: Attempt, judgement: Judgement, now: float, jitter: float = 0.0) -> None:
        event = AttemptEnded(
            origin=attempt.origin, judgement=judgement, relay="main", message_id="<m>", jitter=jitter
        )
        self._step(event, now)

    # Moves

    def _fetch(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        del calm
        lanes, main = self.lanes, self.broker.main
        if lanes.paused or self.taking_over.topic_number != self.broker.topic_number:
            return
        back = rnd.choice([0, 0, 2])  # a restarted fetch may repeat records
        start = max(self.broker.main_low, lanes.position - back)
        stop = min(len(main), start + rnd.randint(1, 4))
        arrivals = tuple(
            Arrival(
                offset=offset,
                key=record.key,
                content=record.content,
                remaining=self.site.planted.remaining(record.remaining),
                replay=record.replay,
            )
            for offset, record in enumerate(main[start:stop], start)
            if record is not None
        )
        if arrivals:
            self._step(Arrived(arrivals, arrivals[-1].offset + 1), now)
        elif stop > lanes.position:  # markers alone: the next fetch begins behind them
            self._step(Arrived((), stop), now)

    def _fill_slots(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        del calm
        self.no_room = rnd.random() < NO_ROOM_SHARE
        route = self._any_route(rnd)
        free = 0 if route in self.held or self.leaving else max(0, CONNECTIONS - len(self.flying))
        self._step(SlotsFree(rnd.randint(0, free), route), now)

    def _finish_one(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        if not self.flying:
            return
        origin = rnd.choice(list(self.flying))
        attempt = self.flying.pop(origin)
        said = answer(rnd, attempt.remaining or RECIPIENTS, calm=calm, denied_share=self.site.denied_share)
        trial = self.trials.pop(origin)
        answered = replace(said, judgement=self.senders.judged(trial, said.judgement, now, 0.0))
        self.senders.ended(trial)
        self.site.observer.answered(self, attempt, answered, now)
        self._end(attempt, answered.judgement, now, rnd.random())

    def _load_some(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        del calm
        for _ in range(rnd.randint(0, len(self.loads))):
            load = self.loads.pop(rnd.randrange(len(self.loads)))
            _, (_, _, content), _ = self.broker.retry.entries[load.retry_offset]
            self._step(Loaded(load.origin, content, load.refresh), now)

    def _tick(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        del rnd, calm
        self._step(Tick(), now)

    def _any_route(self, rnd: random.Random) -> str:
        return rnd.choice(self.site.policy.routes).name

    def _hold_route(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        route = self._any_route(rnd)
        if not calm and route not in self.held:
            self.held.add(route)
            hold = RouteHolds(
                cause="quota", reason="quota", relay="main", since=now, until=now + 5, route=route
            )
            self._step(hold, now)

    def _open_route(self, route: str, now: float) -> None:
        self.held.discard(route)
        self._step(RouteOpens(route), now)

    def _hear(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        del calm
        if self.hears:
            self._obey(self.broker.commands(self.control_position, rnd), len(self.broker.control), now)

    def _obey(self, wishes: list[Command], position: int, now: float) -> None:
        self.control_position = position
        self.site.observer.heard(self, position)
        for command in wishes:
            self._step(command, now)

    def _commit(self, rnd: random.Random, now: float, *, calm: bool) -> None:
        del calm
        work = self.transaction
        if work is None:
            self._step(CutDue(), now)
            return
        progress = work.advance(
            self.broker, self.site.planted, rnd, lambda staged: self._stage(staged, now), now
        )
        if progress is Progress.DECIDED:
            self.site.observer.committed(self, work)
            progress = Progress.OPEN if rnd.random() < UNKNOWN_SHARE else Progress.COMMITTED
        self.dead = progress is Progress.FENCED
        if progress in {Progress.COMMITTED, Progress.ABORTED}:
            self.transaction = None
            self._step(Committed() if progress is Progress.COMMITTED else Aborted(), now)

    def _stage(self, staged: Staged, now: float) -> CommitBatch:
        (commit,) = step(self.lanes, staged, now)
        assert isinstance(commit, CommitBatch)
        return commit
