"""What a name server of a test knows, for the fake and the real little server alike."""

import asyncio
from dataclasses import dataclass, field

CHAIN_MAX = 8


@dataclass(slots=True)
class ZoneScript:
    """`records` by name (lower-case, no dot at the end) and type, as a zone file writes them, hosts absolute; other names do not exist.

    `rcodes` gives another answer for a name, `silent` names get none; `asked` lists the questions in their order, datagrams and
    connections alike. `resolves` False: a server that asks nobody else and says so.
    """

    records: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    rcodes: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    truncated: set[str] = field(default_factory=set)
    waits_for: asyncio.Event | None = None
    ttl_seconds: int = 600
    resolves: bool = True
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def names_asked(self) -> list[str]:
        """The names of the questions."""
        return [name for name, _, _ in self.asked]

    def chain(self, name: str) -> list[str]:
        """The name and those that its CNAMEs lead to."""
        names = [name]
        while len(names) < CHAIN_MAX and (targets := self.records.get(names[-1], {}).get("CNAME")):
            names.append(targets[0].removesuffix("."))
        return names


def world() -> ZoneScript:
    """A name server that knows the domain which every name server knows."""
    return ZoneScript(records={"com": {"NS": ["a.gtld-servers.net."]}})
