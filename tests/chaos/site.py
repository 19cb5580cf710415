"""The broker, the topics and the configuration of a run, in a folder of its own."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from localstack import kafka
from localstack.kafka import Broker
from localstack.ports import HOST
from localstack.server import Server
from postlane.adapters.kafka_log import KafkaLog
from postlane.adapters.topics import TopicAdmin, load_topics
from postlane.config.settings import Settings, load_settings

PARTITIONS = 6
CONNECTIONS = 6  # per sender
OUTCOMES_MAX = 10  # per partition: no mail starts while more are sent but not yet durable
UNCOMMITTED_MAX = PARTITIONS * (OUTCOMES_MAX + 1)  # K: the same for all partitions together
SESSION_TIMEOUT_SECONDS = 4.0

CONFIG = f"""\
[kafka]
bootstrap_servers = "{{bootstrap}}"
topic_prefix = "chaos."
group_prefix = "chaos"

[kafka.extra]
"session.timeout.ms" = "{SESSION_TIMEOUT_SECONDS * 1000:.0f}"
"heartbeat.interval.ms" = "500"

[topics]
partitions = {PARTITIONS}
replication_factor = 1
min_insync_replicas = 1

[blobs]
directory = "{{folder}}/blobs"

[signing]
domain = "desk.test"
keys = {{{{ k1 = "a key for tests only" }}}}

[outbound]
commit_outcomes = {OUTCOMES_MAX}
retry_schedule = "0.2s, 0.6s, 1s*2, 2s"
memory_delay_seconds = 0.5
window_mails = 200
drain_seconds = 4

[relays.main]
host = "{HOST}"
port = {{relay_port}}
tls = "none"
connections = {CONNECTIONS}
mails_per_connection = 50
timeout_seconds = 2
hold_seconds = 0.2
hold_seconds_max = 1

[http]
port = 0

[logs]
format = "json"
"""


@dataclass(slots=True)
class Site:
    """A broker that can be taken away and given back, and how Postlane is to be run on it."""

    folder: Path
    config: Path
    settings: Settings
    log: KafkaLog
    broker: Broker
    server: Server

    @classmethod
    def build(cls, folder: Path, relay_port: int) -> Self:
        """Start a broker of its own and make the topics. Raises ServerFault."""
        broker = Broker.create(1, folder / "kafka", folder / "kafka.log")
        config = folder / "postlane.toml"
        config.write_text(
            CONFIG.format(bootstrap=broker.address, folder=folder, relay_port=relay_port), "utf-8"
        )
        settings = load_settings(config)
        kafka.format_storage(broker, [broker], kafka.kafka_uuid())
        server = kafka.launch(broker)
        try:
            kafka.wait_until_ready(server, [broker])
            TopicAdmin(settings.kafka).apply(load_topics(settings.kafka, settings.topics))
        except BaseException:
            server.stop()
            raise
        return cls(folder, config, settings, KafkaLog(settings.kafka), broker, server)

    def restart_broker(self, *, crash: bool, away_seconds: float) -> None:
        """SIGKILL or SIGTERM, a pause, and the same broker on the same data. Raises ServerFault."""
        if crash:
            self.server.kill()
        else:
            self.server.stop()
        time.sleep(away_seconds)
        self.server = kafka.launch(self.broker)
        kafka.wait_until_ready(self.server, [self.broker])

    def close(self) -> None:
        """Stop what this has started."""
        self.server.stop()
        self.log.close()
