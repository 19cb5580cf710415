"""A configuration of its own on the shared broker, and the command line using it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from typer.testing import CliRunner

from postlane.adapters.avro_codec import Codec
from postlane.adapters.kafka_log import KafkaLog
from postlane.core.events.status import MailState, MailStatus, Origin
from postlane.core.events.trail import Dead, encode
from postlane.core.partitioner import partition_of
from postlane.ops.cli import app
from postlane.ports import LogRecord, NewRecord, TopicPartition

PARTITIONS = 3
CODEC = Codec()


@dataclass
class Ran:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Desk:
    """A configuration of its own on the shared broker, and the command line using it."""

    directory: Path
    bootstrap: str
    prefix: str
    log: KafkaLog

    def configure(self, extra: str = "", partitions: int = PARTITIONS, bootstrap: str | None = None) -> Path:
        path = self.directory / f"{uuid4().hex}.toml"
        path.write_text(
            f'[kafka]\nbootstrap_servers = "{bootstrap or self.bootstrap}"\n'
            f'topic_prefix = "{self.prefix}"\ngroup_prefix = "{self.prefix}postlane"\n'
            f"[topics]\npartitions = {partitions}\nreplication_factor = 1\nmin_insync_replicas = 1\n"
            f'[blobs]\ndirectory = "{self.directory}"\n{extra}'
        )
        return path

    def run(self, *args: str, config: Path | None = None, answer: str | None = None) -> Ran:
        command = ["--config", str(config or self.configure()), *args]
        result = CliRunner().invoke(app, command, input=answer, catch_exceptions=False)
        return Ran(result.exit_code, result.stdout, result.stderr)

    def topic(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def place(self, topic: str, ticket: str) -> TopicPartition:
        return TopicPartition(self.topic(topic), partition_of(ticket.encode(), PARTITIONS))

    def records(self, topic: str, ticket: str) -> list[LogRecord]:
        at = self.place(topic, ticket)
        bounds = self.log.bounds(at)
        batches = self.log.read(at, bounds.low, bounds.end, 30)
        return [record for batch in batches for record in batch if record.key == ticket.encode()]

    def write(
        self, topic: str, ticket: str, value: bytes, headers: tuple[tuple[str, bytes], ...] = ()
    ) -> int:
        writer = self.log.writer(f"{self.prefix}test")
        writer.take_over()
        record = NewRecord(to=self.place(topic, ticket), key=ticket.encode(), value=value, headers=headers)
        (offset,) = writer.stage([record])
        writer.commit()
        writer.close()
        return offset

    def send(self, ticket: str, *args: str) -> str:
        """An event id."""
        ran = self.run(
            "send",
            "--ticket",
            ticket,
            "--from",
            "desk@a.test",
            "--to",
            "ann@b.test",
            "--text",
            "Hello",
            *args,
        )
        assert ran.code == 0, ran.err
        return ran.out.strip()

    def die(self, ticket: str, event_id: str, **changes: object) -> str:
        """Write the dead-letter copy of a request that was sent; its PARTITION:OFFSET."""
        (request,) = [
            r for r in self.records("mail.outbound", ticket) if ("ce_id", event_id.encode()) in r.headers
        ]
        now_ms = round(datetime.now(UTC).timestamp() * 1000)
        fields: dict[str, object] = {
            "origin": Origin(self.log.topic_id(request.at.topic), request.offset),
            "origin_topic": request.at.topic,
            "partition": request.at.partition,
            "attempt": 1,
            "first_seen_ms": request.timestamp_ms,
            "died_ms": now_ms,
            "remaining": None,
            "cause": "no_such_recipient",
            "reason": "the recipient does not exist",
            "reply": "550 5.1.1 No such user",
        }
        dead = Dead(**(fields | changes))  # type: ignore[arg-type]
        assert request.value is not None
        offset = self.write("mail.outbound.dlq", ticket, request.value, request.headers + encode(dead))
        return f"{request.at.partition}:{offset}"

    def open_places(self, *filters: str) -> set[str]:
        return {mail["place"] for mail in self.run("dlq", "list", "--json", *filters).json}

    def status(
        self, ticket: str, event_id: str, offset: int, state: MailState, **changes: object
    ) -> MailStatus:
        fields: dict[str, object] = {
            "status_id": uuid4().hex,
            "occurred_at": datetime.now(UTC),
            "state": state,
            "final": state is not MailState.DEFERRED,
            "topic_id": self.log.topic_id(self.topic("mail.outbound")),
            "partition": partition_of(ticket.encode(), PARTITIONS),
            "offset": offset,
            "cause": "accepted",
            "reason": "some reason",
            "attempt": 1,
            "instance": "host-1",
            "request_event_id": event_id,
            "ticket_id": ticket,
        }
        return MailStatus(**(fields | changes))  # type: ignore[arg-type]
