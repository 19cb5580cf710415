"""A server that speaks S3, for tests: started when a test first asks for it, stopped when the session ends."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509 import load_pem_x509_certificate
from rich.console import Console

from localstack import s3proxy
from localstack.download import download
from localstack.ports import HOST
from localstack.s3proxy import ObjectServer

BUNDLE = "s3proxy"
FIXTURE = "object_server"
KEY_STORE_PASSWORD = "key-store-password"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Download before the first test: under a test's time limit, a slow network would be the test's fault."""
    wanted = any(FIXTURE in item.fixturenames for item in session.items if isinstance(item, pytest.Function))
    if wanted and not session.config.option.collectonly:
        download(Console(stderr=True), [BUNDLE])


@pytest.fixture(scope="session")
def objects_authority() -> trustme.CA:
    """Who vouches for the object server; no system trusts it."""
    return trustme.CA()


@pytest.fixture(scope="session")
def object_server(stack_folder: Path, objects_authority: trustme.CA) -> Iterator[ObjectServer]:
    """S3 over a directory, with and without TLS. Buckets are the test's own: `make_bucket` with a unique name."""
    objects = ObjectServer.on_free_ports(stack_folder / "objects")
    store = s3proxy.KeyStore(stack_folder / "objects.p12", KEY_STORE_PASSWORD)
    store.file.write_bytes(key_store_of(objects_authority.issue_cert(HOST)))
    with s3proxy.launch(objects, stack_folder / "s3proxy.log", store) as server:
        s3proxy.wait_until_ready(server, objects)
        yield objects
    shutil.rmtree(objects.folder, ignore_errors=True)


def key_store_of(certificate: trustme.LeafCert) -> bytes:
    """As PKCS #12, which is what Java reads."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    own, *chain = [load_pem_x509_certificate(pem.bytes()) for pem in certificate.cert_chain_pems]
    encryption = BestAvailableEncryption(KEY_STORE_PASSWORD.encode())
    return serialize_key_and_certificates(b"server", key, own, chain, encryption)
