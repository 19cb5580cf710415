"""The outbound metrics: what the loop observes, said to the registry in one place."""

import time
from collections import Counter
from typing import assert_never

from postlane.adapters.metrics import Metrics
from postlane.adapters.token_source import Standing
from postlane.core import metrics as names
from postlane.core.alerts.distrust import distrust
from postlane.core.events.status import MailState
from postlane.core.limits.permission import Hold
from postlane.core.sending.lane_mail import WriteBatch
from postlane.core.sending.lanes import Lanes
from postlane.core.smtp.attempt import Attempted, Judgement, RelayHeld, SenderHeld
from postlane.outbound.relay_desk import Delivery
from postlane.ports import Clock


class Gauges:
    """A thin layer over Metrics that knows which number means what."""

    def __init__(self, metrics: Metrics, clock: Clock = time.time) -> None:
        self._metrics = metrics
        self._clock = clock
        self._ready_seconds: dict[int, float] = {}
        self.dead_letters = 0
        self.clock_skew_seconds = 0.0
        self.differing: dict[str, str] = {}
        self.standings: dict[str, Standing] = {}
        self.distrusted: Counter[str] = Counter()
        self.distrust_words: dict[str, str] = {}

    @property
    def oldest_ready_seconds(self) -> float:
        """Of all partitions, how long the mail has been waiting that may go and has waited longest."""
        return max(self._ready_seconds.values(), default=0.0)

    def owned(self, partitions: int) -> None:
        """How many partitions this process works on."""
        self._metrics.gauge(names.PARTITIONS_OWNED).set(partitions)

    def clock_skew(self, seconds: float) -> None:
        """How far this machine's clock is ahead of the brokers'."""
        self.clock_skew_seconds = seconds
        self._metrics.gauge(names.CLOCK_SKEW_SECONDS).set(seconds)

    def sections(self, relay: str, differing: str) -> None:
        """Which senders have another configuration of the relay, in words."""
        self.differing[relay] = differing
        self._metrics.gauge(names.RELAY_SECTIONS_DIFFER, relay=relay).set(bool(differing))

    def recovered(self, seconds: float) -> None:
        """A partition was taken over."""
        self._metrics.histogram(names.RECOVERY_SECONDS).observe(seconds)

    def fault(self, *, fenced: bool) -> None:
        """A partition was given up."""
        self._metrics.counter(names.PARTITION_FAULTS, kind="fenced" if fenced else "fault").inc()

    def transaction(self, end: str) -> None:
        """A transaction ended otherwise than by its commit."""
        self._metrics.counter(names.TRANSACTIONS, end=end).inc()

    def kafka_error(self, *, fatal: bool) -> None:
        """The Kafka client reported an error."""
        self._metrics.counter(names.KAFKA_ERRORS, fatal=str(fatal).lower()).inc()

    def committed(self, batch: WriteBatch, seconds: float) -> None:
        """A transaction is durable."""
        self.transaction("committed")
        self._metrics.histogram(names.COMMIT_SECONDS).observe(seconds)
        self.dead_letters += len(batch.dead)
        self._metrics.counter(names.DEAD_LETTERS).inc(len(batch.dead))
        for keyed in batch.statuses:
            status = keyed.status
            self._metrics.counter(names.MAILS, state=status.state.value, cause=status.cause).inc()
            if status.state is MailState.DUPLICATE:
                self._metrics.counter(names.DUPLICATES).inc()

    def attempt(self, delivery: Delivery) -> None:
        """An SMTP attempt came back."""
        judgement, relay = delivery.ended.judgement, delivery.ended.relay
        self._distrust(relay, judgement)
        match judgement:
            case Attempted(asked=False) | SenderHeld(asked=False):
                return
            case Attempted():
                troubles = judgement.failed or judgement.waiting
                cause = troubles[0].cause if troubles else "accepted"
                if judgement.unknown:
                    self._metrics.counter(names.UNKNOWN_OUTCOMES, relay=relay).inc()
                if judgement.accepted is not None:
                    self._metrics.histogram(names.DELIVERY_SECONDS).observe(max(0.0, delivery.age_seconds))
            case RelayHeld() | SenderHeld():
                cause = judgement.cause
            case _:
                assert_never(judgement)
        self._metrics.counter(names.ATTEMPTS, relay=relay, cause=cause).inc()
        self._metrics.histogram(names.ATTEMPT_SECONDS, relay=relay).observe(delivery.seconds)

    def _distrust(self, relay: str, judgement: Judgement) -> None:
        found = distrust(judgement)
        for cause, words in found.items():
            self._metrics.counter(names.DISTRUSTED, relay=relay, cause=cause).inc()
            self.distrust_words[relay] = f"{cause}: {words}"
        self.distrusted[relay] += bool(found)

    def relay(self, relay: str, hold: Hold | None, before: Hold | None) -> None:
        """The relay is held, or free again."""
        if before is not None and (hold is None or hold.cause != before.cause):
            self._metrics.forget(names.RELAY_HELD, relay=relay, cause=before.cause)
        if hold is not None:
            self._metrics.gauge(names.RELAY_HELD, relay=relay, cause=hold.cause).set(1)

    def grant(self, relay: str, standing: Standing) -> None:
        """How the OAuth 2 grant of a relay stands."""
        self.standings[relay] = standing
        self._metrics.gauge(names.RELAY_GRANT_OK, relay=relay).set(not standing.broken)
        if standing.ends_at is not None:
            self._metrics.gauge(names.RELAY_GRANT_ENDS_AT, relay=relay).set(standing.ends_at)

    def partition(self, partition: int, lanes: Lanes, states: Counter[str], in_flight: int) -> None:
        """How one partition stands."""
        gauge, now = self._metrics.gauge, self._clock()
        for place in ("memory", "parked"):
            gauge(names.WAITING, partition=partition, place=place).set(states[place])
        oldest_waiting = min((mail.first_seen for mail in lanes.mails.values()), default=now)
        ready_since = lanes.queue.ready_since
        self._ready_seconds[partition] = 0.0 if ready_since is None else max(0.0, now - ready_since)
        oldest_outcome = lanes.committing.oldest_at or now
        gauge(names.IN_FLIGHT, partition=partition).set(in_flight)
        gauge(names.WINDOW_BYTES, partition=partition).set(lanes.memory_bytes)
        gauge(names.LANES, partition=partition).set(len(lanes.lanes))
        gauge(names.OLDEST_WAITING_SECONDS, partition=partition).set(max(0.0, now - oldest_waiting))
        gauge(names.OLDEST_READY_SECONDS, partition=partition).set(self._ready_seconds[partition])
        gauge(names.UNCOMMITTED_OUTCOMES, partition=partition).set(lanes.committing.uncommitted)
        gauge(names.OLDEST_UNCOMMITTED_SECONDS, partition=partition).set(max(0.0, now - oldest_outcome))
        gauge(names.PARTITION_PAUSED, partition=partition).set(lanes.paused)

    def forget(self, partition: int) -> None:
        """The partition is no longer ours."""
        self._ready_seconds.pop(partition, None)
        self._metrics.forget_everywhere("partition", partition)
