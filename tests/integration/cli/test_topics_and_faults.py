"""Topics from the command line, and how faults are told."""

import pytest

from integration.cli.desk import PARTITIONS, Desk


def test_apply_again_changes_nothing(desk: Desk) -> None:
    ran = desk.run("topics", "apply", "--json")
    assert ran.code == 0
    assert ran.json == {"changed": [], "remaining": []}
    assert desk.run("topics", "check").code == 0


def test_check_names_a_wrong_partition_count_and_what_to_do(desk: Desk) -> None:
    ran = desk.run("topics", "check", config=desk.configure(partitions=4))
    assert ran.code == 1
    assert f"{desk.prefix}mail.outbound: has 3 partitions, wanted are 4" in ran.out
    assert "topics.partitions = 3" in ran.out
    applied = desk.run("topics", "apply", config=desk.configure(partitions=4))
    assert applied.code == 1, "partition counts never change in place"
    assert "left to you: " in applied.err


def test_check_names_missing_topics(desk: Desk) -> None:
    config = desk.configure(extra="")
    config.write_text(config.read_text().replace(desk.prefix, "nowhere."))
    ran = desk.run("topics", "check", "--json", config=config)
    assert ran.code == 1
    assert not ran.json["ok"]
    assert all(difference["stops_services"] for difference in ran.json["differences"])


def test_describe_shows_every_topic_with_its_purpose(desk: Desk) -> None:
    ran = desk.run("topics", "describe", "--json")
    topics = {topic["topic"].removeprefix(desk.prefix): topic for topic in ran.json}
    assert topics["mail.outbound"]["partitions"] == PARTITIONS
    assert topics["mail.inbound.cursor"]["config"]["cleanup.policy"] == "compact"
    assert "mail requests" in desk.run("topics", "describe").out


def test_an_unknown_key_is_one_clear_line_and_exit_two(desk: Desk) -> None:
    config = desk.configure("[http]\nprot = 1\n")
    for command in (("config", "check"), ("topics", "check"), ("outbound",)):
        ran = desk.run(*command, config=config)
        assert ran.code == 2
        assert ran.err == f"postlane: {config}: unknown key http.prot; did you mean port?\n"
        assert ran.out == ""


@pytest.mark.parametrize("command", [("list",), ("replay", "--all", "--yes")])
def test_a_silent_kafka_is_one_clear_line_and_exit_three(desk: Desk, command: tuple[str, ...]) -> None:
    ran = desk.run("dlq", *command, config=desk.configure(bootstrap="127.0.0.1:1"))
    assert ran.code == 3
    (line,) = ran.err.splitlines()
    assert line.startswith(f"postlane: topic {desk.prefix}mail.outbound.dlq: "), "asked before any take-over"
    assert "127.0.0.1:1" in line


def test_a_missing_topic_is_one_clear_line_and_exit_three(desk: Desk) -> None:
    config = desk.configure()
    config.write_text(config.read_text().replace(desk.prefix, "nowhere."))
    ran = desk.run("tail", "outbound", config=config)
    assert ran.code == 3
    assert "create it with `postlane topics apply`" in ran.err


def test_help_documents_the_exit_codes(desk: Desk) -> None:
    ran = desk.run("--help")
    assert ran.code == 0
    assert "3 Kafka does not answer" in " ".join(ran.out.split())
