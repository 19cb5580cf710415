"""The stack of one person's machine: brought up, looked at, taken down. Its state lives in `.local/stack.json`.

Every `up` starts with empty servers: GreenMail keeps its mailboxes in memory, so old topics would speak of mail that
is gone. `up` on a running stack changes nothing. `down` stops exactly the processes that the state names.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

from localstack import greenmail, kafka, relay
from localstack.configuration import blob_folder, configuration_file, settings_for, write_configuration
from localstack.greenmail import Mailbox, MailServer
from localstack.kafka import Broker
from localstack.ports import choose_port, free_ports
from localstack.relay_client import RelayControl
from localstack.server import STOP_TIMEOUT_SECONDS, PortLostFault, ProcessId, Server
from localstack.stack_state import RunningServer, StackState, exclusive, forget, read_state, write_state

PORT_TRIES = 4  # a port is chosen seconds before its server binds it; to lose it twice is rare

Say = Callable[[str], None]

MAILBOXES = (
    Mailbox("support@desk.test", "support"),
    Mailbox("alice@customer.test", "alice"),
    Mailbox("bob@customer.test", "bob"),
)
RELAY_TAKES = ("*@desk.test", "*@customer.test")
RELAY_LOGIN = ("postlane", "postlane")


class Ports(NamedTuple):
    """Where clients connect; None = anywhere."""

    kafka: int | None = None
    smtp: int | None = None  # of the relay
    imap: int | None = None


USUAL_PORTS = Ports(9092, 2525, 1143)
ANY_PORTS = Ports()


class StackError(Exception):
    """The stack cannot be brought up as asked; says what to do."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What `up` was asked for: `ports` or none at all, `preferred_ports` if they are free."""

    ports: Ports = ANY_PORTS
    preferred_ports: Ports = USUAL_PORTS
    mailboxes: Sequence[Mailbox] = MAILBOXES
    relay_takes: Sequence[str] = RELAY_TAKES
    relay_login: tuple[str, str] | None = field(default=RELAY_LOGIN, repr=False)

    def __post_init__(self) -> None:
        ports = [port for port in self.ports if port is not None]
        if len(set(ports)) < len(ports):
            raise ValueError(f"ports {', '.join(map(str, ports))}: want a different one for each server")


def up(folder: Path, wishes: Wishes, say: Say) -> tuple[StackState, bool]:
    """Return the running stack, and whether this call started it.

    Raises StackError, PortTakenError, ArtifactError or ServerFault; whatever was started is then stopped again.
    """
    with exclusive(folder, say):
        state = read_state(folder)
        if state is not None and all(server.alive for server in state.servers):
            _refuse_other_ports(state, wishes)
            if not configuration_file(folder).exists():
                write_configuration(folder, settings_for(state, folder))
            return state, False
        if state is not None:
            say(f"not running any more: {', '.join(_dead(state))}; starting anew")
            _stop_all(state)
            forget(folder)
        with running(folder, wishes, say) as (state, servers):
            write_configuration(folder, settings_for(state, folder))
            write_state(folder, state)
            for server in servers:
                server.detach()
        return state, True


def down(folder: Path, say: Say) -> list[str]:
    """Stop what the state names and return the names of the servers that were running."""
    with exclusive(folder, say):
        state = read_state(folder)
        if state is None:
            return []
        running = [server.name for server in state.servers if server.alive]
        _stop_all(state)
        forget(folder)
        return running


def status(folder: Path) -> StackState | None:
    return read_state(folder)


@contextmanager
def running(folder: Path, wishes: Wishes, say: Say) -> Iterator[tuple[StackState, list[Server]]]:
    """Servers that are stopped when the block or this process ends, unless they are detached.

    Raises PortTakenError, ArtifactError or ServerFault.
    """
    with ExitStack() as servers:
        for tries_left in reversed(range(PORT_TRIES)):
            try:
                with ExitStack() as starting:
                    started = _start(folder, wishes, say, starting)
                    servers.push(starting.pop_all())
                break
            except PortLostFault as fault:
                if not tries_left:
                    raise
                say(f"{str(fault).partition(';')[0]}: another process was quicker at a port; trying again")
        yield started


def _start(folder: Path, wishes: Wishes, say: Say, starting: ExitStack) -> tuple[StackState, list[Server]]:
    data, logs = folder / "kafka", folder / "logs"
    for leftover in (data, blob_folder(folder)):
        shutil.rmtree(leftover, ignore_errors=True)
    broker, mail, front = _choose_places(wishes, data, logs)
    say("starting GreenMail and the relay")
    mail_server = starting.enter_context(greenmail.launch(mail, logs / "greenmail.log", wishes.mailboxes))
    relay_server = starting.enter_context(relay.launch(front, mail.smtp_port, logs / "relay.log"))
    say("starting Kafka")
    kafka.format_storage(broker, [broker], kafka.kafka_uuid())
    kafka_server = starting.enter_context(kafka.launch(broker))
    relay.wait_until_ready(relay_server, front)
    greenmail.wait_until_ready(mail_server, mail)
    kafka.wait_until_ready(kafka_server, [broker])
    front.take_only(*wishes.relay_takes)
    servers = [kafka_server, mail_server, relay_server]
    state = StackState(
        started_at=time.time(),
        kafka_bootstrap=broker.address,
        relay=front,
        mail=mail,
        mailboxes=tuple(wishes.mailboxes),
        servers=tuple(map(_running, servers)),
    )
    return state, servers


def _choose_places(wishes: Wishes, data: Path, logs: Path) -> tuple[Broker, MailServer, RelayControl]:
    """Raises PortTakenError if a port that was asked for is in use."""
    kafka_port, smtp_port, imap_port = (
        choose_port(wanted, None if preferred in wishes.ports else preferred, f"--{name}-port")
        for name, wanted, preferred in zip(Ports._fields, wishes.ports, wishes.preferred_ports, strict=True)
    )
    user, password = wishes.relay_login or (None, None)
    return (
        Broker.create(1, data, logs / "kafka.log", kafka_port),
        MailServer.on_free_ports(imap_port),
        RelayControl(smtp_port, free_ports(1)[0], user=user, password=password),
    )


def _running(server: Server) -> RunningServer:
    guard, process = ProcessId.of(server.guard_process()), ProcessId.of(server.process())
    return RunningServer(server.name, guard, process, str(server.log))


def _refuse_other_ports(state: StackState, wishes: Wishes) -> None:
    for name, wanted, actual in (
        ("Kafka", wishes.ports.kafka, int(state.kafka_bootstrap.rpartition(":")[2])),
        ("the relay", wishes.ports.smtp, state.relay.port),
        ("IMAP", wishes.ports.imap, state.mail.imap_port),
    ):
        if wanted is not None and wanted != actual:
            raise StackError(
                f"the stack is up with {name} on port {actual}, not {wanted}; take it down first"
            )


def _dead(state: StackState) -> list[str]:
    return [server.name for server in state.servers if not server.alive]


def _stop_all(state: StackState) -> None:
    """Stop guards in order, which stop their servers; then servers whose guard was killed under them."""
    guards = [process for server in state.servers if (process := server.guard.find())]
    _end(guards)
    _end([process for server in state.servers if (process := server.process.find())])


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        process.terminate()
    _, stubborn = psutil.wait_procs(processes, STOP_TIMEOUT_SECONDS)
    for process in stubborn:
        process.kill()
    psutil.wait_procs(stubborn, STOP_TIMEOUT_SECONDS)
