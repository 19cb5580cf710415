"""What DNS answers mean, and how long a conclusion is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.routing.mail_domains import (
    QUESTIONS,
    REFUSES_SECONDS_MAX,
    REFUSES_SECONDS_MIN,
    REST_SECONDS,
    SILENT_LOOKUPS_MAX,
    TAKES_SECONDS_MAX,
    TAKES_SECONDS_MIN,
    UNKNOWN_SECONDS,
    Conclusion,
    DnsAnswer,
    DomainMemory,
    NameServerRest,
    NoAnswer,
    NoRecords,
    NotKnown,
    Records,
    TakesMail,
    TakesNoMail,
    conclude,
    keep_seconds,
    needs_witness,
    with_witness,
)

MX = Records(("mx.x.example",), 600)
ADDRESS = Records(("192.0.2.1",), 600)
NULL_MX = Records(("",), 600)
NO_DATA = NoRecords(exists=True, ttl_seconds=600)
NO_NAME = NoRecords(exists=False, ttl_seconds=600)
SERVFAIL = NoAnswer("SERVFAIL", silent=False)
SILENCE = NoAnswer("no answer", silent=True)

REFUSES = TakesNoMail("domain_takes_no_mail", "x.example takes no mail and says so (null MX, RFC 7505)")
EMPTY = TakesNoMail("domain_unknown", "x.example has neither MX nor address records")
NO_SUCH = TakesNoMail("domain_unknown", "x.example does not exist")

TABLE: list[tuple[list[DnsAnswer], Conclusion | None]] = [
    ([MX], TakesMail()),
    (
        [Records(("", "mx.x.example"), 600)],
        TakesMail(),
    ),  # RFC 7505 section 3 forbids it; the other host counts
    ([NULL_MX], REFUSES),
    ([Records(("", ""), 600)], REFUSES),
    ([SERVFAIL], NotKnown("SERVFAIL", silent=False)),
    ([SILENCE], NotKnown("no answer", silent=True)),
    ([NO_DATA], None),
    ([NO_NAME], None),
    ([NO_DATA, ADDRESS], TakesMail()),
    ([NO_NAME, ADDRESS], TakesMail()),
    ([NO_DATA, NO_DATA], None),
    ([NO_DATA, SERVFAIL], NotKnown("SERVFAIL", silent=False)),
    ([NO_DATA, NO_DATA, ADDRESS], TakesMail()),
    ([NO_DATA, NO_DATA, SILENCE], NotKnown("no answer", silent=True)),
    ([NO_DATA, NO_DATA, NO_DATA], EMPTY),
    ([NO_NAME, NO_DATA, NO_NAME], EMPTY),
    ([NO_NAME, NO_NAME, NO_NAME], NO_SUCH),
]

seconds = st.floats(min_value=0, max_value=1e9)
records = st.builds(Records, st.lists(st.sampled_from(["", "mx.x.example"]), min_size=1).map(tuple), seconds)
no_records = st.builds(NoRecords, st.booleans(), seconds)
dns_answers = records | no_records | st.builds(NoAnswer, st.just("SERVFAIL"), st.booleans())
dialogues = st.lists(dns_answers, min_size=len(QUESTIONS), max_size=len(QUESTIONS))


def concluded(dialogue: list[DnsAnswer]) -> tuple[Conclusion, list[DnsAnswer]]:
    """The conclusion as a loop reaches it, and the answers that it took."""
    for asked in range(1, len(dialogue) + 1):
        if (conclusion := conclude("x.example", dialogue[:asked])) is not None:
            return conclusion, dialogue[:asked]
    raise AssertionError("no conclusion after the last answer")


@pytest.mark.parametrize(("answers", "expected"), TABLE)
def test_what_answers_mean(answers: list[DnsAnswer], expected: Conclusion | None) -> None:
    assert conclude("x.example", answers) == expected


@given(dialogues)
def test_nobody_is_refused_for_want_of_an_answer(dialogue: list[DnsAnswer]) -> None:
    conclusion, answers = concluded(dialogue)
    if isinstance(conclusion, TakesNoMail):
        null_mx = len(answers) == 1 and isinstance(answers[0], Records)
        assert null_mx or all(isinstance(answer, NoRecords) for answer in answers)
        assert null_mx or len(answers) == len(QUESTIONS)


@given(dialogues)
def test_only_a_missing_answer_leaves_it_open(dialogue: list[DnsAnswer]) -> None:
    conclusion, answers = concluded(dialogue)
    assert isinstance(conclusion, NotKnown) == isinstance(answers[-1], NoAnswer)


@given(dialogues)
def test_a_conclusion_is_kept_within_its_limits(dialogue: list[DnsAnswer]) -> None:
    conclusion, answers = concluded(dialogue)
    low, high = {
        TakesMail: (TAKES_SECONDS_MIN, TAKES_SECONDS_MAX),
        TakesNoMail: (REFUSES_SECONDS_MIN, REFUSES_SECONDS_MAX),
        NotKnown: (UNKNOWN_SECONDS, UNKNOWN_SECONDS),
    }[type(conclusion)]
    assert low <= keep_seconds(conclusion, answers) <= high


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([Records(("mx.x.example",), 900)], 900),
        ([Records(("mx.x.example",), 0)], TAKES_SECONDS_MIN),
        ([Records(("mx.x.example",), 86400)], TAKES_SECONDS_MAX),
        ([NoRecords(exists=True, ttl_seconds=90), Records(("192.0.2.1",), 900)], 90),
        ([Records(("",), 86400)], REFUSES_SECONDS_MAX),
        ([NoRecords(exists=False, ttl_seconds=ttl) for ttl in (120, 110, 100)], 100),
        ([SERVFAIL], UNKNOWN_SECONDS),
        ([], UNKNOWN_SECONDS),
    ],
)
def test_how_long_a_conclusion_is_kept(answers: list[DnsAnswer], expected: float) -> None:
    conclusion = conclude("x.example", answers) if answers else NotKnown("too late")
    assert conclusion is not None
    assert keep_seconds(conclusion, answers) == expected


@pytest.mark.parametrize(
    ("witness", "expected"),
    [
        (MX, NO_SUCH),
        (NO_DATA, NO_SUCH),
        (NO_NAME, NotKnown("the name server denies that there is a domain com")),
        (SERVFAIL, NotKnown("SERVFAIL")),
        (SILENCE, NotKnown("no answer", silent=True)),
    ],
)
def test_who_denies_the_world_is_not_believed(witness: DnsAnswer, expected: Conclusion) -> None:
    assert needs_witness(NO_SUCH)
    assert with_witness(NO_SUCH, witness) == expected


@pytest.mark.parametrize("conclusion", [TakesMail(), REFUSES, NotKnown("SERVFAIL")])
def test_what_was_said_in_so_many_words_needs_no_witness(conclusion: Conclusion) -> None:
    assert not needs_witness(conclusion)


def test_memory_forgets_at_the_end_of_the_time() -> None:
    memory = DomainMemory()
    memory.note("x.example", EMPTY, 60, 1000)
    assert memory.recall("x.example", 1059.9) == EMPTY
    assert memory.recall("y.example", 1000) is None
    assert memory.recall("x.example", 1060) is None
    assert len(memory) == 0


def test_memory_gives_up_the_oldest() -> None:
    memory = DomainMemory(domains_max=2)
    for domain in ("a.example", "b.example", "a.example", "c.example"):
        memory.note(domain, TakesMail(), 60, 1000)
    assert [memory.recall(f"{letter}.example", 1000) for letter in "abc"] == [TakesMail(), None, TakesMail()]


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 50), st.integers(0, 50))),
    st.integers(1, 4),
)
def test_memory_never_holds_more_than_it_may_nor_tells_what_has_expired(
    notes: list[tuple[str, int, int]], domains_max: int
) -> None:
    memory, ends, now = DomainMemory(domains_max), dict[str, int](), 0
    for domain, lasts, passes in notes:
        now += passes
        memory.note(domain, EMPTY, lasts, now)
        ends[domain] = now + lasts
        assert len(memory) <= domains_max
        assert all(memory.recall(known, now) is None for known, end in ends.items() if end <= now)
        assert memory.recall(domain, now) == (EMPTY if lasts else None)


def test_name_servers_rest_after_so_much_silence() -> None:
    rest = NameServerRest()
    begun = [rest.note(silent=True, now=1000.0) for _ in range(SILENT_LOOKUPS_MAX + 2)]
    assert begun == [False] * (SILENT_LOOKUPS_MAX - 1) + [True, False, False]
    assert rest.rests(1000.0 + REST_SECONDS - 0.1)
    assert not rest.rests(1000.0 + REST_SECONDS)
    assert rest.note(silent=True, now=1000.0 + REST_SECONDS)
    assert rest.rests(1000.0 + REST_SECONDS)


def test_any_word_ends_the_silence() -> None:
    rest = NameServerRest()
    for _ in range(3):
        for _ in range(SILENT_LOOKUPS_MAX - 1):
            assert not rest.note(silent=True, now=1000.0)
        assert not rest.note(silent=False, now=1000.0)
    for _ in range(SILENT_LOOKUPS_MAX):
        rest.note(silent=True, now=1000.0)
    rest.note(silent=False, now=1000.0)
    assert not rest.rests(1000.0)
