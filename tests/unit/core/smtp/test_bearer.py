"""The words of OAUTHBEARER and XOAUTH2, by the examples of their descriptions."""

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.smtp.bearer import ERROR_ANSWERS, challenge_words, oauthbearer, xoauth2
from postlane.core.smtp.smtp_terms import BY_TOKEN, Login


def test_oauthbearer_by_the_example_of_rfc_7628() -> None:
    said = oauthbearer(
        "user@example.com", "server.example.com", 587, "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
    )
    assert said == (
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNr"
        b"QmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )  # fmt: skip


def test_a_comma_in_the_name_does_not_end_it() -> None:
    said = b64decode(oauthbearer("a,b=c@x.example", "h", 25, "t"))
    assert said == b"n,a=a=2Cb=3Dc@x.example,\x01host=h\x01port=25\x01auth=Bearer t\x01\x01"


def test_xoauth2_by_the_example_of_google() -> None:
    assert xoauth2("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg") == (
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    )


def test_every_mechanism_by_token_has_its_answer_to_an_error() -> None:
    assert ERROR_ANSWERS.keys() == set(BY_TOKEN)
    assert ERROR_ANSWERS[Login.OAUTHBEARER] == b"AQ=="


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        (b'{"status":"invalid_token","scope":"mail"}', "status invalid_token, scope mail"),
        (b'{"status":"401","schemes":"bearer"}', "status 401"),
        (b"[1]", ""),
        (b"{}", ""),
        (b"\xff", ""),
    ],
)
def test_the_words_of_a_challenge(challenge: bytes, words: str) -> None:
    assert challenge_words(b64encode(challenge).decode()) == words


@given(st.text())
def test_any_challenge_can_be_read(challenge: str) -> None:
    assert challenge_words(challenge) == ""
