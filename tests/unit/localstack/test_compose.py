"""docker-compose.yml agrees with the local stack and with the configuration that Postlane accepts."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from localstack.artifacts import read_lock
from postlane.config.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yml"


def test_the_images_are_of_the_versions_that_tests_run_on() -> None:
    images = set(re.findall(r"image: (\S+)", COMPOSE.read_text("utf-8")))
    bundles = read_lock()
    kafka, greenmail = bundles["kafka"].version, bundles["greenmail"].version
    assert {f"apache/kafka:{kafka}", f"greenmail/standalone:{greenmail}"} <= images


def test_the_configuration_in_the_containers_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING_KEY", "a signing key of enough characters")
    settings = load_settings(ROOT / "deploy" / "compose" / "postlane.toml")
    text = COMPOSE.read_text("utf-8")
    for host in (settings.kafka.bootstrap_servers.partition(":")[0], settings.relays["greenmail"].host):
        assert re.search(rf"^  {host}:$", text, re.MULTILINE), f"no service {host}"
    assert f"PLAINTEXT://{settings.kafka.bootstrap_servers}," in text


def test_compose_accepts_its_file() -> None:
    if not (command := shutil.which("docker-compose")):
        pytest.skip("docker-compose is not installed")
    checked = subprocess.run(
        [command, "--file", COMPOSE, "config", "--quiet"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
