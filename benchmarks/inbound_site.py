"""What all measurements of the inbound side stand on: a broker, a Dovecot, and `postlane inbound` as a process."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families

from fakes.dovecot import PASSWORD, Dovecot
from postlane.adapters.kafka_log import KafkaLog
from postlane.adapters.topics import TopicAdmin, load_topics
from postlane.config.settings import Settings, load_settings
from postlane.inbound import topics as inbound_topics

USER = "bench"
PARTITIONS = 4
WAIT_SECONDS = 600.0
STOP_SECONDS = 30.0
CONFIG = """\
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}."
group_prefix = "{prefix}"
[topics]
partitions = {partitions}
replication_factor = 1
min_insync_replicas = 1
[blobs]
directory = "{folder}/{prefix}-blobs"
[signing]
domain = "bench.test"
keys = {{ k1 = "a key for benchmarks" }}
[http]
port = {http_port}
[logs]
level = "warning"
{mailboxes}
"""
MAILBOX = """\
[mailboxes.{name}]
host = "{host}"
port = {port}
tls = "none"
username = "{name}"
password = "{password}"
start = "{start}"
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """Topics and a configuration of their own for one measurement."""

    config: Path
    settings: Settings
    http_port: int

    @contextmanager
    def poller(self) -> Iterator[psutil.Process]:
        """One inbound process."""
        command = (sys.executable, "-m", "postlane.ops", "--config", str(self.config), "inbound")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                yield psutil.Process(process.pid)
            finally:
                process.terminate()
                process.wait(STOP_SECONDS)

    def metric(self, name: str) -> float:
        """A sum over all labels; 0 as long as nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, OSError):
            return 0.0
        samples = [it for family in text_string_to_metric_families(text) for it in family.samples]
        return sum(sample.value for sample in samples if sample.name == name)


@dataclass(frozen=True, slots=True)
class InboundBench:
    """Where everything runs."""

    folder: Path
    bootstrap: str
    dovecot: Dovecot
    broker: psutil.Process

    def install(self, prefix: str, users: Sequence[str], start: str) -> Installation:
        """Topics and configuration for these mailboxes."""
        http_port = _free_port()
        config = self.folder / f"{prefix}.toml"
        mailboxes = "".join(
            MAILBOX.format(
                name=user, host=self.dovecot.host, port=self.dovecot.port, password=PASSWORD, start=start
            )
            for user in users
        )
        config.write_text(
            CONFIG.format(
                bootstrap=self.bootstrap,
                prefix=prefix,
                partitions=PARTITIONS,
                folder=self.folder,
                http_port=http_port,
                mailboxes=mailboxes,
            )
        )
        settings = load_settings(config)
        names = {settings.kafka.topic(name) for name in inbound_topics.NAMES}
        wanted = [it for it in load_topics(settings.kafka, settings.topics) if it.name in names]
        TopicAdmin(settings.kafka).apply(wanted)
        return Installation(config, settings, http_port)

    def fill(self, mails: Iterable[bytes], count: int) -> int:
        """Put the mails into the mailbox and let Dovecot index them; how many bytes they have."""
        size_bytes = 0

        def counted() -> Iterator[bytes]:
            nonlocal size_bytes
            for mail in mails:
                size_bytes += len(mail)
                yield mail

        self.dovecot.drop(USER, counted())
        with self.dovecot.client(USER) as imap:
            imap.select("INBOX", readonly=True)
            answer, found = imap.fetch("1:*", "(UID RFC822.SIZE INTERNALDATE)")
            assert answer == "OK"
            assert len(found) == count
        return size_bytes

    def idle_memory_mb(self, mailboxes: int) -> float:
        """The memory of one process whose mailboxes all wait in IDLE."""
        installation = self.install("idle", [f"idle{number}" for number in range(mailboxes)], "new")
        with installation.poller() as process:
            wait(lambda: installation.metric("postlane_inbound_connected") >= mailboxes)
            time.sleep(5)  # what connecting took is given back
            return memory_mb(process)


def memory_mb(process: psutil.Process) -> float:
    """Resident memory of the process and its parsers."""
    return sum(it.memory_info().rss for it in (process, *process.children(recursive=True))) / 1e6


def cpu_seconds(*processes: psutil.Process) -> float:
    """Processor time that these have used so far, in user and in kernel mode."""
    times = [process.cpu_times() for process in processes]
    return sum(it.user + it.system for it in times)


def event_log(installation: Installation) -> KafkaLog:
    """A reader of the installation's topics."""
    return KafkaLog(installation.settings.kafka)


def wait(look: Callable[[], bool], pause_seconds: float = 0.05) -> None:
    """Until `look()` is true. Raises TimeoutError."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark does not get on")
        time.sleep(pause_seconds)


def say(words: str) -> None:
    """Where the benchmark stands, on stderr."""
    print(words, file=sys.stderr, flush=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
