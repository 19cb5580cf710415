"""The outbound part of a run's configuration."""

import json
from collections.abc import Mapping

from chaos.limits import MAIN, PASSWORD, SPARE, USERNAME, Budget
from chaos.site import OUTCOMES_MAX
from localstack.ports import HOST

CONNECTIONS = 12  # of each relay, all senders together

OUTBOUND = f"""\
[outbound]
commit_outcomes = {OUTCOMES_MAX}
retry_schedule = "0.2s, 0.6s, 1s*2, 2s"
memory_delay_seconds = 0.5
window_mails = 200
drain_seconds = 4
# Every ticket has customers of the same few names, and what is refused until the cure is mailed again.
suppress_unknown_seconds = 0
"""
RELAY = f"""\
[relays.{{name}}]
host = "{HOST}"
port = {{port}}
tls = "none"
connections = {CONNECTIONS}
mails_per_connection = 50
timeout_seconds = 2
hold_seconds = {{hold_seconds}}
hold_seconds_max = {{hold_seconds_max}}
"""
LIMITED = f"""\
username = "{USERNAME}"
password = "{PASSWORD}"
budgets = {{budgets}}
"""
ROUTE = """\
[routes.all]
relays = {relays}
"""
IN_TURN = f'["{MAIN}", "{SPARE}"]'
BY_WEIGHT = f"[{{ {MAIN} = 2, {SPARE} = 1 }}]"


def unlimited(ports: Mapping[str, int]) -> str:
    """Relays that only break."""
    sections = (
        RELAY.format(name=name, port=port, hold_seconds=0.2, hold_seconds_max=1)
        for name, port in ports.items()
    )
    return "\n".join([OUTBOUND, *sections])


def limited(ports: Mapping[str, int], budgets: tuple[Budget, ...], seed: int) -> str:
    """Relays that set limits; every other seed shares the mail out by weight rather than in turn."""
    sections = [
        RELAY.format(name=name, port=port, hold_seconds=1, hold_seconds_max=3)
        + LIMITED.format(budgets=json.dumps([it.words for it in budgets if it.relay == name]))
        for name, port in ports.items()
    ]
    return "\n".join([OUTBOUND, *sections, ROUTE.format(relays=BY_WEIGHT if seed % 2 else IN_TURN)])
