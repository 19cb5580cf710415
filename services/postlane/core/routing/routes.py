"""Routes: which relays may send a mail, by the domain of its author, the domains of its recipients, and its tags.

A mail goes by one route as a whole, the first whose conditions hold. So the same request always takes the same route, whoever has it
already, and a condition on recipients holds only where it holds for all of them.
"""

from dataclasses import dataclass

from postlane.core.addresses import domain_of
from postlane.core.events.request import MailRequested

DEFAULT_ROUTE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`tiers`: relays by name with their weights, those of a later tier for when an earlier one takes nothing.

    Domains are in lower-case ASCII; `*.example.com` stands for every domain below it. An empty condition holds for every mail.
    `hold_dead`: mail that dies waits for a person, and its ticket with it.
    """

    name: str = DEFAULT_ROUTE
    tiers: tuple[tuple[tuple[str, int], ...], ...] = ()
    sender_domains: frozenset[str] = frozenset()
    recipient_domains: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    hold_dead: bool = False

    @property
    def relays(self) -> tuple[str, ...]:
        """All of its relays, the preferred ones first."""
        return tuple(relay for tier in self.tiers for relay, _ in tier)

    @property
    def takes_all(self) -> bool:
        """Whether it has no condition."""
        return not (self.sender_domains or self.recipient_domains or self.tags)

    def fits(self, request: MailRequested) -> bool:
        """Whether every condition holds for this mail."""
        if self.tags and self.tags.isdisjoint(request.tags):
            return False
        if self.sender_domains and not lies_in(request.from_address.address, self.sender_domains):
            return False
        recipients = (*request.to, *request.cc, *request.bcc)
        return not self.recipient_domains or all(
            lies_in(recipient.address, self.recipient_domains) for recipient in recipients
        )


def route_of(routes: tuple[Route, ...], request: MailRequested | None) -> str:
    """The route of a mail: the first that fits, else the last one, which takes all. None: what cannot be read ends unsent, whose turn it is."""
    if request is None:
        return routes[-1].name
    return next((route.name for route in routes if route.fits(request)), routes[-1].name)


def lies_in(address: str, domains: frozenset[str]) -> bool:
    """Whether an address is of one of these domains, or below one that stands there as `*.example.com`."""
    domain = domain_of(address)
    if domain is None:
        return False
    _, _, parent = domain.partition(".")
    parents = [f"*.{parent}"]
    while "." in parent:
        _, _, parent = parent.partition(".")
        parents.append(f"*.{parent}")
    return domain in domains or not domains.isdisjoint(parents)
