"""Reading partitions for an answer: whole spans, or backwards from the newest record until enough was found.

Reads go to the high watermark, not only to what is readable now, so that what was committed before the question is in
the answer even while another transaction is open.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from postlane.ports import Bounds, EventLog, LogRecord, TopicPartition, Wanted

THREADS = 4  # each holds one consumer; more would only queue at one broker
FIRST_SPAN_RECORDS = 500
SPAN_GROWTH = 4
STALL_SECONDS = 40.0  # an open transaction is over after 30 s (adapters.kafka_clients)

T = TypeVar("T")
Keep = Callable[[LogRecord], T | None]
Step = Callable[[int], None]


def scan(
    log: EventLog,
    spans: Mapping[TopicPartition, Bounds],
    keep: Keep[T],
    step: Step | None = None,
    wanted: Wanted | None = None,
) -> list[T]:
    """What `keep` makes of the records of these spans, in order per partition; None is left out.

    `wanted` sees keys and values before (ports.EventLog.read). `keep`, `wanted` and `step` (told how far it has come) are called from threads. Raises LogUnavailable.
    """
    reader = _Reader(log, keep, step, wanted)
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="scan")
    try:
        parts = pool.map(lambda item: reader.read(*item), spans.items())
        return [found for part in parts for found in part]
    finally:
        reader.stopping.set()  # after Ctrl-C or a fault the others need not go on
        pool.shutdown(wait=True, cancel_futures=True)


def scan_back(  # noqa: PLR0917 - scan's, and when it is enough
    log: EventLog,
    spans: Mapping[TopicPartition, Bounds],
    keep: Keep[T],
    enough: Callable[[list[T]], bool],
    step: Step | None = None,
    wanted: Wanted | None = None,
) -> tuple[list[T], dict[TopicPartition, int]]:
    """The same from the newest records backwards, in growing pieces, until there is enough or the spans are read.

    Also says down to which offset each partition was read. Raises LogUnavailable.
    """
    reached = {at: span.end for at, span in spans.items()}
    found: list[T] = []
    size = FIRST_SPAN_RECORDS
    while not enough(found):
        pieces = {
            at: Bounds(low=max(span.low, reached[at] - size), end=reached[at])
            for at, span in spans.items()
            if reached[at] > span.low
        }
        if not pieces:
            break
        found = scan(log, pieces, keep, step, wanted) + found
        reached |= {at: piece.low for at, piece in pieces.items()}
        size *= SPAN_GROWTH
    return found, reached


def bounds_of(log: EventLog, places: list[TopicPartition]) -> dict[TopicPartition, Bounds]:
    """Where each partition begins and ends now."""
    return {at: log.bounds(at) for at in places}


def partitions_of(log: EventLog, topic: str) -> list[TopicPartition]:
    """Every partition of a topic."""
    return [TopicPartition(topic, partition) for partition in range(log.partition_count(topic))]


class _Reader(Generic[T]):
    def __init__(self, log: EventLog, keep: Keep[T], step: Step | None, wanted: Wanted | None) -> None:
        self._log = log
        self._keep = keep
        self._step = step
        self._wanted = wanted
        self.stopping = threading.Event()

    def read(self, at: TopicPartition, span: Bounds) -> list[T]:
        found: list[T] = []
        position = span.low
        for batch in self._log.read(at, span.low, span.end, STALL_SECONDS, wanted=self._wanted):
            found += [kept for record in batch if (kept := self._keep(record)) is not None]
            if self._step is not None:
                self._step(batch[-1].offset + 1 - position)
            position = batch[-1].offset + 1
            if self.stopping.is_set():
                return found
        if self._step is not None:
            self._step(span.end - position)
        return found
