"""The official Kafka image under testcontainers, for `--kafka=testcontainers`.

The library's own KafkaContainer knows only Confluent's image and starts it with scripts that this one lacks.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import docker.errors
from testcontainers.core.container import DockerContainer

from localstack import artifacts
from localstack.kafka import START_TIMEOUT_SECONDS, TUNING, ready
from localstack.ports import HOST, free_ports

POLL_SECONDS = 0.2


class ApacheKafkaContainer(DockerContainer):
    """One node, reached on the same port inside and outside, because a broker tells clients its own address."""

    def __init__(self, port: int) -> None:
        super().__init__(image_name())
        self.bootstrap = f"{HOST}:{port}"
        settings = {
            "node.id": "1",
            "process.roles": "broker,controller",
            "controller.quorum.voters": "1@localhost:9093",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://:{port},CONTROLLER://:9093",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            **TUNING,
        }
        for key, value in settings.items():
            self.with_env(f"KAFKA_{key.replace('.', '_').upper()}", value)
        self.with_bind_ports(port, port)


def image_name() -> str:
    return f"apache/kafka:{artifacts.read_lock()['kafka'].version}"


def image_at_hand() -> bool:
    """Whether a container daemon answers and has the image already."""
    try:
        client = docker.from_env()
        client.images.get(image_name())
    except docker.errors.DockerException:
        return False
    return True


@contextmanager
def run_kafka_container() -> Iterator[str]:
    """Yield the bootstrap address of a fresh container. Raises TimeoutError if it never answers."""
    with ApacheKafkaContainer(free_ports(1)[0]) as container:
        answers = ready(container.bootstrap, 1)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Kafka in a container did not answer: {container.get_logs()}")
            time.sleep(POLL_SECONDS)
        yield container.bootstrap
