"""Commands that need no Kafka, and how usage faults end."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

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
    assert (code, out) == (Exit.OK, example_toml())
    (tmp_path / "postlane.toml").write_text(out)
    code, out, err = run("config", "check")
    assert (code, out) == (Exit.OK, "")
    assert "relays main, mailboxes support" in err
    code, out, _ = run("config", "check", "--json")
    assert json.loads(out) == {"ok": True, "relays": ["main"], "mailboxes": ["support"]}


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
    assert "pip install 'postlane[outbound]'" in ran.stderr
    assert "Traceback" not in ran.stderr


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


def test_doctor_finds_an_unwise_configuration() -> None:
    relay = {"host": "smtp.example.com", "tls": "none", "username": "u", "password": "p"}
    mailbox = {"host": "localhost", "tls": "none", "username": "u", "password": "p"}
    unwise = Settings.model_validate(
        {"relays": {"a": relay, "b": relay | {"tls": "implicit"}}, "mailboxes": {"m": mailbox}}
    )
    assert states(check_configuration(unwise)) == [
        ("config", State.OK),
        ("config", State.FAIL),
        ("signing", State.WARN),
        ("relays.a", State.WARN),
    ]
    assert ("config", State.WARN) in states(check_configuration(Settings()))


def test_doctor_looks_at_the_blob_directory(tmp_path: Path) -> None:
    assert check_blobs(tmp_path).state is State.OK
    assert "will be created" in check_blobs(tmp_path / "new" / "blobs").detail
    (tmp_path / "file").write_text("")
    assert check_blobs(tmp_path / "file" / "blobs").state is State.FAIL
