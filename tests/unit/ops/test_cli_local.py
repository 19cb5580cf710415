"""Commands that need no Kafka, and how usage faults end."""

import json
import logging
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes.token_server import TokenServer
from postlane.config.example import example_toml
from postlane.config.settings import Settings
from postlane.ops.check_local import check_blobs, check_configuration
from postlane.ops.checks import Check, State
from postlane.ops.cli import app
from postlane.ops.exits import Exit
from postlane.ops.service_commands import SERVICES

SERVICES_ROOT = Path(__file__).parents[3] / "services"


@pytest.fixture(autouse=True)
def _untouched_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for variable in list(os.environ):
        if variable.startswith("POSTLANE_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(args), catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_config_example_prints_the_example_and_checks_itself(tmp_path: Path) -> None:
    code, out, _ = run("config", "example")
    secret = tomllib.loads(out)["signing"]["keys"]["k1"]
    assert (code, out) == (Exit.OK, example_toml(secret))
    assert run("config", "example")[1] != out, "every example has a signing key of its own"
    file = tmp_path / "postlane.toml"
    file.write_text(out)
    code, out, err = run("config", "check")
    assert (code, out) == (Exit.OK, "")
    assert err == (
        f"configuration is valid: read from {file}, Kafka at localhost:9092, relays main, mailboxes support\n"
    )
    code, out, _ = run("config", "check", "--json")
    assert json.loads(out) == {
        "ok": True,
        "file": str(file),
        "relays": ["main"],
        "mailboxes": ["support"],
        "faults": [],
        "warnings": [],
    }


def test_config_check_says_where_it_looked_in_vain(tmp_path: Path) -> None:
    code, _, err = run("config", "check")
    assert code == Exit.OK
    assert f"no configuration file: --config is not given, $POSTLANE_CONFIG is not set, {tmp_path}" in err
    assert "read from the environment alone" in err


def test_config_check_warns_of_an_empty_file_and_of_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "postlane.toml"
    file.write_text("# what `>` leaves behind when the command before it fails\n")
    code, _, err = run("config", "check")
    assert code == Exit.OK
    warnings = [line.removeprefix("warning: ") for line in err.splitlines() if line.startswith("warning: ")]
    assert [line.removeprefix("signing: ").split(":")[0] for line in warnings] == [
        f"{file} is empty",
        "no relay is configured",
        "no mailbox is configured",
        "no signing key",
        "our Message-IDs will end in @localhost, which is nobody's domain; set signing.domain to a domain of yours",
    ]
    assert json.loads(run("config", "check", "--json")[1])["warnings"] == warnings


def test_config_check_takes_several_relays(tmp_path: Path) -> None:
    (tmp_path / "postlane.toml").write_text('[relays.a]\nhost = "x"\n[relays.b]\nhost = "y"\n')
    code, out, err = run("config", "check")
    assert code == Exit.OK, err
    assert "takes one relay" not in out + err


def test_config_check_names_every_fault(tmp_path: Path) -> None:
    (tmp_path / "postlane.toml").write_text("[http]\nprot = 1\n[logs]\nlevel = 'loud'\n")
    code, out, err = run("config", "check")
    assert (code, out) == (Exit.USAGE, "")
    assert [line.split(": ")[2] for line in err.splitlines()] == [
        "unknown key http.prot; did you mean port?",
        "logs.level",
    ]
    code, out, err = run("config", "check", "--json")
    assert code == Exit.USAGE
    assert len(json.loads(out)["faults"]) == 2
    assert err == ""


def test_version_needs_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "postlane.toml").write_text("broken")
    code, out, _ = run("version")
    assert code == Exit.OK
    assert out.strip()


@pytest.mark.parametrize(
    "args", [("nothing",), ("tail",), ("send", "--subject", "x"), ("status", "x", "--since", "yesterday")]
)
def test_wrong_usage_is_exit_two(args: tuple[str, ...]) -> None:
    code, out, err = run(*args)
    assert (code, out) == (Exit.USAGE, "")
    assert err


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_command_has_a_service_behind_it(name: str) -> None:
    module, _, function = SERVICES[name].partition(":")
    source = SERVICES_ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text()
    assert f"async def {function}(settings: Settings, runtime: Runtime) -> None:" in source


def test_a_service_whose_extra_is_missing_says_what_to_install() -> None:
    code = "import sys; sys.modules['aiosmtplib'] = None\nfrom postlane.ops.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "outbound"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(SERVICES_ROOT), "PATH": os.environ["PATH"]},
    )
    assert ran.returncode == Exit.USAGE
    assert "in your clone of Postlane: pip install '.[outbound]'" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("ticket", ["", "T-1\x1b[2J", "T\n1", "T-1\u202e"])
def test_a_ticket_that_nobody_can_type_is_not_held(ticket: str) -> None:
    code, out, err = run("ticket", "hold", ticket)
    assert (code, out) == (Exit.USAGE, "")
    assert "\x1b[2J" not in err


