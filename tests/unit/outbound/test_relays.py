"""Several relays: routes lead to them, others help out, limits are waits, and a ticket's order stands."""

import time
from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from fakes.memory_domains import MemoryDomains
from fakes.memory_sink import MemorySink
from fakes.relay_script import RelayScript
from fakes.zone_script import world
from postlane.core.events.command import Wish
from postlane.core.events.mail import BlobRef
from postlane.core.events.request import MailRequested, RequestedAttachment
from postlane.core.events.status import MailState, RecipientState
from postlane.core.return_paths import names_recipient, read_return_path
from postlane.core.routing.routes import Route
from postlane.core.routing.safety import read_safety
from postlane.core.sending.rest import RestPolicy
from postlane.core.smtp.transcript import Phase
from unit.core.lane_bench import request
from unit.outbound.sender_rig import KEYS, Limits, Site, running, until

QUOTA = RelayScript(stops={Phase.MAIL: "550 5.4.5 Daily user sending limit exceeded"})
ONE_AFTER_THE_OTHER = (Route(tiers=((("first", 1),), (("second", 1),))),)
BULK_APART = (
    Route(name="bulk", tags=frozenset({"bulk"}), tiers=((("second", 1),),)),
    Route(tiers=((("first", 1),),)),
)


def bulk(ticket: str, event_id: str) -> MailRequested:
    return replace(request(ticket, event_id), tags=("bulk",))


async def test_another_relay_sends_while_the_first_is_held_and_the_order_stands(tmp_path: Path) -> None:
    sinks = {"first": MemorySink(QUOTA), "second": MemorySink()}
    async with running(
        tmp_path, RestPolicy(), sinks=sinks, routes=ONE_AFTER_THE_OTHER, limits=Limits(hold_seconds=60)
    ) as site:
        site.produce(*(f"t{n % 5}" for n in range(30)))
        await until(lambda: len(site.ends()) == 30)
        assert site.ends() == [MailState.SENT] * 30
        assert len(sinks["second"].taken) == 30
        subjects = [mail.content.partition(b"Message-ID")[0] for mail in sinks["second"].taken]
        assert len(subjects) == 30
        for ticket in range(5):
            mine = [offset for offset in site.order() if offset % 5 == ticket]
            assert mine == sorted(mine)
        assert all(status.attempt <= 1 for status in site.statuses())


async def test_a_held_route_is_told_and_the_other_goes_on(tmp_path: Path) -> None:
    sinks = {"first": MemorySink(), "second": MemorySink(QUOTA)}
    async with running(
        tmp_path, RestPolicy(), sinks=sinks, routes=BULK_APART, limits=Limits(hold_seconds=60)
    ) as site:
        site.ask(bulk("a", "1"), request("b", "2"), bulk("c", "3"), request("d", "4"))
        await until(lambda: len(site.ends()) == 2)
        await until(lambda: len(site.statuses()) == 4)
        held = [status for status in site.statuses() if status.state is MailState.DEFERRED]
        assert [(s.offset, s.cause, s.attempt, s.relay) for s in held] == [
            (0, "quota", 0, "second"),
            (2, "quota", 0, "second"),
        ]
        assert all(status.next_attempt_at is not None for status in held)
        assert site.health.components()["relay:second"].reason.startswith("held until")
        raised = b'postlane_alert_raised{alert="RelayHeld",subject="second"} 1.0'
        await until(lambda: raised in site.metrics.exposition())


async def test_a_used_up_budget_is_a_wait_that_costs_no_attempt(tmp_path: Path) -> None:
    sink = MemorySink()
    async with running(tmp_path, RestPolicy(), sink, limits=Limits(budgets=("3 mails/hour",))) as site:
        site.produce(*(f"t{n}" for n in range(5)))
        await until(lambda: len(site.statuses()) == 5)
        waiting = [status for status in site.statuses() if status.state is MailState.DEFERRED]
        assert len(sink.taken) == 3
        assert [(s.cause, s.attempt) for s in waiting] == [("quota", 0)] * 2
        assert all("3 mails/hour" in status.reason for status in waiting)


async def test_a_mail_for_many_is_split_in_order(tmp_path: Path) -> None:
    sink = MemorySink(RelayScript(refused={"d@x": "550 5.1.1 unknown"}))
    many = tuple(f"{name}@x" for name in "abcdefg")
    async with running(tmp_path, RestPolicy(), sink, limits=Limits(recipients_max=3)) as site:
        site.ask(request("t", "1", many), request("t", "2", ("z@x",)))
        await until(lambda: len(site.ends()) == 2)
        assert [mail.recipients for mail in sink.taken] == [
            ("a@x", "b@x", "c@x"),
            ("e@x", "f@x"),
            ("g@x",),
            ("z@x",),
        ]
        assert len({mail.content for mail in sink.taken[:3]}) == 1
        assert max(status.attempt for status in site.statuses()) == 1


