"""librdkafka's complaints: each kind once a minute, whichever client makes them."""

import logging

from postlane.adapters.repeated_lines import RepeatedLines

REFUSED = "FAIL [postlane#consumer-%d] [thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: Connect to ipv4#127.0.0.1:9092 failed: refused (after %dms in state CONNECT)"


class Log:
    def __init__(self) -> None:
        self.now = 0.0
        self._lines = RepeatedLines(lambda: self.now)

    def says(self, text: str, *args: object) -> str | None:
        record = logging.LogRecord("rdkafka", logging.WARNING, "", 0, text, args, None)
        return record.getMessage() if self._lines.filter(record) else None


def test_many_clients_say_it_once() -> None:
    log = Log()
    said = [log.says(REFUSED, client, client * 7) for client in range(50)]
    assert said[0] == REFUSED % (0, 0)
    assert said[1:] == [None] * 49


def test_after_a_minute_it_is_said_again_with_the_number_of_those_held_back() -> None:
    log = Log()
    for client in range(4):
        log.says(REFUSED, client, 0)
    log.now = 61.0
    again = log.says(REFUSED, 9, 0)
    assert again is not None
    assert again.endswith("(3 more like this in the last minute or so)")


def test_another_kind_of_line_is_not_held_back() -> None:
    log = Log()
    assert log.says(REFUSED, 1, 0)
    assert log.says("SESSTMOUT [c#consumer-1] [thrd:main]: Consumer group session timed out")
