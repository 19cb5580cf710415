"""The sender processes: started, killed, stopped, sent away. Each has a guard, so none outlives this process."""

import os
import random
import signal
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from localstack.server import Server

BORN_SECONDS = 10.0  # until the guard has made the process
STOPPED_WORDS = '"service_stopped"'


@dataclass(slots=True, eq=False)
class Sender:
    """One process; `taken` while it is being dealt with, for ever if that ends it."""

    name: str
    server: Server
    process: psutil.Process
    taken: bool = False


@dataclass(slots=True)
class Fleet:
    """All senders of a run; `overdue` counts those that were sent away and did not manage it in order."""

    config: Path
    folder: Path
    rnd: random.Random
    relays: Collection[str]
    senders: list[Sender] = field(default_factory=list)
    started: int = 0
    overdue: int = 0

    def start(self) -> Sender:
        """One sender more."""
        self.started += 1
        name = f"sender-{self.started}"
        command = (sys.executable, "-m", "postlane.ops", "--config", str(self.config), "outbound")
        environment = os.environ | {
            f"POSTLANE_RELAYS__{relay.upper()}__EHLO_NAME": f"{name}.test" for relay in self.relays
        }
        server = Server(name, command, self.folder / f"{name}.log", environment)
        sender = Sender(name, server, _child_of(server))
        self.senders.append(sender)
        return sender

    def free(self) -> list[Sender]:
        """Senders that have begun and that nobody else is dealing with; before its first line none can leave in order."""
        return [sender for sender in self.senders if not sender.taken and sender.server.log.stat().st_size]

    def pick(self) -> Sender:
        """One of these, at random; nobody else gets it meanwhile."""
        sender = self.rnd.choice(self.free())
        sender.taken = True
        return sender

    def kill(self, sender: Sender) -> None:
        """SIGKILL."""
        sender.server.kill()
        self.senders.remove(sender)

    def leave(self, sender: Sender) -> None:
        """SIGTERM, and wait for the end."""
        sender.server.stop()
        self.overdue += not _stopped(sender)
        self.senders.remove(sender)

    def pause(self, sender: Sender) -> None:
        """SIGSTOP."""
        sender.process.send_signal(signal.SIGSTOP)

    def resume(self, sender: Sender) -> None:
        """SIGCONT."""
        sender.process.send_signal(signal.SIGCONT)
        sender.taken = False

    def died(self) -> list[str]:
        """Senders that have ended without being told to, with the end of their logs."""
        return [
            str(sender.server.fault("ended by itself"))
            for sender in self.senders
            if not sender.taken and not sender.server.running
        ]

    def end(self) -> list[str]:
        """End all, whatever they do; those that did not manage it in order."""
        for sender in self.senders:
            sender.taken = True
            if sender.server.running:
                sender.process.send_signal(signal.SIGCONT)
                sender.server.ask_to_stop()
        for sender in self.senders:
            sender.server.stop()
        overdue = [f"{sender.name} did not stop in time" for sender in self.senders if not _stopped(sender)]
        self.senders.clear()
        return overdue


def _stopped(sender: Sender) -> bool:
    return STOPPED_WORDS in sender.server.log.read_text("utf-8", "replace")


def _child_of(server: Server) -> psutil.Process:
    deadline = time.monotonic() + BORN_SECONDS
    while True:
        children = server.guard_process().children() if server.running else []
        if children:
            return children[0]
        if not server.running or time.monotonic() > deadline:
            raise server.fault("was not born")
        time.sleep(0.01)
