"""The outbound service as a process, on a real broker and a real relay."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from fakes.registry_server import RegistryServer
from integration.postlane_process import (
    FAST_RETRIES,
    WAIT_SECONDS,
    Installation,
    eventually,
    installed,
    request,
)
from localstack import kafka
from localstack.relay_client import RelayControl
from localstack.relay_journal import AcceptedMail
from localstack.relay_policy import Act, Fault, Phase, Quota
from postlane.core.events.status import MailStatus
from postlane.core.events.trail import Dead, decode

Install = Callable[..., Installation]

PARK_AT_ONCE = 'retry_schedule = "1s"\nmemory_delay_seconds = 0'


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def install(tmp_path: Path, kafka_bootstrap: str, relay: RelayControl) -> Iterator[Install]:
    with ExitStack() as installations:

        def make(outbound: str = FAST_RETRIES) -> Installation:
            return installations.enter_context(installed(tmp_path, kafka_bootstrap, relay, outbound))

        yield make


def subjects(mails: list[AcceptedMail]) -> list[str]:
    return [mail.subject for mail in mails]


def of_ticket(mails: list[AcceptedMail], ticket: str) -> list[str]:
    return [mail.subject for mail in mails if mail.subject.startswith(f"{ticket}-")]


def dead_letters(site: Installation) -> list[Dead]:
    entries = [decode(record.headers) for record in site.read("mail.outbound.dlq")]
    return [entry for entry in entries if isinstance(entry, Dead)]


def test_mail_goes_out_in_order_per_ticket_and_is_committed(install: Install, relay: RelayControl) -> None:
    site = install()
    site.start("outbound")
    tickets, each = 7, 8
    site.produce(*(request(f"t{t}", n) for n in range(each) for t in range(tickets)))
    mails = relay.wait_for(lambda found: len(found) >= tickets * each)
    for ticket in range(tickets):
        assert of_ticket(mails, f"t{ticket}") == [f"t{ticket}-{n}" for n in range(each)]
    eventually("all committed", site.all_committed)
    assert sorted(site.ends()) == sorted((f"t{t}-{n}", "SENT") for t in range(tickets) for n in range(each))


def test_every_try_of_a_mail_has_the_same_bytes(install: Install, relay: RelayControl) -> None:
    relay.add_fault(Fault(Phase.ACCEPTED, Act.CUT, times=1))
    site = install()
    site.start("outbound")
    site.produce(request("t", 0))
    first, second = relay.wait_for(lambda found: len(found) >= 2)
    assert (first.sha256, first.message_id) == (second.sha256, second.message_id)
    statuses = eventually("SENT", lambda: site.statuses() if site.ends() else [])
    assert statuses[0].outcome_unknown
    assert statuses[0].cause == "outcome_unknown"


def test_what_cannot_be_sent_is_dead_lettered_and_stands_in_nobodys_way(
    install: Install, relay: RelayControl
) -> None:
    site = install()
    site.start("outbound")
    injected = request("t", 1)
    injected = type(injected)(
        **{
            **{name: getattr(injected, name) for name in injected.__dataclass_fields__},
            "subject": "a\r\nBcc: b@x",
        }
    )
    site.produce_raw((b"t", b"not avro"), (None, site.codec.encode(request("t", 0))), (b"t", None))
    site.produce(injected, request("t", 2))
    mails = relay.wait_for(lambda found: len(found) >= 1)
    assert subjects(mails) == ["t-2"]
    dead = eventually("four dead letters", lambda: found if len(found := dead_letters(site)) >= 4 else [])
    assert sorted(entry.cause for entry in dead) == ["bad_request", "no_key", "undecodable", "undecodable"]
    assert any("subject" in entry.reason for entry in dead if entry.cause == "bad_request")
    assert b"not avro" in [record.value for record in site.read("mail.outbound.dlq")]
    eventually("all committed", site.all_committed)


def test_a_dead_address_carries_the_relays_words(install: Install, relay: RelayControl) -> None:
    relay.take_only("*@customer.test")
    site = install()
    site.start("outbound")
    site.produce(request("t", 0, "ghost@gone.test"), request("t", 1))
    relay.wait_for(lambda found: subjects(found) == ["t-1"])
    (dead,) = dead_letters(site)
    assert dead.reply is not None
    assert dead.reply.startswith("550 5.1.1")
    assert dead.remaining == ("ghost@gone.test",)
    eventually("both ends", lambda: sorted(site.ends()) == [("t-0", "FAILED"), ("t-1", "SENT")])


def test_only_undelivered_recipients_are_tried_again(install: Install, relay: RelayControl) -> None:
    slow = Fault(Phase.RCPT, reply="451 4.2.0 later", recipient="bob@customer.test", times=1)
    relay.add_fault(slow)
    site = install()
    site.start("outbound")
    site.produce(request("t", 0, "alice@customer.test", "bob@customer.test"), request("t", 1))
    mails = relay.wait_for(lambda found: len(found) >= 3)
    assert [(mail.subject, mail.recipients) for mail in mails] == [
        ("t-0", ("alice@customer.test",)),
        ("t-0", ("bob@customer.test",)),
        ("t-1", ("alice@customer.test",)),
    ]


def test_a_parked_ticket_waits_in_order_and_others_go(install: Install, relay: RelayControl) -> None:
    relay.add_fault(Fault(Phase.RCPT, reply="451 4.3.0 later", recipient="slow@customer.test", times=None))
    site = install(PARK_AT_ONCE)
    site.start("outbound")
    site.produce(*(request("slow", n, "slow@customer.test") for n in range(3)))
    site.produce(*(request("fast", n) for n in range(3)))
    mails = relay.wait_for(lambda found: len(found) >= 3)
    assert subjects(mails) == ["fast-0", "fast-1", "fast-2"]
    relay.clear_faults()
    mails = relay.wait_for(lambda found: len(found) >= 6)
    assert of_ticket(mails, "slow") == ["slow-0", "slow-1", "slow-2"]
    eventually("all committed", site.all_committed)

    def ended() -> int:
        records = site.read("mail.outbound.retry")
        return [dict(record.headers)["x-postlane-kind"] for record in records].count(b"done")

    eventually("the journal knows of all ends", lambda: ended() == 3)


def test_a_copy_too_large_for_the_journal_goes_to_the_blob_store(
    install: Install, relay: RelayControl
) -> None:
    site = install(PARK_AT_ONCE)
    site.start("outbound")
    site.produce(request("t", 0))
    relay.wait_for(lambda found: len(found) == 1)
    entry = ConfigEntry("max.message.bytes", "3000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(
        ResourceType.TOPIC, site.topic("mail.outbound.retry"), incremental_configs=[entry]
    )
    admin = AdminClient({"bootstrap.servers": site.settings.kafka.bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result(10)
    relay.add_fault(Fault(Phase.RCPT, reply="451 4.3.0 later", times=1))
    incompressible = "".join(sha256(bytes([n])).hexdigest() for n in range(200))
    site.produce(request("t", 1, text=incompressible))
    relay.wait_for(lambda found: subjects(found) == ["t-0", "t-1"])
    assert "record_refused" in (site.folder / "outbound.log").read_text()
    eventually("all committed", site.all_committed)


def test_a_quota_is_a_wait_that_everybody_can_see(install: Install, relay: RelayControl) -> None:
    relay.set_quota(Quota(2, Phase.FINAL))
    site = install()
    site.start("outbound")
    site.produce(*(request(f"t{n % 2}", n // 2) for n in range(8)))
    eventually("a visible wait", lambda: any(status.cause == "quota" for status in _waiting(site)))
    relay.lift_quota()
    mails = relay.wait_for(lambda found: len(found) >= 8)
    for ticket in ("t0", "t1"):
        assert of_ticket(mails, ticket) == [f"{ticket}-{n}" for n in range(4)]
    assert dead_letters(site) == []
    assert all(status.attempt <= 1 for status in site.statuses())


def _waiting(site: Installation) -> list[MailStatus]:
    return [status for status in site.statuses() if not status.final]


def test_a_killed_sender_loses_nothing_and_keeps_the_order(install: Install, relay: RelayControl) -> None:
    relay.add_fault(Fault(Phase.FINAL, Act.DELAY, seconds=0.1, times=None))
    site = install()
    first = site.start("outbound")
    tickets, each = 6, 8
    site.produce(*(request(f"t{t}", n) for n in range(each) for t in range(tickets)))
    relay.wait_for(lambda found: len(found) >= 10)
    first.kill()
    first.wait()
    site.start("outbound")
    relay.clear_faults()
    wanted = {f"t{t}-{n}" for t in range(tickets) for n in range(each)}
    mails = relay.wait_for(lambda found: set(subjects(found)) >= wanted, timeout_seconds=90)
    firsts = list(dict.fromkeys(subjects(mails)))
    for ticket in range(tickets):
        assert [s for s in firsts if s.startswith(f"t{ticket}-")] == [f"t{ticket}-{n}" for n in range(each)]
    eventually("all committed", site.all_committed)
    assert sorted(site.ends()) == sorted((subject, "SENT") for subject in wanted)


def test_two_senders_share_the_work_and_one_leaves_politely(install: Install, relay: RelayControl) -> None:
    relay.add_fault(Fault(Phase.FINAL, Act.DELAY, seconds=0.05, times=None))
    site = install()
    first, _second = site.start("outbound"), site.start("outbound")
    site.produce(*(request(f"t{t}", n) for n in range(10) for t in range(12)))
    relay.wait_for(lambda found: len(found) >= 40)
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    mails = relay.wait_for(lambda found: len(found) >= 120)
    assert len(mails) == len({mail.message_id for mail in mails}) == 120
    for ticket in range(12):
        assert of_ticket(mails, f"t{ticket}") == [f"t{ticket}-{n}" for n in range(10)]


def test_requests_from_before_the_first_start_are_sent(install: Install, relay: RelayControl) -> None:
    site = install()
    site.produce(request("t", 0))
    site.start("outbound")
    relay.wait_for(lambda found: subjects(found) == ["t-0"])


def test_the_same_event_id_is_mailed_once(install: Install, relay: RelayControl) -> None:
    site = install()
    site.produce(request("t", 0), request("t", 0), request("t", 1))
    site.start("outbound")
    relay.wait_for(lambda found: subjects(found) == ["t-0", "t-1"])
    eventually(
        "three ends", lambda: sorted(site.ends()) == [("t-0", "DUPLICATE"), ("t-0", "SENT"), ("t-1", "SENT")]
    )
    assert subjects(relay.mails()) == ["t-0", "t-1"]


def test_a_wrong_partition_count_is_refused_with_one_clear_line(install: Install) -> None:
    site = install()
    admin = AdminClient({"bootstrap.servers": site.settings.kafka.bootstrap_servers})
    main = site.topic("mail.outbound")
    admin.create_partitions([NewPartitions(main, 5)])[main].result(10)
    eventually("the topic has grown", lambda: site.log.partition_count(main) == 5)
    process = site.start("outbound")
    assert process.wait(100) == 2
    lines = [
        json.loads(line)
        for line in (site.folder / "outbound.log").read_text().splitlines()
        if line.startswith("{")
    ]
    (refusal,) = [line for line in lines if line["event"] == "cannot_start"]
    assert "5 partitions" in refusal["reason"]


@pytest.mark.usefixtures("java_artifacts")
def test_a_broker_that_goes_away_is_waited_for(tmp_path: Path, relay: RelayControl) -> None:
    broker = kafka.Broker.create(1, tmp_path / "kafka", tmp_path / "kafka.log")
    kafka.format_storage(broker, [broker], kafka.kafka_uuid())
    with kafka.launch(broker) as server:
        kafka.wait_until_ready(server, [broker])
        with installed(tmp_path, broker.address, relay) as site:
            sender = site.start("outbound")
            site.produce(request("t", 0))
            relay.wait_for(lambda found: subjects(found) == ["t-0"])
            server.stop()
            eventually("it says so", lambda: '"component_health"' in (tmp_path / "outbound.log").read_text())
            with kafka.launch(broker) as again:
                kafka.wait_until_ready(again, [broker])
                site.produce(request("t", 1))
                relay.wait_for(lambda found: "t-1" in subjects(found))
                assert sender.poll() is None
                site.stop_all()


def test_a_registry_that_refuses_our_schemas_is_met_before_any_mail(
    install: Install, relay: RelayControl, registry: RegistryServer
) -> None:
    registry.closed = True
    site = install()
    config = site.config.read_text()
    site.config.write_text(config.replace("[kafka]\n", f'[kafka]\nschema_registry_url = "{registry.url}"\n'))
    site.produce(request("t", 0))
    assert site.start("outbound").wait(WAIT_SECONDS) == 2
    log = (site.folder / "outbound.log").read_text()
    assert "cannot_start" in log
    assert "refuses the schema postlane.MailStatus" in log
    assert "secret" not in log
    assert relay.mails() == []


@pytest.mark.usefixtures("java_artifacts")
def test_a_broker_that_comes_late_is_waited_for(tmp_path: Path, relay: RelayControl) -> None:
    broker = kafka.Broker.create(1, tmp_path / "kafka", tmp_path / "kafka.log")
    kafka.format_storage(broker, [broker], kafka.kafka_uuid())
    with kafka.launch(broker) as server:
        kafka.wait_until_ready(server, [broker])
        with installed(tmp_path, broker.address, relay) as site:
            site.produce(request("t", 0))
            server.stop()
            sender = site.start("outbound")
            log = tmp_path / "outbound.log"
            eventually(
                "it says that Kafka is away", lambda: '"component": "kafka", "ok": false' in log.read_text()
            )
            with kafka.launch(broker) as again:
                kafka.wait_until_ready(again, [broker])
                relay.wait_for(lambda found: subjects(found) == ["t-0"])
                assert sender.poll() is None
                site.stop_all()


def test_a_wrong_relay_password_holds_the_mail_and_says_what_is_wrong(
    install: Install, relay: RelayControl
) -> None:
    site = install()
    config = site.config.read_text()
    site.config.write_text(config.replace(f'password = "{relay.password}"', 'password = "not the password"'))
    sender = site.start("outbound")
    site.produce(request("t", 0))
    waiting = eventually("a visible wait", lambda: [s for s in site.statuses() if s.cause == "auth"])
    assert "535" in waiting[0].reason
    assert waiting[0].attempt == 0
    assert "not the password" not in (site.folder / "outbound.log").read_text()
    sender.kill()
    site.config.write_text(config)
    site.start("outbound")
    relay.wait_for(lambda found: subjects(found) == ["t-0"])
    assert dead_letters(site) == []


def test_an_owner_that_is_fenced_under_load_skips_nothing(install: Install, relay: RelayControl) -> None:
    site = install()
    site.start("outbound")
    group = site.settings.kafka.group("outbound")
    tickets, each = 20, 15
    site.produce(*(request(f"t{t}", n) for n in range(each) for t in range(tickets)))
    for round_ in range(4):
        least = (round_ + 1) * 15
        eventually("some mails", lambda: relay.counts().accepted >= least)  # noqa: B023 - called at once
        for partition in range(site.settings.topics.partitions):
            intruder = site.log.writer(f"{group}-{partition}")
            intruder.take_over()
            intruder.close()
    wanted = {f"t{t}-{n}" for t in range(tickets) for n in range(each)}
    mails = relay.wait_for(lambda found: set(subjects(found)) >= wanted, timeout_seconds=90)
    firsts = list(dict.fromkeys(subjects(mails)))
    for ticket in range(tickets):
        assert [s for s in firsts if s.startswith(f"t{ticket}-")] == [f"t{ticket}-{n}" for n in range(each)]
    eventually("all committed", site.all_committed)
    assert {event for event, _ in site.ends()} == wanted
