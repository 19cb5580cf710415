"""A private Dovecot (2.3) on free ports of 127.0.0.1, as an unprivileged user: the real IMAP server of tests, chaos and benchmarks.

Every user name exists, with an empty maildir and the password `PASSWORD`; ask for names that nobody else uses.
"""

import contextlib
import imaplib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from localstack.ports import HOST, free_ports
from localstack.server import Server

PASSWORD = "mailbox-password"
PROGRAM_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"))
WANTED_VERSION = "2.3."  # 2.4 reads another kind of configuration
START_TIMEOUT_SECONDS = 20.0
ANSWER_TIMEOUT_SECONDS = 30.0
SERVANT = "nobody"  # Dovecot gives nobody's mail to root

CONFIGURATION = """
protocols = imap
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
listen = {host}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_cache_size = 0
auth_failure_delay = 0
mail_location = {location}
mail_fsync = never
mail_max_userip_connections = 1000
default_process_limit = 1200
default_client_limit = 5000
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  service_count = 0
  process_limit = 2
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service imap {{
  vsz_limit = 1G
}}
service stats {{
  chroot =
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/homes/%u
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
}}
"""


class DovecotMissing(Exception):
    """The machine has no Dovecot that can be used; the words say what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DovecotOptions:
    """`certificate`: files of a certificate and its key, for STARTTLS and the TLS port. `extra`: further lines of configuration,
    `{folder}` in them is the server's own. `files`: what stands there beside it, by name.

    `folder` and `ports` (IMAP, IMAPS): those of a server that ran before, so that it comes back with its mail; the folder is then kept.
    """

    folder: Path | None = None
    ports: tuple[int, int] | None = None

    certificate: tuple[Path, Path] | None = None
    separator: str = "/"
    prefix: str = ""
    location: str = "maildir:~/mail"
    extra: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dovecot:
    """Where it listens, and the orders that tests give it. Everything here blocks; call it in a thread."""

    folder: Path
    port: int
    tls_port: int
    host: str = HOST
    server: Server | None = field(default=None, repr=False)

    @contextlib.contextmanager
    def client(self, user: str) -> Iterator[imaplib.IMAP4]:
        """The standard library's client, logged in: another mail program on the same mailbox."""
        with imaplib.IMAP4(self.host, self.port, timeout=ANSWER_TIMEOUT_SECONDS) as imap:
            imap.login(user, PASSWORD)
            yield imap

    def deliver(self, user: str, *raws: bytes, folder: str = "INBOX") -> None:
        """Append the mails; return once they are there."""
        with self.client(user) as imap:
            for raw in raws:
                answer, words = imap.append(folder, "", "", raw)
                if answer != "OK":
                    raise AssertionError(f"APPEND to {folder} of {user}: {words!r}")

    def drop(self, user: str, raws: Iterable[bytes], folder: str = "INBOX") -> int:
        """Put many mails into the maildir as files, as a delivery agent does; faster than `deliver`. How many there were."""
        place = self.maildir(user, folder)
        count = 0
        for count, raw in enumerate(raws, 1):
            # Dovecot's own deliveries name both sizes as well, so that a listing opens no file.
            virtual = len(raw) + raw.count(b"\n") - raw.count(b"\r\n")
            name = f"{os.urandom(12).hex()}.M{count},S={len(raw)},W={virtual}"
            (place / "tmp" / name).write_bytes(raw)
            (place / "tmp" / name).chmod(0o666)
            (place / "tmp" / name).rename(place / "new" / name)
        return count

    def maildir(self, user: str, folder: str = "INBOX") -> Path:
        """The folder's maildir, made by Dovecot itself if it was missing."""
        with self.client(user) as imap:
            if folder != "INBOX":
                imap.create(folder)
            imap.select(folder)
        root = self.folder / "homes" / user / "mail"
        return root if folder == "INBOX" else root / f".{folder.replace('/', '.')}"

    def renumber(self, user: str, uid_validity: int, folder: str = "INBOX") -> None:
        """Give the folder another UIDVALIDITY, as one that was made anew has."""
        self.doveadm("mailbox", "update", "-u", user, "--uid-validity", str(uid_validity), folder)

    def doveadm(self, *words: str) -> str:
        """Run doveadm on this server; its output. Raises CalledProcessError."""
        command = [*_as_servant(), _program("doveadm"), "-c", str(self.folder / "dovecot.conf"), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def answers(self) -> bool:
        """Whether it greets and knows its users."""
        try:
            with self.client("probe") as imap:
                return imap.noop()[0] == "OK"
        except (OSError, imaplib.IMAP4.error):
            return False


def find_dovecot() -> str:
    """The program. Raises DovecotMissing."""
    path = shutil.which("dovecot", path=PROGRAM_PATH)
    if path is None:
        raise DovecotMissing("Dovecot is not installed; on Debian and Ubuntu: apt-get install dovecot-imapd")
    version = subprocess.run([path, "--version"], check=False, capture_output=True, text=True).stdout.strip()
    if not version.startswith(WANTED_VERSION):
        raise DovecotMissing(
            f"this is Dovecot {version}; its configuration here is written for {WANTED_VERSION}x"
        )
    return path


@contextlib.contextmanager
def run_dovecot(log: Path, options: DovecotOptions | None = None) -> Iterator[Dovecot]:
    """Start one and wait until it answers; stopped at the end. Raises DovecotMissing, ServerFault."""
    program = find_dovecot()
    options = options or DovecotOptions()
    port, tls_port = options.ports or tuple(free_ports(2))
    ports = (port,) if options.certificate is None else (port, tls_port)  # without a certificate it opens one
    # Short, for sockets have paths of at most 107 characters; and the servant must be able to reach it.
    folder = options.folder or Path(tempfile.mkdtemp(prefix="dovecot-"))
    try:
        _prepare(folder, port, tls_port, options)
        command = [*_as_servant(), program, "-F", "-c", str(folder / "dovecot.conf")]
        with Server("Dovecot", command, log, {"PATH": PROGRAM_PATH}, ports=ports) as server:
            dovecot = Dovecot(folder, port, tls_port, server=server)
            server.wait_until(dovecot.answers, START_TIMEOUT_SECONDS)
            yield dovecot
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def _prepare(folder: Path, port: int, tls_port: int, options: DovecotOptions) -> None:
    servant = pwd.getpwnam(SERVANT) if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    group = subprocess.run(["id", "-gn", servant.pw_name], check=True, capture_output=True, text=True).stdout
    values = {
        "folder": folder,
        "user": servant.pw_name,
        "group": group.strip(),
        "uid": servant.pw_uid,
        "gid": servant.pw_gid,
        "host": HOST,
        "port": port,
        "tls_port": tls_port,
        "password": PASSWORD,
        "location": options.location,
        "separator": options.separator,
        "prefix": options.prefix,
    }
    folder.mkdir(parents=True, exist_ok=True)
    extra = [line.replace("{folder}", str(folder)) for line in options.extra]
    for name, content in options.files.items():
        (folder / name).write_text(content, encoding="utf-8")
    lines = [CONFIGURATION.format(**values), *extra, *_tls_lines(folder, options)]
    (folder / "dovecot.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "homes").mkdir(exist_ok=True)
    if os.getuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, servant.pw_uid, servant.pw_gid)


def _tls_lines(folder: Path, options: DovecotOptions) -> list[str]:
    if options.certificate is None:
        return ["ssl = no"]
    copies = (folder / "certificate.pem", folder / "key.pem")
    for source, copy in zip(options.certificate, copies, strict=True):
        copy.write_bytes(source.read_bytes())
    return ["ssl = yes", f"ssl_cert = <{copies[0]}", f"ssl_key = <{copies[1]}"]


def _as_servant() -> list[str]:
    if os.getuid() != 0:
        return []
    servant = pwd.getpwnam(SERVANT)
    return ["setpriv", f"--reuid={servant.pw_uid}", f"--regid={servant.pw_gid}", "--clear-groups"]


def _program(name: str) -> str:
    path = shutil.which(name, path=PROGRAM_PATH)
    if path is None:
        raise DovecotMissing(f"{name} is not installed; on Debian and Ubuntu: apt-get install dovecot-core")
    return path
