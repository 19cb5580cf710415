"""Lanes with a bug each; sim.lanes.planted says what each one is."""

from dataclasses import replace

from postlane.core.events.status import MailState, Origin
from postlane.core.sending.committing import Outcome
from postlane.core.sending.lane_mail import LaneMail, MailDecided
from postlane.core.sending.lane_queue import Lane
from postlane.core.sending.lanes import Lanes
from sim.lanes.relay import CAUSE_SENDER


class NoLaneBlockLanes(Lanes):
    def place(self, lane: Lane, now: float) -> None:
        if lane.busy is None and lane.mails and lane.mails[0].due > now:
            lane.mails.append(lane.mails.pop(0))
        super().place(lane, now)


class WriteOrderLanes(Lanes):
    def rank(self, origin: Origin) -> tuple[int, int]:
        del origin
        return 0, 0


class NoGuardLanes(Lanes):
    def guard_position(self, mail: LaneMail) -> int | None:
        del mail
        return None


class DeadNotAwaitedLanes(Lanes):
    def record(self, outcome: Outcome) -> None:
        dead = outcome.status.status.state is MailState.FAILED
        super().record(replace(outcome, blocks=False) if dead else outcome)


class PartialInMemoryLanes(Lanes):
    now = 0.0

    def record(self, outcome: Outcome) -> None:
        self.now = outcome.at
        super().record(outcome)

    def journal(self, lane: Lane, mail: LaneMail) -> None:
        waits = mail.due - self.now
        if (
            mail.remaining is None
            or mail.journaled
            or mail.held
            or waits > self.policy.retry.memory_delay_seconds
        ):
            super().journal(lane, mail)


class OrderWithoutTopicLanes(Lanes):
    def rank(self, origin: Origin) -> tuple[int, int]:
        return 0, origin.offset

    def guard_position(self, mail: LaneMail) -> int | None:
        return mail.origin.offset if mail.origin.offset >= self.position else None


class HeldTicketSentLanes(Lanes):
    def is_held(self, lane: Lane) -> bool:
        head = lane.mails[0]
        return super().is_held(lane) and not (head.parked and head.held == 0)


class StaleDecisionLanes(Lanes):
    def decision(self, mail: LaneMail) -> MailDecided | None:
        return self.decisions.get(mail.origin)


class RefusalCountedLanes(Lanes):
    def record(self, outcome: Outcome) -> None:
        outcome.mail.attempt += outcome.status.status.cause == CAUSE_SENDER
        super().record(outcome)


class NoCautionLanes(Lanes):
    def may_start(self, now: float) -> bool:
        self.cautious_until = 0.0
        return super().may_start(now)


class NoBoundLanes(Lanes):
    def may_start(self, now: float) -> bool:
        return now >= self.cautious_until or super().may_start(now)
