"""Safety: whom a system that is only tried out may mail.

recipient       only_to               redirect_to          the envelope names
anybody         not set               not set              the recipient
in only_to      set                   set or not           the recipient
outside         set                   not set              nobody: suppressed
outside         set                   set                  redirect_to
anybody         not set               set                  redirect_to

The message itself is never changed for it: To and Cc stand there as in production, so that what is tried is what will be sent, and the bytes
depend on the request alone.
"""

from dataclasses import dataclass

from postlane.core.addresses import domain_of, mailbox_key, wire_address
from postlane.core.routing.routes import lies_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """`addresses` in the form of `mailbox_key`, `domains` as in core.routing.routes. `limited`: nobody else is mailed."""

    limited: bool = False
    addresses: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    redirect_to: str | None = None

    def destination(self, recipient: str) -> str | None:
        """The address that an envelope names for this recipient; None: nobody is mailed."""
        if not self.limited or self.allows(recipient):
            return recipient
        return self.redirect_to

    def allows(self, address: str) -> bool:
        """Whether this address is one of `only_to`."""
        return mailbox_key(address) in self.addresses or lies_in(address, self.domains)


def read_safety(only_to: tuple[str, ...] | None, redirect_to: str | None) -> Safety:
    """Safety as people write it: `kim@example.com`, `@example.com`, `@*.example.com`. Raises ValueError that names the entry."""
    addresses, domains = set(), set()
    for entry in only_to or ():
        if entry.startswith("@"):
            domains.add(_domain(entry))
        elif (key := mailbox_key(entry)) is not None:
            addresses.add(key)
        else:
            raise ValueError(f'only_to: "{entry}" is neither an address nor a domain such as @example.com')
    if only_to == () and redirect_to is None:
        raise ValueError("only_to: an empty list lets nobody be mailed; name somebody, or leave it out")
    safety = Safety(
        limited=only_to is not None or redirect_to is not None,
        addresses=frozenset(addresses),
        domains=frozenset(domains),
        redirect_to=None if redirect_to is None else wire_address(redirect_to),
    )
    if redirect_to is not None and safety.redirect_to is None:
        raise ValueError(f'redirect_to: "{redirect_to}" is not a mail address')
    if only_to and safety.redirect_to is not None and not safety.allows(safety.redirect_to):
        raise ValueError(f'redirect_to: "{redirect_to}" is not among only_to; add it there')
    return safety


def _domain(entry: str) -> str:
    star, domain = ("*.", entry[3:]) if entry.startswith("@*.") else ("", entry[1:])
    wire = domain_of(f"postmaster@{domain}")
    if wire is None or wire.startswith("["):
        raise ValueError(f'only_to: "{entry}" is not a domain such as @example.com or @*.example.com')
    return star + wire
