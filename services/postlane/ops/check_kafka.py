"""Doctor's checks of Kafka, the topics and the schemas; and what the cursors say, for the mailbox checks."""

import re
from collections.abc import Iterable, Iterator

from postlane.adapters.avro_codec import Codec, Undecodable, record_name
from postlane.adapters.schema_files import SchemasMissing, load_schema_files
from postlane.adapters.schema_registry import ConfluentRegistry, RegistryUnavailable, SchemaRefused
from postlane.adapters.topics import TopicAdmin, load_topics
from postlane.config.settings import Settings
from postlane.core.events.command import Command
from postlane.core.events.received import MailboxCursor, MailReceived
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailStatus
from postlane.core.topics import BadTopics, Difference, blocks_services, explain
from postlane.ops.checks import Check, fail, ok, skip, warn
from postlane.ops.scanning import bounds_of, partitions_of, scan
from postlane.ports import EventLog, LogRecord, LogUnavailable

ANSWER_SECONDS = 5.0  # somebody is waiting for the verdict

LOGIN_ADVICE = (
    "check the login: kafka.schema_registry_url = http(s)://USER:PASSWORD@HOST:PORT, by environment "
    "POSTLANE_KAFKA__SCHEMA_REGISTRY_URL; the user must be allowed to read the subjects, or to write them where they are new"
)
REGISTRY_ADVICE = {
    "401": LOGIN_ADVICE,
    "403": LOGIN_ADVICE,
    "404": "check kafka.schema_registry_url: a server answers there, but it is no schema registry",
}
COMPATIBILITY_ADVICE = "set the subject's compatibility so that it takes our newest version"
_REGISTRY_STATUS = re.compile(r": (\d{3}) ")  # the adapter tells it in its words

RECORDS = tuple(
    record_name(kind) for kind in (MailRequested, MailStatus, MailReceived, MailboxCursor, Command)
)


def check_kafka(settings: Settings) -> list[Check]:
    """Whether Kafka answers, and whether every topic is as it must be."""
    servers = settings.kafka.bootstrap_servers
    try:
        wanted = load_topics(settings.kafka, settings.topics)
        differences = TopicAdmin(settings.kafka, ANSWER_SECONDS).check(wanted)
    except LogUnavailable as error:
        advice = "check kafka.bootstrap_servers, security_protocol and the login; is the broker up?"
        return [
            fail("kafka", f"{servers} does not answer: {error}", advice),
            skip("topics", "Kafka does not answer"),
        ]
    except (BadTopics, SchemasMissing) as error:
        return [fail("topics", str(error), "install Postlane anew, or correct schemas/topics.toml")]
    reached = ok("kafka", f"{servers} answers")
    if not differences:
        return [reached, ok("topics", f"all {len(wanted)} are as they should be")]
    return [reached, *_topic_checks(differences)]


def check_schemas(settings: Settings) -> Iterator[Check]:
    """The shipped schemas, and with a registry that it takes them."""
    try:
        files = load_schema_files()
        Codec(schemas=files)
    except SchemasMissing as error:
        yield fail("schemas", str(error), "install Postlane anew")
        return
    url = settings.kafka.schema_registry_url
    if url is None:
        yield ok("schemas", f"{len(files)} shipped; no registry (Avro single-object encoding)")
        return
    try:
        registry = ConfluentRegistry(url)
    except SchemaRefused as error:  # its client comes with an extra
        fault, _, remedy = str(error).partition(": ")
        yield fail("schemas", fault, remedy)
        return
    newest = {file.record: file for file in files}
    try:
        ids = [registry.id_of(record, newest[record].text) for record in RECORDS]
        yield ok("schemas", f"{len(files)} shipped; the registry has them as ids {', '.join(map(str, ids))}")
    except RegistryUnavailable as error:
        yield fail("schemas", str(error), "check kafka.schema_registry_url; is the registry up?")
    except SchemaRefused as error:
        status = _REGISTRY_STATUS.search(str(error))
        yield fail(
            "schemas", str(error), REGISTRY_ADVICE.get(status[1] if status else "", COMPATIBILITY_ADVICE)
        )


def read_cursors(log: EventLog, codec: Codec, topic: str) -> dict[tuple[str, str], MailboxCursor]:
    """The newest cursor of every (mailbox, folder). Raises LogUnavailable."""

    def keep(record: LogRecord) -> MailboxCursor | None:
        if record.value is None:
            return None
        try:
            return codec.decode(MailboxCursor, record.value)
        except Undecodable:
            return None  # the owner of the partition reports it

    cursors = scan(log, bounds_of(log, partitions_of(log, topic)), keep)
    return {(cursor.mailbox, cursor.folder): cursor for cursor in cursors}


def _topic_checks(differences: Iterable[Difference]) -> Iterator[Check]:
    """One check per remedy, with all the faults that it cures."""
    faults: dict[tuple[bool, str], list[str]] = {}
    for difference in differences:
        fault, _, remedy = explain(difference).partition("; ")
        faults.setdefault((blocks_services(difference), remedy), []).append(fault)
    for (blocks, remedy), found in faults.items():
        yield (fail if blocks else warn)("topics", "; ".join(found), remedy)
