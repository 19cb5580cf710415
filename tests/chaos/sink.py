"""The relays in one process: take SMTP mail as fast as asyncio allows, write every acceptance down before the answer, misbehave by seed.

    python -m chaos.sink --door main=PORT ... --journal FILE [--seed S --mails N [--limits]]      (without a seed they never misbehave)

SIGUSR1 is the cure: addresses that were refused until then are taken. SIGTERM ends it.
"""

import argparse
import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from chaos.conversation import Conversation
from chaos.doors import Door, Plan, Relay
from chaos.limits import plan_spells


async def _serve(doors: Mapping[str, int], relay: Relay) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    loop.add_signal_handler(signal.SIGUSR1, relay.cure)
    for name, port in doors.items():
        await Door(name, relay, Conversation).listen(port)
    await over.wait()


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="chaos.sink", description=__doc__)
    parser.add_argument("--door", type=_door, action="append", required=True, metavar="NAME=PORT")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--mails", type=int, default=0)
    parser.add_argument("--limits", action="store_true", help="set limits and want a login")
    options = parser.parse_args()
    spells = [] if options.seed is None else plan_spells(options.seed, options.mails, limits=options.limits)
    relay = Relay(Plan(options.seed, spells, login_wanted=options.limits), options.journal)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(dict(options.door), relay))


def _door(words: str) -> tuple[str, int]:
    name, _, port = words.partition("=")
    return name, int(port)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop  # noqa: PLC0415 - the outbound extra brings it everywhere but on Windows

    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
