"""A look at the relays on the in-memory log, and how it is told."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from postlane.config.settings import Settings
from postlane.core.events.command import Command, Wish, command_key, partition_for_all
from postlane.core.events.mail import Address
from postlane.core.events.relay_lease import (
    LeaseBody,
    LeaseRequest,
    RelayHold,
    RelaySnapshot,
    Tally,
    lease_key,
    lease_of,
)
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState, Origin
from postlane.core.events.trail import Put, encode
from postlane.core.history import SendersSeen
from postlane.core.partitioner import partition_of
from postlane.core.relays.backlog import Waiting
from postlane.core.relays.relay_state import RelayState
from postlane.core.sending.pointers import Pointers, encode_pointers
from postlane.ops.relay_output import UNEXPLAINED, report_json, report_lines
from postlane.ops.relay_survey import STATUSES_MAX, UNREAD_MAX, Survey, Surveyor
from postlane.ops.relay_usage import UsageReader, senders_seen
from postlane.ports import CommitPoint, NewRecord, TopicPartition
from unit.ops.test_status_search import CODEC, GROUP, MAIN, NOW, PARTITIONS, STATUS, World

RETRY, CONTROL, LEASES = "mail.outbound.retry", "mail.control", "mail.relays"
RELAYS = {
    "main": {"host": "smtp.example.com", "budgets": ["100 mails/hour"]},
    "backup": {"host": "backup.example.com"},
}
ROUTES = {
    "bulk": {"relays": [{"main": 3, "backup": 1}], "tags": ["newsletter"]},
    "rest": {"relays": ["main", "backup"]},
}
TICKET = "T-1"


class Office(World):
    """The world of `postlane status`, with the journal and the commands."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for topic in (RETRY, CONTROL, LEASES):
            self.log.create_topic(topic, PARTITIONS)

    def ask(self, ticket: str = TICKET, tag: str | None = None, recipients: int = 1) -> int:
        to = tuple(Address(address=f"a{number}@example.com") for number in range(recipients))
        request = MailRequested(
            event_id=f"event-{ticket}",
            ticket_id=ticket,
            requested_at=self.now,
            from_address=Address(address="desk@example.com"),
            to=to,
            subject="Hello",
            tags=() if tag is None else (tag,),
        )
        return self.write(MAIN, ticket.encode(), CODEC.encode(request))

    def park(self, offset: int, route: str = "rest", **changes: object) -> int:
        fields: dict[str, object] = {
            "origin": Origin(self.log.topic_id(MAIN), offset),
            "attempt": 1,
            "first_seen_ms": 0,
            "due_ms": 0,
            "remaining": None,
            "held": 0,
            "cause": "window_full",
            "reason": "",
            "route": route,
        }
        put = Put(**(fields | changes))  # type: ignore[arg-type]
        return self.write(RETRY, TICKET.encode(), b"mail", encode(put))

    def pause(self, relay: str, until: datetime | None = None) -> None:
        command = Command(
            command_id="c",
            issued_at=self.now,
            issued_by="kim@desk",
            wish=Wish.PAUSE_RELAY,
            reason="maintenance",
            relay=relay,
            expires_at=until,
        )
        key = command_key(command)
        writer = self.log.writer("desk")
        writer.take_over()
        to = TopicPartition(CONTROL, partition_for_all(key, PARTITIONS))
        writer.stage([NewRecord(to=to, key=key, value=CODEC.encode(command))])
        writer.commit()

    def commit_with(self, offset: int, retry_from: int) -> None:
        pointers = Pointers(topic_id=self.log.topic_id(MAIN), status_from=0, retry_from=retry_from)
        at = TopicPartition(MAIN, self.partition)
        self.log.group(GROUP).points[at] = CommitPoint(offset, encode_pointers(pointers))

    def share(self, *bodies: LeaseBody, relay: str = "main") -> None:
        """What a sender and an allocator have written, a minute ago."""
        self.log.clock = (NOW - timedelta(minutes=1)).timestamp
        to = TopicPartition(LEASES, partition_of(lease_key(relay), PARTITIONS))
        publisher = self.log.publisher("p")
        for body in bodies:
            value = CODEC.encode(lease_of(relay, "sender", body))
            publisher.publish(NewRecord(to=to, key=lease_key(relay), value=value))

    @property
    def partition(self) -> int:
        return partition_of(TICKET.encode(), PARTITIONS)

    def survey(self, relays: dict[str, Any] | None = None, routes: dict[str, Any] | None = None) -> Survey:
        surveyor = Surveyor(
            log=self.log,
            codec=CODEC,
            main=MAIN,
            status=STATUS,
            retry=RETRY,
            control=CONTROL,
            group=GROUP,
            usage=UsageReader(log=self.log, codec=CODEC, topic=LEASES, group="relays"),
        )
        settings = Settings(relays=relays or RELAYS, routes=ROUTES if routes is None else routes)
        return surveyor.survey(settings, NOW)


