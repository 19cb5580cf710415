"""How operators' commands come onto mail.control."""

from collections.abc import Iterable

from postlane.adapters.cloudevents import cloud_event_headers
from postlane.adapters.kafka_produce import produce
from postlane.core.events.command import Command, command_key, partition_for_all
from postlane.ops.exits import CommandFailed
from postlane.ops.session import Session
from postlane.ops.topic_names import CONTROL
from postlane.ports import NewRecord, RecordRefused, TopicPartition

SOURCE = "/postlane/ops"


def give_command(session: Session, command: Command, partition: int | None = None) -> None:
    """Write it where it belongs: about a ticket in the partition of its mail, else (None) where its key belongs.

    Raises CommandFailed where it is refused, LogUnavailable.
    """
    (record,) = (
        records_for_all(session, [command]) if partition is None else [_record(session, command, partition)]
    )
    try:
        produce(session.settings.kafka, record)
    except RecordRefused as error:
        raise CommandFailed(f"the command was not given: {error}") from None


def records_for_all(session: Session, commands: Iterable[Command]) -> Iterable[NewRecord]:
    """The records of commands that concern every sender, each in the partition of its key. Raises LogUnavailable."""
    count = session.log.partition_count(session.topic(CONTROL))
    return (_record(session, command, partition_for_all(command_key(command), count)) for command in commands)


def _record(session: Session, command: Command, partition: int) -> NewRecord:
    return NewRecord(
        to=TopicPartition(session.topic(CONTROL), partition),
        key=command_key(command),
        value=session.codec.encode(command),
        headers=cloud_event_headers(command, SOURCE),
    )
