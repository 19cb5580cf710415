"""The whole configuration: one TOML file, overridden by POSTLANE_* environment variables (nested with `__`)."""

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from postlane.config.blobs_section import BlobsSection
from postlane.config.mailbox_section import MailboxSection
from postlane.config.notify_section import NotifySection
from postlane.config.relay_section import RelaySection
from postlane.config.routing_sections import RouteSection
from postlane.config.safety_section import SafetySection
from postlane.config.scan_section import ScanSection
from postlane.config.sections import (
    HttpSection,
    InboundSection,
    KafkaSection,
    LogsSection,
    OnDead,
    OutboundSection,
    TopicsSection,
)
from postlane.config.signing_section import SigningSection
from postlane.core.routing.routes import Route

ENV_PREFIX = "POSTLANE_"
ENV_DELIMITER = "__"
CONFIG_PATH_VARIABLE = "POSTLANE_CONFIG"
CONFIG_PATH_DEFAULT = Path("postlane.toml")


class ConfigError(Exception):
    """The configuration cannot be used; the text names what, where and what to do, one line per fault."""


class Settings(BaseSettings):
    """Everything a service needs to know; read once at start and passed on explicitly."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        extra="forbid",
        frozen=True,
        case_sensitive=False,
    )

    kafka: KafkaSection = KafkaSection()
    topics: TopicsSection = TopicsSection()
    blobs: BlobsSection = BlobsSection()
    signing: SigningSection = SigningSection()
    outbound: OutboundSection = OutboundSection()
    relays: dict[str, RelaySection] = Field(default_factory=dict)
    routes: dict[str, RouteSection] = Field(default_factory=dict)
    safety: SafetySection = SafetySection()
    inbound: InboundSection = InboundSection()
    scan: ScanSection = ScanSection()
    mailboxes: dict[str, MailboxSection] = Field(default_factory=dict)
    notify: NotifySection = NotifySection()
    http: HttpSection = HttpSection()
    logs: LogsSection = LogsSection()

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> "Settings":
        for name, route in self.routes.items():
            for relay in (relay for tier in route.tiers() for relay, _ in tier):
                if relay not in self.relays:
                    known = ", ".join(self.relays) or "none"
                    raise ValueError(
                        f'routes.{name}.relays: no relay is called "{relay}"; known are: {known}'
                    )
        *others, last = self.mail_routes()
        if not last.takes_all:
            raise ValueError(
                f"routes.{last.name}: the last route must take all mail, so it has no sender_domains, recipient_domains or tags; "
                "add one behind it"
            )
        if whole := [route.name for route in others if route.takes_all]:
            raise ValueError(f"routes.{whole[0]}: it takes all mail, so the routes behind it never get any")
        return self

    @model_validator(mode="after")
    def _return_paths_are_signed(self) -> "Settings":
        for name, relay in self.relays.items():
            if relay.verp and not self.signing.keys:
                raise ValueError(
                    f"relays.{name}.verp: without signing.keys no return path is believed; set a key"
                )
        return self

    @model_validator(mode="after")
    def _mailboxes_have_names(self) -> "Settings":
        for name in self.mailboxes:
            if not name or not name.isprintable() or "/" in name:
                # In keys on mail.inbound.cursor it stands before a slash and the folder: "a/b" with "c" would be "a" with "b/c".
                raise ValueError(
                    f"mailboxes: {name!r} is no name for a mailbox; leave out slashes and control characters"
                )
        return self

    @model_validator(mode="after")
    def _news_goes_another_way(self) -> "Settings":
        for name, relay in self.relays.items():
            if self.notify.mail is not None and self.notify.mail.is_account_of(relay):
                raise ValueError(
                    f"notify.mail: this is the account of relays.{name}, by which no news of its own trouble can go; "
                    "use another account, or notify.webhook"
                )
        return self

    def mail_routes(self) -> tuple[Route, ...]:
        """The routes in their order; without any, one for all mail that leads to the relays in their order."""
        if not self.routes:
            tiers = tuple(((relay, 1),) for relay in self.relays)
            return (Route(tiers=tiers, hold_dead=self.outbound.on_dead is OnDead.HOLD),)
        return tuple(route.as_route(name, self.outbound.on_dead) for name, route in self.routes.items())

    def drain_seconds(self, service: str) -> float:
        """How long `outbound` or `inbound` takes to stop by itself."""
        return {"outbound": self.outbound.drain_seconds, "inbound": self.inbound.drain_seconds}[service]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which arrives as init arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def find_config(path: Path | None = None) -> Path | None:
    """The file to read: the argument, else $POSTLANE_CONFIG, else ./postlane.toml; None where that is not there either."""
    if path is not None:
        return path
    if named := os.environ.get(CONFIG_PATH_VARIABLE):
        return Path(named)
    return CONFIG_PATH_DEFAULT if CONFIG_PATH_DEFAULT.exists() else None


def load_settings(path: Path | None = None) -> Settings:
    """Read the file that `find_config` names, if any, and the environment over it. Raises ConfigError with every fault."""
    source = find_config(path)
    document = {} if source is None else read_toml(source)
    place = str(source or "environment")
    faults = [*_unknown_variables(), *_unknown_sections(place, document)]
    try:
        settings = Settings(**{name: document[name] for name in document if name in Settings.model_fields})
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        raise ConfigError("\n".join([*faults, *(_explain(place, detail) for detail in details)])) from None
    except SettingsError:
        # Its words and its cause may hold the value, which may be a secret.
        raise ConfigError("\n".join([*faults, *_unreadable_variables()])) from None
    if faults:
        raise ConfigError("\n".join(faults))
    return settings


def read_toml(path: Path) -> dict[str, Any]:
    """The file as it is written. Raises ConfigError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _unknown_variables() -> list[str]:
    """Variables that name no section; a misspelled key inside a section is found by validation."""
    known = ", ".join(f"{ENV_PREFIX}{name.upper()}__..." for name in Settings.model_fields)
    return [
        f"environment variable {variable}: no such section; known are {known} and {CONFIG_PATH_VARIABLE}"
        for variable in sorted(os.environ)
        if variable.startswith(ENV_PREFIX)
        and variable != CONFIG_PATH_VARIABLE
        and variable.removeprefix(ENV_PREFIX).split(ENV_DELIMITER)[0].lower() not in Settings.model_fields
    ]


