"""Watches senders, relay and broker from outside and holds them against the invariants (sim.lanes.invariants)."""

from collections import Counter, defaultdict

from postlane.core.events.status import MailState, Origin, RecipientState
from postlane.core.sending.lane_holds import CAUSE_TICKET_HELD
from postlane.core.sending.lane_mail import Attempt, WriteBatch
from sim.lanes.broker import Broker, DeadLetter
from sim.lanes.deliveries import Deliveries
from sim.lanes.invariants import (
    Knowledge,
    Start,
    check_base,
    check_held,
    check_proofs,
    check_risk,
    check_route,
    check_sender,
    check_time,
    check_unburnt,
)
from sim.lanes.records import RECIPIENTS, MainRecord, sender_of_mail
from sim.lanes.relay import Answered
from sim.lanes.sender import Sender
from sim.lanes.transaction import Transaction
from sim.part import Violation


class Witness:
    """What became of every record, as Kafka and the relay have it; `owner` is the number of the present owner."""

    def __init__(self, broker: Broker, trace: list[str], stats: Counter[str]) -> None:
        self.broker, self.trace = broker, trace
        self.owner = 0
        self.deliveries = Deliveries(stats)
        self.record_of: dict[Origin, MainRecord] = {}
        self.unfinished: set[int] = set()  # offsets of the present topic, neither ended nor parked
        self.ended: dict[Origin, int] = {}  # with the offset of the status that says so
        self.live: dict[Origin, int] = {}  # with the offset of the newest put
        self.held: dict[Origin, int] = {}  # of the live ones, those that wait for a person
        self.spoken_of = 0  # above all offsets of the present topic whose end was committed
        self.reused = False  # offsets of the present topic have been used twice
        self.truncation_unseen = False  # no owner has committed yet what it saw: the topic lost its end
        self.senders: defaultdict[int, Knowledge] = defaultdict(Knowledge)

    def produced(self, record: MainRecord, origin: Origin) -> None:
        """A record stands in the main topic."""
        self.deliveries.tickets[record.ticket].append(record)
        self.record_of[origin] = record
        self.unfinished.add(origin.offset)
        self.trace.append(f"main {origin.topic_id}:{origin.offset} = {record}{_particulars(record)}")

    # What senders do

    def recovered(self, sender: Sender) -> None:
        """A new owner knows the deaths that Kafka knows."""
        self.senders[sender.number].deaths = dict(self.held)
        self.trace.append(f"  sender{sender.number} has read the journal and the statuses")

    def heard(self, sender: Sender, position: int) -> None:
        """A sender has read the control topic up to here."""
        known = self.senders[sender.number]
        if position > known.heard:
            known.hear(self.broker.control[known.heard : position])
            known.heard = position
            self.trace.append(f"  sender{sender.number} hears operators up to command {position}")

    def starting(self, sender: Sender, attempt: Attempt, now: float) -> None:
        """A mail is handed to the relay."""
        record = self._record(attempt)
        start = Start(
            record=record,
            origin=attempt.origin,
            todo=attempt.remaining or RECIPIENTS,
            flying=sender.flying,
            now=now,
            cautious=now < sender.cautious_until,
            route=attempt.route,
            attempt=attempt.attempt,
            sender=sender_of_mail(attempt.content),
        )
        self.trace.append(f"  sender{sender.number} starts {start} for {_initials(start.todo)}")
        known = self.senders[sender.number]
        check_held(start, known)
        check_route(start, sender.site.policy.routes, sender.held)
        check_risk(start, known)
        check_time(start, known)
        check_unburnt(start, known)
        check_sender(start, known)
        if attempt.content.stillborn is not None or not set(start.todo) <= set(record.recipients):
            raise Violation(f"NothingSentAfterDone: {start} is not to be sent to {_initials(start.todo)}")
        if sender.number == self.owner and attempt.origin in self.ended:
            raise Violation(f"NothingSentAfterDone: {start} had ended")
        again = [r for r in start.todo if (record, r) in self.deliveries.delivered]
        if sender.number == self.owner and again:
            raise Violation(f"NothingSentAfterDone: {start} was delivered to {_initials(again)}")
        listed = [r for r in start.todo if (record, r) in self.deliveries.suppressed - self.deliveries.unsure]
        if sender.number == self.owner and listed:
            raise Violation(f"NothingSentAfterDone: {start} was suppressed for {_initials(listed)}")

    def resumed(self, sender: Sender, now: float) -> None:
        """A person wants the senders that the relay refused to be tried again."""
        self.senders[sender.number].resumed(now)
        self.trace.append(f"  sender{sender.number} may ask about every sender again")

    def answered(self, sender: Sender, attempt: Attempt, answered: Answered, now: float) -> None:
        """The relay has taken a mail for some, or none."""
        record = self._record(attempt)
        self.trace.append(
            f"    the relay takes {record} for {_initials(answered.accepted)} from sender{sender.number}"
            f"{', who cannot know' if answered.unsure else ''}: {_judged(answered)}"
        )
        self.senders[sender.number].answered(attempt, answered.judgement, now)
        if answered.accepted:
            self.senders[sender.number].at_risk.setdefault(attempt.origin, now)
        for recipient in answered.accepted:
            self.deliveries.accepted(sender.number, record, recipient)
            if answered.unsure:
                self.deliveries.unsure.add((record, recipient))

    def cut(self, sender: Sender, batch: WriteBatch) -> None:
        """A batch is on its way; its deaths are known to its sender from now on."""
        known = self.senders[sender.number]
        about = {Origin(keyed.status.topic_id, keyed.status.offset) for keyed in batch.statuses}
        known.written = about & known.at_risk.keys()
        known.dying = {origin: known.deaths.get(origin, 0) + 1 for origin in _deaths(batch)}

    def committed(self, sender: Sender, work: Transaction) -> None:
        """A transaction was decided."""
        batch, commit, known = work.batch, work.commit, self.senders[sender.number]
        assert commit is not None
        self.trace.append(
            f"  sender{sender.number} commits {commit.base} with"
            f" {[f'{s.status.offset} {s.status.state.value}' for s in batch.statuses]}"
            f" puts {[c.put.origin.offset for c in batch.puts]} dones {[d.origin.offset for _, d in batch.dones]}"
        )
        if sender.number == self.owner:
            self.truncation_unseen = False
        for origin in known.written:
            known.at_risk.pop(origin, None)
        known.deaths |= known.dying
        for origin in _deaths(batch):
            self.held[origin] = self.held.get(origin, 0) + 1
        self._note_dead(batch)
        self._note_statuses(work)
        self._note_journal(work)
        base, pointers = commit.base, commit.pointers
        if sender.taking_over.topic_number == self.broker.topic_number:
            check_base(base, self.unfinished, pointers.retry_from, self.live)
            here = self.broker.topic_id
            proofs = {o.offset: at for o, at in self.ended.items() if o.topic_id == here}
            check_proofs(base, pointers.status_from, proofs)
            self.spoken_of = max([base, *(offset + 1 for offset in proofs)])

    def _note_dead(self, batch: WriteBatch) -> None:
        for copy in batch.dead:
            assert copy.content.value is not None
            record = self.broker.records[copy.content.value]
            topic_number = int(copy.dead.origin.topic_id.removeprefix("topic"))
            self.broker.dead.append(DeadLetter(record, topic_number, copy))
            self.deliveries.dead.update(
                (record, recipient) for recipient in copy.dead.remaining or record.recipients
            )

    def _note_statuses(self, work: Transaction) -> None:
        for keyed, at in zip(work.batch.statuses, work.status_offsets, strict=True):
            status = keyed.status
            origin = Origin(status.topic_id, status.offset)
            record = self.record_of[origin]
            self.deliveries.delivered.update(
                (record, r.address) for r in status.recipients if r.state is RecipientState.DELIVERED
            )
            self.deliveries.suppressed.update(
                (record, r.address) for r in status.recipients if r.state is RecipientState.SUPPRESSED
            )
            if status.final:
                self.ended[origin] = at
                self._finish(origin)
            if status.state is MailState.DUPLICATE:
                self.deliveries.ended_as_duplicate(record)

    def _note_journal(self, work: Transaction) -> None:
        for copy, at in zip(work.batch.puts, work.put_offsets, strict=True):
            origin = copy.put.origin
            self.live[origin] = at
            self._finish(origin)
        for _, done in work.batch.dones:
            if done.origin not in self.ended:
                raise Violation(f"NothingLost: {done.origin} is done in the journal, but has not ended")
            self.live.pop(done.origin, None)
            self.held.pop(done.origin, None)

    def _finish(self, origin: Origin) -> None:
        if origin.topic_id == self.broker.topic_id:
            self.unfinished.discard(origin.offset)

    def _record(self, attempt: Attempt) -> MainRecord:
        assert attempt.content.value is not None
        return self.broker.records[attempt.content.value]

    # What happens to the main topic

    def lost(self, offsets: range) -> None:
        """Records of the present topic are gone; what the journal holds of them is not."""
        for offset in offsets:
            origin = Origin(self.broker.topic_id, offset)
            self.unfinished.discard(offset)
            record = self.record_of.get(origin)
            if record is not None and origin not in self.live:
                self.deliveries.gone.add(record)

    def recreated(self) -> None:
        """The present topic is gone, another one begins."""
        self.lost(range(len(self.broker.main)))
        self.unfinished.clear()
        self.spoken_of = 0
        self.reused = self.truncation_unseen = False

    def truncated(self, old_end: int, end: int) -> None:
        """The present topic ends at `end` instead of `old_end`: what was proved of it may be told of other records soon, so it counts no more."""
        self.lost(range(end, old_end))
        here = self.broker.topic_id
        ended = [origin for origin in self.ended if origin.topic_id == here]
        self.reused = True
        self.truncation_unseen = self.truncation_unseen or self.spoken_of > end
        for origin in ended:
            del self.ended[origin]
        self.deliveries.forget([r for origin, r in self.record_of.items() if origin.topic_id == here])

    def check_end(self) -> None:
        """Everything has ended: has it ended well?"""
        lost = self.deliveries.missing()
        if lost or self.live:
            raise Violation(f"NothingLost: {lost[:4]} lost, {list(self.live)[:4]} left in the journal")


def _deaths(batch: WriteBatch) -> list[Origin]:
    """The mails of which the batch says that they died and wait for a person."""
    return [
        Origin(keyed.status.topic_id, keyed.status.offset)
        for keyed in batch.statuses
        if keyed.status.state is MailState.HELD and keyed.status.cause != CAUSE_TICKET_HELD
    ]


def _initials(recipients: tuple[str, ...] | list[str]) -> str:
    return ",".join(recipient[0] for recipient in recipients) or "nobody"


def _judged(answered: Answered) -> str:
    return type(answered.judgement).__name__


def _particulars(record: MainRecord) -> str:
    return f" (replay for {_initials(record.recipients)})" if record.replay else ""
