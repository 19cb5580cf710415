"""Reading the configuration: what wins, what is refused and in which words, and that secrets stay secret."""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from postlane.config.sections import Tls
from postlane.config.settings import ConfigError, Settings, load_settings

SECRET = "correct-horse-battery"
RELAY = '[relays.main]\nhost = "smtp.example.com"\n'
MAILBOX = '[mailboxes.support]\nhost = "imap.example.com"\nusername = "u"\npassword = "p"\n'

OAUTH = (
    RELAY
    + 'username = "u"\n[relays.main.oauth]\ntoken_url = "https://id.example/t"\nclient_id = "c"\nclient_secret = "s"\n'
)

Load = Callable[[str], Settings]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.startswith("POSTLANE_"):
            monkeypatch.delenv(variable)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a configuration from its text."""

    def from_text(text: str) -> Settings:
        path = tmp_path / "postlane.toml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path)

    return from_text


def refusal(load: Load, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return str(caught.value)


def test_without_file_and_environment_there_are_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.kafka.bootstrap_servers == "localhost:9092"
    assert settings.relays == {}


def test_the_file_is_found_by_argument_then_variable_then_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("argument", "variable", "postlane"):
        (tmp_path / f"{name}.toml").write_text(f'[kafka]\ngroup_prefix = "{name}"\n')
    monkeypatch.chdir(tmp_path)
    assert load_settings().kafka.group_prefix == "postlane"
    monkeypatch.setenv("POSTLANE_CONFIG", str(tmp_path / "variable.toml"))
    assert load_settings().kafka.group_prefix == "variable"
    assert load_settings(tmp_path / "argument.toml").kafka.group_prefix == "argument"


def test_the_environment_wins_over_the_file_key_by_key(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTLANE_KAFKA__BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("POSTLANE_RELAYS__MAIN__PORT", "2525")
    monkeypatch.setenv("POSTLANE_RELAYS__MAIN__TLS", "none")
    settings = load('[kafka]\nbootstrap_servers = "x:1"\ntopic_prefix = "a."\n' + RELAY)
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert settings.kafka.topic_prefix == "a."
    assert settings.relays["main"].host == "smtp.example.com"
    assert settings.relays["main"].port == 2525
    assert settings.relays["main"].tls is Tls.NONE


def test_a_whole_relay_can_come_from_the_environment(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTLANE_RELAYS__BACKUP__HOST", "smtp2.example.com")
    assert load(RELAY).relays.keys() == {"main", "backup"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[kafka]\nbootstrap_server = 1\n",
            "unknown key kafka.bootstrap_server; did you mean bootstrap_servers?",
        ),
        ("[kafkaa]\n", "unknown key kafkaa; did you mean kafka?"),
        (RELAY + "zzz = 1\n", "unknown key relays.main.zzz; `postlane config example` shows every key"),
        (RELAY + 'user = "u"\n', "unknown key relays.main.user; did you mean username?"),
        ("_env_file = 'x'\n", "unknown key _env_file"),
        ("[mailboxes.support]\n", "mailboxes.support.host: Field required"),
        (RELAY + "port = 70000\n", "relays.main.port: Input should be less than or equal to 65535"),
        ("[kafka\n", "not valid TOML"),
        ('[outbound]\nretry_schedule = "30s, often"\n', "outbound.retry_schedule: 'often' is not like 30s"),
        (RELAY + 'username = "u"\n', "relays.main: username and password belong together"),
        (
            OAUTH.replace('username = "u"', 'username = "u"\npassword = "p"'),
            "relays.main: password and oauth exclude each other",
        ),
        (OAUTH.replace('username = "u"\n', ""), "relays.main: oauth needs username"),
        (OAUTH.replace("https", "http"), "relays.main.oauth.token_url: secrets are sent there"),
        (OAUTH.replace("https://id", "https://u:p@id"), "token_url: a token endpoint's address has no user"),
        (OAUTH.replace("https://id.example/t", "id.example"), "token_url: a token endpoint's address begins"),
        (OAUTH.replace('client_secret = "s"\n', ""), "relays.main.oauth: set client_secret"),
        (OAUTH + 'refresh_token_file = "/x"\n', "refresh_token_file keeps what follows refresh_token"),
        (
            OAUTH.replace("client_secret", "refresh_token") + 'client_authentication = "basic"\n',
            'client_authentication = "basic" needs client_secret',
        ),
        (OAUTH + 'mechanism = "plain"\n', "relays.main.oauth.mechanism"),
        (OAUTH + 'tokenurl = "x"\n', "unknown key relays.main.oauth.tokenurl; did you mean token_url?"),
        (RELAY + 'client_key_file = "k"\n', "client_key_file needs client_certificate_file"),
        (
            RELAY + 'tls = "none"\nclient_certificate_file = "c"\n',
            'client_certificate_file needs tls = "starttls" or "implicit"',
        ),
        (
            RELAY + 'budgets = ["2000 mails/week"]\n',
            "relays.main.budgets: budget '2000 mails/week': 'week' is not",
        ),
        (
            RELAY + 'budgets = ["5 mails/d", "9 mails/day"]\n',
            "relays.main.budgets: budgets '5 mails/day' and",
        ),
        (RELAY + 'budgets = ["5 mails/day calendar Mars"]\n', "the time zone 'Mars' is not known here"),
        (RELAY + 'warm_up = "50, 100"\n', "relays.main.warm_up: warm_up '50, 100': it ends with '100'"),
        (RELAY + "warm_up_since = 2026-01-31\n", "relays.main: warm_up and warm_up_since belong together"),
        (RELAY + "hold_seconds = 7200\n", "hold_seconds = 7200 is above hold_seconds_max = 3600"),
        ('[kafka]\nsecurity_protocol = "sasl_ssl"\n', "needs both username and password"),
        (
            '[kafka]\nschema_registry_url = "registry:8081"\n',
            "kafka.schema_registry_url: a registry's address begins with http:// or https://",
        ),
        ("[topics]\nreplication_factor = 1\n", "min_insync_replicas = 2 can never be met"),
        (MAILBOX + 'tls = "ssl"\n', "mailboxes.support.tls"),
        (MAILBOX + 'tls = "starttls"\nclient = "aioimaplib"\n', "knows neither STARTTLS nor OAuth 2"),
        (MAILBOX.replace('password = "p"', ""), "mailboxes.support: set password or"),
        (MAILBOX + 'more_folders = ["a\\nb"]\n', "has no control characters"),
        (MAILBOX + 'more_folders = ["a", "inbox"]\n', 'folder "INBOX" stands there twice'),
        (MAILBOX + 'more_folders = ["a"]\nconnections = 1\n', "2 folders need as many sessions"),
        (MAILBOX + 'after = "move"\nmore_folders = ["Processed"]\n', "mail would go round for ever"),
        (MAILBOX + 'after = "move"\nmove_to = "INBOX"\n', "mail would go round for ever"),
        (
            MAILBOX + 'start = "yesterday"\n',
            'mailboxes.support.start: it is "new", "all" or a date such as 2026-01-31',
        ),
        (MAILBOX + "start = 2026-01-31T10:00:00\n", "mailboxes.support.start: it is"),
        (MAILBOX + 'flag = "Seen"\n', "mailboxes.support.flag: the flag of that name is \\Seen"),
        (MAILBOX + 'flag = "in work"\n', "mailboxes.support.flag: a keyword is ASCII without spaces"),
        (MAILBOX + 'flag = "a) b"\n', "mailboxes.support.flag: a keyword is ASCII without spaces"),
        (MAILBOX + 'flag = ""\n', "mailboxes.support.flag: a keyword is"),
        (MAILBOX + 'flag = "\\\\Read"\n', "mailboxes.support.flag: with a backslash there are only"),
        (MAILBOX.replace('"imap.example.com"', '""'), "mailboxes.support.host: String should have at least"),
        (MAILBOX.replace('username = "u"', 'username = ""'), "mailboxes.support.username: String should"),
        (MAILBOX.replace('password = "p"', 'password = ""'), "mailboxes.support.password: it is empty"),
        (MAILBOX.replace("support", '"a/b"'), "mailboxes: 'a/b' is no name for a mailbox"),
        (MAILBOX.replace("support", '"a\\nb"'), "is no name for a mailbox; leave out slashes and control"),
    ],
)
def test_a_fault_is_named_with_its_place(load: Load, text: str, words: str) -> None:
    message = refusal(load, text)
    assert words in message
    assert "postlane.toml: " in message


@pytest.mark.parametrize("url", ["http://localhost:8080/t", "http://127.0.0.1/t", "http://[::1]:1/t"])
def test_a_token_endpoint_on_this_machine_needs_no_tls(load: Load, url: str) -> None:
    oauth = load(OAUTH.replace("https://id.example/t", url)).relays["main"].oauth
    assert oauth is not None
    assert oauth.stays_here


def test_secrets_of_oauth_come_from_the_environment_and_are_not_shown(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTLANE_RELAYS__MAIN__OAUTH__CLIENT_SECRET", SECRET)
    monkeypatch.setenv("POSTLANE_RELAYS__MAIN__OAUTH__REFRESH_TOKEN", SECRET)
    settings = load(OAUTH)
    oauth = settings.relays["main"].oauth
    assert oauth is not None
    assert oauth.client_secret is not None
    assert oauth.client_secret.get_secret_value() == SECRET
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_every_fault_has_its_own_line(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTLANE_KAFK__BOOTSTRAP_SERVERS", "x")
    text = "[kafkaa]\n[kafka]\nfoo = 1\n[http]\nport = -1\n"
    faults = ("POSTLANE_KAFK__BOOTSTRAP_SERVERS", "unknown key kafkaa", "kafka.foo", "http.port")
    lines = refusal(load, text).splitlines()
    assert len(lines) == len(faults)
    assert all(fault in line for fault, line in zip(faults, lines, strict=True))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        load_settings(tmp_path / "nowhere.toml")


def test_an_unknown_variable_is_refused_by_name(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTLANE_KAFK__BOOTSTRAP_SERVERS", "x")
    message = refusal(load, "")
    assert "environment variable POSTLANE_KAFK__BOOTSTRAP_SERVERS: no such section" in message
    assert "POSTLANE_KAFKA__" in message


def test_an_unknown_key_in_a_variable_names_the_variable(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTLANE_KAFKA__BOOTSTRAP", "x")
    assert refusal(load, "").startswith(
        "environment variable POSTLANE_KAFKA__BOOTSTRAP: unknown key kafka.bootstrap"
    )


def test_a_variable_that_is_no_json_is_refused_without_its_value(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTLANE_RELAYS", SECRET)
    monkeypatch.setenv("POSTLANE_MAILBOXES__SUPPORT__MORE_FOLDERS", "Junk")
    message = refusal(load, MAILBOX)
    assert [line.partition(":")[0] for line in message.splitlines()] == [
        "environment variable POSTLANE_MAILBOXES__SUPPORT__MORE_FOLDERS",
        "environment variable POSTLANE_RELAYS",
    ]
    assert "a list is written as JSON" in message
    assert SECRET not in message


def test_a_secret_comes_from_text_file_or_environment(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_file = tmp_path / "password"
    secret_file.write_text(SECRET + "\n")
    monkeypatch.setenv("MY_PASSWORD", SECRET)
    for written in (f'"{SECRET}"', f'{{ file = "{secret_file}" }}', '{ env = "MY_PASSWORD" }'):
        relay = load(RELAY + f'username = "u"\npassword = {written}\n').relays["main"]
        assert relay.password is not None
        assert relay.password.get_secret_value() == SECRET


def test_a_secret_from_the_environment_may_itself_name_a_file(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_file = tmp_path / "password"
    secret_file.write_text(SECRET)
    monkeypatch.setenv("POSTLANE_RELAYS__MAIN__PASSWORD__FILE", str(secret_file))
    password = load(RELAY + 'username = "u"\n').relays["main"].password
    assert password is not None
    assert password.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('{ file = "/nowhere/at/all" }', "cannot read the secret file /nowhere/at/all: No such file"),
        (
            '{ env = "NOT_SET_ANYWHERE" }',
            "environment variable NOT_SET_ANYWHERE that should hold the secret is not set",
        ),
        ('{ file = "empty" }', "the secret file empty is empty"),
        ('{ file = "bytes" }', "the secret file bytes is not text in UTF-8"),
        (
            '{ env = "SET_TO_NOTHING" }',
            "environment variable SET_TO_NOTHING that should hold the secret is empty",
        ),
        (f'{{ plain = "{SECRET}" }}', 'a secret is a string, {file = "PATH"} or {env = "NAME"}'),
    ],
)
def test_a_secret_that_cannot_be_read_is_refused(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SET_TO_NOTHING", "")
    Path("empty").write_text("\n")
    Path("bytes").write_bytes(b"\xff\xfe")
    message = refusal(load, RELAY + f'username = "u"\npassword = {written}\n')
    assert "relays.main.password: " in message
    assert words in message
    assert SECRET not in message


def test_secrets_never_appear_in_repr_dump_or_errors(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTLANE_KAFKA__EXTRA_SECRETS", f'{{"ssl.key.password": "{SECRET}"}}')
    mailbox = MAILBOX.replace('"p"', f'"{SECRET}"')
    text = (
        f'[kafka]\nusername = "u"\npassword = "{SECRET}"\n[signing]\nkeys = {{ k1 = "{SECRET}" }}\n'
        f'{RELAY}username = "u"\npassword = "{SECRET}"\n{mailbox}'
    )
    settings = load(text)
    shown = (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json())
    assert all(SECRET not in form for form in shown)
    assert settings.kafka.extra_secrets["ssl.key.password"].get_secret_value() == SECRET
    assert SECRET not in refusal(load, text + "port = 0\nzzz = 1\n")
    registry = load(f'[kafka]\nschema_registry_url = "https://u:{SECRET}@registry:8081"\n')
    assert SECRET not in f"{registry!r} {registry}"


def test_an_extra_property_that_holds_a_secret_is_sent_to_its_place(load: Load) -> None:
    message = refusal(load, f'[kafka]\nextra = {{ "ssl.key.password" = "{SECRET}" }}\n')
    assert '"ssl.key.password" holds a secret; put it under extra_secrets' in message
    assert SECRET not in message


def test_the_other_group_protocol_is_refused(load: Load) -> None:
    message = refusal(load, '[kafka]\nextra = { "group.protocol" = "consumer" }\n')
    assert "kafka.extra: members use the classic group.protocol" in message


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (
            f'active_key = "k2"\nkeys = {{ k1 = "{SECRET}" }}\n',
            "the active signing key 'k2' is not among the keys",
        ),
        ('keys = { k1 = "fifteen-letters" }\n', "signing key k1 is shorter than 16 characters"),
        ('domain = "not a domain"\n', "must be an ASCII domain name"),
        (
            f'keys = {{ k1 = "{SECRET}", k-2 = "{SECRET}" }}\n',
            "signing key id 'k-2' must be 1-8 ASCII letters",
        ),
        ("since = { k1 = 2026-01-01T00:00:00Z }\n", "have a `since` but no secret"),
        ("since = { k1 = 2026-01-01T00:00:00 }\n", "signing.since.k1: Input should have timezone info"),
    ],
)
def test_signing_keys_are_checked(load: Load, written: str, words: str) -> None:
    message = refusal(load, "[signing]\n" + written)
    assert words in message
    assert SECRET not in message
    assert "fifteen" not in message


VERP = RELAY + 'bounce_address = "b@desk.example"\nverp = true\n'


def test_return_paths_are_for_relays_that_take_them(load: Load) -> None:
    relay = load(RELAY).relays["main"]
    assert (relay.bounce_address, relay.verp) == (None, False)
    relay = load(VERP + f'[signing]\nkeys = {{ k1 = "{SECRET}" }}\n').relays["main"]
    assert (relay.bounce_address, relay.verp) == ("b@desk.example", True)
    assert "relays.main.verp: without signing.keys no return path is believed" in refusal(load, VERP)
    message = refusal(load, RELAY + 'bounce_address = "bounces"\n')
    assert 'relays.main.bounce_address: "bounces" is not a mail address' in message


def test_signing_keys_reach_the_core(load: Load) -> None:
    signing = load(f'[signing]\ndomain = "desk.example"\nkeys = {{ k1 = "{SECRET}" }}\n').signing
    assert signing.signing_keys().secret("k1") == SECRET.encode()
    assert signing.signing_keys().domain == "desk.example"


def test_a_mailbox_may_start_at_a_date(load: Load) -> None:
    assert load(MAILBOX + "start = 2026-01-31\n").mailboxes["support"].start == date(2026, 1, 31)


@pytest.mark.parametrize("written", ["\\Seen", "\\flagged", "$Ticketed", "ticketed"])
def test_a_flag_is_a_system_flag_or_a_keyword(load: Load, written: str) -> None:
    assert load(MAILBOX + f"flag = '{written}'\n").mailboxes["support"].flag == written


def test_settings_cannot_be_changed(load: Load) -> None:
    settings = load(RELAY)
    with pytest.raises(ValueError, match="frozen"):
        settings.kafka.group_prefix = "other"  # type: ignore[misc]
