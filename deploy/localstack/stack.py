"""The stack of one person's machine: brought up, looked at, taken down. Its state lives in `.local/stack.json`.

Every `up` starts with empty servers: GreenMail keeps its mailboxes in memory, so old topics would speak of mail that
is gone. `up` on a running stack changes nothing. `down` stops exactly the processes that the state names.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from localstack import greenmail, kafka, relay
from localstack.greenmail import Mailbox, MailServer
from localstack.ports import choose_port, free_ports
from localstack.relay_client import RelayControl
from localstack.server import STOP_TIMEOUT_SECONDS, ProcessId, Server
from localstack.stack_state import RunningServer, StackState, exclusive, forget, read_state, write_state

KAFKA_PORT = 9092
SMTP_PORT = 2525
IMAP_PORT = 1143

Say = Callable[[str], None]

MAILBOXES = (
    Mailbox("support@desk.test", "support"),
    Mailbox("alice@customer.test", "alice"),
    Mailbox("bob@customer.test", "bob"),
)
RELAY_TAKES = ("*@desk.test", "*@customer.test")
RELAY_LOGIN = ("postlane", "postlane")


class StackError(Exception):
    """The stack cannot be brought up as asked; says what to do."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What `up` was asked for. A port that is None is chosen: the usual one if it is free, else any."""

    kafka_port: int | None = None
    smtp_port: int | None = None
    imap_port: int | None = None
    mailboxes: Sequence[Mailbox] = MAILBOXES
    relay_takes: Sequence[str] = RELAY_TAKES
    relay_login: tuple[str, str] | None = field(default=RELAY_LOGIN, repr=False)


def up(folder: Path, wishes: Wishes, say: Say) -> tuple[StackState, bool]:
    """Return the running stack, and whether this call started it.

    Raises StackError, PortTakenError, ArtifactError or ServerFault; whatever was started is then stopped again.
    """
    with exclusive(folder, say):
        state = read_state(folder)
        if state is not None and all(server.alive for server in state.servers):
            _refuse_other_ports(state, wishes)
            return state, False
        if state is not None:
            say(f"not running any more: {', '.join(_dead(state))}; starting anew")
            _stop_all(state)
            forget(folder)
        return _start(folder, wishes, say), True


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


def _start(folder: Path, wishes: Wishes, say: Say) -> StackState:
    data, logs = folder / "kafka", folder / "logs"
    shutil.rmtree(data, ignore_errors=True)
    kafka_port = choose_port(wishes.kafka_port, KAFKA_PORT, "--kafka-port")
    broker = kafka.Broker.create(1, data, logs / "kafka.log", kafka_port)
    mail = MailServer.on_free_ports(choose_port(wishes.imap_port, IMAP_PORT, "--imap-port"))
    user, password = wishes.relay_login or (None, None)
    smtp_port = choose_port(wishes.smtp_port, SMTP_PORT, "--smtp-port")
    front = RelayControl(smtp_port, free_ports(1)[0], user=user, password=password)

    with ExitStack() as starting:
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

        servers = (kafka_server, mail_server, relay_server)
        state = StackState(
            started_at=time.time(),
            kafka_bootstrap=broker.address,
            relay=front,
            mail=mail,
            mailboxes=tuple(wishes.mailboxes),
            servers=tuple(map(_running, servers)),
        )
        write_state(folder, state)
        for server in servers:
            server.detach()
        starting.pop_all()
    return state


def _running(server: Server) -> RunningServer:
    guard, process = ProcessId.of(server.guard_process()), ProcessId.of(server.process())
    return RunningServer(server.name, guard, process, str(server.log))


def _refuse_other_ports(state: StackState, wishes: Wishes) -> None:
    for name, wanted, actual in (
        ("Kafka", wishes.kafka_port, int(state.kafka_bootstrap.rpartition(":")[2])),
        ("the relay", wishes.smtp_port, state.relay.port),
        ("IMAP", wishes.imap_port, state.mail.imap_port),
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
