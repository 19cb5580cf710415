"""A desk per test module, on the session's broker."""

import logging
from collections.abc import Iterator
from uuid import uuid4

import pytest

from integration.cli.desk import Desk
from postlane.adapters.kafka_log import KafkaLog
from postlane.config.sections import KafkaSection


@pytest.fixture(scope="module")
def desk(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    prefix = f"cli-{uuid4().hex[:8]}."
    log = KafkaLog(KafkaSection(bootstrap_servers=kafka_bootstrap))
    made = Desk(tmp_path_factory.mktemp("cli"), kafka_bootstrap, prefix, log)
    ran = made.run("topics", "apply")
    assert ran.code == 0, ran.err
    assert f"created {prefix}mail.outbound with 3 partitions" in ran.out
    yield made
    log.close()


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def ticket() -> str:
    return f"T-{uuid4().hex[:8]}"
