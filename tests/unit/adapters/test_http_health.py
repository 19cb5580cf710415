"""The health pages as a scraper and an orchestrator see them."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from postlane.adapters.http_health import HEARTBEAT_SECONDS_MAX, Health, HttpHealth
from postlane.adapters.metrics import Metrics
from postlane.core.metrics import OUTBOUND_METRICS


class Service:
    """A health server on a free port, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.metrics = Metrics(OUTBOUND_METRICS)
        self.health = Health(self.metrics, lambda: self.now)
        self.http = HttpHealth("127.0.0.1", 0, self.health, self.metrics)
        self.http.start()

    def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        connection = HTTPConnection(*self.http.address, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def document(self, path: str) -> tuple[int, Any]:
        status, body = self.ask(path)
        return status, json.loads(body)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.http.close()


def test_a_service_that_said_nothing_is_alive_but_not_ready(service: Service) -> None:
    assert service.document("/healthz") == (200, {"alive": True})
    assert service.document("/readyz") == (503, {"ready": False, "components": {}})


def test_readiness_names_what_is_not_ok_and_why(service: Service) -> None:
    service.health.set("kafka", ok=True)
    service.health.set("relay:main", ok=False, reason="535 bad password")
    status, document = service.document("/readyz")
    assert status == 503
    assert document["components"] == {
        "kafka": {"ok": True, "reason": ""},
        "relay:main": {"ok": False, "reason": "535 bad password"},
    }
    assert 'postlane_component_ok{component="relay:main"} 0.0' in service.ask("/metrics")[1].decode()
    service.health.set("relay:main", ok=True)
    assert service.document("/readyz")[0] == 200


def test_a_forgotten_component_no_longer_counts(service: Service) -> None:
    service.health.set("kafka", ok=True)
    service.health.set("mailbox:support", ok=False, reason="login refused")
    service.health.forget("mailbox:support")
    assert service.document("/readyz")[0] == 200
    assert b"mailbox:support" not in service.ask("/metrics")[1]


def test_a_stuck_event_loop_is_not_alive_until_it_beats_again(service: Service) -> None:
    service.now += HEARTBEAT_SECONDS_MAX + 1
    status, document = service.document("/healthz")
    assert status == 503
    assert "31 s" in document["reason"]
    service.health.beat()
    assert service.document("/healthz")[0] == 200


def test_other_pages_are_named_and_head_has_no_body(service: Service) -> None:
    assert service.document("/nothing") == (
        404,
        {"error": "no such page", "pages": ["/healthz", "/metrics", "/readyz"]},
    )
    assert service.ask("/healthz", "HEAD") == (200, b"")
    assert service.ask("/healthz?verbose=1")[0] == 200


def test_a_taken_port_is_an_os_error(service: Service) -> None:
    with pytest.raises(OSError, match="in use"):
        HttpHealth(*service.http.address, service.health, service.metrics)
