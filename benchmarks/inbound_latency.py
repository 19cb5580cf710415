"""How much later than the server's own `* EXISTS` an event can be read.

A witness waits in IDLE on the same mailbox beside Postlane: what it hears is what any client can know. The clock stops when a consumer of
`mail.inbound` (read_committed) has the event in its hands.
"""

import random
import statistics
import threading
import time
from contextlib import ExitStack
from hashlib import sha256
from typing import Self

from confluent_kafka import Consumer, TopicPartition

from fakes.dovecot import Dovecot
from inbound_site import PARTITIONS, InboundBench, Installation, wait
from mail_samples import sample_mail
from postlane.adapters.avro_codec import Codec
from postlane.core.events.received import MailReceived

USER = "latency"
FIRST_NUMBER = 1_000_000  # other mails than those of the other measurements
# Dovecot says what changed half a second after the first change: by then the flag of the mail before must have been said.
PAUSE_SECONDS = (0.8, 1.3)
WAIT_SECONDS = 30.0


def measure_latency(bench: InboundBench, mails: int) -> dict[str, float]:
    """Milliseconds between the server's word and the event, one mail at a time."""
    installation = bench.install("latency", [USER], "all")
    rnd = random.Random(1)
    latencies: list[float] = []
    with installation.poller(), Witness(bench.dovecot) as witness, bench.dovecot.client(USER) as sender:
        wait(lambda: installation.metric("postlane_inbound_connected") > 0)
        events = Events(installation)
        for number in range(mails):
            raw = sample_mail(FIRST_NUMBER + number)
            time.sleep(rnd.uniform(*PAUSE_SECONDS))
            witness.forget()
            sender.append("INBOX", "", "", raw)
            readable_at = events.wait_for(sha256(raw).hexdigest())
            latencies.append(readable_at - witness.heard_at())
    ordered = sorted(latency * 1000 for latency in latencies)
    return {
        "latency_mails": mails,
        "latency_ms_p50": statistics.median(ordered),
        "latency_ms_p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "latency_ms_max": ordered[-1],
    }


class Witness:
    """Another client in IDLE, heard in a thread."""

    def __init__(self, dovecot: Dovecot) -> None:
        self._dovecot = dovecot
        self._heard = threading.Event()
        self._at = 0.0

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._imap = self._stack.enter_context(self._dovecot.client(USER))
        self._imap.select("INBOX", readonly=True)
        self._imap.sock.settimeout(None)
        self._imap.send(b"witness IDLE\r\n")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._imap.send(b"DONE\r\n")
        self._thread.join()
        self._stack.close()

    def forget(self) -> None:
        """What was heard so far was about another mail."""
        self._heard.clear()

    def heard_at(self) -> float:
        """When the server said that there is more mail. Raises TimeoutError."""
        if not self._heard.wait(WAIT_SECONDS):
            raise TimeoutError("the server said nothing of the mail")
        return self._at

    def _listen(self) -> None:
        while (line := self._imap.readline()) and not line.startswith(b"witness "):
            if b" EXISTS" in line and not self._heard.is_set():
                self._at = time.monotonic()
                self._heard.set()


class Events:
    """A consumer of the received mail that asks for every event as soon as it is there."""

    def __init__(self, installation: Installation) -> None:
        kafka = installation.settings.kafka
        self._codec = Codec()
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "group.id": "latency",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        topic = kafka.topic("mail.inbound")
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])

    def wait_for(self, digest: str) -> float:
        """When the event of these raw bytes was read. Raises TimeoutError."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            message = self._consumer.poll(0.2)
            if message is None or message.error() is not None:
                continue
            at = time.monotonic()
            if self._codec.decode(MailReceived, message.value()).raw.sha256 == digest:
                return at
        raise TimeoutError("the mail did not become an event")
