"""The lanes of one partition: every ticket's mail goes in the order of its origin, and no ticket waits for another.

The rules:

1. A lane's mails go in the order of origin; at most one is in flight.
2. An end other than SENT, and a partial delivery, is durable before its lane starts again.
3. A parked mail starts only when the main position has passed its origin (the guard).
4. While the oldest outcome is not durable for UNCOMMITTED_SECONDS_MAX, or more than K are not, nothing starts. After a fault
   (core.sending.rest) one mail is in flight at a time, and only while nothing is uncommitted.
5. A lane with a journaled mail journals every later one, so that the offset keeps moving.
6. A held ticket starts nothing, and a mail that died where dead mail is held keeps its place until a person decides.

This module holds the state and its moves; core.sending.lane_steps says which event makes which moves.
"""

from collections import Counter
from dataclasses import dataclass

from postlane.core.events.status import MailState, Origin
from postlane.core.routing.routes import Route
from postlane.core.sending.committing import Committing, Outcome
from postlane.core.sending.journal_age import JournalAge
from postlane.core.sending.lane_mail import Content, LaneMail, MailDecided, Recovered, RouteHolds
from postlane.core.sending.lane_queue import Lane, LaneQueue
from postlane.core.sending.ledger import Ledger
from postlane.core.sending.retry import RetryPolicy
from postlane.core.sending.scribe import Scribe

UNCOMMITTED_SECONDS_MAX = 5.0  # bounds how many mails a killed sender can repeat
KEYLESS = b"\x00keyless:"  # no ticket id starts with NUL: a keyless record gets a lane of its own


@dataclass(frozen=True, slots=True)
class Why:
    """Why a mail waits: a token, a sentence, and whether for a time (DEFERRED) or for a person (HELD)."""

    cause: str
    reason: str
    state: MailState = MailState.DEFERRED


BEHIND = Why("behind_parked", "an earlier mail of this ticket waits")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanesPolicy:
    """The limits of one partition's lanes; `uncommitted_max` is K, the last of `routes` takes all.

    `index_mails`: with so many unfinished mails nothing more is read. `refresh_age_seconds`: older puts are written again.
    """

    retry: RetryPolicy
    window_mails: int
    window_bytes: int
    uncommitted_max: int
    duplicate_window_seconds: float
    routes: tuple[Route, ...] = (Route(),)
    index_mails: int = 1_000_000  # about 1 KB each
    refresh_age_seconds: float = 15 * 86400.0  # half of the journal's retention (schemas/topics.toml)
    recommit_seconds: float = 3600.0  # an idle group's offsets must not look forgotten


