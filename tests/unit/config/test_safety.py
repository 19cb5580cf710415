"""The safety section: what it becomes, and which mistakes are named."""

from pathlib import Path

import pytest

from postlane.config.settings import ConfigError, Settings, load_settings
from postlane.core.routing.safety import Safety


def load(folder: Path, text: str) -> Settings:
    path = folder / "postlane.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path)


def test_by_default_everybody_is_mailed(tmp_path: Path) -> None:
    assert load(tmp_path, "").safety.as_safety() == Safety()


def test_it_is_read_as_it_is_meant(tmp_path: Path) -> None:
    text = '[safety]\nonly_to = ["@Bücher.example", "QA@x.example"]\nredirect_to = "qa@X.example"\n'
    assert load(tmp_path, text).safety.as_safety() == Safety(
        limited=True,
        addresses=frozenset({"qa@x.example"}),
        domains=frozenset({"xn--bcher-kva.example"}),
        redirect_to="qa@x.example",
    )


def test_the_environment_can_set_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTLANE_SAFETY__ONLY_TO", '["@example.com"]')
    assert load(tmp_path, "").safety.as_safety().destination("kim@x.example") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("only_to = []", "safety: only_to: an empty list lets nobody be mailed"),
        ('only_to = ["example.com"]', 'safety: only_to: "example.com" is neither an address nor a domain'),
        ('redirect_to = "qa"', 'safety: redirect_to: "qa" is not a mail address'),
        ('only_too = ["@x.example"]', "unknown key safety.only_too; did you mean only_to?"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint.replace("?", r"\?").replace("[", r"\[")):
        load(tmp_path, f"[safety]\n{text}\n")
