"""`python -m chaos --side outbound --mails N --seed S [--cluster 3] [--seconds-max T]`: one run; the last line is JSON.

Exit status 1 on any violation or when the time is over; then the folder with all logs is kept and named. The seed decides the
requests, the relay's faults and the schedule of disturbances.
"""

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from chaos.audit import Findings
from chaos.run import Run, RunFault, say
from chaos.schedule import Kind, counts
from chaos.site import CONNECTIONS, UNCOMMITTED_MAX, Site
from chaos.verdict import Verdict, judge
from localstack.ports import free_ports
from localstack.server import Server, ServerFault

SECONDS_PER_MAIL_MAX = 0.06
SECONDS_MAX_BASE = 180.0
SECONDS_PER_LOSS_MAX = 240.0
LINES_SHOWN = 40


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--side", choices=("outbound",), default="outbound")
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--cluster", type=int, choices=(1, 3), default=1, help="how many brokers")
    parser.add_argument("--seconds-max", type=float, default=None)
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs in any case")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    seconds_max = options.seconds_max or _seconds_max(options.mails, options.cluster)
    folder = Path(tempfile.mkdtemp(prefix="postlane-chaos-"))
    say(f"seed {seed}, {options.mails} mails, at most {seconds_max:.0f} s, logs in {folder}")
    size = options.mails, options.cluster
    failed = asyncio.run(_play(folder, size, seed, seconds_max))
    if failed or options.keep:
        print(f"logs are kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def _seconds_max(mails: int, brokers: int) -> float:
    losses = counts(mails, brokers)[Kind.BROKER_LOSS]
    return SECONDS_MAX_BASE + SECONDS_PER_MAIL_MAX * mails + SECONDS_PER_LOSS_MAX * losses


async def _play(folder: Path, size: tuple[int, int], seed: int, seconds_max: float) -> bool:
    """`size` is in mails and brokers. Whether something was broken; SIGTERM ends the run as Ctrl-C does, and everything that it started with it."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    mails, brokers = size
    port = free_ports(1)[0]
    journal = folder / "journal.jsonl"
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(_launch_sink(folder, port, journal, mails, seed))
        site = await asyncio.to_thread(Site.build, folder, port, brokers)
        stack.callback(site.close)
        run = Run(site, sink, journal, mails, seed)
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
        verdict = None if trouble else judge(run.planned, run.tail.acceptances, findings)
        return _report(run, verdict, trouble, seed)


def _launch_sink(folder: Path, port: int, journal: Path, mails: int, seed: int) -> Server:
    command = (sys.executable, "-m", "chaos.sink", "--port", str(port), "--journal", str(journal))
    return Server("sink", (*command, "--seed", str(seed), "--mails", str(mails)), folder / "sink.log")


def _report(run: Run, verdict: Verdict | None, trouble: list[str], seed: int) -> bool:
    """A run without a verdict has nulls where nobody can say."""
    done = run.done.counts
    bound = run.done.duplicates_allowed_by * (CONNECTIONS + UNCOMMITTED_MAX)
    trouble = trouble + run.trouble + run.losses.trouble
    violations = trouble if verdict is None else trouble + verdict.violations(bound)
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
        "seed": seed,
    }
    say("over")
    print(json.dumps(summary), flush=True)
    return bool(violations)


if __name__ == "__main__":
    sys.exit(main())
