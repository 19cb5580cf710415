"""The generated example is valid, complete and says what its keys do."""

import re
import tomllib
from pathlib import Path

import pytest

from postlane.config import sections
from postlane.config.blobs_section import BlobsSection, S3Section
from postlane.config.example import NAMED_SECTIONS, example_toml
from postlane.config.mailbox_section import MailboxSection
from postlane.config.notify_section import NotifyMailSection, NotifySection, WebhookSection
from postlane.config.oauth_section import OAuthSection
from postlane.config.relay_section import RelaySection
from postlane.config.routing_sections import RouteSection
from postlane.config.safety_section import SafetySection
from postlane.config.scan_section import ScanSection
from postlane.config.section import Section
from postlane.config.settings import Settings, load_settings
from postlane.config.signing_section import SigningSection

SECRET = "a fresh secret of the example"
EXAMPLE = example_toml(SECRET)
WEBHOOK_KEY = "whsec_" + "QUJD" * 8
CHOSEN = {"signing"}  # a default would let no reply join its ticket
SECTIONS: dict[str, type[Section]] = {
    "kafka": sections.KafkaSection,
    "topics": sections.TopicsSection,
    "blobs": BlobsSection,
    "blobs.s3": S3Section,
    "signing": SigningSection,
    "outbound": sections.OutboundSection,
    "relays.main": RelaySection,
    "routes.bulk": RouteSection,
    "relays.main.oauth": OAuthSection,
    "safety": SafetySection,
    "inbound": sections.InboundSection,
    "mailboxes.support": MailboxSection,
    "mailboxes.support.oauth": OAuthSection,
    "scan": ScanSection,
    "notify": NotifySection,
    "notify.webhook": WebhookSection,
    "notify.mail": NotifyMailSection,
    "http": sections.HttpSection,
    "logs": sections.LogsSection,
}


def blocks() -> dict[str, str]:
    """The example's sections by title."""
    parts = re.split(r"^(?:# )?\[([a-z0-9.]+)\]$", EXAMPLE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def load(text: str, directory: Path) -> Settings:
    path = directory / "postlane.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path)


def test_it_loads_and_holds_the_defaults(tmp_path: Path) -> None:
    settings = load(EXAMPLE, tmp_path)
    assert settings.relays.keys() == {"main"}
    assert settings.mailboxes.keys() == {"support"}
    defaults = Settings()
    for name in Settings.model_fields.keys() - NAMED_SECTIONS.keys() - CHOSEN:
        assert getattr(settings, name) == getattr(defaults, name)
    assert settings.signing.keys["k1"].get_secret_value() == SECRET
    assert settings.signing.domain == "desk.example.com"


def test_it_has_every_section() -> None:
    assert blocks().keys() == SECTIONS.keys() | {"routes.default"}
    assert {title.partition(".")[0] for title in SECTIONS} == Settings.model_fields.keys()


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_of_the_section_stands_under_a_comment(title: str) -> None:
    lines = blocks()[title].splitlines()
    within = {inner.rpartition(".")[2] for inner in SECTIONS if inner.startswith(f"{title}.")}
    for key in SECTIONS[title].model_fields.keys() - within:
        (place,) = [n for n, line in enumerate(lines) if re.match(rf"(# )?{key} = ", line)]
        assert lines[place - 1].startswith("# "), f"{title}.{key} has no comment"


def uncommented(text: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings with every key set, secrets included."""
    for variable in re.findall(r'env = "([A-Z_]+)"', text):
        monkeypatch.setenv(variable, "a secret of the environment")
    secret = directory / "secret"
    secret.write_text("a secret in a file")
    monkeypatch.setenv("ALERT_WEBHOOK_URL", "https://alerts.example.com/secret/path")
    text = text.replace('{ file = "/run/secrets/alert-webhook-key" }', f'"{WEBHOOK_KEY}"')
    text = re.sub(r"^# ([a-z_]+ = |\[)", r"\1", text, flags=re.MULTILINE)
    text = text.replace('clamd = "/run/clamav/clamd.ctl"\n', "")  # one scanner is enough
    text = text.replace("since = { k2 = ", "since = { k1 = ")
    text = text.replace('password = { env = "RELAY_PASSWORD" }', 'password = { file = "/run/secrets/relay" }')
    text = re.sub(r'file = "/run/secrets/[^"]+"', f'file = "{secret}"', text)
    return load(text, directory)


def test_the_commented_keys_are_valid_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = EXAMPLE
    for title in ("relays.main.oauth", "mailboxes.support.oauth"):
        text = text.replace(f"# [{title}]{blocks()[title]}", "\n")
    settings = uncommented(text, tmp_path, monkeypatch)
    relay = settings.relays["main"]
    assert relay.password is not None
    assert (relay.username, relay.password.get_secret_value()) == ("postlane", "a secret in a file")
    assert settings.kafka.extra == {"client.rack": "eu-1a"}
    assert settings.notify.webhook is not None
    assert (settings.notify.webhook.host, settings.notify.webhook.signing_key) == (
        "alerts.example.com",
        b"ABC" * 8,
    )
    assert settings.notify.mail is not None
    assert settings.notify.mail.recipients == ("operators@example.com",)


def test_so_are_those_that_stand_in_place_of_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = EXAMPLE.replace('# password = { env = "RELAY_PASSWORD" }\n', "").replace(
        'password = "change-me"\n', ""
    )
    settings = uncommented(text, tmp_path, monkeypatch)
    for oauth in (settings.relays["main"].oauth, settings.mailboxes["support"].oauth):
        assert oauth is not None
        assert oauth.refresh_token is not None
        assert oauth.refresh_token.get_secret_value() == "a secret in a file"
        assert oauth.token_host == "login.microsoftonline.com"


def test_no_line_is_wider_than_a_terminal_shows() -> None:
    assert max(len(line) for line in EXAMPLE.splitlines()) <= 100


def test_every_default_is_toml() -> None:
    assert tomllib.loads(EXAMPLE).keys() == Settings.model_fields.keys()
