"""Operators and the sender with a blob store in a bucket."""

import hashlib
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from uuid import uuid4

import pytest

from integration.cli.desk import CODEC, Desk
from integration.cli.test_with_outbound import sender
from integration.postlane_process import eventually
from localstack.relay_client import RelayControl
from localstack.s3proxy import ObjectServer
from postlane.core.events.request import MailRequested

FILE = bytes(range(256)) * 2000  # too large to travel in a record


@dataclass(frozen=True)
class Bucket:
    """A bucket with its configuration."""

    server: ObjectServer
    name: str
    folder: Path

    def toml(self, **changes: str) -> str:
        keys = {
            "bucket": self.name,
            "endpoint": self.server.endpoint,
            "access_key_id": self.server.access_key_id,
            "secret_access_key": self.server.secret_access_key,
        } | changes
        return "[blobs.s3]\ntimeout_seconds = 5\n" + "".join(f'{key} = "{keys[key]}"\n' for key in keys)


@pytest.fixture
def bucket(object_server: ObjectServer) -> Bucket:
    name = f"cli-{uuid4().hex[:8]}"
    return Bucket(object_server, name, object_server.make_bucket(name))


def test_an_attachment_goes_by_the_bucket_to_the_recipient(
    desk: Desk, ticket: str, relay: RelayControl, bucket: Bucket
) -> None:
    eml = desk.directory / "mail.eml"
    eml.write_bytes(
        b"From: desk@a.test\nTo: ann@b.test\nSubject: With a file\nMIME-Version: 1.0\n"
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\nHello\n--x\n"
        b"Content-Type: text/plain\nContent-Disposition: attachment; filename=big.txt\n\n"
        + b"0123456789abcde\n" * 40_000
        + b"--x--\n"
    )
    config = desk.configure(bucket.toml())
    sent = desk.run("send", "--ticket", ticket, "--eml", str(eml), config=config)
    assert sent.code == 0, sent.err
    (record,) = desk.records("mail.outbound", ticket)
    (attachment,) = CODEC.decode(MailRequested, record.value).attachments
    assert attachment.blob is not None
    assert (bucket.folder / attachment.blob.sha256[:2]).is_dir()
    assert not list(desk.directory.rglob(attachment.blob.sha256))

    with sender(desk, relay, bucket.toml()):
        eventually("delivered", lambda: bool(relay.mails()))
    (mail,) = relay.mails()
    (part,) = message_from_bytes(relay.raw(mail.sequence), policy=default).iter_attachments()
    assert part.get_filename() == "big.txt"
    assert hashlib.sha256(part.get_content().encode()).hexdigest() == attachment.blob.sha256


def doctors(desk: Desk, extra: str, *args: str) -> dict[str, dict[str, str]]:
    ran = desk.run("doctor", "--json", *args, config=desk.configure(extra))
    return {check["name"]: check for check in ran.json["checks"]}


def test_doctor_tries_the_bucket_and_leaves_nothing_in_it(desk: Desk, bucket: Bucket) -> None:
    check = doctors(desk, bucket.toml())["blobs"]
    assert check["state"] == "ok"
    assert f"s3://{bucket.name}/ at {bucket.server.endpoint}" in check["detail"]
    assert [path for path in bucket.folder.rglob("*") if path.is_file()] == []
    assert "blobs" not in doctors(desk, bucket.toml(), "--offline")


def test_doctor_says_what_is_wrong_with_a_bucket_and_shows_no_secret(desk: Desk, bucket: Bucket) -> None:
    missing = doctors(desk, bucket.toml(bucket="not-there"))["blobs"]
    assert (missing["state"], "no such bucket" in missing["detail"]) == ("fail", True)
    refused = doctors(desk, bucket.toml(secret_access_key="wrong-secret"))["blobs"]
    assert refused["state"] == "fail"
    assert "the login is refused" in refused["detail"]
    assert "wrong-secret" not in str(refused)


def test_sending_without_the_bucket_sends_nothing_and_says_why(
    desk: Desk, ticket: str, bucket: Bucket
) -> None:
    file = desk.directory / "file.bin"
    file.write_bytes(FILE)
    ran = desk.run(
        "send",
        *("--ticket", ticket, "--from", "desk@a.test", "--to", "ann@b.test", "--text", "Hello"),
        *("--attach", str(file)),
        config=desk.configure(bucket.toml(bucket="not-there")),
    )
    assert ran.code == 1
    assert "the mail was not sent: blob store: cannot write s3://not-there/" in ran.err
    assert desk.records("mail.outbound", ticket) == []
