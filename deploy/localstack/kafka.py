"""Apache Kafka in KRaft mode: each node is broker and controller, and one node alone is a cluster.

A `Broker` says who and where it is; it can be formatted, started, stopped, killed and started again on the same data.
"""

import base64
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from localstack.artifacts import class_path, java
from localstack.ports import HOST, free_ports
from localstack.server import Server, ServerFault, run

START_TIMEOUT_SECONDS = 60.0
FORMAT_TIMEOUT_SECONDS = 60.0
ASK_TIMEOUT_SECONDS = 2.0
COORDINATOR_TIMEOUT_SECONDS = 30.0
LOG4J_FILE = Path(__file__).with_name("kafka-log4j2.xml")

JVM_OPTIONS = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",  # least memory and quickest start; a laptop has few cores to spare
    "-XX:TieredStopAtLevel=1",  # the quick compiler only: halves the CPU time of a start
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)

ClientConfig = dict[str, str | int | float | bool]

TUNING = {
    "auto.create.topics.enable": "false",  # a misspelt topic must fail, as in production
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",  # tests let a killed member go after one second, not six
    "log.cleaner.dedupe.buffer.size": "16777216",  # the default, 128 MiB, is a quarter of the heap
    "log.index.size.max.bytes": "1048576",  # 10 MiB is reserved per index otherwise, two indexes a partition
    "num.network.threads": "2",
    "num.io.threads": "4",
    "num.replica.fetchers": "1",
}


@dataclass(frozen=True, slots=True)
class Broker:
    node_id: int
    port: int  # clients
    controller_port: int
    folder: Path  # data and configuration of this node
    log: Path
    directory_id: str  # Kafka's name for the data directory, fixed before its format

    @classmethod
    def create(cls, node_id: int, folder: Path, log: Path, port: int | None = None) -> "Broker":
        """Choose free ports, but `port` if it is given."""
        free, controller_port = free_ports(2)
        return cls(node_id, port or free, controller_port, folder, log, kafka_uuid())

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def controller_address(self) -> str:
        return f"{HOST}:{self.controller_port}"

    @property
    def configuration(self) -> Path:
        return self.folder / "server.properties"


def kafka_uuid() -> str:
    """A random id in Kafka's spelling: 16 bytes as URL-safe base64 without padding, never a leading dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def properties(broker: Broker, cluster: Sequence[Broker]) -> dict[str, str]:
    """The configuration of one node of `cluster`; internal topics are copied to up to three nodes."""
    copies = str(min(3, len(cluster)))
    in_sync = str(min(2, len(cluster)))
    return {
        "process.roles": "broker,controller",
        "node.id": str(broker.node_id),
        "controller.quorum.bootstrap.servers": ",".join(node.controller_address for node in cluster),
        "listeners": f"PLAINTEXT://{broker.address},CONTROLLER://{broker.controller_address}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(broker.folder / "data"),
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,  # also for committed offsets, which have no setting of their own
        **TUNING,
    }


def format_storage(broker: Broker, cluster: Sequence[Broker], cluster_id: str) -> None:
    """Write the configuration and an empty data directory. Raises ServerFault."""
    broker.folder.mkdir(parents=True, exist_ok=True)
    lines = (f"{key}={value}\n" for key, value in properties(broker, cluster).items())
    broker.configuration.write_text("".join(lines), "utf-8")
    voters = ",".join(f"{node.node_id}@{node.controller_address}:{node.directory_id}" for node in cluster)
    tool = ("kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--initial-controllers", voters)
    command = _java_command(*tool, "--config", str(broker.configuration))
    done = run(command, FORMAT_TIMEOUT_SECONDS, _environment())
    if done.returncode != 0:
        raise ServerFault(f"Kafka could not format {broker.folder}:\n{done.stdout}{done.stderr}")


def launch(broker: Broker) -> Server:
    """Start a formatted node, without waiting for it."""
    command = _java_command("kafka.Kafka", str(broker.configuration))
    ports = (broker.port, broker.controller_port)
    return Server("Kafka", command, broker.log, _environment(), ports=ports)


def wait_until_ready(server: Server, cluster: Sequence[Broker]) -> None:
    """Wait until all nodes are known and both coordinators answer. Raises ServerFault."""
    bootstrap = ",".join(node.address for node in cluster)
    server.wait_until(ready(bootstrap, len(cluster)), START_TIMEOUT_SECONDS)


def ready(bootstrap: str, nodes: int) -> Callable[[], bool]:
    """Return the question whether a cluster of so many nodes answers, and so do its coordinators.

    The first question to the coordinators of groups and of transactions creates their topics, and until these
    have leaders a client hears NOT_COORDINATOR: better now than within a test.
    """
    client: ClientConfig = {"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200}
    admin = AdminClient(client)

    def ask() -> bool:
        try:
            if len(admin.list_topics(timeout=ASK_TIMEOUT_SECONDS).brokers) < nodes:
                return False
            _ask_coordinators(client)
        except KafkaException:
            return False
        return True

    return ask


def _ask_coordinators(client: ClientConfig) -> None:
    name = "localstack-ready"
    Producer({**client, "transactional.id": name}).init_transactions(COORDINATOR_TIMEOUT_SECONDS)
    consumer = Consumer({**client, "group.id": name})
    try:
        consumer.committed([TopicPartition(name, 0)], timeout=COORDINATOR_TIMEOUT_SECONDS)
    finally:
        consumer.close()


def _java_command(*main_and_arguments: str) -> list[str]:
    jars = os.pathsep.join(map(str, class_path("kafka")))
    return [
        str(java()),
        *JVM_OPTIONS,
        f"-Dlog4j2.configurationFile={LOG4J_FILE}",
        "-cp",
        jars,
        *main_and_arguments,
    ]


def _environment() -> dict[str, str]:
    """Nothing of the caller's: JAVA_TOOL_OPTIONS, CLASSPATH or KAFKA_* of a developer must not change the broker."""
    return {"LANG": "C.UTF-8"}
