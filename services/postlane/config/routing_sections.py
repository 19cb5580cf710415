"""The sections of the configuration file that say which relay sends which mail."""

from typing import Annotated

from pydantic import Field, field_validator

from postlane.config.section import Section
from postlane.config.sections import OnDead
from postlane.core.addresses import domain_of
from postlane.core.routing.routes import Route

WEIGHT_MAX = 1000
Weight = Annotated[int, Field(ge=1, le=WEIGHT_MAX)]


class RouteSection(Section):
    """A way to relays for some of the mail; the first route whose conditions hold takes a mail as a whole. Without routes, the relays are used in their order."""

    relays: tuple[str | dict[str, Weight], ...] = Field(
        min_length=1,
        description="relays by name, the next one for while those before it take nothing; { a = 3, b = 1 } in the place of a name "
        "shares the mail by weight",
        examples=[["main"]],
    )
    sender_domains: tuple[str, ...] = Field(
        (), description="only mail whose From is of these domains", examples=[["brand.example"]]
    )
    recipient_domains: tuple[str, ...] = Field(
        (),
        description="only mail whose recipients are all of these domains; *.example.com means those below it",
        examples=[["corp.example", "*.corp.example"]],
    )
    tags: tuple[str, ...] = Field(
        (), description="only mail whose request has one of these tags", examples=[["newsletter"]]
    )
    on_dead: OnDead | None = Field(
        None, description="as outbound.on_dead, for the mail of this route", examples=["hold"]
    )

    def tiers(self) -> tuple[tuple[tuple[str, int], ...], ...]:
        """The relays with their weights, tier by tier."""
        return tuple(
            ((entry, 1),) if isinstance(entry, str) else tuple(entry.items()) for entry in self.relays
        )

    def as_route(self, name: str, on_dead: OnDead) -> Route:
        """As the core knows it; `on_dead` holds where the route says nothing."""
        return Route(
            name=name,
            tiers=self.tiers(),
            sender_domains=frozenset(self.sender_domains),
            recipient_domains=frozenset(self.recipient_domains),
            tags=frozenset(self.tags),
            hold_dead=(self.on_dead or on_dead) is OnDead.HOLD,
        )

    @field_validator("relays")
    @classmethod
    def _each_relay_once(cls, relays: tuple[str | dict[str, int], ...]) -> tuple[str | dict[str, int], ...]:
        names = [name for entry in relays for name in ([entry] if isinstance(entry, str) else entry)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f'relay "{twice[0]}" stands there twice')
        if {} in relays:
            raise ValueError("{} names no relay")
        return relays

    @field_validator("sender_domains", "recipient_domains")
    @classmethod
    def _are_domains(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_wire_pattern(domain) for domain in domains)


def _wire_pattern(text: str) -> str:
    star, domain = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    wire = domain_of(f"postmaster@{domain}")
    if wire is None or wire.startswith("["):
        raise ValueError(f'"{text}" is not a domain such as example.com or *.example.com')
    return star + wire
