"""Doctor's checks that need no network: what the configuration says, and the blob store's directory."""

import os
from collections.abc import Iterator
from pathlib import Path

from postlane.config.sections import Tls
from postlane.config.settings import Settings
from postlane.ops.checks import Check, fail, ok, warn

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def check_configuration(settings: Settings) -> Iterator[Check]:
    """A valid configuration can still be unwise."""
    yield ok("config", "the configuration is valid")
    if not settings.relays and not settings.mailboxes:
        yield warn(
            "config", "neither a relay nor a mailbox is configured", "add [relays.NAME] or [mailboxes.NAME]"
        )
    if len(settings.relays) > 1:
        names = ", ".join(settings.relays)
        yield fail(
            "config", f"the outbound service takes one relay, configured are {names}", "keep one of them"
        )
    if not settings.signing.keys:
        yield warn(
            "signing",
            "no signing keys: replies are matched by unsigned marks, which anybody can forge",
            "set signing.keys and signing.domain",
        )
    plain = [
        *(
            f"relays.{name}"
            for name, relay in settings.relays.items()
            if _readable(relay.tls, relay.host) and relay.username
        ),
        *(f"mailboxes.{name}" for name, box in settings.mailboxes.items() if _readable(box.tls, box.host)),
    ]
    for place in plain:
        yield warn(
            place, 'tls = "none" sends the password readable over the network', "use starttls or implicit"
        )


def check_blobs(directory: Path) -> Check:
    """The directory must be writable for this user, or its nearest parent, where services create it."""
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not there.is_dir():
        return fail("blobs", f"{there} is no directory", "set blobs.directory to one")
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return fail(
            "blobs", f"{there} is not readable and writable for this user", "change its owner or mode"
        )
    return ok("blobs", f"{directory} is writable" if there == directory else f"{directory} will be created")


def _readable(tls: Tls, host: str) -> bool:
    return tls is Tls.NONE and host not in LOOPBACK
