"""`postlane doctor` against healthy and broken surroundings."""

import json
from collections.abc import Callable

from integration.cli.desk import Desk
from localstack.greenmail import Mailbox, MailServer
from localstack.relay_client import RelayControl


def _doctor(
    desk: Desk, extra: str = "", bootstrap: str | None = None
) -> tuple[int, dict[str, dict[str, str]]]:
    ran = desk.run("doctor", "--json", config=desk.configure(extra, bootstrap=bootstrap))
    return ran.code, {check["name"]: check for check in ran.json["checks"]}


def _relay(relay: RelayControl, password: str | None) -> str:
    return (
        f'[relays.main]\nhost = "{relay.host}"\nport = {relay.port}\ntls = "none"\n'
        f'username = "{relay.user}"\npassword = "{password}"\n'
    )


def _mailbox(server: MailServer, mailbox: Mailbox, password: str, start: str = '"all"') -> str:
    return (
        f'[mailboxes.support]\nhost = "{server.host}"\nport = {server.imap_port}\ntls = "none"\n'
        f'username = "{mailbox.address}"\npassword = "{password}"\nstart = {start}\n'
    )


def test_doctor_finds_a_healthy_system_healthy(
    desk: Desk, relay: RelayControl, mail_server: MailServer, new_mailbox: Callable[[str], Mailbox]
) -> None:
    mailbox = new_mailbox("support")
    config = _relay(relay, relay.password) + _mailbox(mail_server, mailbox, mailbox.password)
    code, checks = _doctor(desk, config)
    assert code == 0, checks
    assert all(check["state"] in {"ok", "warn"} for check in checks.values())
    assert f"lets us in as {relay.user}" in checks["relay main"]["detail"]
    assert 'start = "all" means 0 mails' in checks["mailbox support"]["detail"]
    text = desk.run("doctor", config=desk.configure(config)).out
    assert "OK    topics" in text


def test_doctor_names_wrong_passwords_and_never_shows_them(
    desk: Desk, relay: RelayControl, mail_server: MailServer, new_mailbox: Callable[[str], Mailbox]
) -> None:
    config = _relay(relay, "wrong-secret") + _mailbox(mail_server, new_mailbox("support"), "wrong-secret")
    code, checks = _doctor(desk, config)
    assert code == 1
    assert checks["relay main"]["state"] == "fail"
    assert "at auth: 535" in checks["relay main"]["detail"]
    assert "[relays.main]: check username and password" in checks["relay main"]["advice"]
    assert checks["mailbox support"]["state"] == "fail"
    assert "[mailboxes.support]: check username and password" in checks["mailbox support"]["advice"]
    assert "wrong-secret" not in json.dumps(checks)


def test_doctor_says_what_to_do_without_kafka_relay_and_directory(desk: Desk) -> None:
    nowhere = '[relays.main]\nhost = "127.0.0.1"\nport = 1\ntls = "none"\n'
    config = desk.configure(nowhere, bootstrap="127.0.0.1:1")
    blobs = config / "blobs"  # below a file, so that nobody can make it
    config.write_text(config.read_text().replace(f'directory = "{desk.directory}"', f'directory = "{blobs}"'))
    ran = desk.run("doctor", "--json", config=config)
    checks = {check["name"]: check for check in ran.json["checks"]}
    assert ran.code == 3
    assert "127.0.0.1:1 does not answer" in checks["kafka"]["detail"]
    assert checks["topics"]["state"] == "skip"
    assert checks["relay main"]["state"] == "fail"
    assert "check host, port and firewall" in checks["relay main"]["advice"]
    assert checks["blobs"]["advice"] == "set blobs.directory to one"
    assert all(check["advice"] for check in checks.values() if check["state"] == "fail")


def test_doctor_names_a_wrong_partition_count(desk: Desk) -> None:
    ran = desk.run("doctor", "--json", config=desk.configure(partitions=5))
    faults = [check for check in ran.json["checks"] if check["name"] == "topics"]
    assert len(faults) == len({fault["advice"] for fault in faults})
    assert ran.code == 1
    assert all(check["state"] == "fail" for check in faults)
    assert "has 3 partitions, wanted are 5" in faults[0]["detail"]


def test_doctor_says_once_what_to_do_about_missing_topics(desk: Desk) -> None:
    config = desk.configure()
    config.write_text(config.read_text().replace(f'topic_prefix = "{desk.prefix}"', 'topic_prefix = "none."'))
    ran = desk.run("doctor", config=config)
    assert ran.code == 1
    assert ran.out.count("postlane topics apply") == 1
    assert "none.mail.outbound.dlq: does not exist" in ran.out


def test_doctor_does_not_guess_what_only_kafka_knows(
    desk: Desk, mail_server: MailServer, new_mailbox: Callable[[str], Mailbox]
) -> None:
    mailbox = new_mailbox("support")
    extra = _mailbox(mail_server, mailbox, mailbox.password)
    code, checks = _doctor(desk, extra, bootstrap="127.0.0.1:1")
    assert code == 3
    assert "cannot be known now" in checks["mailbox support"]["detail"]
    assert "never polled" not in checks["mailbox support"]["detail"]
