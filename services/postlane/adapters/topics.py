"""Topics on the cluster: load the declaration, compare, create and correct."""

import time
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from postlane.adapters.kafka_clients import base_config, describe, error_of
from postlane.adapters.schema_files import schema_directory
from postlane.config.sections import KafkaSection, TopicsSection
from postlane.core.topics import (
    BadTopics,
    Difference,
    FoundTopic,
    Missing,
    WantedTopic,
    WrongConfig,
    can_apply,
    plan,
    read_topics,
)
from postlane.ports import LogUnavailable

ANSWER_SECONDS = 5.0  # a stop must not wait longer; the service asks again
SETTLE_SECONDS = 15.0  # a change reaches the brokers a moment after the controller, somebody else's too
ASK_AGAIN_SECONDS = 0.1
GRACE_SECONDS = 5.0  # the client itself should end the wait first
FILE_NAME = "topics.toml"

_HINTS = {
    KafkaError.INVALID_REPLICATION_FACTOR: "; lower topics.replication_factor or add brokers",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "; let an administrator run this, or grant the user Create and AlterConfigs",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "; let an administrator run this, or grant the user Create on the cluster",
}
_PASSING = frozenset(
    {
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_CONTROLLER,
    }
)


class TopicsRefused(Exception):
    """The cluster will not create or change a topic; the text says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` changed, and what it must leave to a person."""

    changed: tuple[Difference, ...]
    remaining: tuple[Difference, ...]


def load_topics(kafka: KafkaSection, topics: TopicsSection, path: Path | None = None) -> list[WantedTopic]:
    """All topics of the shipped topics.toml (or another file) under the configured prefix. Raises BadTopics, SchemasMissing."""
    file = schema_directory() / FILE_NAME if path is None else path
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
        return read_topics(
            document,
            prefix=kafka.topic_prefix,
            partitions=topics.partitions,
            replication_factor=topics.replication_factor,
            min_insync_replicas=topics.min_insync_replicas,
        )
    except (OSError, ValueError) as error:  # BadTopics and TOMLDecodeError are ValueErrors
        raise BadTopics(f"{file}: {error}") from None


class TopicAdmin:
    """Blocks; every method raises LogUnavailable where Kafka does not answer."""

    def __init__(self, kafka: KafkaSection, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds
        self._client = AdminClient(base_config(kafka, "postlane-topics"))

    def describe(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        """The topics of these names that exist."""
        self._client.poll(0)  # hands queued log lines over
        answers = self._client.describe_topics(
            TopicCollection(list(names)), request_timeout=self._answer_seconds
        )
        there: dict[str, Any] = {}
        for name, answer in answers.items():
            try:
                there[name] = answer.result(self._answer_seconds + GRACE_SECONDS)
            except KafkaException as exception:
                error = error_of(exception)
                if error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise LogUnavailable(f"topic {name}: {describe(error)}") from None
            except TimeoutError:
                raise LogUnavailable(f"topic {name}: Kafka does not answer") from None
        configs = self._configs(list(there))
        return {
            name: FoundTopic(
                name,
                len(topic.partitions),
                min((len(partition.replicas) for partition in topic.partitions), default=0),
                configs[name],
            )
            for name, topic in there.items()
            if name in configs
        }

    def check(self, wanted: Sequence[WantedTopic]) -> list[Difference]:
        """In what the cluster differs; empty when all is well."""
        return plan(wanted, self.describe([topic.name for topic in wanted]))

    def apply(self, wanted: Sequence[WantedTopic]) -> Applied:
        """Create what is missing and correct what can be corrected without loss; again = no change. Raises TopicsRefused.

        Partition counts are never touched.
        """
        changed: list[Difference] = []
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            differences = self.check(wanted)
            open_changes = [difference for difference in differences if can_apply(difference)]
            if not open_changes or time.monotonic() > deadline:
                return Applied(tuple(changed), tuple(differences))
            for change in open_changes:
                if change not in changed:
                    self._change(change)
                    changed.append(change)
            time.sleep(ASK_AGAIN_SECONDS)

    def _change(self, change: Difference) -> None:
        match change:
            case Missing(topic):
                self._create(topic)
            case WrongConfig():
                self._alter(change)
            case _:
                raise AssertionError(f"{change} cannot be applied")

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        answers = self._client.describe_configs(resources, request_timeout=self._answer_seconds)
        configs = {}
        for resource, answer in answers.items():
            # Another broker than the one that told of the topic may not know it yet, or not any more.
            unknown = KafkaError.UNKNOWN_TOPIC_OR_PART
            entries = self._wait(answer, f"topic {resource.name}", LogUnavailable, unknown)
            if entries is not None:
                configs[resource.name] = {key: entry.value or "" for key, entry in entries.items()}
        return configs

    def _create(self, topic: WantedTopic) -> None:
        new = NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=topic.replication_factor,
            config=dict(topic.config),
        )
        (answer,) = self._client.create_topics([new], request_timeout=self._answer_seconds).values()
        self._wait(
            answer, f"topic {topic.name} cannot be created", TopicsRefused, KafkaError.TOPIC_ALREADY_EXISTS
        )

    def _alter(self, change: WrongConfig) -> None:
        entry = ConfigEntry(change.key, change.wanted, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, change.topic, incremental_configs=[entry])
        (answer,) = self._client.incremental_alter_configs(
            [resource], request_timeout=self._answer_seconds
        ).values()
        self._wait(answer, f"topic {change.topic}: {change.key} cannot be changed", TopicsRefused)

    def _wait(
        self,
        answer: "Future[Any]",
        what: str,
        refused: Callable[[str], Exception],
        fine: int | None = None,
    ) -> Any:
        try:
            return answer.result(self._answer_seconds + GRACE_SECONDS)
        except KafkaException as exception:
            error = error_of(exception)
        except TimeoutError:
            raise LogUnavailable(f"{what}: Kafka does not answer") from None
        if error.code() == fine:
            return None
        if error.code() in _PASSING:
            raise LogUnavailable(f"{what}: {describe(error)}")
        raise refused(f"{what}: {describe(error)}{_HINTS.get(error.code(), '')}")
