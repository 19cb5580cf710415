"""`dovecot_server`: a real Dovecot, one for the session; tests that ask for it are skipped where none is installed."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import trustme

from fakes.dovecot import Dovecot, DovecotMissing, DovecotOptions, run_dovecot

_numbers = count(1)


@pytest.fixture(scope="session")
def dovecot_ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority that vouches for `dovecot_server`; its certificate and key stand beside it."""
    folder = tmp_path_factory.mktemp("dovecot-tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(folder / "certificate.pem"), append=True)
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    return folder / "ca.pem"


@pytest.fixture(scope="session")
def dovecot_server(stack_folder: Path, dovecot_ca_file: Path) -> Iterator[Dovecot]:
    """Plain IMAP with STARTTLS on one port, implicit TLS on the other. Ask `new_dovecot_user` for mailboxes."""
    place = dovecot_ca_file.parent
    options = DovecotOptions(certificate=(place / "certificate.pem", place / "key.pem"))
    try:
        with run_dovecot(stack_folder / "dovecot.log", options) as dovecot:
            yield dovecot
    except DovecotMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def new_dovecot_user() -> Callable[[], str]:
    """Names of users that nobody used yet; the password of each is `fakes.dovecot.PASSWORD`."""
    return lambda: f"user-{next(_numbers)}@desk.test"
