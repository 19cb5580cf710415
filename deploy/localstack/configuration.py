"""`postlane.toml` for the servers of a stack: complete, so that every `postlane` command works with it as it is.

The signing key lies beside it in a file of its own and is kept: threads of an earlier stack are still recognised.
"""

import secrets
from pathlib import Path
from typing import Any

import tomli_w

from localstack.stack_state import StackState, write_private

CONFIGURATION_FILE = "postlane.toml"
SIGNING_KEY_FILE = "signing.key"
SIGNING_KEY_BYTES = 32

HEADER = """\
# Written whenever the servers of this stack are started, and left in place when they are stopped.
# To change something for good, copy it; `postlane config example` shows every key.

"""


def configuration_file(folder: Path) -> Path:
    """Where the stack of `folder` has its configuration for Postlane."""
    return folder / CONFIGURATION_FILE


def blob_folder(folder: Path) -> Path:
    """Where Postlane keeps raw mail of the stack of `folder`."""
    return folder / "blobs"


def write_configuration(folder: Path, settings: dict[str, Any]) -> None:
    """Replace the file."""
    write_private(configuration_file(folder), HEADER + tomli_w.dumps(settings))


def settings_for(state: StackState, folder: Path) -> dict[str, Any]:
    """One relay, the first mailbox, and waits that are short enough to look on."""
    folder = folder.resolve()  # the file may be used from anywhere
    mailbox = state.mailboxes[0]
    name, _, domain = mailbox.address.partition("@")
    relay = {"host": state.relay.host, "port": state.relay.port, "tls": "none"}
    if state.relay.user and state.relay.password:
        relay |= {"username": state.relay.user, "password": state.relay.password}
    return {
        "kafka": {"bootstrap_servers": state.kafka_bootstrap},
        "topics": {"partitions": 4, "replication_factor": 1, "min_insync_replicas": 1},
        "blobs": {"directory": str(blob_folder(folder))},
        "signing": {"domain": domain, "keys": {"k1": {"file": str(_signing_key(folder))}}},
        "outbound": {"retry_schedule": "5s*3, 30s, 2m*3, 15m"},
        "relays": {"main": relay | {"hold_seconds": 5, "hold_seconds_max": 60}},
        "inbound": {"poll_seconds": 5},
        "mailboxes": {
            name: {
                "host": state.mail.host,
                "port": state.mail.imap_port,
                "tls": "none",
                "username": mailbox.address,
                "password": mailbox.password,
                "start": "all",
            }
        },
        "http": {"port": 0},  # any free one: both services run from this file, and beside others
    }


def _signing_key(folder: Path) -> Path:
    """Made when first needed."""
    path = folder / SIGNING_KEY_FILE
    if not path.exists():
        write_private(path, secrets.token_urlsafe(SIGNING_KEY_BYTES) + "\n")
    return path
