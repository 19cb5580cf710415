"""`postlane mailboxes`: how every mailbox stands, from what its poller has written to Kafka."""

from datetime import UTC, datetime

import typer

from postlane.ops import options
from postlane.ops.mailbox_output import folder_json, folder_lines
from postlane.ops.mailbox_survey import MailboxSurveyor
from postlane.ops.output import print_json, print_line, progress, say
from postlane.ops.session import session_of
from postlane.ops.topic_names import CURSOR


def mailboxes(context: typer.Context, as_json: options.Json = False) -> None:
    """Say of each folder whether it is polled, how far it is behind, its last error, and whether its books balance.

    Nothing is asked but Kafka: a poller writes every half minute how it stands, and at once when that changes. No word for two minutes means that
    no process polls it.
    """
    session = session_of(context)
    now = datetime.now(UTC)
    with progress("reading cursors and reports") as bar:
        surveyor = MailboxSurveyor(session.log, session.codec, session.topic(CURSOR), bar.step)
        views = surveyor.survey(session.settings, now)
    if as_json:
        print_json([folder_json(view) for view in views])
        return
    if not views:
        say("no mailbox is configured; see [mailboxes] in `postlane config example`")
    for view in views:
        for line in folder_lines(view, now):
            print_line(line)