def test_send_names_what_is_no_address_in_the_users_own_word() -> None:
    args = ("--ticket", "T-1", "--from", "desk@a.test", "--text", "x", "--to", "ann@b.test, alice")
    code, _, err = run("send", *args, "--dry-run")
    assert code == Exit.USAGE
    assert "to[1].address: 'alice' is not a mail address" in err


def test_a_reader_that_goes_away_is_no_fault() -> None:
    command = f"{sys.executable} -c 'from postlane.ops.cli import main; main()' config example | head -1"
    ran = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(SERVICES_ROOT), "PATH": os.environ["PATH"]},
    )
    assert "Traceback" not in ran.stderr
    assert ran.stdout.startswith("# Postlane's configuration")


def states(checks: Iterator[Check]) -> list[tuple[str, State]]:
    return [(check.name, check.state) for check in checks]


def test_doctor_finds_an_unwise_configuration(tmp_path: Path) -> None:
    relay = {"host": "smtp.example.com", "tls": "none", "username": "u", "password": "p"}
    mailbox = {"host": "localhost", "tls": "none", "username": "u", "password": "p"}
    unwise = Settings.model_validate(
        {"relays": {"a": relay, "b": relay | {"tls": "implicit"}}, "mailboxes": {"m": mailbox}}
    )
    file = tmp_path / "postlane.toml"
    file.write_text("[relays]")
    assert states(check_configuration(unwise, file)) == [
        ("config", State.OK),
        ("signing", State.WARN),
        ("signing", State.WARN),
        ("relays.a", State.WARN),
    ]
    assert ("config", State.WARN) in states(check_configuration(Settings(), None))


def test_doctor_looks_at_the_blob_directory(tmp_path: Path) -> None:
    assert check_blobs(tmp_path).state is State.OK
    assert "will be created" in check_blobs(tmp_path / "new" / "blobs").detail
    (tmp_path / "file").write_text("")
    assert check_blobs(tmp_path / "file" / "blobs").state is State.FAIL


def test_doctor_says_what_to_do_about_a_blob_directory_that_is_not_ours(tmp_path: Path) -> None:
    missing = check_blobs(tmp_path / "blobs", usable=lambda _: False)
    assert (missing.state, "cannot create it in" in missing.detail) == (State.FAIL, True)
    assert f"install -d -o USER {tmp_path / 'blobs'}" in missing.advice
    foreign = check_blobs(tmp_path, usable=lambda _: False)
    assert (foreign.state, f"chown USER {tmp_path}" in foreign.advice) == (State.FAIL, True)


@pytest.mark.parametrize(
    ("allowed", "words"),
    [("false", "keeps us from logging in"), ("true", "sends the password readable over the network")],
)
def test_config_check_names_the_mailbox_that_has_no_tls(tmp_path: Path, allowed: str, words: str) -> None:
    (tmp_path / "postlane.toml").write_text(
        '[mailboxes.support]\nhost = "imap.example.com"\ntls = "none"\nusername = "u"\npassword = "p"\n'
        f"allow_plaintext = {allowed}\n"
    )
    _, _, err = run("config", "check")
    assert f'warning: mailboxes.support: tls = "none" {words}' in err


def test_doctor_says_once_that_a_token_endpoint_refuses(tmp_path: Path) -> None:
    endpoint = TokenServer()
    endpoint.script.error = "invalid_grant"
    endpoint.start()
    (tmp_path / "postlane.toml").write_text(
        '[kafka]\nbootstrap_servers = "127.0.0.1:1"\n'
        '[mailboxes.support]\nhost = "127.0.0.1"\nport = 1\ntls = "none"\nusername = "u"\n'
        f'[mailboxes.support.oauth]\ntoken_url = "{endpoint.url}"\nclient_id = "c"\nclient_secret = "s s"\n'
    )
    try:
        ran = subprocess.run(  # a process of its own, because loggers keep the configuration that they began with
            [sys.executable, "-c", "from postlane.ops.cli import main; main()", "doctor"],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(SERVICES_ROOT), "PATH": os.environ["PATH"]},
        )
    finally:
        endpoint.stop()
    assert "no access token: the token endpoint" in ran.stdout
    assert "oauth_broken" not in ran.stdout + ran.stderr


def test_config_check_warns_of_a_folder_that_two_mailboxes_poll(tmp_path: Path) -> None:
    section = 'host = "imap.example.com"\nusername = "u"\npassword = "p"\n'
    (tmp_path / "postlane.toml").write_text(
        f'[mailboxes.a]\n{section}[mailboxes.b]\n{section}more_folders = ["Junk"]\n'
    )
    _, _, err = run("config", "check")
    assert (
        "warning: mailboxes.b: INBOX of u is polled by mailboxes.a, too: each mail becomes two events" in err
    )
    assert "Junk" not in err
