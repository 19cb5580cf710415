"""The section of the configuration file that keeps a system on trial from mailing customers."""

from pydantic import Field, model_validator

from postlane.config.section import Section
from postlane.core.routing.safety import Safety, read_safety


class SafetySection(Section):
    """For staging: who may be mailed at all. Whom it keeps from being mailed is said in the mail's status."""

    only_to: tuple[str, ...] | None = Field(
        None,
        description="only these addresses and domains are mailed, others are SUPPRESSED; @*.example.com means the domains below it",
        examples=[["@example.com", "qa@other.example"]],
    )
    redirect_to: str | None = Field(
        None,
        description="mail for others goes to this address instead, which only_to must name; without only_to all mail does",
        examples=["qa@example.com"],
    )

    def as_safety(self) -> Safety:
        """As the core knows it."""
        return read_safety(self.only_to, self.redirect_to)

    @model_validator(mode="after")
    def _can_be_read(self) -> "SafetySection":
        self.as_safety()
        return self
