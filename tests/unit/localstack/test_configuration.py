"""`.local/postlane.toml` is what Postlane accepts, and keeps its signing key."""

import stat
from pathlib import Path

from localstack.configuration import configuration_file, settings_for, write_configuration
from localstack.greenmail import Mailbox, MailServer
from localstack.relay_client import RelayControl
from localstack.stack_state import StackState
from postlane.config.settings import Settings, load_settings


def state(relay: RelayControl) -> StackState:
    return StackState(
        started_at=0.0,
        kafka_bootstrap="127.0.0.1:19092",
        relay=relay,
        mail=MailServer(smtp_port=1, imap_port=1143, api_port=2),
        mailboxes=(Mailbox("help@desk.test", 'a"password'), Mailbox("other@desk.test", "other")),
        servers=(),
    )


def written(folder: Path, relay: RelayControl) -> Settings:
    write_configuration(folder, settings_for(state(relay), folder))
    return load_settings(configuration_file(folder))


def test_the_file_is_valid_and_names_the_servers(tmp_path: Path) -> None:
    folder = tmp_path / 'a folder with "quotes"'
    folder.mkdir()
    settings = written(folder, RelayControl(2525, 3, user="postlane", password="relay's password"))

    assert settings.kafka.bootstrap_servers == "127.0.0.1:19092"
    relay, mailbox = settings.relays["main"], settings.mailboxes["help"]
    assert (relay.host, relay.port, relay.username) == ("127.0.0.1", 2525, "postlane")
    assert relay.password is not None
    assert relay.password.get_secret_value() == "relay's password"
    assert (mailbox.host, mailbox.port, mailbox.username) == ("127.0.0.1", 1143, "help@desk.test")
    assert mailbox.password is not None
    assert mailbox.password.get_secret_value() == 'a"password'
    assert settings.blobs.directory == folder / "blobs"
    assert settings.signing.domain == "desk.test"
    assert stat.S_IMODE(configuration_file(folder).stat().st_mode) == 0o600


def test_a_relay_without_login_is_given_none(tmp_path: Path) -> None:
    assert written(tmp_path, RelayControl(2525, 3)).relays["main"].username is None


def test_the_signing_key_is_made_once(tmp_path: Path) -> None:
    first, second = (written(tmp_path, RelayControl(port, 3)).signing.keys["k1"] for port in (2525, 2526))
    assert first.get_secret_value() == second.get_secret_value()
