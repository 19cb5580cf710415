"""What reaches a log line, and what never does."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from postlane.adapters import logs
from postlane.adapters.kafka_clients import LIBRDKAFKA_LOGGER
from postlane.config.sections import LogsSection

SECRET = "hunter2-hunter2"


class Lines:
    """The process's log as a list of JSON documents."""

    def __init__(self, format_name: str = "json", level: str = "debug") -> None:
        self.stream = io.StringIO()
        logs.configure(LogsSection.model_validate({"format": format_name, "level": level}), self.stream)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def test_a_line_is_json_with_time_level_and_bound_ids() -> None:
    lines = Lines()
    structlog.get_logger("postlane.test").bind(ticket_id="T-1").info("attempt", cause="accepted", attempt=2)
    (document,) = lines.documents()
    at = datetime.fromisoformat(document.pop("timestamp"))
    assert at.utcoffset() is not None
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert document == {
        "event": "attempt",
        "level": "info",
        "logger": "postlane.test",
        "ticket_id": "T-1",
        "cause": "accepted",
        "attempt": 2,
    }


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "sasl_password",
        "PASSWD",
        "api_key",
        "access_token",
        "client_secret",
        "Authorization",
        "html",
        "raw",
    ],
)
def test_values_of_secret_and_body_keys_never_reach_the_line(key: str) -> None:
    lines = Lines()
    log = structlog.get_logger()
    log.info("top", **{key: SECRET})
    log.info("nested", relay={"name": "main", "login": [{key: SECRET}]})
    assert SECRET not in lines.text
    assert [document["event"] for document in lines.documents()] == ["top", "nested"]
    assert lines.documents()[0][key] == logs.REDACTED
    assert lines.documents()[1]["relay"]["name"] == "main"


def test_passwords_in_urls_are_cut_out_everywhere() -> None:
    lines = Lines()
    url = f"https://user:{SECRET}@registry.example/subjects"
    structlog.get_logger().warning("registry_down", url=url, tried=[url])
    logging.getLogger("library").error("cannot reach %s", url)
    structlog.get_logger().error("failed", exc_info=ConnectionError(url), error=ConnectionError(url))
    assert SECRET not in lines.text
    assert lines.text.count("registry.example") == 5
    assert "ConnectionError" in lines.documents()[-1]["exception"]


def test_an_object_is_never_logged_by_its_repr() -> None:
    @dataclass
    class Mail:
        words: str

    lines = Lines()
    structlog.get_logger().info("mail", mail=Mail(SECRET), value=SECRET.encode())
    assert SECRET not in lines.text
    assert lines.documents()[0]["mail"] == "<Mail>"


def test_long_values_are_cut() -> None:
    lines = Lines()
    structlog.get_logger().info("reply", reply="x" * 100_000)
    assert len(lines.text) < logs.VALUE_CHARACTERS_MAX + 500


def test_librdkafka_and_other_libraries_take_the_same_way() -> None:
    lines = Lines()
    LIBRDKAFKA_LOGGER.warning("FAIL [thrd:broker]: %s", "Connect refused")
    (document,) = lines.documents()
    assert document["event"] == "FAIL [thrd:broker]: Connect refused"
    assert document["logger"] == LIBRDKAFKA_LOGGER.name
    assert document["level"] == "warning"


def test_a_silent_logger_is_not_shown_until_logging_is_configured_anew() -> None:
    stream = io.StringIO()
    logs.configure(LogsSection(format="json"), stream, silent=frozenset({LIBRDKAFKA_LOGGER.name}))
    LIBRDKAFKA_LOGGER.error("broker down")
    logging.getLogger("other").error("shown")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["shown"]
    lines = Lines()
    LIBRDKAFKA_LOGGER.error("broker still down")
    assert len(lines.documents()) == 1


def test_the_level_is_kept() -> None:
    lines = Lines(level="warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("library").info("quiet")
    structlog.get_logger().warning("loud")
    assert [document["event"] for document in lines.documents()] == ["loud"]


def test_auto_is_json_where_there_is_no_terminal_and_pretty_is_for_people() -> None:
    lines = Lines("auto")
    structlog.get_logger().info("hello")
    assert lines.documents()[0]["event"] == "hello"
    pretty = Lines("pretty")
    structlog.get_logger().info("hello", ticket_id="T-1")
    assert "hello" in pretty.text
    assert "ticket_id=T-1" in pretty.text
    assert not pretty.text.startswith("{")


def test_the_service_stands_on_every_line_whoever_begins_it() -> None:
    stream = io.StringIO()
    logs.configure(LogsSection(format="json"), stream, service="inbound")
    structlog.get_logger("postlane.test").info("ours")
    other = threading.Thread(target=lambda: structlog.get_logger("postlane.test").info("another thread's"))
    other.start()
    other.join()
    logging.getLogger("a.library").warning("a library's")
    assert [json.loads(line)["service"] for line in stream.getvalue().splitlines()] == ["inbound"] * 3
