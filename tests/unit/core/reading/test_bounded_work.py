"""What bounds the work that one mail can cause; each of these once took seconds."""

from base64 import encodebytes
from struct import pack

from postlane.core.reading.html_text import HtmlTooDense, sanitize_html
from postlane.core.reading.mime_headers import HEADERS_MAX, decode_header, split_headers
from postlane.core.reading.mime_parse import parse_mail
from postlane.core.reading.mime_parts import CANDIDATES_MAX, FIELDS_MAX, SEARCHED_BYTES_MAX, split_parts
from postlane.core.reading.mime_transfer import RUNS_MAX, decode_base64
from postlane.core.reading.part_reader import CALENDARS_MAX, REPORTS_MAX
from postlane.core.reading.rtf_text import TOKENS_MAX, decompress_rtf, read_rtf
from postlane.core.reading.tnef import MAIL_VALUES_MAX, TnefBudget, read_tnef

MULTIPART = b"Content-Type: multipart/mixed; boundary=b\n\n"
TNEF = pack("<IH", 0x223E9F78, 1)


def attribute(number: int, value: bytes) -> bytes:
    return pack("<BHHI", 1, number, 6, len(value)) + value + b"\0\0"


def rtf_container(rtf: bytes) -> bytes:
    stored = pack("<II4sI", len(rtf) + 12, len(rtf), b"MELA", 0) + rtf
    return TNEF + attribute(
        0x9003, pack("<IHHII", 1, 0x102, 0x1009, 1, len(stored)) + stored + b"\0" * (-len(stored) % 4)
    )


def test_headers_of_all_parts_are_counted_together() -> None:
    part = b"--b\n" + b"X: y\n" * HEADERS_MAX + b"\nwords\n"
    tree = split_parts(MULTIPART + part * (2 * FIELDS_MAX // HEADERS_MAX))
    assert len(tree.root.children) == FIELDS_MAX // HEADERS_MAX
    assert f"parts with more than {FIELDS_MAX} headers; the rest is left out" in tree.defects


def test_what_follows_too_many_headers_is_still_the_body() -> None:
    content = b"X: y\n" * (HEADERS_MAX + 10) + b"no header\n\nbody: words"
    assert content[split_headers(content, 0, len(content)).body_at :] == b"body: words"


def test_a_field_without_end_ends_the_reading_of_headers() -> None:
    content = b"X: y" + b"\n z" * 500_000 + b"\nSubject: late\n\nwords"
    block = split_headers(content, 0, len(content))
    assert content[block.body_at :] == b"words"
    assert block.first("subject") == b""


def test_lines_that_are_nearly_delimiters_are_not_looked_at_for_ever() -> None:
    mail = MULTIPART + b"--bx\n" * CANDIDATES_MAX + b"--b\n\nwords\n--b--\n"
    assert "a multipart's boundary never occurs" in split_parts(mail).defects


def test_a_large_mail_is_nested_less_deeply() -> None:
    levels = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(29))
    filling = b"x" * (SEARCHED_BYTES_MAX // 20)
    assert any("nested deeper" in defect for defect in split_parts(levels + b"\n" + filling).defects)
    assert not any("nested deeper" in defect for defect in split_parts(levels + b"\nx").defects)


def test_blanks_after_a_delimiter_that_nothing_told_are_no_part_of_it() -> None:
    mail = b"Content-Type: multipart/mixed\n\n--b   \nContent-Type: text/plain\n\nwords\n--b--\n"
    assert parse_mail(mail).text == "words"


def test_base64_that_ends_again_and_again() -> None:
    assert decode_base64(b"YWI=\n" * 3)[0] == b"ababab"
    assert len(decode_base64(b"YWI=\n" * (2 * RUNS_MAX))[0]) > 2 * RUNS_MAX


def test_words_in_unknown_charsets_are_guessed_together() -> None:
    words = " ".join(
        "=?x-{}?q?{}?=".format(n, "".join(f"={byte:02x}" for byte in word.encode("cp1251")))
        for n, word in enumerate(["Принтер", " снова", " не печатает"])
    )
    assert decode_header(words.encode()) == "Принтер снова не печатает"


def test_reports_and_invitations_beyond_some_stay_files() -> None:
    report = b"--b\nContent-Type: message/delivery-status\n\nAction: failed\n"
    mail = parse_mail(MULTIPART + report * (REPORTS_MAX + 3))
    assert mail.report_text.count("Action") == REPORTS_MAX
    assert len(mail.attachments) == REPORTS_MAX + 3
    invitation = b"--b\nContent-Type: text/calendar\n\nBEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\n"
    assert (parse_mail(MULTIPART + invitation * (CALENDARS_MAX + 3)).text or "").count(
        "Summary"
    ) == CALENDARS_MAX


def test_containers_of_one_mail_share_what_they_may_cost() -> None:
    container = rtf_container(b"{\\rtf1 words}")
    budget = TnefBudget(rtf_bytes=20)
    first, second = read_tnef(container, budget), read_tnef(container, budget)
    assert first is not None
    assert second is not None
    assert (first.text, second.text) == ("words", "")
    values = pack("<I", 1000) + pack("<HHI", 0x1003, 1, 1000) + b"\0" * 4000
    many = read_tnef(TNEF + attribute(0x9003, values) * (MAIL_VALUES_MAX // 1000 + 1))
    assert many is not None
    assert not many.whole


def test_rtf_of_braces_alone_ends() -> None:
    late = read_rtf(b"{\\rtf1 early" + b"{}" * TOKENS_MAX + b"late}")
    assert late is not None
    assert late.text == "early"


def test_copies_that_overlap_are_expanded() -> None:
    control, mark = b"\x02", (207 << 4 | 9).to_bytes(2)
    packed = control + b"a" + mark + (0).to_bytes(2)
    assert decompress_rtf(pack("<II4sI", 0, 12, b"LZFu", 0) + packed) == b"a" * 12


def test_html_that_begins_again_too_often() -> None:
    try:
        sanitize_html("".join(f"<html a{n} b{n}>" for n in range(9000)))
    except HtmlTooDense as error:
        assert "begins again" in str(error)  # noqa: PT017 - beside the honest one below
    else:
        raise AssertionError
    assert "words" in sanitize_html("<html lang=en><body bgcolor=white>words" * 150)


def test_pictures_in_the_markup_do_not_push_the_words_out() -> None:
    html = b'<p>before</p><img src="data:image/png;base64,' + b"A" * 1_200_000 + b'"><p>after</p>'
    assert (parse_mail(b"Content-Type: text/html\n\n" + html).text or "").split() == ["before", "after"]


def test_many_files_of_one_name() -> None:
    part = b"--b\nContent-Type: image/png; name=a.png\n\nx\n"
    names = [one.filename for one in parse_mail(MULTIPART + part * 400).attachments]
    assert names[:3] == ["a.png", "a (2).png", "a (3).png"]
    assert len(set(names)) == 400


def test_an_attached_message_is_named_by_its_subject_wherever_it_stands() -> None:
    inner = b"X: y\n" * 300 + b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n an alle\r\n\r\nSubject: no\n"
    part = b"--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + encodebytes(inner)
    assert [one.filename for one in parse_mail(MULTIPART + part).attachments] == ["Grüße an alle.eml"]
