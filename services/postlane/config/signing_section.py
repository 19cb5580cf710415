"""The section of the configuration file that makes replies recognisable."""

from pydantic import AwareDatetime, Field, model_validator

from postlane.config.secrets import Secret
from postlane.config.section import Section
from postlane.core.ticket_marks import SigningKeys

SIGNING_SECRET_CHARACTERS_MIN = 16  # shorter ones can be guessed from the mails that they signed


class SigningSection(Section):
    """Keys that sign ticket ids in Message-IDs and plus-addresses, so that replies are recognised and not forged."""

    domain: str = Field("localhost", description="right-hand side of our Message-IDs; a domain of yours")
    active_key: str = Field("k1", description="id of the key that new mail is signed with")
    keys: dict[str, Secret] = Field(
        default_factory=dict,
        description="key id = secret of at least 16 characters; keep old ones until old threads are over; without any, "
        "no reply joins its ticket: only a signed mark fills ticket_id",
        examples=[{"k1": {"file": "/run/secrets/postlane-signing-k1"}}],
    )

    since: dict[str, AwareDatetime] = Field(
        default_factory=dict,
        description="key id = from when on it signs; with it a rotation leaves the bytes of waiting mail unchanged",
        examples=[{"k2": "2027-01-01T00:00:00Z"}],
    )

    @model_validator(mode="after")
    def _keys_can_be_used(self) -> "SigningSection":
        for key_id, secret in self.keys.items():
            if len(secret.get_secret_value()) < SIGNING_SECRET_CHARACTERS_MIN:
                raise ValueError(
                    f"signing key {key_id} is shorter than {SIGNING_SECRET_CHARACTERS_MIN} characters"
                )
        self.signing_keys()
        return self

    def signing_keys(self) -> SigningKeys:
        """The keys as the core takes them. Raises ValueError."""
        secrets = {key_id: secret.get_secret_value().encode() for key_id, secret in self.keys.items()}
        return SigningKeys(active=self.active_key, keys=secrets, domain=self.domain, since=self.since)
