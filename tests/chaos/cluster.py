"""The Kafka of a run: one broker or three, any of which can be taken away and given back on the same data."""

import asyncio
from pathlib import Path
from typing import Self

from localstack import kafka
from localstack.kafka import Broker
from localstack.server import Server

READY_SECONDS_MAX = 240.0  # a crashed broker checks its logs first, and the machine may be busy with others


class Cluster:
    """Each broker is a controller, too: with two of three away there is neither a majority of copies nor one of controllers."""

    def __init__(self, folder: Path, size: int) -> None:
        self.brokers = tuple(
            Broker.create(node, folder / f"kafka-{node}", folder / f"kafka-{node}.log")
            for node in range(1, size + 1)
        )
        self._servers: dict[int, Server] = {}

    @classmethod
    def start(cls, folder: Path, size: int) -> Self:
        """Make and start it. Raises ServerFault."""
        cluster, cluster_id = cls(folder, size), kafka.kafka_uuid()
        for broker in cluster.brokers:
            kafka.format_storage(broker, cluster.brokers, cluster_id)
        try:
            for broker in cluster.brokers:
                cluster._servers[broker.node_id] = kafka.launch(broker)
            cluster._wait_until_ready()
        except BaseException:
            cluster.close()
            raise
        return cluster

    @property
    def bootstrap(self) -> str:
        """Where clients find it."""
        return ",".join(broker.address for broker in self.brokers)

    def take_away(self, node: int, *, crash: bool) -> None:
        """SIGKILL or SIGTERM."""
        server = self._servers.pop(node)
        if crash:
            server.kill()
        else:
            server.stop()

    def give_back(self, node: int) -> None:
        """Start it again, and wait until all that run answer. Raises ServerFault."""
        self._servers[node] = kafka.launch(self.brokers[node - 1])
        self._wait_until_ready()

    async def restart(self, node: int, *, crash: bool, pause_seconds: float) -> None:
        """Take it away for so long."""
        await asyncio.to_thread(self.take_away, node, crash=crash)
        await asyncio.sleep(pause_seconds)
        await asyncio.to_thread(self.give_back, node)

    def close(self) -> None:
        """Stop all of them."""
        for server in self._servers.values():
            server.ask_to_stop()
        for server in self._servers.values():
            server.stop()

    def _wait_until_ready(self) -> None:
        answers = kafka.ready(self.bootstrap, len(self._servers))
        for server in self._servers.values():
            server.wait_until(answers, READY_SECONDS_MAX)
