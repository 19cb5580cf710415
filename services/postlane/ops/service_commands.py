"""`postlane outbound` and `postlane inbound`: run a service in this process.

A service is named by text, not imported: the command line must not depend on the services, nor pull their extras in.
"""

import sys
from pkgutil import resolve_name
from typing import Annotated

import typer

from postlane.adapters.process import Service, run_service
from postlane.adapters.supervisor import Team, supervise
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.output import install_words
from postlane.ops.session import session_of

SERVICES = {"outbound": "postlane.outbound.service:run", "inbound": "postlane.inbound.service:run"}


Processes = Annotated[
    int,
    typer.Option(
        "--processes",
        min=1,
        max=64,
        help="Run so many, each with the next http.port; one that dies is started again. One per core is right.",
    ),
]
Supervised = Annotated[bool, typer.Option("--supervised", hidden=True)]


def outbound(context: typer.Context, processes: Processes = 1, supervised: Supervised = False) -> None:
    """Run the outbound service: mail requests from Kafka to the relays. SIGTERM drains and stops it."""
    _run("outbound", context, processes, supervised=supervised)


def inbound(context: typer.Context, processes: Processes = 1, supervised: Supervised = False) -> None:
    """Run the inbound service: mailboxes into Kafka. SIGTERM drains and stops it."""
    _run("inbound", context, processes, supervised=supervised)


def _run(name: str, context: typer.Context, processes: int, *, supervised: bool) -> None:
    session = session_of(context)
    service, settings = _load(name), session.settings
    if processes == 1:
        raise typer.Exit(run_service(name, service, settings, supervised=supervised))
    config = [] if session.config_file is None else ["--config", str(session.config_file)]
    team = Team(
        name=name,
        command=(sys.executable, "-m", "postlane.ops", *config, name, "--supervised"),
        processes=processes,
        http_port=settings.http.port,
        instance_id=settings.kafka.instance_id,
        stop_seconds=settings.drain_seconds(name),
    )
    raise typer.Exit(supervise(settings, team))


def _load(name: str) -> Service:
    try:
        service: Service = resolve_name(SERVICES[name])
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("postlane"):
            raise
        raise CommandFailed(
            f"the {name} service needs the package {error.name}; {install_words(name)}", Exit.USAGE
        ) from None
    return service
