"""Senders with different configurations of a relay notice each other by marks that tell nothing."""

from hypothesis import given
from hypothesis import strategies as st

from postlane.config.relay_section import RelaySection
from postlane.core.sharing.section_marks import SectionsSeen, decode_marks, encode_marks, marks_of

OWN = {"host": "smtp.a.test", "connections": 4, "budgets": ("12 mails/hour",)}


def test_the_sender_and_the_keys_are_named_and_no_value() -> None:
    seen = SectionsSeen(marks_of(OWN), 60.0)
    seen.hear("one", marks_of(OWN), 0.0)
    assert not seen.words(0.0)
    seen.hear("two", marks_of(OWN | {"connections": 5, "budgets": ("20 mails/hour",)}), 0.0)
    assert seen.words(59.0) == "two in budgets, connections"
    seen.hear("two", marks_of(OWN), 59.0)
    assert not seen.words(59.0)


def test_who_is_not_heard_of_any_more_differs_in_nothing() -> None:
    seen = SectionsSeen(marks_of(OWN), 60.0)
    seen.hear("two", marks_of(OWN | {"host": "smtp.b.test"}), 0.0)
    assert seen.words(60.0) == ""


def test_an_older_postlane_says_nothing_and_a_newer_one_may_say_more() -> None:
    seen = SectionsSeen(marks_of(OWN), 60.0)
    seen.hear("old", {}, 0.0)
    seen.hear("new", marks_of(OWN | {"unheard_of": True}), 0.0)
    assert not seen.words(0.0)


@given(st.dictionaries(st.sampled_from(["host", "budgets", "outbound.lease_seconds"]), st.text()))
def test_marks_come_through_a_header(section: dict[str, str]) -> None:
    assert decode_marks(encode_marks(marks_of(section))) == marks_of(section)


@given(st.binary())
def test_what_is_no_header_of_ours_does_no_harm(header: bytes) -> None:
    marks = decode_marks(header)
    assert not any(";" in key + mark or "=" in key for key, mark in marks.items())


def test_nothing_secret_is_marked() -> None:
    section = RelaySection(host="smtp.a.test", username="postlane", password="hush")
    shared = section.shared_section(60.0)
    assert "hush" not in repr(shared)
    assert shared["outbound.lease_seconds"] == 60.0
    assert shared["budgets"] == ()
