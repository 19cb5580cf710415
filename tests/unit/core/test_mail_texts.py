"""HTML made safe and readable, file names made safe, replies told from quotes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.file_names import FILE_NAME_BYTES_MAX, safe_file_name
from postlane.core.reading.html_render import render_text
from postlane.core.reading.html_text import (
    NESTING_MAX,
    OPEN_TAGS_MAX,
    HtmlTooDense,
    escape_text,
    sanitize_html,
    strip_tags,
)
from postlane.core.reading.reply_text import trim_reply

ACTIVE = (
    "<script",
    "javascript:",
    "onerror",
    "onload",
    "<iframe",
    "<form",
    "<style",
    "<object",
    "srcdoc",
    "data:",
)


@pytest.mark.parametrize(
    "markup",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<a href='javascript:alert(1)'>x</a>",
        "<a href='java\nscript:alert(1)'>x</a>",
        "<a href='data:text/html,x'>x</a>",
        "<svg onload=alert(1)><script>x</script></svg>",
        "<iframe srcdoc='<script>x</script>'></iframe>",
        "<form action=x><input name=y></form>",
        "<style>@import 'x'</style>",
        "<math><mtext></p><style><img src=x onerror=x></style>",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
        "<object data=x></object><embed src=x>",
        "<base href='https://evil.example/'><meta http-equiv=refresh content=0>",
        "<p style='background:url(javascript:x)'>x</p>",
    ],
)
def test_nothing_active_survives(markup: str) -> None:
    clean = sanitize_html(markup).lower()
    assert not [word for word in ACTIVE if word in clean]


@given(st.text(st.sampled_from("<>/\"'= abscriptonlj:&#;!-\n"), max_size=200))
def test_cleaning_twice_changes_nothing_more_and_rendering_never_fails(markup: str) -> None:
    clean = sanitize_html(markup)
    assert sanitize_html(clean) == clean
    assert "<script" not in clean
    render_text(clean)
    strip_tags(markup)


def test_inline_images_and_links_stay() -> None:
    clean = sanitize_html(
        '<img src="cid:logo@x" alt="Logo"><a href="https://example.org">x</a><a href="mailto:a@b">y</a>'
    )
    assert 'src="cid:logo@x"' in clean
    assert 'href="https://example.org"' in clean
    assert 'href="mailto:a@b"' in clean


@pytest.mark.parametrize(
    "markup",
    [
        "<b>" * (OPEN_TAGS_MAX + 1),
        "&" * 60_000,
        "<div>" * (NESTING_MAX + 1),
        "<UL><li>" * (NESTING_MAX + 1),
        "".join(f"<font id={n}>" for n in range(9000)) + "<p>x</p>" * 900,
        "".join(f"<font id={n}></i>" for n in range(4000)) + "<p>x</p>" * 900,
        "<a " + " ".join(f"a{n}" for n in range(60_000)) + ">",
        "<a " + "b='>' " * 60_000 + ">",
    ],
)
def test_markup_that_would_take_too_long_is_refused(markup: str) -> None:
    with pytest.raises(HtmlTooDense):
        sanitize_html(markup)


def test_many_tags_side_by_side_are_cleaned() -> None:
    assert sanitize_html("<div>x</div>" * (NESTING_MAX + 1)).count("x") == NESTING_MAX + 1


@pytest.mark.parametrize(
    "source", ["https://x.example/p.gif", "//x.example/p.gif", "p.gif", "CID:", "file:///p", "http:p"]
)
def test_no_image_is_fetched_from_elsewhere(source: str) -> None:
    clean = sanitize_html(f'<img src="{source}"><img src="cid:a@b">')
    assert clean.count("src=") == (2 if source == "CID:" else 1)
    assert "x.example" not in clean


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("one<br>two", "one\ntwo"),
        ("<div>one</div><div>two</div>", "one\ntwo"),
        ("<div>one</div><div><br></div><div>two</div>", "one\n\ntwo"),
        ("a  b\n\tc", "a b c"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("<blockquote>q<blockquote>r</blockquote></blockquote>end", "> q\n>\n> > r\n> >\n>\nend"),
        ('<a href="https://x.y">https://x.y/</a>', "https://x.y/"),
        ('<a href="https://x.y">click</a>', "click <https://x.y>"),
        ('<a href="mailto:a@b">a@b</a>', "a@b"),
        ('<img alt="Logo" src="cid:x"><img src="cid:y">', "[Logo]"),
        ("&lt;b&gt; &amp; &nbsp;&auml;", "<b> & \xa0ä"),
        ("", ""),
    ],
)
def test_html_as_readable_text(markup: str, text: str) -> None:
    lines = [line.rstrip() for line in render_text(sanitize_html(markup)).split("\n")]
    assert [line for line in lines if line.strip("> ")] == [
        line.rstrip() for line in text.split("\n") if line.strip("> ")
    ]


def test_plain_text_among_html_is_escaped() -> None:
    assert escape_text("<b> & x") == "<pre>&lt;b&gt; &amp; x</pre>"


@pytest.mark.parametrize(
    ("given_name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\report.doc", "report.doc"),
        ("a\x00b\r\nc.txt", "a_b__c.txt"),
        ("photo\u202egpj.exe", "photo_gpj.exe"),
        ("...", "attachment-3.pdf"),
        ("", "attachment-3.pdf"),
        (None, "attachment-3.pdf"),
        ("aux.txt", "_aux.txt"),
        ("COM1", "_COM1"),
        (" blanks  inside .txt ", "blanks inside .txt"),
        ("日本語.pdf", "日本語.pdf"),
        ('a"b<c>d|e?f*g:h', "a_b_c_d_e_f_g_h"),
    ],
)
def test_file_names(given_name: str | None, safe: str) -> None:
    assert safe_file_name(given_name, "application/pdf", 3) == safe


@given(st.text(max_size=400))
def test_file_names_are_short_and_have_no_path(name: str) -> None:
    safe = safe_file_name(name, "image/png", 1)
    assert 0 < len(safe.encode("utf-8", "surrogatepass")) <= FILE_NAME_BYTES_MAX + 1
    assert not set(safe) & set('/\\\x00\n\r:*?"<>|')
    assert safe not in (".", "..")


def test_long_names_keep_their_extension() -> None:
    assert safe_file_name("ä" * 300 + ".pdf", "x/y", 1).endswith("ä.pdf")


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("words", "words"),
        ("", ""),
        ("new\n\nOn Sat, 21 Nov 2026 10:00, Desk wrote:\n> old\n", "new"),
        ("new\n\nOn Sat, 21 Nov 2026 10:00, Desk wrote:\n\nold unmarked\n", "new"),
        ("neu\n\nAm 21.11.26 um 10:00 schrieb Desk <d@e.f>:\n> alt\n", "neu"),
        ("neuf\n\nLe sam. 21 nov. 2026 à 10:00, Desk <d@e.f> a écrit :\n> vieux\n", "neuf"),
        ("nuevo\n\nEl sáb, 21 nov 2026 a las 10:00, Desk (<d@e.f>) escribió:\n> viejo\n", "nuevo"),
        ("nieuw\n\nOp za 21 nov. 2026 om 10:00 schreef Desk <d@e.f>:\n> oud\n", "nieuw"),
        (
            "新しい\n\n2026年11月21日(土) 10:00 Desk <d@e.f>:\n> 古い\n",
            "新しい",
        ),
        ("new\n\n-----Original Message-----\nFrom: x\n", "new"),
        (
            "neu\n\n________________________________\nVon: Desk\nGesendet: heute\nAn: Ann\nBetreff: x\n\nalt\n",
            "neu",
        ),
        ("new\n> quoted\n", "new"),
        ("> q\nanswer\n> q2\nanswer2\n", "> q\nanswer\n> q2\nanswer2"),
        ("> q\nanswer\n\n> the rest\n> of it\n", "> q\nanswer"),
        ("new\n-- \nAnn\n", "new"),
        ("new\n\n> old\n-- \nAnn\n", "new"),
        ("He wrote:\nthat is part of the words", "He wrote:\nthat is part of the words"),
        ("From: here to there is far\nyes", "From: here to there is far\nyes"),
        ("On 5 May he wrote:\n> x\nand I answer below", "On 5 May he wrote:\n> x\nand I answer below"),
    ],
)
def test_the_reply_alone(text: str, reply: str) -> None:
    assert trim_reply(text) == reply


@given(st.text(st.sampled_from("ab> \n-_:wrote.On1@"), max_size=300))
def test_a_reply_is_never_longer_and_never_empty_where_there_are_words(text: str) -> None:
    reply = trim_reply(text)
    assert len(reply) <= len(text)
    assert bool(reply) == bool(text.strip())