@pytest.fixture
def office() -> Office:
    return Office()


def facts(survey: Survey) -> dict[str, tuple[RelayState, int]]:
    return {one.view.relay: (one.view.state, one.waiting.ready) for one in survey.relays}


def test_an_empty_installation_knows_nothing(office: Office) -> None:
    assert facts(office.survey()) == {"main": (RelayState.UNKNOWN, 0), "backup": (RelayState.UNKNOWN, 0)}


def test_pauses_and_statuses_give_the_states(office: Office) -> None:
    office.pause("backup", NOW + timedelta(hours=2))
    office.status(TICKET, "e", 0, MailState.SENT, relay="main")
    office.status("T-2", "e", 0, MailState.SENT, relay="backup")
    states = {relay: state for relay, (state, _) in facts(office.survey()).items()}
    assert states == {"main": RelayState.SENDS, "backup": RelayState.PAUSED}
    office.pause("backup", NOW)
    assert facts(office.survey())["backup"][0] is RelayState.SENDS


def test_what_is_unreadable_says_nothing(office: Office) -> None:
    office.write(STATUS, TICKET.encode(), b"?")
    key = b"relay:main"
    writer = office.log.writer("desk")
    writer.take_over()
    writer.stage(
        [NewRecord(to=TopicPartition(CONTROL, partition_for_all(key, PARTITIONS)), key=key, value=b"?")]
    )
    writer.commit()
    office.write(MAIN, TICKET.encode(), b"?")
    assert facts(office.survey())["main"] == (RelayState.UNKNOWN, 1)  # it ends unsent, in its turn


