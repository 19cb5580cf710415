"""[notify]: what is refused, what is shown, and what never is."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from postlane.config.notify_section import NotifySection
from postlane.config.sections import Tls
from postlane.config.settings import ConfigError, Settings, load_settings

KEY = "QUJD" * 8
HOOK = f'[notify.webhook]\nurl = "https://alerts.example/hook/T0KEN-in-the-path"\nsigning_secret = "{KEY}"\n'
MAIL = '[notify.mail]\nhost = "smtp.other.example"\nsender = "desk@example.com"\nrecipients = ["ops@example.com"]\n'
RELAY = '[relays.main]\nhost = "smtp.example.com"\nusername = "u"\npassword = "p"\n'

Load = Callable[[str], Settings]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.startswith("POSTLANE_"):
            monkeypatch.delenv(variable)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def from_text(text: str) -> Settings:
        path = tmp_path / "postlane.toml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path)

    return from_text


def test_without_a_word_there_are_alerts_but_no_channels() -> None:
    section = NotifySection()
    assert (section.webhook, section.mail) == (None, None)
    assert section.thresholds().held_seconds == 900
    assert section.pace().repeat_seconds == 4 * 3600


def test_both_channels(load: Load) -> None:
    notify = load(HOOK + MAIL).notify
    assert notify.webhook is not None
    assert (notify.webhook.host, notify.webhook.signing_key) == ("alerts.example", b"ABC" * 8)
    assert notify.mail is not None
    relay = notify.mail.as_relay()
    assert (relay.host, relay.tls, relay.connections, relay.mails_per_connection) == (
        "smtp.other.example",
        Tls.STARTTLS,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            HOOK.replace("https://alerts.example", "alerts.example"),
            "notify.webhook.url: a webhook's address begins",
        ),
        (HOOK.replace("https:", "ftp:"), "notify.webhook.url: a webhook's address begins"),
        (HOOK.replace("/hook", ":99999/hook"), "notify.webhook.url: a webhook's address begins"),
        (HOOK.replace("/hook", "/ho ok"), "notify.webhook.url: a webhook's address begins"),
        (HOOK.replace("alerts", "u:pw@alerts"), "has no user and password; use headers"),
        (HOOK.replace(KEY, "QUJD"), "notify.webhook.signing_secret: it must be Base64 of at least 24 bytes"),
        (HOOK.replace(KEY, "not base64 at all, though long enough"), "signing_secret: it must be Base64"),
        (HOOK + 'headers = { "Content-Length" = "1" }\n', '"Content-Length" is no header that can be added'),
        (HOOK + 'headers = { "X: y" = "1" }\n', '"X: y" is no header that can be added'),
        (HOOK + 'headers = { X = "a\\r\\nY: b" }\n', "the value of X cannot be a header's"),
        (
            HOOK.replace("https", "http") + 'headers = { Authorization = "t" }\n',
            "notify.webhook: headers may be secrets: with them url must begin with https://",
        ),
        (HOOK + 'urls = "x"\n', "unknown key notify.webhook.urls; did you mean url?"),
        (MAIL.replace("desk@example.com", "desk"), 'notify.mail.sender: "desk" is no address'),
        (
            MAIL.replace("ops@example.com", "ops@exa mple"),
            'notify.mail.recipients: "ops@exa mple" is no address',
        ),
        (MAIL.replace('["ops@example.com"]', "[]"), "notify.mail.recipients"),
        (MAIL + 'username = "u"\n', "notify.mail: username and password belong together"),
        ("[notify]\nrepeat_seconds = 5\n", "notify.repeat_seconds"),
        (
            RELAY
            + MAIL.replace("smtp.other.example", "SMTP.example.com")
            + 'username = "u"\npassword = "p"\n',
            "notify.mail: this is the account of relays.main, by which no news of its own trouble can go",
        ),
    ],
)
def test_a_fault_is_named_with_its_place_and_without_secrets(load: Load, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert words in str(caught.value)
    assert "T0KEN" not in str(caught.value)


def test_another_account_of_the_same_server_will_do(load: Load) -> None:
    text = RELAY + MAIL.replace("smtp.other.example", "smtp.example.com") + 'username = "v"\npassword = "p"\n'
    assert load(text).notify.mail is not None


def test_secrets_are_not_shown(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTLANE_NOTIFY__MAIL__PASSWORD", "pass-of-alerts")
    settings = load(HOOK + 'headers = { Authorization = "Bearer b3arer" }\n' + MAIL + 'username = "u"\n')
    shown = f"{settings!r} {settings} {settings.model_dump_json()}"
    for secret in ("T0KEN", KEY, "b3arer", "pass-of-alerts"):
        assert secret not in shown


def test_a_channel_can_come_from_the_environment(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTLANE_NOTIFY__WEBHOOK__URL", "http://127.0.0.1:9/x")
    monkeypatch.setenv("POSTLANE_NOTIFY__HELD_SECONDS", "60")
    notify = load("").notify
    assert notify.webhook is not None
    assert notify.webhook.stays_here
    assert notify.held_seconds == 60
