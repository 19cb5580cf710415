"""`postlane outbound` and `postlane inbound`: run a service in this process.

A service is named by text, not imported: the command line must not depend on the services, nor pull their extras in.
"""

from pkgutil import resolve_name

import typer

from postlane.adapters.process import Service, run_service
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.session import session_of

SERVICES = {"outbound": "postlane.outbound.service:run", "inbound": "postlane.inbound.service:run"}


def outbound(context: typer.Context) -> None:
    """Run the outbound service: mail requests from Kafka to the relays. SIGTERM drains and stops it."""
    _run("outbound", context)


def inbound(context: typer.Context) -> None:
    """Run the inbound service: mailboxes into Kafka. SIGTERM drains and stops it."""
    _run("inbound", context)


def _run(name: str, context: typer.Context) -> None:
    settings = session_of(context).settings
    raise typer.Exit(run_service(name, _load(name), settings))


def _load(name: str) -> Service:
    try:
        service: Service = resolve_name(SERVICES[name])
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("postlane"):
            raise
        raise CommandFailed(
            f"the {name} service needs the package {error.name}: pip install 'postlane[{name}]'", Exit.USAGE
        ) from None
    return service