def test_only_the_newest_statuses_are_looked_at(office: Office) -> None:
    office.status(TICKET, "e", 0, MailState.SENT, relay="main")
    for number in range(STATUSES_MAX // 2):  # each with the mark of its transaction
        office.status(TICKET, "e", number, MailState.SENT, relay="backup")
    survey = office.survey(routes={"all": {"relays": [{"main": 1, "backup": 1}]}})
    assert {relay: state for relay, (state, _) in facts(survey).items()} == {
        "main": RelayState.UNKNOWN,
        "backup": RelayState.SENDS,
    }


def test_mail_is_counted_once_wherever_it_lies(office: Office) -> None:
    done, kept = office.ask(), office.ask()
    office.ask(recipients=3)
    office.ask(tag="newsletter")
    office.status(TICKET, "e", done, MailState.SENT, relay="main")
    office.park(kept)
    office.commit_with(0, retry_from=0)
    main, _ = office.survey().relays
    assert main.routes == {
        "bulk": Waiting(unread=1, recipients=1, counted=1),
        "rest": Waiting(unread=1, parked=1, recipients=3, counted=1),
    }
    assert main.waiting.ready == 3


def test_mail_of_the_journal_is_counted_once_where_much_stands_before_it(office: Office) -> None:
    for _ in range(UNREAD_MAX):
        office.ask()
    late = [office.ask() for _ in range(5)]
    office.commit_with(0, retry_from=0)
    before = office.survey().relays[0].waiting
    for offset in late:
        office.park(offset)
    after = office.survey().relays[0].waiting
    assert (before.parked, after.parked) == (0, 5)
    assert after.ready == before.ready


def test_the_journal_is_read_from_where_its_first_mail_lives(office: Office) -> None:
    office.park(0)
    second = office.park(1)
    office.commit_with(2, retry_from=second)
    assert facts(office.survey())["main"][1] == 1
    at = TopicPartition(MAIN, office.partition)
    office.log.group(GROUP).points[at] = CommitPoint(2, "not ours")
    assert facts(office.survey())["main"][1] == 2


def test_of_a_long_backlog_the_rest_is_counted(office: Office) -> None:
    for _ in range(UNREAD_MAX):
        office.ask(tag="newsletter")
    survey = office.survey()
    assert survey.estimated == UNREAD_MAX  # the marks of the test's transactions count as requests
    assert survey.relays[0].routes["rest"].unread == 0
    assert report_json(survey.relays[0], survey)["waiting_estimated"] is True


def test_a_held_relay_in_words(office: Office) -> None:
    office.now = NOW - timedelta(minutes=10)
    changes = {"cause": "quota", "reason": "relay main: 550 5.4.5 Daily limit", "relay": "main"}
    office.status(TICKET, "e", 0, MailState.DEFERRED, next_attempt_at=NOW + timedelta(minutes=50), **changes)
    for _ in range(2):
        office.ask(tag="newsletter")
    survey = office.survey()
    assert list(report_lines(survey.relays[0], survey)) == [
        (
            "main  HELD since 2026-11-22 11:50:00Z (quota), probably until 2026-11-22 12:50:00Z (in 50 min): "
            "relay main: 550 5.4.5 Daily limit"
        ),
        "  smtp.example.com:587; 4 connections; 100 mails/hour",
        "  100 mails/hour: 0 used in the last hour, by all senders",
        "  senders that share it now: 0",
        "  routes: bulk (first, weight 3 of 4, 2 mails may go now), rest (first, 0 mails may go now)",
        (
            "  waiting: 2 mails may go now (2 unread or with a sender, 0 in the journal); 0 wait for their own time, "
            "0 for a person"
        ),
        "  backlog through in about 50 min at best",
    ]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (RelayState.UNKNOWN, "main  UNKNOWN: none of the newest statuses names it"),
        (RelayState.SENDS, "main  SENDS: its last answer to a mail came 2026-11-22 11:50:00Z (10 min ago)"),
        (RelayState.DUE, "main  DUE: it was held (quota) until 2026-11-22 11:55:00Z and is tried"),
        (RelayState.PASSED_OVER, "main  PASSED OVER: backup sends in its place, last 2026-11-22 11:50:00Z"),
        (
            RelayState.PAUSED,
            "main  PAUSED by kim@desk since 2026-11-22 11:50:00Z, until somebody resumes it: ",
        ),
    ],
)
def test_every_state_has_words(office: Office, state: RelayState, words: str) -> None:
    office.now = NOW - timedelta(minutes=10)
    ended = {"next_attempt_at": NOW - timedelta(minutes=5), "cause": "quota", "relay": "main"}
    match state:
        case RelayState.SENDS:
            office.status(TICKET, "e", 99, MailState.SENT, relay="main")
        case RelayState.DUE:
            office.status(TICKET, "e", 99, MailState.DEFERRED, **ended)
        case RelayState.PASSED_OVER:
            office.status(TICKET, "e", 99, MailState.SENT, relay="backup")
        case RelayState.PAUSED:
            office.pause("main")
        case _:
            pass
    office.ask()
    survey = office.survey(routes={"rest": {"relays": ["main", "backup"]}})
    lines = list(report_lines(survey.relays[0], survey))
    assert survey.relays[0].view.state is state
    assert lines[0].startswith(words)
    assert any("no sender runs" in line for line in lines) is (state in UNEXPLAINED)


