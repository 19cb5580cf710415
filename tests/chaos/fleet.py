"""The processes of a service: started, killed, stopped, sent away. Each has a guard, so none outlives this process."""

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from localstack.server import Server

BORN_SECONDS = 10.0  # until the guard has made the process
STOPPED_WORDS = '"service_stopped"'


@dataclass(slots=True, eq=False)
class Member:
    """One process; `taken` while it is being dealt with, for ever if that ends it."""

    name: str
    server: Server
    process: psutil.Process
    taken: bool = False


@dataclass(slots=True)
class Fleet:
    """All processes of a run; `overdue` counts those that were sent away and did not manage it in order.

    `command` is what Python runs, `environment` what a process of this name gets beside ours.
    """

    folder: Path
    rnd: random.Random
    command: Sequence[str]
    noun: str
    environment: Callable[[str], Mapping[str, str]] = lambda _name: {}
    members: list[Member] = field(default_factory=list)
    started: int = 0
    overdue: int = 0

    def start(self) -> Member:
        """One more."""
        self.started += 1
        name = f"{self.noun}-{self.started}"
        environment = os.environ | self.environment(name)
        server = Server(name, (sys.executable, *self.command), self.folder / f"{name}.log", environment)
        member = Member(name, server, _child_of(server))
        self.members.append(member)
        return member

    def free(self) -> list[Member]:
        """Those that have begun and that nobody else is dealing with; before its first line none can leave in order."""
        return [member for member in self.members if not member.taken and member.server.log.stat().st_size]

    def pick(self) -> Member:
        """One of these, at random; nobody else gets it meanwhile."""
        member = self.rnd.choice(self.free())
        member.taken = True
        return member

    def pick_at(self, port: int) -> Member | None:
        """The free one that has a connection from this local port."""
        for member in self.free():
            with contextlib.suppress(psutil.Error):
                if any(it.laddr and it.laddr.port == port for it in member.process.net_connections("tcp")):
                    member.taken = True
                    return member
        return None

    def kill(self, member: Member) -> None:
        """SIGKILL."""
        member.server.kill()
        self.members.remove(member)

    def leave(self, member: Member) -> None:
        """SIGTERM, and wait for the end."""
        member.server.stop()
        self.overdue += not _stopped(member)
        self.members.remove(member)

    def pause(self, member: Member) -> None:
        """SIGSTOP."""
        member.process.send_signal(signal.SIGSTOP)

    def resume(self, member: Member) -> None:
        """SIGCONT."""
        member.process.send_signal(signal.SIGCONT)
        member.taken = False

    def died(self) -> list[str]:
        """Those that have ended without being told to, with the end of their logs."""
        return [
            str(member.server.fault("ended by itself"))
            for member in self.members
            if not member.taken and not member.server.running
        ]

    def end(self) -> list[str]:
        """End all, whatever they do; those that did not manage it in order."""
        for member in self.members:
            member.taken = True
            if member.server.running:
                member.process.send_signal(signal.SIGCONT)
                member.server.ask_to_stop()
        for member in self.members:
            member.server.stop()
        overdue = [f"{member.name} did not stop in time" for member in self.members if not _stopped(member)]
        self.members.clear()
        return overdue


def _stopped(member: Member) -> bool:
    return STOPPED_WORDS in member.server.log.read_text("utf-8", "replace")


def _child_of(server: Server) -> psutil.Process:
    deadline = time.monotonic() + BORN_SECONDS
    while True:
        children = server.guard_process().children() if server.running else []
        if children:
            return children[0]
        if not server.running or time.monotonic() > deadline:
            raise server.fault("was not born")
        time.sleep(0.01)