async def test_return_paths_name_the_mail_and_whoever_gets_it_alone(tmp_path: Path) -> None:
    script = RelayScript(refused={"c@x.example": "451 4.3.0 later"})
    sink = MemorySink(script)
    async with running(tmp_path, RestPolicy(), sink, limits=Limits(verp=True)) as site:
        site.ask(request("t", "1", ("a@x.example",)), request("u", "2", ("b@x.example", "c@x.example")))
        await until(lambda: len(sink.taken) == 2)
        script.refused.clear()
        await until(lambda: len(site.ends()) == 2)
    paths = {mail.recipients: read_return_path(KEYS, mail.mail_from) for mail in sink.taken}
    named = {
        recipients: path and [one for one in "abc" if names_recipient(KEYS, path, f"{one}@x.example")]
        for recipients, path in paths.items()
    }
    assert named == {("a@x.example",): ["a"], ("b@x.example",): [], ("c@x.example",): ["c"]}
    sent = {status.request_event_id: status.message_id for status in site.statuses()}
    assert {path.message_id for path in paths.values() if path} == set(sent.values())
    assert len(sent) == 2


async def test_a_mail_goes_out_again_by_the_same_return_path(tmp_path: Path) -> None:
    sink = MemorySink(RelayScript(stops={Phase.FINAL: None}))  # lost after the final dot
    async with running(tmp_path, RestPolicy(), sink, limits=Limits(verp=True)) as site:
        site.ask(request("t", "1", ("a@x.example",)))
        await until(lambda: bool(sink.taken))
        sink.script.stops.clear()
        await until(lambda: len(site.ends()) == 1)
    assert len(sink.taken) > 1
    assert len({(mail.mail_from, mail.content) for mail in sink.taken}) == 1
    assert read_return_path(KEYS, sink.taken[0].mail_from) is not None


async def test_recipients_that_were_not_tried_go_before_those_who_wait(tmp_path: Path) -> None:
    script = RelayScript(refused={"a@x": "451 4.3.0 later"})
    sink = MemorySink(script)
    async with running(tmp_path, RestPolicy(), sink, limits=Limits(recipients_max=1)) as site:
        site.ask(request("t", "1", ("a@x", "b@x", "c@x")))
        await until(lambda: len(sink.taken) == 2)
        assert [mail.recipients for mail in sink.taken] == [("b@x",), ("c@x",)]
        script.refused.clear()
        await until(lambda: len(site.ends()) == 1)
        assert [mail.recipients for mail in sink.taken] == [("b@x",), ("c@x",), ("a@x",)]


async def test_a_mail_with_more_recipients_than_are_left_is_waited_for(tmp_path: Path) -> None:
    sink = MemorySink()
    async with running(tmp_path, RestPolicy(), sink, limits=Limits(budgets=("4 recipients/hour",))) as site:
        site.ask(
            request("t", "1", ("a@x", "b@x", "c@x")),
            request("u", "2", ("d@x", "e@x")),
            request("v", "3", ("f@x",)),
        )
        await until(lambda: len(site.statuses()) == 3)
        assert [mail.recipients for mail in sink.taken] == [("a@x", "b@x", "c@x")]
        assert sorted((s.offset, s.cause, s.attempt) for s in site.statuses()) == [
            (0, "accepted", 1),
            (1, "quota", 0),
            (2, "quota", 0),
        ]


async def test_a_mail_larger_than_a_budget_goes_in_parts(tmp_path: Path) -> None:
    sink = MemorySink()
    async with running(tmp_path, RestPolicy(), sink, limits=Limits(budgets=("1 recipients/s",))) as site:
        site.produce("t")
        await until(lambda: len(site.ends()) == 1)
        assert [mail.recipients for mail in sink.taken] == [("a@x",), ("b@x",)]
        assert sink.taken[0].content == sink.taken[1].content
        assert site.ends() == [MailState.SENT]


async def test_a_rate_spreads_mail_without_telling_anybody(tmp_path: Path) -> None:
    async with running(tmp_path, RestPolicy(), limits=Limits(budgets=("20 mails/s",))) as site:
        site.produce(*(f"t{n}" for n in range(10)))
        await until(lambda: len(site.ends()) == 10)
        assert site.ends() == [status.state for status in site.statuses()]


async def test_a_recipient_whose_domain_takes_no_mail_fails_before_any_relay_is_asked(tmp_path: Path) -> None:
    sink = MemorySink()
    domains = MemoryDomains(world())
    async with running(tmp_path, RestPolicy(), sink, domains=domains) as site:
        site.ask(request("t", "1", ("a@x", "b@gone.example")), request("u", "2", ("c@gone.example",)))
        await until(lambda: len(site.ends()) == 2)
        assert [mail.recipients for mail in sink.taken] == [("a@x",)]
        assert site.ends() == [MailState.FAILED, MailState.FAILED]
        causes = {status.offset: (status.cause, status.reply) for status in site.statuses() if status.final}
        assert causes[1] == ("domain_unknown", None)
        assert sink.attempts == 1


