"""S3Proxy: a server that speaks S3 over a directory. It checks signatures and the clock, and knows conditional writes and multipart.

A bucket is a directory, an object a file in it, with the file's time as its Last-Modified.
"""

import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from localstack.artifacts import class_path, java
from localstack.ports import HOST, free_ports
from localstack.server import Server

START_TIMEOUT_SECONDS = 30.0
ANSWER_TIMEOUT_SECONDS = 5.0
LOG_SETTINGS = Path(__file__).with_name("s3proxy-logback.xml")

JVM_OPTIONS = (
    "-Xms32m",
    "-Xmx192m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)


@dataclass(frozen=True, slots=True)
class KeyStore:
    """The server's certificate and key, as PKCS #12."""

    file: Path
    password: str


@dataclass(frozen=True, slots=True)
class ObjectServer:
    """Where one S3Proxy listens, and who may use it."""

    folder: Path
    port: int
    tls_port: int
    access_key_id: str = "postlane"
    secret_access_key: str = "object-server-secret"
    region: str = "us-east-1"

    @classmethod
    def on_free_ports(cls, folder: Path) -> "ObjectServer":
        port, tls_port = free_ports(2)
        return cls(folder, port, tls_port)

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def tls_endpoint(self) -> str:
        """Answers only where the server was launched with a key store."""
        return f"https://{HOST}:{self.tls_port}"

    def make_bucket(self, name: str) -> Path:
        """Return the bucket's directory."""
        bucket = self.folder / name
        bucket.mkdir(parents=True)
        return bucket

    def answers(self) -> bool:
        """Whether it speaks HTTP; without a login it refuses, and that is an answer."""
        try:
            with urllib.request.urlopen(self.endpoint, timeout=ANSWER_TIMEOUT_SECONDS):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return True
        except OSError:
            return False


def launch(objects: ObjectServer, log: Path, key_store: KeyStore | None = None) -> Server:
    """Start S3Proxy, without waiting for it."""
    objects.folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "s3proxy.endpoint": objects.endpoint,
        "s3proxy.authorization": "aws-v2-or-v4",
        "s3proxy.identity": objects.access_key_id,
        "s3proxy.credential": objects.secret_access_key,
        "jclouds.provider": "filesystem",
        "jclouds.filesystem.basedir": str(objects.folder),
    }
    if key_store is not None:
        settings |= {
            "s3proxy.secure-endpoint": objects.tls_endpoint,
            "s3proxy.keystore-path": str(key_store.file),
            "s3proxy.keystore-password": key_store.password,
        }
    properties = log.with_suffix(".properties")
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "utf-8")
    command = [
        str(java()),
        *JVM_OPTIONS,
        f"-Dlogback.configurationFile={LOG_SETTINGS}",
        "-cp",
        os.pathsep.join(map(str, class_path("s3proxy"))),
        "org.gaul.s3proxy.Main",
        "--properties",
        str(properties),
    ]
    ports = (objects.port,) if key_store is None else (objects.port, objects.tls_port)
    return Server("S3Proxy", command, log, {"LANG": "C.UTF-8"}, ports=ports)


def wait_until_ready(server: Server, objects: ObjectServer) -> None:
    """Wait until it answers. Raises ServerFault."""
    server.wait_until(objects.answers, START_TIMEOUT_SECONDS)
