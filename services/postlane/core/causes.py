"""Every cause that a status or a dead mail can bear: the stable tokens by which programs and operators' filters know what happened.

Most come from the reply rules, which are data; the others are decided in code and stand here once more, so that a filter can refuse a
token that nobody ever writes. A test compares this list with the code.
"""

from postlane.core.routing.mail_domains import CAUSE_DOMAIN_TAKES_NO_MAIL, CAUSE_DOMAIN_UNKNOWN
from postlane.core.smtp.attempt import (
    CAUSE_AUTH,
    CAUSE_CONNECTION,
    CAUSE_CONNECTION_LOST,
    CAUSE_OUTCOME_UNKNOWN,
    CAUSE_REDIRECTED,
    CAUSE_SAFETY,
    CAUSE_SUPPRESSED,
    CAUSE_TLS,
    CAUSE_TOO_MANY_RECIPIENTS,
)
from postlane.core.smtp.smtp_reply import Classifier, Scope

# The request itself cannot be sent.
_OF_REQUESTS = frozenset(
    {"undecodable", "unreadable", "no_key", "wrong_key", "bad_request", "bad_replay_header"}
)
# Not the mail's fault, nor the relay's.
_OF_SENDERS = frozenset({"attachment_missing", "not_built", "sender_fault", "too_many_dead"})
# Decided by the lanes: ends without an attempt, and waits.
_OF_LANES = frozenset(
    {
        "accepted",
        "expired",
        "duplicate_event_id",
        "journal_record_lost",
        "new",
        "scheduled",
        "behind_parked",
        "window_full",
        "holds_base",
        "skipped",
        "ticket_held",
    }
)
# Recipients who must not be mailed, or are not while a system is tried out.
_OF_SCREENING = frozenset({CAUSE_REDIRECTED, CAUSE_SAFETY, CAUSE_SUPPRESSED})
_OF_CONNECTIONS = frozenset(
    {
        CAUSE_AUTH,
        CAUSE_CONNECTION,
        CAUSE_CONNECTION_LOST,
        CAUSE_OUTCOME_UNKNOWN,
        CAUSE_TLS,
        CAUSE_TOO_MANY_RECIPIENTS,
    }
)
# Decided by the governor of a relay, and by its share of what all senders may do; replies bring the first three as well.
_OF_LIMITS = frozenset({"quota", "rate", "throttled", "warm_up", "paused", "no_lease", "control_unread"})
# Said by DNS, before any relay is asked.
_OF_DOMAINS = frozenset({CAUSE_DOMAIN_TAKES_NO_MAIL, CAUSE_DOMAIN_UNKNOWN})
# Replies that no rule knows: smtp_reply's fallback.
_OF_UNKNOWN_REPLIES = frozenset(
    f"{about}_{end}" for about in ("policy", *Scope) for end in ("deferred", "refused")
)
OWN_CAUSES = (
    _OF_REQUESTS
    | _OF_SENDERS
    | _OF_LANES
    | _OF_SCREENING
    | _OF_CONNECTIONS
    | _OF_LIMITS
    | _OF_DOMAINS
    | _OF_UNKNOWN_REPLIES
)


def known_causes(classifier: Classifier) -> frozenset[str]:
    """All causes there are with these reply rules."""
    return OWN_CAUSES | {rule.cause for rule in classifier.rules}
