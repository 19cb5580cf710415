"""`postlane config`: check what is configured, print an example."""

import secrets
from collections.abc import Iterable

import typer

from postlane.config.example import example_toml
from postlane.config.settings import ConfigError
from postlane.ops import options
from postlane.ops.check_local import check_configuration
from postlane.ops.checks import Check, State
from postlane.ops.exits import Exit
from postlane.ops.output import print_json, say
from postlane.ops.session import session_of

app = typer.Typer(help="Check the configuration, or print an example.", no_args_is_help=True)


SIGNING_SECRET_BYTES = 24


@app.command()
def check(context: typer.Context, as_json: options.Json = False) -> None:
    """Read file and environment as a service would; name the file, every fault and what is unwise. Connects to nothing."""
    session = session_of(context)
    try:
        settings = session.settings
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"ok": False, "faults": str(error).splitlines()})
        raise typer.Exit(Exit.USAGE) from None
    checks = list(check_configuration(settings, session.config_file))
    faults = [_line(found) for found in checks if found.state is State.FAIL]
    warnings = [_line(found) for found in checks if found.state is State.WARN]
    if as_json:
        print_json(
            {
                "ok": not faults,
                "file": None if session.config_file is None else str(session.config_file),
                "relays": sorted(settings.relays),
                "mailboxes": sorted(settings.mailboxes),
                "faults": faults,
                "warnings": warnings,
            }
        )
    else:
        for line in faults:
            say(f"postlane: {line}")
        for line in warnings:
            say(f"warning: {line}")
    if faults:
        raise typer.Exit(Exit.FAILED)
    if not as_json:
        say(
            f"configuration is valid: read from {session.config_file or 'the environment alone'}, "
            f"Kafka at {settings.kafka.bootstrap_servers}, "
            f"relays {_names(settings.relays)}, mailboxes {_names(settings.mailboxes)}"
        )


@app.command()
def example() -> None:
    """Print a commented configuration with every key and a fresh signing key: `postlane config example > postlane.toml`."""
    typer.echo(example_toml(secrets.token_urlsafe(SIGNING_SECRET_BYTES)), nl=False)


def _line(found: Check) -> str:
    place = "" if found.name == "config" else f"{found.name}: "
    return f"{place}{found.detail}; {found.advice}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
