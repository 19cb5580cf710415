"""Every alert that Postlane raises: its stable name, how grave it is, and what to do first.

deploy/prometheus/alerts.yml has a rule for each, and docs/operations.md a section; tests compare them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class AlertName(StrEnum):
    """Names for programs; they never change."""

    RELAY_HELD = "RelayHeld"
    RELAY_LOGIN_BROKEN = "RelayLoginBroken"
    RELAY_CIRCUIT_OPEN = "RelayCircuitOpen"
    RELAY_GRANT_ENDS = "RelayGrantEnds"
    RELAY_DISTRUSTED = "RelayDistrusted"
    RELAY_SECTIONS_DIFFER = "RelaySectionsDiffer"
    DEAD_LETTERS_GROW = "DeadLettersGrow"
    BACKLOG_OLD = "BacklogOld"
    CLOCK_OFF = "ClockOff"
    MAILBOX_BEHIND = "MailboxBehind"
    MAILBOX_LOGIN_BROKEN = "MailboxLoginBroken"
    MAILBOX_GRANT_ENDS = "MailboxGrantEnds"
    MAILBOX_RENUMBERED = "MailboxRenumbered"
    MAIL_QUARANTINED = "MailQuarantined"


class Severity(StrEnum):
    """`critical`: mail stands until a person acts. `warning`: look at it today."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertKind:
    """`raised` and `cleared` are one line each, with {subject} in place of the relay's name; `action` is the first thing to do.

    `shared`: every sender process sees it, so that one of them speaks for all.
    """

    severity: Severity
    raised: str
    cleared: str
    action: str
    shared: bool = False


KINDS: Mapping[AlertName, AlertKind] = {
    AlertName.RELAY_HELD: AlertKind(
        severity=Severity.WARNING,
        shared=True,
        raised="Relay {subject} holds mail back",
        cleared="Relay {subject} holds no mail back any more",
        action="Nothing is lost and nothing need be sent again: mail waits, and goes when the hold is over. `postlane relays` shows until when, "
        "what waits, and how soon that may be through. The reason names the limit; "
        "if it is met often, have it raised by the provider, or give the route another relay.",
    ),
    AlertName.RELAY_LOGIN_BROKEN: AlertKind(
        severity=Severity.CRITICAL,
        shared=True,
        raised="Relay {subject} refuses our login",
        cleared="Relay {subject} takes our login again",
        action="Mail waits until the login works. Set the new password or token of [relays.{subject}], restart every process of the outbound service, then "
        "`postlane relays resume {subject}`; `postlane doctor` tries the login without sending anything.",
    ),
    AlertName.RELAY_CIRCUIT_OPEN: AlertKind(
        severity=Severity.CRITICAL,
        shared=True,
        raised="Relay {subject} cannot be used",
        cleared="Relay {subject} can be used again",
        action="Mail waits, or goes by other relays of its route (`postlane relays`), and the relay is tried again by itself. Look at the reason: is the relay running, is it reachable from here, is its "
        "certificate valid? `postlane doctor` tries it at once.",
    ),
    AlertName.RELAY_GRANT_ENDS: AlertKind(
        severity=Severity.WARNING,
        shared=True,
        raised="The OAuth 2 grant of relay {subject} ends soon",
        cleared="The OAuth 2 grant of relay {subject} is good for longer",
        action="Have the mailbox's owner consent anew, and set the new refresh_token of [relays.{subject}.oauth] before the old one ends: "
        "from then on no mail goes.",
    ),
    AlertName.RELAY_DISTRUSTED: AlertKind(
        severity=Severity.WARNING,
        raised="Relay {subject} distrusts our mail",
        cleared="Relay {subject} has stopped complaining about our mail",
        action="Look at the reason: is our address on a block list, do SPF, DKIM and DMARC of the sender's domain fit this relay, has somebody sent "
        "what looks like spam? `postlane dlq list` shows the mails that failed; replay them once it is repaired.",
    ),
    AlertName.RELAY_SECTIONS_DIFFER: AlertKind(
        severity=Severity.WARNING,
        shared=True,
        raised="Senders have different configurations of relay {subject}",
        cleared="Senders have the same configuration of relay {subject} again",
        action="Give every process of the outbound service the same [relays.{subject}] and outbound.lease_seconds, and restart those that have others: until then its limits may "
        "be exceeded, or a sender may get nothing of them. After a change this ends with the last restart.",
    ),
    AlertName.DEAD_LETTERS_GROW: AlertKind(
        severity=Severity.WARNING,
        raised="Many mails could not be delivered",
        cleared="The dead letters have stopped growing",
        action="`postlane dlq list` shows them with their causes. Replay those whose cause is repaired, discard the rest.",
    ),
    AlertName.BACKLOG_OLD: AlertKind(
        severity=Severity.WARNING,
        raised="Mail that could go is not sent",
        cleared="Mail goes without delay again",
        action="`postlane relays`: is one held? Then its own alert says why. If none is, more mail comes than the relays may take: look at their connections and "
        "budgets, and at the service's log.",
    ),
    AlertName.CLOCK_OFF: AlertKind(
        severity=Severity.WARNING,
        raised="A sender's clock differs from that of Kafka's brokers",
        cleared="The sender's clock agrees with that of Kafka's brokers again",
        action="Mail goes on: senders count by the brokers' time. Set the clock of the machine that is wrong, and have NTP keep it. Certificates, OAuth 2 tokens and S3 "
        "are judged by the machine's own clock, and the lines of its log bear it.",
    ),
    AlertName.MAILBOX_BEHIND: AlertKind(
        severity=Severity.CRITICAL,
        raised="Mailbox {subject} has not been looked through for too long",
        cleared="Mailbox {subject} is looked through again",
        action="No mail is lost: it waits in its mailbox. `postlane mailboxes` shows the last error and how many mails wait; "
        "`postlane doctor` tries the login. Without an error more mail comes than is taken.",
    ),
    AlertName.MAILBOX_LOGIN_BROKEN: AlertKind(
        severity=Severity.CRITICAL,
        raised="Mailbox {subject} refuses our login",
        cleared="Mailbox {subject} takes our login again",
        action="Mail waits in the mailbox until the login works. Set the new password or grant of [mailboxes.{subject}] and restart the inbound service; "
        "`postlane doctor` tries the login.",
    ),
    AlertName.MAILBOX_GRANT_ENDS: AlertKind(
        severity=Severity.WARNING,
        raised="The OAuth 2 grant of mailbox {subject} ends soon",
        cleared="The OAuth 2 grant of mailbox {subject} is good for longer",
        action="Have the mailbox's owner consent anew, and set the new refresh_token of [mailboxes.{subject}.oauth] before the old one ends.",
    ),
    AlertName.MAILBOX_RENUMBERED: AlertKind(
        severity=Severity.WARNING,
        raised="Mailbox {subject} was renumbered or restored",
        cleared="Mailbox {subject} was renumbered more than an hour ago",
        action="Mostly nothing: the folder is scanned again, and mail that has an event gets no second one. Ask whoever runs the mail server what happened; "
        "`postlane mailboxes` shows when the scan is over.",
    ),
    AlertName.MAIL_QUARANTINED: AlertKind(
        severity=Severity.WARNING,
        raised="Mail in {subject} could not be taken",
        cleared="No further mail in {subject} was put into quarantine",
        action="It lies in its folder as it was, and the mailbox has moved on. `postlane mailboxes` counts it, mail.inbound.dlq has the reason and, "
        "where it could be fetched, the mail.",
    ),
}
