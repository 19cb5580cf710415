"""How a test wants a relay to behave, understood by MemorySink and by the real little server ScriptedRelay."""

import asyncio
from dataclasses import dataclass, field

from postlane.core.smtp.transcript import Phase


@dataclass(frozen=True, slots=True)
class TakenMail:
    """A mail for which the relay took responsibility, or which it received whole before the connection broke."""

    mail_from: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass(slots=True)
class RelayScript:
    """Tests change it between mails. Lines are replies such as `550 5.1.1 No such user`.

    `stops`: the answer in that phase, or None for a connection that breaks there. `hangs`: the phase in which the relay says nothing;
    `hanging` is set once it does.
    """

    accepts: str = "250 2.0.0 Ok: queued as 4XyZ"
    refused: dict[str, str] = field(default_factory=dict)
    stops: dict[Phase, str | None] = field(default_factory=dict)
    hangs: Phase | None = None
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
