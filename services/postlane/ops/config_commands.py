"""`postlane config`: check what is configured, print an example."""

from collections.abc import Iterable

import typer

from postlane.config.example import example_toml
from postlane.config.settings import ConfigError
from postlane.ops import options
from postlane.ops.exits import Exit
from postlane.ops.output import print_json, say
from postlane.ops.session import session_of

app = typer.Typer(help="Check the configuration, or print an example.", no_args_is_help=True)


@app.command()
def check(context: typer.Context, as_json: options.Json = False) -> None:
    """Read file and environment as a service would; every fault is named on its own line. Connects to nothing."""
    try:
        settings = session_of(context).settings
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"ok": False, "faults": str(error).splitlines()})
        raise typer.Exit(Exit.USAGE) from None
    if as_json:
        print_json({"ok": True, "relays": sorted(settings.relays), "mailboxes": sorted(settings.mailboxes)})
    else:
        say(
            f"configuration is valid: Kafka at {settings.kafka.bootstrap_servers}, "
            f"relays {_names(settings.relays)}, mailboxes {_names(settings.mailboxes)}"
        )


@app.command()
def example() -> None:
    """Print a commented configuration with every key: `postlane config example > postlane.toml`."""
    typer.echo(example_toml(), nl=False)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