class Lanes:
    """Everything that the owner of main partition p knows about p; mutable, touched by core.sending.lane_steps alone."""

    def __init__(
        self,
        policy: LanesPolicy,
        scribe: Scribe,
        recovered: Recovered,
        now: float,
        cautious_until: float = 0.0,
    ) -> None:
        self.policy = policy
        self.cautious_until = cautious_until
        self.scribe = scribe
        self.topic_id = scribe.topic_id
        self.position = recovered.base
        self.queue = LaneQueue()
        self.lanes: dict[bytes, Lane] = {}
        self.mails: dict[Origin, LaneMail] = {}
        self.seen = dict(recovered.seen)
        self.routes = {route.name: route for route in policy.routes}
        self.holds: dict[str, RouteHolds] = {}
        self.told_of_hold: dict[str, set[Origin]] = {}
        self.told_until: dict[str, float | None] = {}
        self.held_tickets: dict[bytes, str] = {}
        self.decisions: dict[Origin, MailDecided] = {}
        self.paused = False
        self.loading: Counter[str] = Counter()
        self.in_flight = 0
        self.memory_mails = 0
        self.memory_bytes = 0
        self.base_since = (recovered.base, now)
        self.committed_at = 0.0 if recovered.truncated else now
        self.refreshed_at = now
        self.refreshing: set[Origin] = set()
        self.journal_age = JournalAge(recovered.journal_marks)
        # A topic that was recreated comes after all of whose mail something is left.
        self._ranks = {put.origin.topic_id: put.topic_rank for _, _, put in recovered.parked}
        earlier = [rank for topic_id, rank in self._ranks.items() if topic_id != self.topic_id]
        self.topic_rank = self._ranks.setdefault(self.topic_id, 1 + max(earlier, default=-1))
        live: dict[Origin, int] = {}
        for retry_offset, _, put in recovered.parked:
            live[put.origin] = retry_offset
        ledger = Ledger(self.topic_id, recovered.done, live, (recovered.status_end, recovered.retry_end))
        self.committing = Committing(ledger, self.topic_id, recovered.base)
        for retry_offset, key, put in recovered.parked:
            mail = LaneMail(
                origin=put.origin,
                key=key,
                lane=self.lane_key(key, put.origin.offset),
                content=None,
                due=put.due_ms / 1000,
                first_seen=put.first_seen_ms / 1000,
                attempt=put.attempt,
                remaining=put.remaining,
                retry_offset=retry_offset,
                journaled=True,
                held=put.held,
                retried_by=put.retried_by,
                replay=put.replay,
                route=put.route or policy.routes[-1].name,
                topic_rank=put.topic_rank,
                cause=put.cause,
                reason=put.reason,
            )
            self.add(mail)
        for lane in self.lanes.values():
            self.place(lane, now)

    # Order

    def rank(self, origin: Origin) -> tuple[int, int]:
        """Origins in the order in which they were produced: earlier topics of that name first, then by offset."""
        return self._ranks[origin.topic_id], origin.offset

    def knows(self, offset: int) -> bool:
        """Whether the mail at this offset of the main topic has ended or is in a lane already."""
        return self.committing.ledger.is_done(offset) or Origin(self.topic_id, offset) in self.mails

    def guard_position(self, mail: LaneMail) -> int | None:
        """The offset that the main position must pass before this mail may start (rule 3)."""
        waits = mail.origin.topic_id == self.topic_id and mail.origin.offset >= self.position
        return mail.origin.offset if waits else None

    def startable(self, lane: Lane, now: float) -> bool:
        """Whether the lane's head may start (rules 1 to 3, and 6)."""
        if lane.busy is not None or lane.awaiting or not lane.mails or self.is_held(lane):
            return False
        head = lane.mails[0]
        return head.content is not None and head.due <= now and self.guard_position(head) is None

    def decision(self, mail: LaneMail) -> MailDecided | None:
        """What a person decided about the mail as it stands now."""
        decided = self.decisions.get(mail.origin)
        return decided if decided is not None and decided.held == mail.held else None

    def is_held(self, lane: Lane) -> bool:
        """Whether the lane waits for a person (rule 6); a mail to be skipped does not."""
        head = lane.mails[0]
        decided = self.decision(head)
        if decided is not None and decided.skip:
            return False
        return lane.key in self.held_tickets or (head.held > 0 and decided is None)

    def may_start(self, now: float) -> bool:
        """Whether the bound on duplicates lets anything start (rule 4)."""
        if now < self.cautious_until:
            return self.in_flight == 0 and self.committing.uncommitted == 0
        return not self.is_late(now) and self.committing.uncommitted <= self.policy.uncommitted_max

    def is_late(self, now: float) -> bool:
        """Whether something that happened is not durable for so long that nothing starts (rule 4)."""
        oldest = self.committing.oldest_at
        return oldest is not None and now - oldest > UNCOMMITTED_SECONDS_MAX

    @property
    def fill(self) -> float:
        """How full the window is: 1 and above is full."""
        return max(self.memory_mails / self.policy.window_mails, self.memory_bytes / self.policy.window_bytes)

    # Moves

    @staticmethod
    def lane_key(key: bytes | None, offset: int) -> bytes:
        """The lane of a record: its key, or a lane of its own."""
        return KEYLESS + str(offset).encode() if key is None else key

    def add(self, mail: LaneMail) -> Lane:
        """Put a mail into its lane."""
        lane = self.lanes.get(mail.lane)
        if lane is None:
            lane = self.lanes[mail.lane] = Lane(mail.lane)
        lane.insert(mail, self.rank)
        lane.journaled += mail.journaled
        self.mails[mail.origin] = mail
        return lane

    def place(self, lane: Lane, now: float) -> None:
        """Queue the lane where its head belongs, or forget it when it is over."""
        if not lane.mails and not lane.awaiting and self.lanes.get(lane.key) is lane:
            del self.lanes[lane.key]
        if lane.mails:
            head = lane.mails[0]
            decided = self.decision(head)
            if decided is not None and decided.skip:
                head.due = min(head.due, now)
            elif self.is_held(lane):
                return
        self.queue.place(lane, now, self.guard_position)

    def remember(self, mail: LaneMail, content: Content) -> None:
        """Keep a mail's bytes in memory."""
        mail.content = content
        self.memory_mails += 1
        self.memory_bytes += mail.size_bytes

    def forget(self, mail: LaneMail) -> None:
        """Stop counting a mail's bytes: it is over, or the journal has them."""
        self.memory_mails -= 1
        self.memory_bytes -= mail.size_bytes
        told = self.told_of_hold.get(mail.route)
        if told is not None:
            told.discard(mail.origin)

    def end(self, lane: Lane, outcome: Outcome) -> None:
        """The lane's head is over."""
        mail = lane.mails.pop(0)
        if mail is not outcome.mail:
            raise RuntimeError(
                f"{outcome.mail.origin} ended out of turn: {mail.origin} is the head of its lane"
            )
        self.forget(mail)
        del self.mails[mail.origin]
        lane.journaled -= mail.journaled
        self.record(outcome)

    def record(self, outcome: Outcome) -> None:
        """Something happened that must become durable (rule 2)."""
        self.committing.add(outcome)
        if outcome.blocks:
            self.lanes[outcome.mail.lane].awaiting += 1

    def journal(self, lane: Lane, mail: LaneMail) -> None:
        """Write this mail to the journal with the next batch, also if an older `put` of it is there."""
        if not mail.journaled:
            mail.journaled = True
            lane.journaled += 1
        self.committing.want_put(mail)

    def park(self, lane: Lane, now: float, why: Why) -> None:
        """Journal all of the lane that is not yet journaled (rule 5)."""
        for mail in lane.mails:
            if not mail.journaled:
                self.park_mail(lane, mail, now, why)

    def park_mail(self, lane: Lane, mail: LaneMail, now: float, why: Why) -> None:
        """Journal one mail with a status that says why; one in flight will say it itself."""
        self.journal(lane, mail)
        if mail is not lane.busy:
            self.note(lane, mail, now, why)

    def note(self, lane: Lane, mail: LaneMail, now: float, why: Why) -> None:
        """Write down why this mail waits: what holds its route back, where nothing else does for longer."""
        next_at = None if self.is_held(lane) else max(mail.due, lane.mails[0].due)
        hold = self.holds.get(mail.route)
        if hold is not None and next_at is not None and (hold.until is None or next_at <= hold.until):
            mail.cause, mail.reason = hold.cause, hold.reason
            status = self.scribe.held(mail, hold, now)
        else:
            mail.cause, mail.reason = why.cause, why.reason
            status = self.scribe.waits(mail, now, next_at, why.state)
        self.committing.add(Outcome(mail, status, now))

    @property
    def all_held(self) -> bool:
        """Whether no route takes anything."""
        return self.holds.keys() >= self.routes.keys()

    def keeps_dead(self, mail: LaneMail) -> bool:
        """Whether this mail keeps its place when it dies; one without a key has no ticket that could wait for it."""
        return mail.key is not None and self.routes[mail.route].hold_dead

    def age_stands_still(self, route: str, seconds: float, since: float) -> None:
        """Held time does not age a mail."""
        for mail in self.mails.values():
            if mail.route != route:
                continue
            mail.first_seen += min(seconds, max(0.0, since + seconds - mail.first_seen))
