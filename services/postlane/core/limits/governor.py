"""Decides for one relay, as one sender process knows it, whether a mail may start now, and else until when it waits and why.

Asked in this order, and the first who objects is named: a person's pause, the circuit, the budgets, the connections, the pace.

    match governor.may_start(recipients, now):
        case Start():
            ticket = governor.started(recipients, now)
            ...                                          # the attempt
            governor.ended(ticket, Answered(), now)

Times are seconds since 1970 and arguments, as is jitter. Every mail counts from its start until its end against every budget, see
core.limits.limit. What senders that share the relay allow each other, the `share` says, see core.limits.share.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import assert_never

from postlane.core.limits.budgets import Unit
from postlane.core.limits.circuit import Circuit, CircuitPolicy, CircuitState, Trip
from postlane.core.limits.limit import BadLimitState, Limit, Plain
from postlane.core.limits.microseconds import to_seconds, to_us
from postlane.core.limits.pace import Pace
from postlane.core.limits.permission import (
    Answered,
    Busy,
    Ending,
    Hold,
    Never,
    Permission,
    Soon,
    Start,
    Ticket,
    TooLarge,
    TurnedAway,
    Unheard,
    Unsent,
    Wait,
)
from postlane.core.limits.share import CAUSE_NO_LEASE, Share

CAUSE_PAUSED = "paused"
CAUSE_SLOWED = "throttled"
AGAIN_SECONDS = 5.0
CALM_SECONDS = 30.0  # a used-up budget frees units bit by bit: only when they last so long the hold is over
STATE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernorPolicy:
    """`connections` bounds what is in flight."""

    connections: int
    circuit: CircuitPolicy


class Governor:
    """The limits of one relay; `limits` keep the count budgets, be it by themselves or by what they were granted."""

    def __init__(
        self, relay: str, policy: GovernorPolicy, limits: Sequence[Limit] = (), share: Share | None = None
    ) -> None:
        self.relay = relay
        self.limits = tuple(limits)
        self.circuit = Circuit(policy.circuit)
        self.pace = Pace(policy.connections)
        self._share = share
        self._share_round = 0 if share is None else share.round
        self._pause: Hold | None = None
        self._shortage: Hold | None = None
        self._slow: Hold | None = None
        self._asked = 1  # recipients of the mail that was asked about last
        self._held_since: float | None = None
        self._flying: dict[Ticket, int] = {}  # with the share's round in which it started
        self._tickets = 0

    @property
    def in_flight(self) -> int:
        """How many mails have started and not ended."""
        return len(self._flying)

    # Mails

    def may_start(self, recipients: int, now: float) -> Permission:
        """Decide about a mail to so many recipients."""
        self._hear_share()
        self._asked = recipients
        now_us = to_us(now)
        free = to_seconds(self._free_us(recipients, now_us))
        stopped = self._stopped(now)
        if stopped is not None:
            return Wait(
                None if stopped.until is None else max(free, stopped.until, self._probe_at(now)), stopped
            )
        large = self._too_large(recipients)
        if large is not None:
            return large
        short = self._short(recipients, now)
        if short is not None:
            return Wait(free, short)
        if self.in_flight >= self._width(now):
            return Busy()
        if to_us(free) > now_us:
            return Soon(free)
        return Start(probe=self.probing)

    def started(self, recipients: int, now: float) -> Ticket:
        """A mail that may start does."""
        now_us = to_us(now)
        for limit in self.limits:
            limit.reserve(limit.unit.of(recipients), now_us)
        self.pace.started(now_us)
        if self._shortage is not None and now < (self._shortage.until or now):
            self._shortage = None  # it was a larger mail's: others go
        self._tickets += 1
        ticket = Ticket(self._tickets, recipients, self.circuit.round)
        self._flying[ticket] = 0 if self._share is None else self._share.round
        if self._share is not None:
            self._share.started(ticket)
        return ticket

    def ended(self, ticket: Ticket, ending: Ending, now: float) -> None:
        """A mail has come back. Raises KeyError for one that has already."""
        current = self._flying.pop(ticket) == (0 if self._share is None else self._share.round)
        match ending:
            case Answered():
                self._settle(ticket, now, used=True)
                self._answered(ticket, now, current=current)
            case TurnedAway():
                self._settle(ticket, now, used=ending.counted)
                self._turned_away(ticket, ending, now, current=current)
            case Unheard():
                self._settle(ticket, now, used=True)
            case Unsent():
                self._settle(ticket, now, used=False)
            case _:
                assert_never(ending)
        if self._share is not None:
            self._share.ended(ticket, ending)

    def _settle(self, ticket: Ticket, now: float, *, used: bool) -> None:
        for limit in self.limits:
            units = limit.unit.of(ticket.recipients)
            if used:
                limit.settle(units, to_us(now))
            else:
                limit.give_back(units)

    def _answered(self, ticket: Ticket, now: float, *, current: bool) -> None:
        """`current`: no hold of all senders has begun since it started."""
        released = self.circuit.answered(ticket.round)
        if not released and ticket.round == self.circuit.round and current:
            self.pace.answered(to_us(now))

    def _turned_away(self, ticket: Ticket, ending: TurnedAway, now: float, *, current: bool) -> None:
        if self._share is not None and ending.of_all:
            if current and self._share.trip() is None:  # neither a mail of the same wave, nor a probe
                self.pace.throttled(ending.refusal.cause, to_us(now))
            return
        was_open = self.circuit.at(now) is CircuitState.OPEN
        if not self.circuit.refused(ending.refusal, ticket.round, now):
            return
        if was_open:  # a refused probe says nothing about speed
            self.pace.throttled(ending.refusal.cause, to_us(now))
        self.pace.held()

    def free_slots(self, recipients: int, now: float) -> int:
        """How many such mails may start before asking again: where something is counted or spread, one at a time."""
        if not isinstance(self.may_start(recipients, now), Start):
            return 0
        counted = bool(self.limits) or self.pace.per_minute is not None
        return 1 if counted else self._width(now) - self.in_flight

    # What objects

    @property
    def probing(self) -> bool:
        """Whether a mail that starts now, or is in flight, tries a held relay."""
        return self.circuit.state is CircuitState.PROBING or (
            self._share is not None and self._share.may_probe()
        )

    def _hear_share(self) -> None:
        """Connections come and go with the lease; after a hold of all senders mail begins to go out singly."""
        if self._share is None:
            return
        self.pace.connections = self._share.connections()
        if self._share.round != self._share_round:
            self._share_round = self._share.round
            self.pace.held()

    def _free_us(self, recipients: int, now_us: int) -> int:
        """When all limits and the pace let this mail start."""
        frees = (limit.earliest(limit.unit.of(recipients), now_us) for limit in self.limits)
        return max((self.pace.earliest(now_us), *frees))

    def _probe_at(self, now: float) -> float:
        return now if self.circuit.trip is None else self.circuit.trip.until

    def _stopped(self, now: float) -> Hold | None:
        """What stops this sender, else the hold of all senders, else that nothing is granted to us."""
        hold = self.stopped_here(now)
        if hold is not None or self._share is None:
            return hold
        trip = None if self._share.may_probe() else self._share.trip()
        return self._share.absence(now) if trip is None else self._hold_of(trip)

    def stopped_here(self, now: float) -> Hold | None:
        """A person's pause, else the circuit's hold: whatever the other senders do, this one starts nothing and needs no share."""
        if self._pause is not None and self._pause.until is not None and now >= self._pause.until:
            self.resume()
        if self._pause is not None:
            return self._pause
        trip = self.circuit.trip if self.circuit.at(now) is CircuitState.HELD else None
        return None if trip is None else self._hold_of(trip)

    @property
    def trip(self) -> Trip | None:
        """Why our circuit, or that of all senders, is held; it stands until a probe was answered."""
        shared = None if self._share is None else self._share.trip()
        return self.circuit.trip or shared

    def _hold_of(self, trip: Trip) -> Hold:
        return Hold(
            relay=self.relay, cause=trip.cause, reason=trip.reason, since=trip.since, until=trip.until
        )

    def _too_large(self, recipients: int) -> TooLarge | None:
        """The smallest budget that this mail can never fit into."""
        limits = [limit for limit in self.limits if limit.unit.of(recipients) > limit.most]
        if not limits:
            return None
        smallest = min(limits, key=lambda limit: limit.most)
        return TooLarge(recipients, smallest.most, smallest.words)

    def _short(self, recipients: int, now: float) -> Hold | None:
        """The budget of which people hear that frees this mail last, if one objects."""
        now_us = to_us(now)
        told = [
            (limit.earliest(limit.unit.of(recipients), now_us), limit) for limit in self.limits if limit.told
        ]
        at_us, limit = max(told, key=lambda pair: pair[0], default=(now_us, None))
        if limit is None or at_us <= now_us:
            return None
        before = self._standing_shortage(now)
        self._shortage = Hold(
            relay=self.relay,
            cause=limit.cause,
            reason=f"relay {self.relay}: {limit.describe(now_us)}",
            since=now if before is None else before.since,
            until=to_seconds(at_us),
        )
        return self._shortage

    def _standing_shortage(self, now: float) -> Hold | None:
        short = self._shortage
        stands = short is not None and short.until is not None and now < short.until + CALM_SECONDS
        return short if stands else None

    def _standing_slowness(self, now: float) -> Hold | None:
        """What spreads starts so far that mail has been waiting for long; it stops nothing, and stands until mail goes without such waits."""
        slow = None if self._share is None else self._share.slowness(now)
        if slow is None:
            self._slow = None
            return None
        before, now_us = self._slow, to_us(now)
        frees = [(limit.earliest(self._units(limit), now_us), limit) for limit in self.limits]
        at_us, limit = max(frees, key=lambda pair: pair[0], default=(now_us, None))
        cause, reason = ("", "") if limit is None else (limit.cause, limit.describe(now_us))
        if slow.lack:
            at_us, cause, reason = now_us + 1, CAUSE_NO_LEASE, slow.lack
        elif self.pace.earliest(now_us) > at_us:
            at_us, cause, reason = self.pace.earliest(now_us), CAUSE_SLOWED, self.pace.describe()
        if at_us <= now_us or (before is not None and before.cause == cause and now < (before.until or now)):
            return before
        # Where a grant is waited for, nobody knows until when: it is looked for again and again.
        until = max(to_seconds(at_us), now + AGAIN_SECONDS)
        self._slow = Hold(
            relay=self.relay,
            cause=cause,
            reason=f"relay {self.relay}: {reason}",
            since=slow.since,
            until=until,
        )
        return self._slow

    def _units(self, limit: Limit) -> int:
        """What the mail that was asked about last takes of this limit, at once."""
        return min(limit.unit.of(self._asked), limit.most)

    def _width(self, now: float) -> int:
        self.circuit.at(now)  # a hold whose time is over becomes a probe
        return min(1, self.pace.width) if self.probing else self.pace.width

    # People

    def pause(self, reason: str, until: float | None, now: float) -> None:
        """Start nothing until then, or until `resume` where `until` is None; what is in flight goes on."""
        since = now if self._pause is None else self._pause.since
        self._pause = Hold(relay=self.relay, cause=CAUSE_PAUSED, reason=reason, since=since, until=until)

    def resume(self) -> None:
        """End a person's pause; mail begins to go out singly."""
        if self._pause is not None:
            self._pause = None
            self.pace.held()

    def probe_now(self, now: float) -> bool:
        """Let a single mail show at once whether a held relay takes mail again; True where it is held. Budgets and pauses stand.

        For a hold of all senders its allocator must be asked, too.
        """
        return self.circuit.hasten(now)

    def hold(self, now: float) -> Hold | None:
        """Why mail waits here, for people; `since` is when it began to, whatever reasons there have been since.

        A hold for a budget stands while units come back bit by bit and are used at once; one of the circuit until a probe was answered.
        """
        hold = self._stopped(now)
        if hold is None and (trip := self.trip) is not None:
            hold = self._hold_of(trip)
        if hold is None:
            hold = self._standing_shortage(now)
        if hold is None:
            hold = self._standing_slowness(now)
        if hold is None:
            self._held_since = None
            return None
        self._held_since = hold.since if self._held_since is None else min(self._held_since, hold.since)
        return replace(hold, since=self._held_since)

    def trouble(self, now: float) -> Hold | None:
        """The circuit's hold that a person's pause hides: pausing a broken relay does not mend it."""
        paused = (hold := self._stopped(now)) is not None and hold is self._pause
        return self._hold_of(trip) if paused and (trip := self.trip) is not None else None

    def usage(self, now: float) -> tuple[str, ...]:
        """Each limit and how much of it is used, in words."""
        return tuple(limit.describe(to_us(now)) for limit in self.limits)

    def forecast(self, backlog_mails: int, mean_recipients: float, now: float) -> float | Never:
        """In how many seconds the last of so many mails could start, at best, if the relay answers and nothing else is sent."""
        if backlog_mails <= 0:
            return 0.0
        stopped = self._stopped(now)
        if stopped is not None and stopped.until is None:
            return Never(f"relay {self.relay} is paused: {stopped.reason}")
        large = self._too_large(ceil(mean_recipients))
        if large is not None:
            return Never(large.reason)
        begin_us = to_us(max(now, now if stopped is None else stopped.until or now))
        ends = [self.pace.through(backlog_mails, begin_us)]
        for limit in self.limits:
            units = backlog_mails if limit.unit is Unit.MAILS else ceil(backlog_mails * mean_recipients)
            end_us = limit.through(units, begin_us)
            if end_us is None:
                return Never(f"years will not do under {limit.describe(begin_us)}")
            ends.append(end_us)
        return to_seconds(max(ends)) - now

    # Restarts

    def export(self) -> Plain:
        """What must survive a restart, as plain data: what budgets were used, and the circuit's hold. A pause is not ours to keep."""
        limits = {limit.key: limit.export() for limit in self.limits}
        return {"version": STATE_VERSION, "limits": limits, "circuit": self.circuit.export()}

    def restore(self, state: Plain, now: float) -> None:
        """Take up an exported state; budgets that it does not know begin unused. Raises BadLimitState."""
        match state:
            case {"version": int(version), "limits": dict(limits)} if version == STATE_VERSION:
                pass
            case _:
                found = state.get("version")
                raise BadLimitState(
                    f"relay {self.relay}: version {found!r} is not {STATE_VERSION}, or it has no limits"
                )
        for limit in self.limits:
            if limit.key in limits:
                self._restore_limit(limit, limits[limit.key], now)
        circuit = state.get("circuit")
        if isinstance(circuit, dict):
            self.circuit.restore(circuit)
            self.pace.held()

    def _restore_limit(self, limit: Limit, state: object, now: float) -> None:
        if not isinstance(state, dict):
            raise BadLimitState(f"relay {self.relay}, {limit.key}: {state!r} is no state")
        try:
            limit.restore(state, to_us(now))
        except BadLimitState as error:
            raise BadLimitState(f"relay {self.relay}, {limit.key}: {error}") from None