def _unreadable_variables() -> list[str]:
    """Variables that hold a list or a whole section and are no JSON. The value may be a secret, so it is not shown."""
    source, found = EnvSettingsSource(Settings), []
    for variable in sorted(name for name in os.environ if name.startswith(ENV_PREFIX)):
        source.env_vars = {variable.lower(): os.environ[variable]}
        try:
            source()
        except SettingsError:
            found.append(
                f'environment variable {variable}: a list is written as JSON here, such as \'["INBOX", "Junk"]\'; '
                "of a section each key has a variable of its own, POSTLANE_SECTION__KEY=value"
            )
    return found


def _unknown_sections(place: str, document: dict[str, Any]) -> list[str]:
    # Before validation, because BaseSettings takes init arguments of its own (`_env_file` and others).
    return [
        _unknown_key(place, name, list(Settings.model_fields))
        for name in document
        if name not in Settings.model_fields
    ]


def _explain(source: str, detail: ErrorDetails) -> str:
    path = [str(part) for part in detail["loc"]]
    variable = ENV_PREFIX + ENV_DELIMITER.join(path).upper()
    place = f"environment variable {variable}" if variable in os.environ else source
    if detail["type"] == "extra_forbidden":
        return _unknown_key(place, ".".join(path), _keys_beside(path))
    words = detail["msg"].removeprefix("Value error, ")
    return ": ".join([place, *filter(None, [".".join(path)]), words])


def _unknown_key(place: str, key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key.rpartition(".")[2], known, n=1)
    hint = f"did you mean {near[0]}?" if near else "`postlane config example` shows every key"
    return f"{place}: unknown key {key}; {hint}"


def _keys_beside(path: list[str]) -> list[str]:
    """The keys that the section of this path has."""
    schema = Settings.model_json_schema()
    section = schema["properties"].get(path[0], {})
    named = "additionalProperties" in section
    section = _section(schema, section.get("additionalProperties", section))
    for key in path[2 if named else 1 : -1]:
        choices = section.get("properties", {}).get(key, {}).get("anyOf", [{}])
        section = _section(schema, choices[0])
    return list(section.get("properties", {}))


def _section(schema: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"].get(reference.get("$ref", "").rpartition("/")[2], {})
    return found
