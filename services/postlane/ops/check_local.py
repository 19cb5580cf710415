"""Doctor's checks that need no network: what the configuration says, and the blob store's directory."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from postlane.adapters.smtp_rules_file import read_own_rules
from postlane.config.mailbox_section import MailboxSection
from postlane.config.sections import Tls
from postlane.config.settings import CONFIG_PATH_DEFAULT, CONFIG_PATH_VARIABLE, Settings, read_toml
from postlane.config.signing_section import SIGNING_SECRET_CHARACTERS_MIN, SigningSection
from postlane.core.smtp.smtp_rules import BadRules
from postlane.ops.checks import Check, fail, ok, warn

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def check_configuration(settings: Settings, file: Path | None) -> Iterator[Check]:
    """A valid configuration can still be unwise. `file` is where it was read from, if from anywhere."""
    yield _check_file(file)
    if not settings.relays:
        yield warn(
            "config",
            "no relay is configured: `postlane outbound` will not start",
            "add [relays.NAME] where mail is to be sent",
        )
    if not settings.mailboxes:
        yield warn(
            "config",
            "no mailbox is configured: `postlane inbound` will not start",
            "add [mailboxes.NAME] where mail is to be received",
        )
    yield from _check_signing(settings.signing)
    yield from _check_reply_rules(settings.outbound.reply_rules_file)
    yield from _check_plaintext(settings)
    yield from _check_accounts(settings.mailboxes)


def _check_plaintext(settings: Settings) -> Iterator[Check]:
    readable = 'tls = "none" sends the password readable over the network'
    for name, relay in settings.relays.items():
        if _readable(relay.tls, relay.host) and relay.username:
            yield warn(f"relays.{name}", readable, "use starttls or implicit")
    for name, box in settings.mailboxes.items():
        if _readable(box.tls, box.host) and box.allow_plaintext:
            yield warn(f"mailboxes.{name}", readable, "use starttls or implicit")
        elif _readable(box.tls, box.host):
            words = 'tls = "none" keeps us from logging in, for nothing secret is sent to another machine without TLS'
            yield warn(f"mailboxes.{name}", words, "use starttls or implicit; else allow_plaintext = true")


def _check_accounts(mailboxes: Mapping[str, MailboxSection]) -> Iterator[Check]:
    polled: dict[tuple[str, int, str, str], str] = {}
    for name, box in mailboxes.items():
        for folder in box.folders:
            first = polled.setdefault((box.host, box.port, box.username, folder), name)
            if first != name:
                words = f"{folder} of {box.username} is polled by mailboxes.{first}, too: each mail becomes two events"
                yield warn(f"mailboxes.{name}", words, "leave it out of one of them")


def _check_file(file: Path | None) -> Check:
    if file is None:
        looked = f"--config is not given, ${CONFIG_PATH_VARIABLE} is not set, {CONFIG_PATH_DEFAULT.absolute()} is not there"
        return warn(
            "config",
            f"no configuration file: {looked}",
            "`postlane config example > postlane.toml` makes one",
        )
    if not read_toml(file):
        return warn(
            "config",
            f"{file} is empty: only defaults and the environment count",
            "`postlane config example` prints what belongs there",
        )
    return ok("config", f"{file} is valid")


def _check_signing(signing: SigningSection) -> Iterator[Check]:
    if not signing.keys:
        yield warn(
            "signing",
            "no signing key: no reply will join its ticket, because only a signed mark fills ticket_id",
            f'set signing.keys, such as keys = {{ k1 = "{SIGNING_SECRET_CHARACTERS_MIN} random characters or more" }}',
        )
    if signing.domain == SigningSection.model_fields["domain"].default:
        yield warn(
            "signing",
            f"our Message-IDs will end in @{signing.domain}, which is nobody's domain",
            "set signing.domain to a domain of yours",
        )


def _check_reply_rules(file: Path | None) -> Iterator[Check]:
    try:
        read_own_rules(file)
    except BadRules as error:
        yield fail(
            "config", f"outbound.reply_rules_file: {error}", "correct it: `postlane outbound` will not start"
        )


def _usable(directory: Path) -> bool:
    return os.access(directory, os.R_OK | os.W_OK | os.X_OK)


def check_blobs(directory: Path, usable: Callable[[Path], bool] = _usable) -> Check:
    """The directory must be writable for this user, or its nearest parent, where services create it."""
    there = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    elsewhere = "or set blobs.directory to another place"
    if not there.is_dir():
        return fail("blobs", f"{there} is no directory", "set blobs.directory to one")
    if there != directory.absolute():
        if usable(there):
            return ok("blobs", f"{directory} will be created")
        return fail(
            "blobs",
            f"{directory} does not exist, and this user cannot create it in {there}",
            f"let an administrator make it: install -d -o USER {directory}, {elsewhere}",
        )
    if not usable(there):
        return fail(
            "blobs",
            f"this user cannot read and write in {directory}",
            f"let an administrator give it to the services' user: chown USER {directory}, {elsewhere}",
        )
    return ok("blobs", f"{directory} is writable")


def _readable(tls: Tls, host: str) -> bool:
    return tls is Tls.NONE and host not in LOOPBACK
