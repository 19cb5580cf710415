"""[blobs]: a directory or a bucket, and clear words about what cannot be one."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from postlane.config.blobs_section import BlobsSection, S3Section
from postlane.config.settings import ConfigError, load_settings


def test_a_directory_is_the_default() -> None:
    assert BlobsSection().s3 is None


@pytest.mark.parametrize(
    ("path_style", "endpoint", "address"),
    [
        (True, "https://s3.example.com:9000/", "https://s3.example.com:9000"),
        (False, "https://s3.example.com:9000", "https://mail.s3.example.com:9000"),
        (False, None, None),
        (True, None, None),
    ],
)
def test_the_bucket_stands_where_it_belongs(
    path_style: bool, endpoint: str | None, address: str | None
) -> None:
    assert S3Section(bucket="mail", endpoint=endpoint, path_style=path_style).address() == address


@pytest.mark.parametrize(("prefix", "meant"), [("", ""), ("mail", "mail/"), ("a/b/", "a/b/")])
def test_a_prefix_ends_with_a_slash(prefix: str, meant: str) -> None:
    assert S3Section(bucket="mail", prefix=prefix).prefix == meant


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bucket": "Mail"}, "is no bucket's name"),
        ({"bucket": "../etc"}, "is no bucket's name"),
        ({"prefix": "/mail"}, "a prefix is like"),
        ({"prefix": "a/../b"}, "a prefix is like"),
        ({"endpoint": "s3.example.com"}, "an endpoint is like"),
        ({"endpoint": "https://"}, "an endpoint is like"),
        ({"endpoint": "https://h:99999"}, "an endpoint is like"),
        ({"endpoint": "https://me:word@h"}, "has no user and password"),
        ({"access_key_id": "me"}, "belong together"),
        ({"secret_access_key": "me"}, "belong together"),
    ],
)
def test_what_cannot_be_is_told(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        S3Section.model_validate({"bucket": "mail", **changes})


def test_the_secret_may_come_from_the_environment_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_SECRET", "hidden-words")
    file = tmp_path / "postlane.toml"
    file.write_text(
        '[blobs.s3]\nbucket = "mail"\naccess_key_id = "me"\nsecret_access_key = { env = "STORE_SECRET" }\n'
    )
    s3 = load_settings(file).blobs.s3
    assert s3 is not None
    assert s3.secret_access_key is not None
    assert s3.secret_access_key.get_secret_value() == "hidden-words"
    assert "hidden-words" not in repr(s3)


def test_an_unknown_key_is_told_with_its_neighbour(tmp_path: Path) -> None:
    file = tmp_path / "postlane.toml"
    file.write_text('[blobs.s3]\nbuket = "mail"\n')
    with pytest.raises(ConfigError, match=r"unknown key blobs\.s3\.buket; did you mean bucket\?"):
        load_settings(file)
