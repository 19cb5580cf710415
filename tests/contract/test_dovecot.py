"""The Dovecot that other tests stand on does what they ask of it."""

from collections.abc import Callable

from fakes.dovecot import Dovecot

RAW = b"Subject: x\r\n\r\nwords\r\n"


def test_it_takes_mail_both_ways_and_gives_a_folder_another_uid_validity(
    dovecot_server: Dovecot, new_dovecot_user: Callable[[], str]
) -> None:
    user = new_dovecot_user()
    dovecot_server.deliver(user, RAW, RAW)
    assert dovecot_server.drop(user, [RAW] * 3) == 3
    dovecot_server.renumber(user, 4711)
    with dovecot_server.client(user) as imap:
        assert imap.select("INBOX") == ("OK", [b"5"])
        assert imap.response("UIDVALIDITY") == ("UIDVALIDITY", [b"4711"])
