"""`postlane topics`: create what is missing, say what differs, show what is there."""

import typer

from postlane.adapters.topics import TopicAdmin, load_topics
from postlane.core.topics import FoundTopic, Missing, WantedTopic, WrongConfig, blocks_services, explain
from postlane.ops import options
from postlane.ops.exits import Exit
from postlane.ops.output import Json, print_json, print_line, print_table, say
from postlane.ops.session import session_of
from postlane.ops.topic_names import UNUSED

app = typer.Typer(help="The topics: create, compare, show.", no_args_is_help=True)


@app.command()
def apply(context: typer.Context, as_json: options.Json = False) -> None:
    """Create missing topics and correct what can be corrected without loss. Again = no change. Partition counts are never touched."""
    admin, wanted = _prepared(context)
    applied = admin.apply(wanted)
    changed = [_change_words(change) for change in applied.changed]
    remaining = [explain(difference) for difference in applied.remaining]
    if as_json:
        print_json({"changed": changed, "remaining": remaining})
    for line in () if as_json else changed:
        print_line(line)
    if not changed and not remaining:
        say(f"all {len(wanted)} topics are as they should be")
    for line in remaining:
        say(f"left to you: {line}")
    if remaining:
        raise typer.Exit(Exit.FAILED)


@app.command()
def check(context: typer.Context, as_json: options.Json = False) -> None:
    """Compare the topics with their declaration; exit 1 where they differ."""
    admin, wanted = _prepared(context)
    differences = admin.check(wanted)
    if as_json:
        faults = [{"fault": explain(d), "stops_services": blocks_services(d)} for d in differences]
        print_json({"ok": not differences, "topics": len(wanted), "differences": faults})
    for difference in () if as_json else differences:
        print_line(explain(difference))
    if differences:
        raise typer.Exit(Exit.FAILED)
    say(f"all {len(wanted)} topics are as they should be")


@app.command()
def describe(context: typer.Context, as_json: options.Json = False) -> None:
    """Show every topic: what it is for, and how it is on the cluster."""
    admin, wanted = _prepared(context)
    found = admin.describe([topic.name for topic in wanted])
    if as_json:
        print_json([_topic_json(topic, found.get(topic.name)) for topic in wanted])
    else:
        columns = ("TOPIC", "PARTITIONS", "REPLICAS", "CLEANUP", "KEPT", "PURPOSE")
        print_table(columns, (_row(topic, found.get(topic.name)) for topic in wanted))


def _prepared(context: typer.Context) -> tuple[TopicAdmin, list[WantedTopic]]:
    settings = session_of(context).settings
    return TopicAdmin(settings.kafka), load_topics(settings.kafka, settings.topics)


def _change_words(change: object) -> str:
    match change:
        case Missing(topic):
            return f"created {topic.name} with {topic.partitions} partitions"
        case WrongConfig(topic, key, found, wanted):
            return f"changed {topic}: {key} from {found} to {wanted}"
        case _:
            return str(change)


def _row(wanted: WantedTopic, found: FoundTopic | None) -> tuple[str, ...]:
    purpose = wanted.purpose if _is_used(wanted) else f"not used yet; {wanted.purpose}"
    if found is None:
        return (wanted.name, "missing", "", "", "", purpose)
    cleanup = found.config.get("cleanup.policy", "?")
    kept = "newest per key" if cleanup == "compact" else _days(found.config.get("retention.ms", ""))
    return (wanted.name, str(found.partitions), str(found.replication_factor), cleanup, kept, purpose)


def _is_used(wanted: WantedTopic) -> bool:
    return not wanted.name.endswith(tuple(UNUSED.values()))


def _days(retention_ms: str) -> str:
    if retention_ms == "-1":
        return "for ever"
    return f"{int(retention_ms) / 86_400_000:g} d" if retention_ms.isdecimal() else "?"


def _topic_json(wanted: WantedTopic, found: FoundTopic | None) -> Json:
    return {
        "topic": wanted.name,
        "purpose": wanted.purpose,
        "used": _is_used(wanted),
        "exists": found is not None,
        "partitions": None if found is None else found.partitions,
        "replication_factor": None if found is None else found.replication_factor,
        "config": None if found is None else {key: found.config.get(key) for key in sorted(wanted.config)},
        "wanted": {
            "partitions": wanted.partitions,
            "replication_factor": wanted.replication_factor,
            "config": dict(sorted(wanted.config.items())),
        },
    }
