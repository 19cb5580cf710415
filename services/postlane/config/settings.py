"""The whole configuration: one TOML file, overridden by POSTLANE_* environment variables (nested with `__`)."""

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from postlane.config.sections import (
    BlobsSection,
    HttpSection,
    InboundSection,
    KafkaSection,
    LogsSection,
    MailboxSection,
    OutboundSection,
    RelaySection,
    SigningSection,
    TopicsSection,
)

CONFIG_PATH_VARIABLE = "POSTLANE_CONFIG"
CONFIG_PATH_DEFAULT = Path("postlane.toml")


class ConfigError(Exception):
    """The configuration cannot be used; the text names what, where and what to do, one line per fault."""


class Settings(BaseSettings):
    """Everything a service needs to know; read once at start and passed on explicitly."""

    model_config = SettingsConfigDict(
        env_prefix="POSTLANE_", env_nested_delimiter="__", extra="forbid", frozen=True, case_sensitive=False
    )

    kafka: KafkaSection = KafkaSection()
    topics: TopicsSection = TopicsSection()
    blobs: BlobsSection = BlobsSection()
    signing: SigningSection = SigningSection()
    outbound: OutboundSection = OutboundSection()
    relays: dict[str, RelaySection] = Field(default_factory=dict)
    inbound: InboundSection = InboundSection()
    mailboxes: dict[str, MailboxSection] = Field(default_factory=dict)
    http: HttpSection = HttpSection()
    logs: LogsSection = LogsSection()

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


def load_settings(path: Path | None = None) -> Settings:
    """Read the file (argument, else $POSTLANE_CONFIG, else ./postlane.toml if it is there) and the environment over it.

    Raises ConfigError.
    """
    named = path or (Path(os.environ[CONFIG_PATH_VARIABLE]) if os.environ.get(CONFIG_PATH_VARIABLE) else None)
    source = named or CONFIG_PATH_DEFAULT
    document = _read_toml(source) if named is not None or source.exists() else {}
    _refuse_unknown_variables()
    try:
        return Settings(**document)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        raise ConfigError("\n".join(_explain(source, fault) for fault in faults)) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _refuse_unknown_variables() -> None:
    for variable in sorted(os.environ):
        if not variable.startswith("POSTLANE_") or variable == CONFIG_PATH_VARIABLE:
            continue
        section = variable.removeprefix("POSTLANE_").split("__")[0].lower()
        if section not in Settings.model_fields:
            known = ", ".join(f"POSTLANE_{name.upper()}__..." for name in Settings.model_fields)
            raise ConfigError(f"environment variable {variable}: no such section; known are {known}")


def _explain(source: Path, fault: ErrorDetails) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{source}: unknown key {place}; `postlane config example` shows every key"
    return f"{source}: {place}: {fault['msg']}"
