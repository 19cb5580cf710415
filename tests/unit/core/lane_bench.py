"""A small bench for lanes: builds mails and plays events, so that tests read as stories."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from postlane.core.events.mail import Address
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState, Origin, SmtpReply
from postlane.core.events.trail import Put
from postlane.core.sending.lane_mail import (
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
    Recovered,
    SlotsFree,
    Staged,
    Stillborn,
    WriteBatch,
)
from postlane.core.sending.lane_steps import step
from postlane.core.sending.lanes import Lanes, LanesPolicy
from postlane.core.sending.retry import RetryPolicy
from postlane.core.sending.scribe import Scribe
from postlane.core.smtp.attempt import Attempted, Judgement, RecipientTrouble, RelayHeld

NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
POLICY = LanesPolicy(
    retry=RetryPolicy(
        delays_seconds=(10.0, 100.0), jitter_share=0.0, age_max_seconds=1000.0, memory_delay_seconds=20.0
    ),
    window_mails=10,
    window_bytes=10_000,
    uncommitted_max=100,
    duplicate_window_seconds=3600.0,
)
EMPTY = Recovered(base=0, status_end=0, retry_end=0)
OK = SmtpReply(phase="final", code=250, enhanced_code="2.0.0", text="Ok: queued as 4XyZ")
LATER = SmtpReply(phase="rcpt", code=451, enhanced_code="4.3.0", text="try later")
NEVER = SmtpReply(phase="rcpt", code=550, enhanced_code="5.1.1", text="no such user")


def request(ticket: str, event_id: str, to: tuple[str, ...] = ("a@x", "b@x")) -> MailRequested:
    """A request of one ticket."""
    return MailRequested(
        event_id=event_id,
        ticket_id=ticket,
        requested_at=datetime(2026, 1, 1, tzinfo=UTC),
        from_address=Address(address="desk@x"),
        to=tuple(Address(address=address) for address in to),
        subject="s",
    )


def arrival(
    offset: int,
    ticket: str = "t",
    event_id: str | None = None,
    *,
    after: float | None = None,
    until: float | None = None,
) -> Arrival:
    """A record of the main topic; `after` and `until` are seconds from NOW."""
    mail = request(ticket, event_id or f"e{offset}")
    if after is not None:
        mail = replace(mail, not_before=datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=after))
    if until is not None:
        mail = replace(mail, expires_at=datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=until))
    content = Content(value=b"v" * 10, headers=(), request=mail)
    return Arrival(offset=offset, key=ticket.encode(), content=content)


def poison(offset: int, key: bytes | None) -> Arrival:
    """A record that cannot be decoded."""
    stillborn = Stillborn(MailState.FAILED, "undecodable", "no MailRequested", dead=True)
    return Arrival(offset=offset, key=key, content=Content(value=b"?", headers=(), stillborn=stillborn))


def put(
    offset: int,
    *,
    topic_id: str = "T",
    due: float = NOW,
    remaining: tuple[str, ...] | None = None,
    held: int = 0,
    route: str | None = None,
) -> Put:
    """A parked mail's journal entry."""
    return Put(
        origin=Origin(topic_id, offset),
        attempt=2,
        first_seen_ms=round(NOW * 1000),
        due_ms=round(due * 1000),
        remaining=remaining,
        held=held,
        cause="temporary",
        reason="r",
        route=route,
    )


def sent(*addresses: str) -> Attempted:
    """Everybody was served."""
    return Attempted(delivered=addresses or ("a@x", "b@x"), waiting=(), failed=(), accepted=OK, unknown=False)


def deferred(*addresses: str, wait: float | None = None, delivered: tuple[str, ...] = ()) -> Attempted:
    """These wait."""
    troubles = tuple(RecipientTrouble(a, "temporary", LATER, wait) for a in addresses or ("a@x", "b@x"))
    return Attempted(
        delivered=delivered, waiting=troubles, failed=(), accepted=OK if delivered else None, unknown=False
    )


def refused(*addresses: str, delivered: tuple[str, ...] = (), waiting: tuple[str, ...] = ()) -> Attempted:
    """These are refused for good."""
    return Attempted(
        delivered=delivered,
        waiting=tuple(RecipientTrouble(a, "temporary", LATER, None) for a in waiting),
        failed=tuple(
            RecipientTrouble(a, "no_such_recipient", NEVER, None) for a in addresses or ("a@x", "b@x")
        ),
        accepted=OK if delivered else None,
        unknown=False,
    )


HELD = RelayHeld(cause="quota", reason="daily quota", reply=LATER, wait_seconds=None, auth=False)


class Bench:
    """Lanes with a clock that tests move, and a committer that does what it is told."""

    def __init__(self, recovered: Recovered = EMPTY, policy: LanesPolicy = POLICY) -> None:
        self.now = NOW
        scribe = Scribe(topic="main", topic_id="T", partition=0, instance="test")
        self.lanes = Lanes(policy, scribe, recovered, self.now)
        self.next_offset = {"status": recovered.status_end, "retry": recovered.retry_end}

    def play(self, event: Event) -> list[Effect]:
        """Step once."""
        return step(self.lanes, event, self.now)

    def arrive(self, *arrivals: Arrival) -> list[Effect]:
        """Records are read, in order."""
        return self.play(Arrived(arrivals, arrivals[-1].offset + 1))

    def starts(self, count: int = 100) -> list[int]:
        """The offsets of the mails that start with so many free slots."""
        return [effect.origin.offset for effect in self.play(SlotsFree(count)) if isinstance(effect, Attempt)]

    def end(self, offset: int, judgement: Judgement) -> list[Effect]:
        """An attempt comes back."""
        event = AttemptEnded(
            origin=Origin("T", offset), judgement=judgement, relay="main", message_id="<m@x>", jitter=0.5
        )
        return self.play(event)

    def cut(self) -> WriteBatch | None:
        """Cut a batch."""
        effects = self.play(CutDue())
        assert all(isinstance(effect, WriteBatch) for effect in effects)
        return effects[0] if effects and isinstance(effects[0], WriteBatch) else None

    def stage(self, batch: WriteBatch) -> CommitBatch:
        """Give the batch's records their offsets."""
        statuses = self._take("status", len(batch.statuses))
        puts = self._take("retry", len(batch.puts))
        self._take("retry", len(batch.dones))
        (commit,) = self.play(Staged(statuses, puts))
        assert isinstance(commit, CommitBatch)
        return commit

    def commit(self) -> tuple[WriteBatch, CommitBatch]:
        """Cut, stage and commit; there must be something to commit."""
        batch = self.cut()
        assert batch is not None
        commit = self.stage(batch)
        self.play(Committed())
        return batch, commit

    def _take(self, topic: str, count: int) -> tuple[int, ...]:
        first = self.next_offset[topic]
        self.next_offset[topic] += count
        return tuple(range(first, first + count))


def states(batch: WriteBatch) -> list[tuple[int, MailState]]:
    """What a batch says about whom."""
    return [(keyed.status.offset, keyed.status.state) for keyed in batch.statuses]
