"""Sets a run of the inbound side up, and says how it ended."""

import asyncio
import contextlib
import json
import random
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chaos.fleet import Fleet
from chaos.inbound.mail_server import MailServer
from chaos.inbound.mailboxes import polled
from chaos.inbound.planted import PROGRAM
from chaos.inbound.run import Run
from chaos.inbound.schedule import Kind, counts
from chaos.inbound.verdict import Findings, Verdict, judge
from chaos.inbound.wire import Act, Wire, plan_snag
from chaos.run import RunFault, end_when_asked, say
from chaos.site import Site
from localstack.ports import free_ports
from localstack.server import ServerFault

SECONDS_PER_MAIL_MAX = 0.2
SECONDS_MAX_BASE = 240.0
SECONDS_PER_LOSS_MAX = 150.0
LINES_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be played; `planted` names a bug that the pollers are given, see chaos.inbound.planted."""

    mails: int
    seed: int
    brokers: int
    planted: str | None

    @property
    def seconds_max(self) -> float:
        """When nobody waits any more."""
        losses = counts(self.mails, self.brokers).get(Kind.BROKER_LOSS, 0)
        return SECONDS_MAX_BASE + SECONDS_PER_MAIL_MAX * self.mails + SECONDS_PER_LOSS_MAX * losses


async def play(folder: Path, order: Order, seconds_max: float) -> bool:
    """Whether something was broken."""
    end_when_asked()
    with contextlib.ExitStack() as stack:
        server = await asyncio.to_thread(MailServer, folder / "dovecot.log")
        stack.callback(server.close)
        (port,) = free_ports(1)
        site = await asyncio.to_thread(Site.build, folder, polled(port), order.brokers)
        stack.callback(site.close)
        wire = Wire(partial(plan_snag, order.seed), port, server.dovecot.port)
        program = ("-m", "postlane.ops") if order.planted is None else ("-m", PROGRAM, order.planted)
        command = (*program, "--config", str(site.config), "inbound")
        fleet = Fleet(folder, random.Random(f"{order.seed}:victims"), command, "poller")
        run = Run(site, server, wire, fleet, (order.mails, order.seed))
        stack.callback(run.tail.close)
        stack.callback(fleet.end)
        trouble: list[str] = []
        findings: Findings | None = None
        try:
            async with asyncio.timeout(seconds_max):
                findings = await run.play()
        except* TimeoutError:
            taken = f"{run.progress} of {len(run.delivered)} mails are events"
            trouble = [f"not over after {seconds_max:.0f} s: {taken}", *run.unrest]
        except* (RunFault, ServerFault) as faults:
            trouble = [str(fault) for fault in faults.exceptions]
        finally:
            await wire.close()
        verdict = None if findings is None else judge(run.delivered, findings)
        return _report(run, verdict, trouble + run.trouble, order)


def _report(run: Run, verdict: Verdict | None, trouble: list[str], order: Order) -> bool:
    """A run without a verdict has nulls where nobody can say."""
    violations = trouble + ([] if verdict is None else verdict.violations)
    for line in violations[:LINES_SHOWN]:
        print(line, file=sys.stderr)
    done, snags = run.done, run.wire.done
    summary = {
        "mails": len(run.delivered),
        "lost": verdict and len(verdict.lost),
        "duplicates": verdict and len(verdict.duplicates),
        "faults": len(trouble) + (len(verdict.faults) if verdict else 0),
        "kills": done[Kind.KILL],
        "stops": done[Kind.STOP],
        "leaves": done[Kind.LEAVE],
        "broker_restarts": done[Kind.BROKER_RESTART] + done[Kind.BROKER_CRASH],
        "broker_losses": done[Kind.BROKER_LOSS],
        "imap_cuts": done[Kind.IMAP_CUT] + snags[Act.CUT] + snags[Act.CUT_UNHEARD],
        "imap_stalls": done[Kind.IMAP_STALL] + snags[Act.STALL] + snags[Act.STALL_UNHEARD],
        "mail_server_restarts": done[Kind.MAIL_SERVER_RESTART] + done[Kind.RESTORE],
        "uid_validity_changes": done[Kind.RENUMBER] + done[Kind.RESTORE],
        "by_others": dict(run.other.did),
        "planted": order.planted,
        "seed": order.seed,
    }
    say("over")
    print(json.dumps(summary), flush=True)
    return bool(violations)