async def test_a_paused_relay_starts_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    sink = MemorySink()

    def pause(site: Site) -> None:
        site.command(Wish.PAUSE_RELAY, relay="r")
        site.produce("a", "b")

    async with running(tmp_path, RestPolicy(), sink, prepare=pause) as site:
        await until(lambda: len(site.statuses()) == 2)
        assert {(s.cause, s.attempt, s.next_attempt_at) for s in site.statuses()} == {("paused", 0, None)}
        assert "paused by tester: because" in site.statuses()[0].reason
        assert sink.attempts == 0
        site.command(Wish.RESUME_RELAY, relay="r")
        await until(lambda: site.ends() == [MailState.SENT] * 2)


async def test_a_suppressed_recipient_is_not_mailed_and_the_status_says_so(tmp_path: Path) -> None:
    sink = MemorySink()

    def suppress(site: Site) -> None:
        site.command(Wish.SUPPRESS_RECIPIENT, recipient="b@x", cause="complaint")
        site.ask(request("t", "1", ("a@x", "B@X")), request("u", "2", ("b@x",)))

    async with running(tmp_path, RestPolicy(), sink, prepare=suppress) as site:
        await until(lambda: len(site.ends()) == 2)
        assert [mail.recipients for mail in sink.taken] == [("a@x",)]
        ends = {status.offset: status for status in site.statuses() if status.final}
        assert (ends[0].state, ends[1].state) == (MailState.SENT, MailState.SUPPRESSED)
        assert [(r.address, r.state) for r in ends[0].recipients] == [
            ("a@x", RecipientState.DELIVERED),
            ("B@x", RecipientState.SUPPRESSED),
        ]
        assert sink.attempts == 1


async def test_mail_for_nobody_is_over_though_its_attachment_is_lost_and_is_not_logged_as_sent(
    tmp_path: Path,
) -> None:
    lost = RequestedAttachment(
        filename="a.pdf", content_type="application/pdf", blob=BlobRef(sha256="0" * 64, size_bytes=4)
    )

    def suppress(site: Site) -> None:
        for name in ("b@x", "c@x"):
            site.command(Wish.SUPPRESS_RECIPIENT, recipient=name, cause="complaint")
        site.ask(replace(request("t", "1", ("b@x", "c@x")), attachments=(lost,)))

    sink = MemorySink()
    with capture_logs() as logs:
        async with running(tmp_path, RestPolicy(), sink, prepare=suppress) as site:
            await until(lambda: site.ends() == [MailState.SUPPRESSED])
            assert [r.state for r in site.statuses()[0].recipients] == [RecipientState.SUPPRESSED] * 2
    assert sink.attempts == 0
    said = [line for line in logs if line["event"].startswith("mail_")]
    assert [(line["event"], line["cause"], line["suppressed"]) for line in said] == [
        ("mail_suppressed", "suppressed", 2)
    ]


async def test_whom_the_relay_does_not_know_is_not_mailed_again(tmp_path: Path) -> None:
    sink = MemorySink(RelayScript(refused={"b@x": "550 5.1.1 No such user"}))
    async with running(tmp_path, RestPolicy(), sink) as site:
        site.ask(request("t", "1", ("b@x",)))
        await until(lambda: site.ends() == [MailState.FAILED])
        await until(lambda: site.sender.parts.control.suppressed("b@x", time.time()) is not None)
        site.ask(request("u", "2", ("b@x",)))
        await until(lambda: site.ends() == [MailState.FAILED, MailState.SUPPRESSED])
        assert sink.attempts == 1
        sink.script.refused.clear()
        site.replay(request("t", "3", ("b@x",)))
        await until(lambda: site.ends()[2:] == [MailState.SENT])
        await until(lambda: site.sender.parts.control.suppressed("b@x", time.time()) is None)


async def test_a_system_on_trial_mails_its_testers_alone(tmp_path: Path) -> None:
    sink = MemorySink()
    safety = read_safety(("@test.example",), "qa@test.example")
    async with running(tmp_path, RestPolicy(), sink, safety=safety) as site:
        site.ask(request("t", "1", ("customer@x", "kim@test.example")))
        await until(lambda: site.ends() == [MailState.SENT])
        assert [mail.recipients for mail in sink.taken] == [("qa@test.example", "kim@test.example")]


async def test_a_held_relay_is_asked_again_at_once_when_a_person_says_so(tmp_path: Path) -> None:
    script = replace(QUOTA)
    sink = MemorySink(script)
    async with running(tmp_path, RestPolicy(), sink, limits=Limits(hold_seconds=3600)) as site:
        site.produce("a", "b", "c")
        await until(lambda: len(site.statuses()) == 3)
        asked = sink.attempts
        site.command(Wish.RESUME_RELAY, relay="r")
        await until(lambda: sink.attempts == asked + 1)  # one mail tries, and is refused
        sink.script = RelayScript()
        site.command(Wish.RESUME_RELAY, relay="other")
        site.command(Wish.RESUME_RELAY, relay="r")
        await until(lambda: site.ends() == [MailState.SENT] * 3)
        assert sink.attempts == asked + 1 + 3
        assert all(status.attempt <= 1 for status in site.statuses())
