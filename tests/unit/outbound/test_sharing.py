"""Senders that share a relay over mail.relays: one log in memory, real shares, real allocators."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fakes.memory_following import MemoryFollowing
from postlane.core.events.relay_lease import LeaseKind
from postlane.core.limits.circuit import Refusal
from postlane.core.limits.permission import Answered, Start, TurnedAway
from postlane.core.sharing.allocator import Entry
from postlane.core.sharing.snapshots import SNAPSHOT_RECORDS
from postlane.ports import LogUnavailable, NewRecord, TopicPartition, TransactionAborted
from unit.outbound.sharing_rig import GROUP, TOPIC, OneSender, Site, begin, limits, site_of

AT = TopicPartition(TOPIC, 0)
QUOTA = TurnedAway(
    Refusal(cause="quota", reason="550 5.4.5", wait_seconds=None, jitter=0.0), counted=False, of_all=True
)


def send(sender: OneSender, relay: str = "r", recipients: int = 1) -> None:
    now, governor = time.time(), sender.governors[relay]
    assert isinstance(governor.may_start(recipients, now), Start)
    governor.ended(governor.started(recipients, now), Answered(), now)


def send_all(sender: OneSender) -> int:
    """As many mails as may start one after the other."""
    sent = 0
    while sender.may_start():
        send(sender)
        sent += 1
    return sent


def granted(site: Site) -> int:
    return sum(lease.kind is LeaseKind.GRANT for lease in site.leases("r"))


async def test_a_lone_sender_has_all_before_its_first_mail(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        one = await begin(site, "one")
        await site.until(lambda: one.connections("r") == 4, 60)


async def test_three_share_and_never_have_more_than_there_is(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 6)) as site:
        senders = [await begin(site, name) for name in ("one", "two", "three")]
        for sender in senders:
            sender.waiting = 10
        await site.until(lambda: [s.connections("r") for s in senders] == [2, 2, 2])
        senders[0].waiting = senders[1].waiting = 0
        await site.until(lambda: senders[2].connections("r") == 6, 120)


async def test_who_stops_in_good_order_leaves_all_at_once(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4, "1000 mails/day")) as site:
        one = await begin(site, "one")
        one.waiting = 100
        await site.until(one.may_start)
        one.sinks["r"].sessions = 4
        await site.run(2)
        one.sinks["r"].sessions = 0  # the sinks are closed first
        await one.stop()
        two = await begin(site, "two")
        two.waiting = 10
        await site.until(lambda: two.connections("r") == 4, 20)
        budgets = two.sharing.shares["r"].terms.budgets
        used = sum(two.sharing.shares["r"].onlooker.used(budgets[0].name).values())
        assert used <= 50, "what the first had in hand was given back"


async def test_who_died_gives_back_after_its_lease(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        one, two = await begin(site, "one"), await begin(site, "two")
        one.waiting = two.waiting = 10
        await site.until(lambda: one.connections("r") == two.connections("r") == 2)
        await one.kill()
        one.sharing._parts.life_signs.end()
        await site.until(lambda: two.connections("r") == 4, 180)


async def test_who_was_killed_on_this_machine_is_cleared_at_once(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        one, two = await begin(site, "one"), await begin(site, "two")
        one.waiting = two.waiting = 10
        await site.until(lambda: one.connections("r") == two.connections("r") == 2)
        await one.kill()
        _, descriptor = one.sharing._parts.life_signs._own or (None, -1)
        os.close(descriptor)
        before = site.now
        # Looking is by the machine's time: much of this clock passes until then.
        await site.until(lambda: any(x.request and x.request.leaving for x in site.leases("r")), 600)
        heard = site.now
        await site.until(lambda: two.connections("r") == 4, 30)
        assert heard >= before


async def test_a_quota_reply_at_one_holds_all_and_one_probes(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        senders = [await begin(site, name) for name in ("one", "two", "three")]
        for sender in senders:
            sender.waiting = 10
        await site.until(lambda: all(sender.may_start() for sender in senders))
        now, governor = time.time(), senders[0].governors["r"]
        governor.may_start(1, now)
        governor.ended(governor.started(1, now), QUOTA, now)
        await site.until(lambda: not any(sender.may_start() for sender in senders), 10)
        await site.until(lambda: any(sender.may_start() for sender in senders), 180)
        assert sum(sender.may_start() for sender in senders) == 1
        (prober,) = (sender for sender in senders if sender.may_start())
        permission = prober.governors["r"].may_start(1, time.time())
        assert permission == Start(probe=True)
        send(prober)
        await site.until(lambda: all(sender.may_start() for sender in senders), 120)


async def test_a_days_budget_is_shared_and_counted_on_after_all_were_restarted(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4, "60 mails/day calendar UTC")) as site:
        sent = 0
        for generation in range(3):
            senders = [await begin(site, f"{name}-{generation}") for name in ("one", "two")]
            for sender in senders:
                sender.waiting = 100
            end = site.now + (30 if generation < 2 else 240)
            while site.now < end:
                sent += sum(send_all(sender) for sender in senders)
                await site.run(1)
            for sender in senders:
                await sender.stop()
        assert 58 <= sent <= 60


async def test_a_mail_to_many_people_gets_its_units_though_few_mails_wait(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4, "2000 recipients/day")) as site:
        one = await begin(site, "one")
        await site.until(lambda: one.may_start(recipients=10))
        one.waiting = 1
        await site.until(lambda: one.may_start(recipients=90), 60)
        send(one, recipients=90)


async def test_who_cannot_reach_the_relay_keeps_nobody_from_probing(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        one, two = await begin(site, "one"), await begin(site, "two")
        one.waiting, two.waiting = 10, 0
        await site.until(one.may_start)
        now, governor = time.time(), one.governors["r"]
        governor.may_start(1, now)
        governor.ended(governor.started(1, now), QUOTA, now)
        await site.until(one.may_start, 180)
        governor.may_start(1, now)
        unreachable = TurnedAway(QUOTA.refusal, counted=False, of_all=False)
        governor.ended(governor.started(1, now), unreachable, now)
        assert governor.stopped_here(now) is not None
        one.waiting, two.waiting = 0, 10  # as the sender counts them
        await site.until(two.may_start, 180)


async def test_an_allocator_that_ends_in_the_middle_of_a_transaction_has_a_successor(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4, "1000 mails/day")) as site:
        one = await begin(site, "one")
        one.waiting = 10
        await site.until(one.may_start)
        stuck, left = asyncio.Event(), [3]
        loop = asyncio.get_running_loop()

        def fail(operation: str) -> None:
            if operation == "commit" and left[0]:
                left[0] -= 1
                loop.call_soon_threadsafe(stuck.set)
                raise TransactionAborted("the coordinator moved") if left[0] else RuntimeError("killed")

        site.log.before = fail
        await site.until(stuck.is_set)
        await site.until(lambda: left[0] == 0)
        before = granted(site)
        await site.until(lambda: granted(site) > before + 3, 2000)
        await site.until(one.may_start)
        names = {lease.written_by for lease in site.leases("r") if lease.kind is LeaseKind.SNAPSHOT}
        assert len(names) >= 2


async def test_the_offset_is_never_beyond_the_older_of_two_relays_snapshots(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4), limits("s", 2)) as site:
        one = await begin(site, "one")
        one.waiting = 10
        await site.until(lambda: one.may_start("r") and one.may_start("s"))
        now, governor = time.time(), one.governors["r"]
        governor.may_start(1, now)
        governor.ended(governor.started(1, now), QUOTA, now)  # a snapshot of r alone
        newest: dict[str, int] = {}

        def of_r_again() -> bool:
            for lease in (*site.leases("r"), *site.leases("s")):
                if lease.snapshot is not None:
                    newest[lease.relay] = lease.snapshot.read_to
            return newest["r"] > newest["s"]

        await site.until(of_r_again)
        await site.run(5)
        of_r_again()
        point = site.log.committed(GROUP, AT)
        assert point is not None
        assert point.offset == newest["s"] < newest["r"]


async def test_a_new_snapshot_after_so_many_records(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        one = await begin(site, "one")
        await site.until(one.may_start)
        (first,) = (x.snapshot for x in site.leases("r") if x.snapshot is not None)
        request = next(x for x in site.leases("r") if x.request is not None)
        publisher = site.log.publisher("x")
        for _ in range(SNAPSHOT_RECORDS):  # the same request again: nothing is to be answered
            publisher.publish(site.records.record(request))
        await site.until(lambda: sum(x.snapshot is not None for x in site.leases("r")) == 2)
        point = site.log.committed(GROUP, AT)
        assert point is not None
        assert point.offset > first.read_to + SNAPSHOT_RECORDS


async def test_what_is_no_lease_is_passed_over(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        for value in (None, b"", b"no avro"):
            site.log.publisher("x").publish(NewRecord(to=AT, key=b"r", value=value))
        one = await begin(site, "one")
        await site.until(one.may_start)


async def test_a_fault_with_what_was_heard_ends_the_sender(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        one = await begin(site, "one")
        await site.until(one.may_start)

        def broken(entries: Sequence[Entry]) -> None:
            del entries
            raise ZeroDivisionError

        one.sharing.shares["r"].hear = broken  # type: ignore[method-assign]
        await site.until(one.tasks[0].done)
        with pytest.raises(ZeroDivisionError):
            one.tasks[0].result()


async def test_a_client_that_hears_nothing_any_more_ends_the_sender(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 4)) as site:
        one = await begin(site, "one")
        await site.until(one.may_start)
        following = one.sharing._following
        assert isinstance(following, MemoryFollowing)
        following.fault = LogUnavailable("the Kafka client cannot follow any more")
        await site.until(one.tasks[0].done)
        with pytest.raises(LogUnavailable):
            one.tasks[0].result()


async def test_sessions_that_the_lease_does_not_cover_are_cut(tmp_path: Path) -> None:
    async with site_of(tmp_path, limits("r", 2)) as site:
        one = await begin(site, "one")
        one.waiting = 1
        await site.until(one.may_start)
        governor = one.governors["r"]
        ticket = governor.started(1, time.time())

        def gone(_operation: str) -> None:
            raise TransactionAborted("Kafka is away")

        site.log.before = gone
        await site.until(lambda: one.sinks["r"].cuts > 0, 120)
        assert not one.may_start()
        governor.ended(ticket, Answered(), time.time())
        site.log.before = lambda _operation: None
        await site.until(one.may_start)
