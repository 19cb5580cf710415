"""The words of an alert."""

import json

import pytest

from postlane.core.alerts.catalogue import KINDS, AlertName
from postlane.core.alerts.notice import Notice, document, headline, notice, text
from postlane.core.alerts.raising import Alert, Clear, Condition, Effect, Raise, Remind

T0 = 1_800_000_000.0


def alert(name: AlertName = AlertName.RELAY_HELD, subject: str = "main", reminders: int = 0) -> Alert:
    condition = Condition(
        alert=name, subject=subject, since=T0 - 900, cause="quota", reason="550 5.4.5 Daily limit exceeded"
    )
    return Alert(condition, T0, reminders)


def told(effect: Effect, instance: str = "host-1") -> Notice:
    return notice(effect, T0 + 60, instance=instance)


@pytest.mark.parametrize("name", AlertName)
def test_every_alert_says_what_is_wrong_and_what_to_do(name: AlertName) -> None:
    raised, cleared = told(Raise(alert(name))), told(Clear(alert(name)))
    assert raised.summary != cleared.summary
    assert len(raised.action) > 40
    for words in (raised.summary, cleared.summary, raised.action):
        assert "{" not in words
    assert raised.action in text(raised)
    assert cleared.action not in text(cleared)
    assert "550 5.4.5 Daily limit exceeded" in text(raised)


def test_every_alert_has_its_words() -> None:
    assert KINDS.keys() == set(AlertName)


def test_headlines_tell_raise_reminder_and_end_apart() -> None:
    assert headline(told(Raise(alert()))) == "[warning] Relay main holds mail back (quota)"
    assert headline(told(Remind(alert(reminders=2)))) == "[warning] Still: Relay main holds mail back (quota)"
    assert headline(told(Clear(alert()))) == "[over] Relay main holds no mail back any more"


def test_fingerprint_and_id() -> None:
    raised, elsewhere = told(Raise(alert())), told(Raise(alert()), "host-2")
    reminded, cleared = told(Remind(alert(reminders=1))), told(Clear(alert(reminders=1)))
    again = told(Remind(alert(reminders=2)))
    everything = (raised, elsewhere, reminded, again, cleared)
    assert len({one.fingerprint for one in everything}) == 1
    assert len({one.id for one in everything}) == 5
    assert told(Raise(alert())).id == raised.id
    assert told(Raise(alert(subject="other"))).fingerprint != raised.fingerprint


def test_the_document_of_a_webhook() -> None:
    found = json.loads(json.dumps(document(told(Raise(alert())))))
    assert found["type"] == "alert.raised"
    assert found["timestamp"] == "2027-01-15T08:01:00Z"
    assert found["text"].startswith("[warning] Relay main")
    assert found["data"]["alert"] == "RelayHeld"
    assert (found["data"]["since"], found["data"]["raised_at"]) == (
        "2027-01-15T07:45:00Z",
        "2027-01-15T08:00:00Z",
    )


def test_a_relay_called_like_a_placeholder_is_no_trouble() -> None:
    assert told(Raise(alert(subject="{0} {subject}"))).summary == "Relay {0} {subject} holds mail back"
