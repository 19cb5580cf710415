"""The mailboxes of a run, and how Postlane is told to poll them: one for every thing that it can do to a mail whose event is durable."""

import json

from fakes.dovecot import PASSWORD
from localstack.ports import HOST

FOLDERS = ("INBOX", "Work")  # that are polled in each
MAILBOXES = {"flagged": "flag", "moved": "move", "deleted": "delete", "kept": "nothing"}
PLACES = tuple((mailbox, folder) for mailbox in MAILBOXES for folder in FOLDERS)
DONE = "Done"  # where `moved` puts its mail
TAKEN = "Taken"  # where the other client puts mail that it takes away
OVERSIZE_BYTES = 65_536  # the least that can be configured
COMMAND_TIMEOUT_SECONDS = 3.0
PARSE_SECONDS_MAX = 3.0  # a poller may be stopped for longer and keep its partitions

INBOUND = f"""\
[inbound]
poll_seconds = 2
idle_seconds = 5
command_timeout_seconds = {COMMAND_TIMEOUT_SECONDS}
oversize_bytes = {OVERSIZE_BYTES}
drain_seconds = 4
parse_seconds_max = {PARSE_SECONDS_MAX}
"""
MAILBOX = f"""\
[mailboxes.{{name}}]
host = "{HOST}"
port = {{port}}
tls = "none"
username = "{{name}}"
password = "{PASSWORD}"
folder = "{FOLDERS[0]}"
more_folders = {json.dumps(FOLDERS[1:])}
start = "all"
after = "{{after}}"
move_to = "{DONE}"
"""


def polled(port: int) -> str:
    """The inbound part of a run's configuration; the mail server is reached by this port."""
    sections = (MAILBOX.format(name=name, port=port, after=after) for name, after in MAILBOXES.items())
    return "\n".join([INBOUND, *sections])
