"""Kafka, the topics and the configuration of a run, in a folder of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chaos.cluster import Cluster
from postlane.adapters.kafka_log import KafkaLog
from postlane.adapters.topics import TopicAdmin, load_topics
from postlane.config.settings import Settings, load_settings

PARTITIONS = 6
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
replication_factor = {{copies}}
min_insync_replicas = {{copies_in_sync}}

[blobs]
directory = "{{folder}}/blobs"

[signing]
domain = "desk.test"
keys = {{{{ k1 = "a key for tests only" }}}}

{{service}}

[http]
port = 0

[logs]
format = "json"
"""


@dataclass(frozen=True, slots=True)
class Site:
    """Kafka, and how Postlane is to be run on it."""

    folder: Path
    config: Path
    settings: Settings
    log: KafkaLog
    cluster: Cluster

    @classmethod
    def build(cls, folder: Path, service: str, brokers: int) -> Self:
        """Start so many brokers and make the topics; `service` is the part of the configuration that is about it. Raises ServerFault."""
        cluster = Cluster.start(folder, brokers)
        try:
            config = folder / "postlane.toml"
            text = CONFIG.format(
                bootstrap=cluster.bootstrap,
                copies=min(3, brokers),
                copies_in_sync=min(2, brokers),
                folder=folder,
                service=service,
            )
            config.write_text(text, "utf-8")
            settings = load_settings(config)
            TopicAdmin(settings.kafka).apply(load_topics(settings.kafka, settings.topics))
        except BaseException:
            cluster.close()
            raise
        return cls(folder, config, settings, KafkaLog(settings.kafka), cluster)

    def close(self) -> None:
        """Stop what this has started."""
        self.cluster.close()
        self.log.close()
