"""Judges a run: what the relay took, and what Kafka says about it, against what was promised (docs/guarantees.md).

lost               a recipient never got the mail and no open dead letter holds it; a SENT that the relay never saw; a
                   request without an end; a recipient who may live in the dead-letter topic
order_inversions   a recipient's first acceptance comes after that of a later mail of its ticket, unless it was dead-lettered before
duplicates         acceptances of a mail for a recipient that the relay had already confirmed
faults             everything else that must not be: two ends for one request, other bytes on a repetition, ...
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chaos.acceptances import Acceptance
from chaos.audit import Findings
from chaos.workload import PlannedMail
from postlane.core.events.status import MailState

ENDS = frozenset({MailState.SENT, MailState.FAILED, MailState.EXPIRED})
Delivery = tuple[str, str]  # mail id and recipient


@dataclass(slots=True)
class Verdict:
    """Each list holds one line per violation."""

    lost: list[str] = field(default_factory=list)
    order_inversions: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    repeats_after_unknown: int = 0

    def violations(self, duplicates_bound: int) -> list[str]:
        """Everything that breaks a promise."""
        found = [f"lost: {line}" for line in self.lost]
        found += [f"order: {line}" for line in self.order_inversions]
        found += [f"fault: {line}" for line in self.faults]
        if len(self.duplicates) > duplicates_bound:
            found.append(f"duplicates: {len(self.duplicates)} are more than {duplicates_bound}")
        return found


def judge(planned: Sequence[PlannedMail], acceptances: Sequence[Acceptance], findings: Findings) -> Verdict:
    """Compare what was asked for, what was taken and what was recorded."""
    verdict = Verdict()
    first = _first_acceptances(acceptances)
    dead, open_dead = _dead_deliveries(findings)
    verdict.lost += _lost(planned, first, dead, open_dead)
    verdict.lost += _wrong_ends(planned, findings, first, dead)
    verdict.order_inversions += _inversions(planned, first, dead)
    verdict.order_inversions += _replay_inversions(findings, first, dead)
    verdict.faults += _faults(findings, acceptances)
    _count_repetitions(acceptances, verdict)
    return verdict


def _first_acceptances(acceptances: Iterable[Acceptance]) -> dict[Delivery, Acceptance]:
    first: dict[Delivery, Acceptance] = {}
    for acceptance in acceptances:
        for recipient in acceptance.recipients:
            first.setdefault((acceptance.mail_id, recipient), acceptance)
    return first


def _dead_deliveries(findings: Findings) -> tuple[set[Delivery], set[Delivery]]:
    """Deliveries that were ever dead-lettered, and those whose dead letter is still open."""
    dead: set[Delivery] = set()
    open_dead: set[Delivery] = set()
    for place, buried in findings.dead.items():
        requested = findings.requested.get(buried.origin)
        if requested is None or requested.mail_id is None:
            continue
        recipients = requested.recipients if buried.recipients is None else buried.recipients
        deliveries = {(requested.mail_id, recipient) for recipient in recipients}
        dead |= deliveries
        if place not in findings.resolved:
            open_dead |= deliveries
    return dead, open_dead


def _lost(
    planned: Sequence[PlannedMail],
    first: dict[Delivery, Acceptance],
    dead: set[Delivery],
    open_dead: set[Delivery],
) -> Iterator[str]:
    for mail in planned:
        for recipient in mail.recipients:
            delivery = mail.mail_id, recipient
            if delivery not in first and delivery not in open_dead:
                yield f"{mail.mail_id} for {recipient} was neither taken nor dead-lettered"
            if delivery in dead and recipient not in mail.doomed:
                yield f"{mail.mail_id} for {recipient} was dead-lettered, but nothing was wrong with it"


def _wrong_ends(
    planned: Sequence[PlannedMail],
    findings: Findings,
    first: dict[Delivery, Acceptance],
    dead: set[Delivery],
) -> Iterator[str]:
    produced = {requested.mail_id for requested in findings.requested.values()}
    again = _written_again(findings)
    for mail in planned:
        if mail.mail_id not in produced:
            yield f"{mail.mail_id} is not in the main topic"
    for place, requested in findings.requested.items():
        name, ends = f"{requested.mail_id} at {place}", findings.ends.get(place, [])
        if len(ends) != 1:
            yield f"{name} has {len(ends)} ends: {ends}"
            continue
        allowed = ENDS | ({MailState.DUPLICATE} if place in again else set())
        if ends[0] not in allowed:
            yield f"{name} ended as {ends[0]}"
        if ends[0] is MailState.SENT:
            for recipient in requested.recipients:
                delivery = str(requested.mail_id), recipient
                if delivery not in first and delivery not in dead:
                    yield f"{name} is SENT, but the relay never took it for {recipient}"


def _written_again(findings: Findings) -> set[tuple[int, int]]:
    """Where a request stands once more: as planned, or because the producer did not know whether a broker that died had it."""
    seen: set[str | None] = set()
    again: set[tuple[int, int]] = set()
    for place in sorted(findings.requested):
        requested = findings.requested[place]
        if requested.replay:
            continue
        if requested.mail_id in seen:
            again.add(place)
        seen.add(requested.mail_id)
    return again


def _inversions(
    planned: Sequence[PlannedMail], first: dict[Delivery, Acceptance], dead: set[Delivery]
) -> Iterator[str]:
    """By ticket, from its last mail to its first: the earliest acceptance of all later living mail must come after."""
    tickets: dict[str, list[PlannedMail]] = defaultdict(list)
    for mail in planned:
        tickets[mail.ticket].append(mail)
    for mails in tickets.values():
        earliest: Acceptance | None = None
        for mail in sorted(mails, key=lambda mail: mail.number, reverse=True):
            living = [
                first[delivery]
                for recipient in mail.recipients
                if (delivery := (mail.mail_id, recipient)) in first and delivery not in dead
            ]
            for acceptance in living:
                if earliest is not None and acceptance.number > earliest.number:
                    yield f"{_told(acceptance)} came after {_told(earliest)}"
            for acceptance in living:
                if earliest is None or acceptance.number < earliest.number:
                    earliest = acceptance


def _replay_inversions(
    findings: Findings, first: dict[Delivery, Acceptance], dead: set[Delivery]
) -> Iterator[str]:
    """Replayed mails of a ticket go in the order of their replays, where these are what delivered them."""
    latest: dict[str, Acceptance] = {}
    for place in sorted(findings.requested):
        replay = findings.requested[place]
        if not replay.replay or replay.mail_id is None:
            continue
        ticket = replay.mail_id.partition("-")[0]
        taken = [
            acceptance
            for recipient in replay.recipients
            if (delivery := (replay.mail_id, recipient)) in dead
            and (acceptance := first.get(delivery)) is not None
            and acceptance.at >= replay.at
        ]
        before = latest.get(ticket)
        for acceptance in taken:
            if before is not None and acceptance.number < before.number:
                yield f"replayed {_told(acceptance)} came before {_told(before)}"
        done = taken if before is None else [before, *taken]
        if done:  # one mail's recipients may get it in any order; the next mail comes after the last of them
            latest[ticket] = max(done, key=lambda acceptance: acceptance.number)


def _told(acceptance: Acceptance) -> str:
    return f"{acceptance.mail_id} (acceptance {acceptance.number} by {acceptance.sender})"


def _faults(findings: Findings, acceptances: Sequence[Acceptance]) -> Iterator[str]:
    yield from (f"offset not committed: {line}" for line in findings.behind)
    yield from (f"open transaction: {line}" for line in findings.open_transactions)
    if findings.parked:
        yield f"{findings.parked} mails are still parked in the journal"
    digests: dict[str, str] = {}
    for acceptance in acceptances:
        if acceptance.subject != acceptance.mail_id:
            yield f"{_told(acceptance)} carries the content of {acceptance.subject!r}"
        if digests.setdefault(acceptance.mail_id, acceptance.digest) != acceptance.digest:
            yield f"{_told(acceptance)} has other bytes than before"


def _count_repetitions(acceptances: Sequence[Acceptance], verdict: Verdict) -> None:
    taken: set[Delivery] = set()
    confirmed: set[Delivery] = set()
    for acceptance in acceptances:
        deliveries = {(acceptance.mail_id, recipient) for recipient in acceptance.recipients}
        if deliveries & confirmed:
            verdict.duplicates.append(_told(acceptance))
        elif deliveries & taken:
            verdict.repeats_after_unknown += 1
        taken |= deliveries
        if acceptance.confirmed:
            confirmed |= deliveries
