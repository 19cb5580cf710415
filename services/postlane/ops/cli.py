"""The command line `postlane`: its commands, the options that come before them, and how faults are told."""

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from postlane.adapters import logs
from postlane.adapters.kafka_clients import LIBRDKAFKA_LOGGER
from postlane.adapters.process import installed_version
from postlane.adapters.schema_files import SchemasMissing
from postlane.adapters.schema_registry import RegistryUnavailable, SchemaRefused
from postlane.adapters.topics import TopicsRefused
from postlane.config.sections import LogsSection
from postlane.config.settings import ConfigError
from postlane.core.smtp.smtp_rules import BadRules
from postlane.core.topics import BadTopics
from postlane.ops import (
    config_commands,
    dlq_commands,
    relay_commands,
    suppression_commands,
    ticket_commands,
    topics_commands,
)
from postlane.ops.classify_command import classify
from postlane.ops.doctor_command import doctor
from postlane.ops.exits import EXIT_CODES_HELP, CommandFailed, Exit
from postlane.ops.mailbox_commands import mailboxes
from postlane.ops.output import print_line, say
from postlane.ops.send_command import send
from postlane.ops.service_commands import inbound, outbound
from postlane.ops.session import Session
from postlane.ops.status_command import status
from postlane.ops.tail_command import tail
from postlane.ports import Fenced, LogUnavailable

SILENT = frozenset(
    {LIBRDKAFKA_LOGGER.name, "postlane.adapters.token_source"}
)  # a command says better what they have to say

_CODES: dict[type[Exception], Exit] = {
    ConfigError: Exit.USAGE,
    SchemasMissing: Exit.USAGE,
    LogUnavailable: Exit.KAFKA,
    Fenced: Exit.FAILED,
    SchemaRefused: Exit.FAILED,
    BadTopics: Exit.USAGE,
    BadRules: Exit.USAGE,
    TopicsRefused: Exit.FAILED,
}


class Commands(TyperGroup):
    """Turns expected faults into one clear line on stderr and an exit code; anything else is a bug and shows itself."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CommandFailed as error:
            say(f"postlane: {error}")
            raise typer.Exit(error.code) from None
        except tuple(_CODES) as error:
            code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
            for line in str(error).splitlines():
                say(f"postlane: {line}{_where(ctx.obj, error)}")
            raise typer.Exit(code) from None


def _where(session: Session | None, error: Exception) -> str:
    """Which Kafka was asked: the commonest reason for silence is the wrong address."""
    if session is None or not isinstance(error, LogUnavailable) or isinstance(error, RegistryUnavailable):
        return ""
    return f" (kafka.bootstrap_servers = {session.settings.kafka.bootstrap_servers})"


app = typer.Typer(
    cls=Commands,
    help="Mail for ticketing systems over Kafka: services, and tools for the people who run them.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they print local variables, and those hold secrets
)


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="Configuration file; else $POSTLANE_CONFIG, else ./postlane.toml."
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show on stderr what the Kafka client says.")
    ] = False,
) -> None:
    """Make the session that the commands share."""
    if verbose:
        logs.configure(LogsSection(level="debug"))
    else:
        logs.configure(LogsSection(level="error"), silent=SILENT)
    session = Session(config)
    context.obj = session
    context.call_on_close(session.close)


@app.command()
def version() -> None:
    """Print the version."""
    print_line(installed_version())


app.command()(outbound)
app.command()(inbound)
app.command()(send)
app.command()(tail)
app.command()(status)
app.command()(classify)
app.add_typer(dlq_commands.app, name="dlq")
app.add_typer(ticket_commands.app, name="ticket")
app.add_typer(relay_commands.app, name="relays")
app.command()(mailboxes)
app.add_typer(suppression_commands.app, name="suppression")
app.command()(doctor)
app.add_typer(topics_commands.app, name="topics")
app.add_typer(config_commands.app, name="config")


def main() -> NoReturn:
    """The console script."""
    try:
        for argument in sys.argv[1:]:
            argument.encode()
    except UnicodeEncodeError:
        say("postlane: an argument is not valid UTF-8; ticket ids, addresses and texts are UTF-8")
        sys.exit(Exit.USAGE)
    sys.exit(app(prog_name="postlane"))
