"""What the commands of one invocation share: settings, Kafka and the codec, each made when first needed."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import cast

import typer

from postlane.adapters.avro_codec import Codec
from postlane.adapters.kafka_log import KafkaLog
from postlane.adapters.schema_registry import registry_of
from postlane.config.settings import Settings, find_config, load_settings

ANSWER_SECONDS = 5.0  # somebody is waiting; a broker that is there answers a single question in far less


class Session:
    """Nothing is read or connected before it is asked for, so that `version` works without any configuration."""

    def __init__(self, config_path: Path | None) -> None:
        self._config_path = config_path
        self._closers: list[Callable[[], None]] = []

    @cached_property
    def config_file(self) -> Path | None:
        """The configuration file, absolute; None where there is none."""
        found = find_config(self._config_path)
        return None if found is None else found.absolute()

    @cached_property
    def settings(self) -> Settings:
        """Raises ConfigError."""
        return load_settings(self._config_path)

    @cached_property
    def log(self) -> KafkaLog:
        """Kafka; its calls raise LogUnavailable."""
        log = KafkaLog(self.settings.kafka, ANSWER_SECONDS)
        self._closers.append(log.close)
        return log

    @cached_property
    def codec(self) -> Codec:
        """Reads both framings; writes the one that the configuration asks for."""
        return Codec(registry_of(self.settings.kafka))

    def topic(self, name: str) -> str:
        """The full name of a topic such as `mail.outbound`."""
        return self.settings.kafka.topic(name)

    def close(self) -> None:
        """Release what was connected."""
        for close in reversed(self._closers):
            close()


def session_of(context: typer.Context) -> Session:
    """The session that the callback of the root command made."""
    return cast("Session", context.find_root().obj)
