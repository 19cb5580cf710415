"""The demo's scenes; each plays a step, verifies it against the servers and returns what was seen."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from demo.stage import Stage
from demo.witness import NotSeen
from localstack.relay_journal import AcceptedMail
from localstack.relay_policy import Act, Fault, Phase, Quota

PRINTER = "The printer is on fire"
QUOTA_TICKETS, QUOTA_MAILS = 3, 4
KILL_TICKETS, KILL_MAILS = 6, 8


def customer_opens_a_ticket(stage: Stage) -> str:
    """A customer mails support@; a ticket opens."""
    stage.alice.write("support@desk.test", PRINTER, "Please help, it smokes.")
    ticket = stage.awaits("the ticket", lambda: stage.desk.ticket_of(PRINTER))
    (event,) = [r["event"] for r in stage.operator.events("mail.inbound") if r["event"]["subject"] == PRINTER]
    if not event["raw"]["sha256"]:
        raise NotSeen("the event does not name the raw mail")
    return f"ticket {ticket}, from {stage.desk.texts(ticket)[0]!r}"


def agent_answers(stage: Stage) -> str:
    """An agent answers; the customer's mailbox has it, threaded."""
    ticket = _printer_ticket(stage)
    stage.agent("answer", str(stage.desk.path), ticket, "Use the extinguisher, then reboot.")
    mail = stage.awaits("the answer in Alice's mailbox", lambda: stage.alice.received(PRINTER))
    question = stage.desk.rows(
        "select message_id from messages where ticket = ? and message_id is not null", ticket
    )
    if mail["In-Reply-To"] != question[0][0]:
        raise NotSeen(
            f"the answer is not threaded: In-Reply-To is {mail['In-Reply-To']}, not {question[0][0]}"
        )
    return f"threaded below {mail['In-Reply-To']}"


def customer_replies(stage: Stage) -> str:
    """The customer replies, with a changed subject; it joins the same ticket by our signed Message-ID."""
    ticket = _printer_ticket(stage)
    answer = stage.alice.received(PRINTER)
    stage.alice.write("support@desk.test", "Thanks!", "It works again.", answers=answer)
    texts = stage.awaits(
        "the reply in the ticket", lambda: [t for t in stage.desk.texts(ticket) if "works again" in t]
    )
    if stage.desk.ticket_of("Thanks!") is not None:
        raise NotSeen("the reply opened a ticket of its own")
    return f"ticket {ticket} now has {len(stage.desk.texts(ticket))} messages, the last {texts[-1]!r}"


def dead_address_and_replay(stage: Stage) -> str:
    """A dead address ends in the dead letters with the relay's words; once it works, a replay delivers it."""
    stage.agent("write", str(stage.desk.path), stage.ghost.address, "Your invoice", "Attached.")
    ticket = str(stage.desk.ticket_of("Your invoice"))
    (dead,) = stage.awaits("the dead letter", lambda: stage.operator.dead(ticket))
    if "5.1.1" not in str(dead):
        raise NotSeen(f"the dead letter does not carry the relay's words: {dead}")
    stage.stack.relay.take_also(stage.ghost.address)
    stage.operator.run("dlq", "replay", "--ticket", ticket, "--yes")
    stage.awaits("the invoice in the ghost's mailbox", lambda: stage.ghost.received("Your invoice"))
    if stage.operator.dead(ticket):
        raise NotSeen("the replayed dead letter is still open")
    return f"refused with {dead['death']['reply']!r}, then replayed and delivered"


def quota_becomes_a_wait(stage: Stage) -> str:
    """The relay says its daily quota is used up: mail waits visibly, nothing fails, and goes out in order when it lifts."""
    relay = stage.stack.relay
    before = relay.counts().accepted
    relay.set_quota(Quota(0))
    stage.agent("flood", stage.alice.address, "quota", str(QUOTA_TICKETS), str(QUOTA_MAILS))
    waits = stage.awaits("a visible wait in `postlane status`", lambda: _waiting(stage, "quota-0"))
    if relay.counts().accepted != before or stage.operator.dead("quota-0"):
        raise NotSeen("mail failed or went out although the quota is used up")
    relay.lift_quota()
    wanted = QUOTA_TICKETS * QUOTA_MAILS
    stage.say(f"quota lifted; waiting for {wanted} mails at the relay")
    mails = relay.wait_for(lambda found: len(found) >= wanted, after=before, timeout_seconds=40)
    _check_order([mail for mail in mails if mail.subject.startswith("quota")], wanted)
    return f"waited: {waits}; then {wanted} mails of {QUOTA_TICKETS} tickets arrived in order"


def killed_sender_loses_nothing(stage: Stage) -> str:
    """A sender is killed with mails in flight; a new one finishes, nothing is lost, order is kept."""
    relay = stage.stack.relay
    before = relay.counts().accepted
    relay.add_fault(Fault(Phase.FINAL, Act.DELAY, seconds=0.2, times=None))
    wanted = KILL_TICKETS * KILL_MAILS
    stage.agent("flood", stage.alice.address, "flood", str(KILL_TICKETS), str(KILL_MAILS))
    stage.say(f"waiting for a quarter of {wanted} mails at the relay")
    relay.wait_for(lambda found: len(found) >= wanted // 4, after=before)
    stage.kill("outbound")
    killed_at = len(relay.mails(before))
    stage.start_service("outbound")
    relay.clear_faults()
    stage.say(f"killed after {killed_at}; waiting for a new sender to take over and send the rest")
    mails = relay.wait_for(
        lambda found: len({m.message_id for m in found}) >= wanted, after=before, timeout_seconds=60
    )
    firsts = list({mail.message_id: mail for mail in reversed(mails)}.values())[::-1]
    _check_order(firsts, wanted)
    stage.awaits("SENT in the status of every mail", lambda: _all_sent(stage))
    return f"killed after {killed_at} of {wanted}; all {wanted} arrived in order, {len(mails) - len(firsts)} of them twice"


SCENES: tuple[Callable[[Stage], str], ...] = (
    customer_opens_a_ticket,
    agent_answers,
    customer_replies,
    dead_address_and_replay,
    quota_becomes_a_wait,
    killed_sender_loses_nothing,
)


def _printer_ticket(stage: Stage) -> str:
    ticket = stage.desk.ticket_of(PRINTER)
    if ticket is None:
        raise NotSeen("there is no ticket about the printer")
    return ticket


def _waiting(stage: Stage, ticket: str) -> str | None:
    for mail in stage.operator.mails(ticket):
        if mail.get("cause") and "quota" in str(mail["cause"]):
            return f"{mail.get('state')} ({mail['cause']}), next attempt {mail.get('next_attempt_at')}"
    return None


def _all_sent(stage: Stage) -> bool:
    counts = Counter(
        mail.get("state")
        for ticket in range(KILL_TICKETS)
        for mail in stage.operator.mails(f"flood-{ticket}")
    )
    return counts == {"SENT": KILL_TICKETS * KILL_MAILS}


def _check_order(mails: list[AcceptedMail], wanted: int) -> None:
    """Subjects are like `quota2-7`: within 2, 7 comes after 6."""
    if len(mails) != wanted:
        raise NotSeen(f"{len(mails)} mails instead of {wanted}")
    by_ticket: dict[str, list[int]] = {}
    for mail in mails:
        ticket, _, number = mail.subject.partition("-")
        by_ticket.setdefault(ticket, []).append(int(number))
    for ticket, numbers in by_ticket.items():
        if any(later < earlier for earlier, later in pairwise(numbers)):
            raise NotSeen(f"ticket {ticket} went out of order: {numbers}")
