"""How long it takes to get a whole mailbox: plainly fetched, pulled by mbsync, made events by `postlane inbound`."""

import contextlib
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer, TopicPartition

from fakes.dovecot import PASSWORD, Dovecot
from inbound_site import PARTITIONS, USER, WAIT_SECONDS, InboundBench, Installation, cpu_seconds, memory_mb
from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.events.received import MailboxCursor

FETCH_MAILS = 100  # as many as Postlane asks for at once
MBSYNC = """\
FSync yes

IMAPAccount far
Host {host}
Port {port}
User {user}
Pass {password}
SSLType None
AuthMechs PLAIN

IMAPStore far
Account far

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX

Channel pull
Far :far:
Near :near:
Sync Pull
Create Near
SyncState *
"""


class MbsyncMissing(Exception):
    """There is nothing to compare with."""


@dataclass(frozen=True, slots=True)
class Poll:
    """`start_seconds` until the mailbox is begun, `seconds` from then until all its mails are committed.

    The processor times are of the same span: wall time alone says little on a machine that does other things, too.
    """

    start_seconds: float
    seconds: float
    memory_mb_quarter: float
    memory_mb_end: float
    service_cpu_seconds: float
    parsers_cpu_seconds: float
    broker_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Pull:
    """How long mbsync took, and how much of the processor."""

    seconds: float
    cpu_seconds: float


def find_mbsync() -> str:
    """The program. Raises MbsyncMissing."""
    path = shutil.which("mbsync")
    if path is None:
        raise MbsyncMissing("mbsync is not installed; on Debian and Ubuntu: apt-get install isync")
    return path


def fetch_plainly(dovecot: Dovecot, user: str) -> float:
    """Seconds that the standard library takes to fetch all mails and to keep none."""
    with dovecot.client(user) as imap:
        _, exists = imap.select("INBOX", readonly=True)
        count = int(exists[0] or 0)
        began = time.monotonic()
        for first in range(1, count + 1, FETCH_MAILS):
            imap.fetch(f"{first}:{min(count, first + FETCH_MAILS - 1)}", "(UID BODY.PEEK[])")
        return time.monotonic() - began


def pull(dovecot: Dovecot, user: str, folder: Path) -> Pull:
    """Let mbsync pull all mails into a new maildir, synced."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    configuration = folder / "mbsyncrc"
    configuration.write_text(
        MBSYNC.format(host=dovecot.host, port=dovecot.port, user=user, password=PASSWORD, folder=folder)
    )
    began, used = time.monotonic(), _children_cpu_seconds()
    subprocess.run((find_mbsync(), "--quiet", "--config", str(configuration), "pull"), check=True)
    return Pull(time.monotonic() - began, _children_cpu_seconds() - used)


def poll_all(bench: InboundBench, prefix: str, mails: int) -> Poll:
    """Let one inbound process take them all, as the cursors in Kafka tell."""
    installation = bench.install(prefix, [USER], "all")
    cursors = Cursors(installation)
    began = time.monotonic()
    with installation.poller() as process:
        cursors.wait_for(0)
        first, used = time.monotonic(), _Used.by(process, bench.broker)
        cursors.wait_for(mails // 4)
        quarter = memory_mb(process)
        cursors.wait_for(mails)
        ended, use = time.monotonic(), _Used.by(process, bench.broker)
        return Poll(
            first - began,
            ended - first,
            quarter,
            memory_mb(process),
            use.service - used.service,
            use.parsers - used.parsers,
            use.broker - used.broker,
        )


@dataclass(frozen=True, slots=True)
class _Used:
    """Processor seconds so far."""

    service: float
    parsers: float
    broker: float

    @classmethod
    def by(cls, service: psutil.Process, broker: psutil.Process) -> "_Used":
        ended = service.cpu_times()  # parsers are renewed from time to time
        parsers = cpu_seconds(*service.children(recursive=True)) + ended.children_user + ended.children_system
        return cls(cpu_seconds(service), parsers, cpu_seconds(broker))


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Cursors:
    """Follows the cursor topic: one small record for every transaction."""

    def __init__(self, installation: Installation) -> None:
        kafka = installation.settings.kafka
        self._codec = Codec()
        self._produced = -1
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "group.id": "bench",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "log_level": 0,
            }
        )
        topic = kafka.topic("mail.inbound.cursor")
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])

    def wait_for(self, produced: int) -> None:
        """Until so many mails are durably produced. Raises TimeoutError."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self._produced < produced:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._produced} of {produced} mails were produced")
            for message in self._consumer.consume(100, 0.1):
                if message.error() is None:
                    self._take(message.value())

    def _take(self, value: bytes | None) -> None:
        with contextlib.suppress(Undecodable):  # other records of the topic are about something else
            self._produced = max(self._produced, self._codec.decode(MailboxCursor, value).produced)