def test_a_hold_that_another_relay_tells_of_in_words(office: Office) -> None:
    office.status(
        TICKET, "e", 0, MailState.DEFERRED, next_attempt_at=NOW + timedelta(minutes=5), relay="backup"
    )
    survey = office.survey(routes={"rest": {"relays": ["main", "backup"]}})
    assert next(report_lines(survey.relays[0], survey)) == (
        "main  HELD since 2026-11-22 11:00:00Z, at least until 2026-11-22 12:05:00Z (in 5 min): no relay of its routes "
        "takes mail, the next to be tried is backup; why this one takes none, the line relay_held in the log of "
        "`postlane outbound` says"
    )


def test_the_keys_of_the_json(office: Office) -> None:
    office.ask(tag="newsletter")
    survey = office.survey()
    waits = {"ready": 1, "unread": 1, "journal": 0, "later": 0, "for_person": 0}
    assert report_json(survey.relays[1], survey) == {
        "relay": "backup",
        "state": "unknown",
        "cause": None,
        "reason": "",
        "by": None,
        "since": None,
        "until": None,
        "told_at": None,
        "answered_at": None,
        "told_by": None,
        "host": "backup.example.com",
        "port": 587,
        "connections": 4,
        "budgets": [],
        "used": [],
        "senders": 0,
        "differing": None,
        "warm_up": None,
        "warm_up_since": None,
        "routes": [
            {"route": "bulk", "tier": 1, "weight": 1, "waiting": waits},
            {"route": "rest", "tier": 2, "weight": 1, "waiting": waits | {"ready": 0, "unread": 0}},
        ],
        "waiting": waits,
        "waiting_estimated": False,
        "through_seconds_at_best": None,
        "through_never": None,
    }


def test_what_all_senders_used_and_why_all_of_them_wait(office: Office) -> None:
    minute_ago = NOW - timedelta(minutes=1)
    span = {"starts_at": minute_ago - timedelta(seconds=20), "ends_at": minute_ago + timedelta(seconds=18)}
    hold = RelayHold(
        cause="quota",
        reason="550 5.4.5 Daily limit",
        reported_by="sender",
        since_at=minute_ago,
        probe_at=NOW + timedelta(hours=1),
    )
    request = LeaseRequest(number=1, seen=0, wants=(), using=(), needs=(), returned=())
    tally = Tally(budget="mails/hour", units=98, **span)
    snapshot = RelaySnapshot(number=1, read_to=0, tallies=(tally,), outstanding=(), claims=(), hold=hold)
    office.share(snapshot, request)
    office.status(TICKET, "e", 0, MailState.SENT, relay="main")
    survey = office.survey()
    main, backup = survey.relays
    assert (main.view.state, main.view.cause, main.view.until) == (RelayState.HELD, "quota", hold.probe_at)
    assert "  to have it tried at once: postlane relays resume main" in report_lines(main, survey)
    assert main.usage.words(NOW) == ("100 mails/hour: 98 used in the last hour",)
    assert (main.usage.senders, backup.usage.senders) == (1, 0)
    seen = senders_seen([main.usage, backup.usage])
    assert (seen.count, seen.last_at) == (1, main.usage.heard_at)
    assert senders_seen([backup.usage]) == SendersSeen(0, None)
    assert backup.view.state is RelayState.UNKNOWN


def test_a_backlog_takes_its_turn_behind_what_is_used(office: Office) -> None:
    for ticket in range(5):
        office.ask(f"t{ticket}")
    fresh = office.survey().relays[0].through_seconds
    span = {"starts_at": NOW - timedelta(seconds=100), "ends_at": NOW - timedelta(seconds=62)}
    tally = Tally(budget="mails/hour", units=98, **span)
    office.share(RelaySnapshot(number=1, read_to=0, tallies=(tally,), outstanding=(), claims=()))
    later = office.survey().relays[0].through_seconds
    assert isinstance(fresh, float)
    assert isinstance(later, float)
    assert fresh < 1
    assert 3000 < later < 3800


def test_a_relay_that_no_route_uses_is_said(office: Office) -> None:
    survey = office.survey(routes={"all": {"relays": ["main"]}})
    lines = list(report_lines(survey.relays[1], survey))
    assert lines[-1] == "  routes: none leads here: it is not used"
