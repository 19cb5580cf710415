"""`python -m chaos --side outbound|inbound --mails N --seed S [--limits 0|1] [--cluster 3] [--planted BUG] [--seconds-max T]`: one run; the last line is JSON.

Exit status 1 on any violation or when the time is over; then the folder with all logs is kept and named. The seed decides the
mails, the faults of relays and network, and the schedule of disturbances. This is the outbound side; chaos.inbound has the other one.
"""

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from chaos.audit import Findings
from chaos.inbound import play as inbound_play
from chaos.inbound.planted import BUGS
from chaos.limit_verdict import LimitVerdict, judge_limits
from chaos.limits import MAIN, SPARE, plan_budgets
from chaos.relays import CONNECTIONS, limited, unlimited
from chaos.run import Run, RunFault, end_when_asked, say
from chaos.schedule import Kind, counts
from chaos.site import UNCOMMITTED_MAX, Site
from chaos.verdict import Verdict, judge
from localstack.ports import free_ports
from localstack.server import Server, ServerFault

SECONDS_PER_MAIL_MAX = 0.06
SECONDS_MAX_BASE = 180.0
SECONDS_PER_LOSS_MAX = 240.0
LINES_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be played; `limits`: two relays that set limits instead of one that does not."""

    mails: int
    seed: int
    brokers: int
    limits: bool

    @property
    def relays(self) -> tuple[str, ...]:
        """Their names."""
        return (MAIN, SPARE) if self.limits else (MAIN,)

    @property
    def seconds_max(self) -> float:
        """When nobody waits any more."""
        losses = counts(self.mails, self.brokers)[Kind.BROKER_LOSS]
        return SECONDS_MAX_BASE + SECONDS_PER_MAIL_MAX * self.mails + SECONDS_PER_LOSS_MAX * losses


def main() -> int:
    """Run as the command line says."""
    options = _options()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="postlane-chaos-"))
    if options.side == "inbound":
        inbound = inbound_play.Order(options.mails, seed, options.cluster, options.planted)
        seconds_max = options.seconds_max or inbound.seconds_max
        course, words = inbound_play.play(folder, inbound, seconds_max), f"planted: {options.planted}"
    else:
        limits = options.cluster == 1 if options.limits is None else bool(options.limits)
        order = Order(options.mails, seed, options.cluster, limits)
        seconds_max = options.seconds_max or order.seconds_max
        course, words = _play(folder, order, seconds_max), f"limits {'on' if limits else 'off'}"
    say(f"seed {seed}, {options.mails} mails, {words}, at most {seconds_max:.0f} s, logs in {folder}")
    failed = asyncio.run(course)
    if failed or options.keep:
        print(f"logs are kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--side", choices=("outbound", "inbound"), default="outbound")
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--cluster", type=int, choices=(1, 3), default=1, help="how many brokers")
    parser.add_argument(
        "--limits", type=int, choices=(0, 1), help="whether relays set limits; with one broker they do"
    )
    parser.add_argument(
        "--planted", choices=tuple(BUGS), help="a bug to give to the pollers of --side inbound"
    )
    parser.add_argument("--seconds-max", type=float, default=None)
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs in any case")
    return parser.parse_args()


async def _play(folder: Path, order: Order, seconds_max: float) -> bool:
    """Whether something was broken."""
    end_when_asked()
    ports = dict(zip(order.relays, free_ports(len(order.relays)), strict=True))
    budgets = plan_budgets(order.mails) if order.limits else ()
    relays = limited(ports, budgets, order.seed) if order.limits else unlimited(ports)
    journal = folder / "journal.jsonl"
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(_launch_sink(folder, ports, journal, order))
        site = await asyncio.to_thread(Site.build, folder, relays, order.brokers)
        stack.callback(site.close)
        run = Run(site, sink, journal, order.mails, order.seed)
        stack.callback(run.fleet.end)
        trouble: list[str] = []
        findings = Findings()
        try:
            async with asyncio.timeout(seconds_max):
                findings = await run.play()
        except* TimeoutError:
            taken = f"{run.progress} of {len(run.planned)} mails were taken or doomed"
            trouble = [f"not over after {seconds_max:.0f} s: {taken}", *run.unrest]
        except* (RunFault, ServerFault) as faults:
            trouble = [str(fault) for fault in faults.exceptions]
        verdict = limit_verdict = None
        if not trouble:
            verdict = judge(run.planned, run.tail.acceptances, findings)
            limit_verdict = judge_limits(run.planned, run.tail.acceptances, run.tail.tried, findings, budgets)
        return _report(run, (verdict, limit_verdict), trouble, order)


def _launch_sink(folder: Path, ports: Mapping[str, int], journal: Path, order: Order) -> Server:
    doors = [word for name, port in ports.items() for word in ("--door", f"{name}={port}")]
    command = [sys.executable, "-m", "chaos.sink", *doors, "--journal", str(journal)]
    command += ["--seed", str(order.seed), "--mails", str(order.mails)]
    return Server("sink", command + ["--limits"] * order.limits, folder / "sink.log")


def _report(
    run: Run, verdicts: tuple[Verdict | None, LimitVerdict | None], trouble: list[str], order: Order
) -> bool:
    """A run without a verdict has nulls where nobody can say."""
    verdict, limit_verdict = verdicts
    done = run.done.counts
    bound = run.done.duplicates_allowed_by * (CONNECTIONS * len(order.relays) + UNCOMMITTED_MAX)
    trouble = trouble + run.trouble + run.losses.trouble
    violations = trouble if verdict is None else trouble + verdict.violations(bound)
    violations = violations + ([] if limit_verdict is None else limit_verdict.violations)
    for line in violations[:LINES_SHOWN]:
        print(line, file=sys.stderr)
    summary = {
        "mails": len(run.planned),
        "lost": verdict and len(verdict.lost),
        "order_inversions": verdict and len(verdict.order_inversions),
        "duplicates": verdict and len(verdict.duplicates),
        "duplicates_bound": bound,
        "repeats_after_unknown": verdict and verdict.repeats_after_unknown,
        "faults": len(trouble) + (len(verdict.faults) if verdict else 0),
        "kills": done[Kind.KILL],
        "stops": done[Kind.STOP],
        "broker_restarts": done[Kind.BROKER_RESTART] + done[Kind.BROKER_CRASH],
        "broker_losses": [asdict(loss) for loss in run.losses.played],
        "joins": done[Kind.JOIN],
        "leaves": done[Kind.LEAVE],
        "leaves_overdue": run.fleet.overdue,
        "replays": done[Kind.REPLAY],
        "limits": _limits(run, limit_verdict) if order.limits else None,
        "attempts_burned": limit_verdict and len(limit_verdict.attempts_burned),
        "budget_exceeded": limit_verdict and len(limit_verdict.budget_exceeded),
        "seed": order.seed,
    }
    say("over")
    print(json.dumps(summary), flush=True)
    return bool(violations)


def _limits(run: Run, verdict: LimitVerdict | None) -> dict[str, object]:
    """How often each limit turned something away, what went to which relay, how much of a budget one holder used at the most."""
    return {
        **run.tail.turned_away,
        "held_mails": verdict and verdict.held_mails,
        "taken": Counter(acceptance.relay for acceptance in run.tail.acceptances),
        "most": verdict and verdict.most,
    }


if __name__ == "__main__":
    sys.exit(main())
