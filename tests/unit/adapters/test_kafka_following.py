"""A follower whose client cannot go on says so; one that stumbles goes on."""

import threading

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from postlane.adapters.kafka_following import KafkaFollowing
from postlane.ports import LogRecord, LogUnavailable

NO_BROKER = {"bootstrap.servers": "127.0.0.1:9", "group.id": "nobody", "log_level": 0}


class Stumbling(KafkaFollowing):
    """Its client reports these errors, one after the other."""

    def __init__(self, *errors: KafkaError) -> None:
        self._errors = list(errors)
        self.quiet = threading.Event()
        super().__init__(NO_BROKER, {}, _hear_nothing)

    def _messages(self) -> list[Message]:
        if self._errors:
            raise KafkaException(self._errors.pop(0))
        self.quiet.set()
        return []


def _hear_nothing(records: list[LogRecord]) -> None:
    raise AssertionError(records)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fatal_fault_of_the_client_is_told() -> None:
    follower = Stumbling(KafkaError(KafkaError._FATAL, "fenced", fatal=True))
    follower._thread.join(30)
    assert isinstance(follower.fault, LogUnavailable)
    assert "cannot follow any more: fenced" in str(follower.fault)
    follower.close()


def test_it_goes_on_where_kafka_is_away() -> None:
    follower = Stumbling(*[KafkaError(KafkaError._TRANSPORT, "away")] * 3)
    assert follower.quiet.wait(30)
    assert follower.fault is None
    follower.close()
