"""The relay's rules, without a relay."""

import pytest

from localstack.relay_policy import Act, Fault, Phase, Quota, RelayPolicy, render_reply

TRY_LATER = "451 4.3.0 Try later"


def replies(policy: RelayPolicy, phase: Phase, *recipients: str) -> list[str]:
    return [fault.reply for fault in policy.judge(phase, recipients)]


def test_a_fault_acts_as_often_as_told_after_what_it_lets_pass() -> None:
    policy = RelayPolicy()
    policy.add_fault(Fault(Phase.MAIL, reply=TRY_LATER, skip=1, times=2))
    assert [replies(policy, Phase.MAIL) for _ in range(5)] == [[], [TRY_LATER], [TRY_LATER], [], []]
    assert policy.faults == ()


def test_a_fault_without_end_stays_until_cleared() -> None:
    policy = RelayPolicy()
    policy.add_fault(Fault(Phase.CONNECT, reply="421 4.7.0 Busy", times=None))
    assert all(replies(policy, Phase.CONNECT) for _ in range(10))
    policy.clear_faults()
    assert policy.judge(Phase.CONNECT) == []


def test_a_fault_for_a_recipient_meets_no_other() -> None:
    policy = RelayPolicy()
    policy.add_fault(Fault(Phase.FINAL, reply=TRY_LATER, recipient="*@SLOW.test", times=None))
    assert replies(policy, Phase.FINAL, "a@fast.test", "b@slow.TEST") == [TRY_LATER]
    assert replies(policy, Phase.FINAL, "a@fast.test") == []
    assert not policy.expects(Phase.FINAL, ("a@fast.test",))


def test_delays_are_sat_out_before_the_verdict() -> None:
    policy = RelayPolicy()
    policy.add_fault(Fault(Phase.RCPT, Act.DELAY, seconds=1.5))
    policy.add_fault(Fault(Phase.RCPT, reply=TRY_LATER))
    assert [fault.act for fault in policy.judge(Phase.RCPT, ("a@b.test",))] == [Act.DELAY, Act.REPLY]


def test_a_quota_counts_accepted_mails_from_when_it_was_set() -> None:
    policy = RelayPolicy()
    policy.count_accepted()
    policy.set_quota(Quota(1, Phase.RCPT))
    assert replies(policy, Phase.RCPT, "a@b.test") == []
    policy.count_accepted()
    assert replies(policy, Phase.RCPT, "a@b.test") == ["550 5.4.5 Daily sending quota exceeded"]
    assert replies(policy, Phase.MAIL) == []
    policy.set_quota(None)
    assert replies(policy, Phase.RCPT, "a@b.test") == []


@pytest.mark.parametrize(
    ("recipient", "known"),
    [
        ("a@b.test", True),
        ("A@B.TEST", True),
        ("anybody@c.test", True),
        ("b@b.test", False),
        ("a@x.c.test", False),
    ],
)
def test_only_listed_recipients_are_known(recipient: str, *, known: bool) -> None:
    policy = RelayPolicy(recipients=("a@b.test", "*@c.test"))
    assert (replies(policy, Phase.RCPT, recipient) == []) is known


def test_a_refusal_of_a_strange_address_is_still_a_printable_reply() -> None:
    refusal = replies(RelayPolicy(recipients=()), Phase.RCPT, "jörg\r\n250 Ok@b.test")
    assert refusal == ["550 5.1.1 <j?rg??250 Ok@b.test>: Recipient address rejected: User unknown"]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"phase": Phase.MAIL}, "reply"),
        ({"phase": Phase.MAIL, "reply": "no code"}, "reply"),
        ({"phase": Phase.MAIL, "reply": "250 ok\r\n550 no"}, "reply"),
        ({"phase": Phase.MAIL, "act": Act.DELAY}, "seconds"),
        ({"phase": Phase.BODY, "reply": TRY_LATER}, "body"),
        ({"phase": Phase.MAIL, "reply": TRY_LATER, "times": 0}, "times"),
        ({"phase": Phase.EHLO, "reply": TRY_LATER, "recipient": "a@b.test"}, "recipient"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Fault(**fields)  # type: ignore[arg-type]


def test_a_reply_of_several_lines_is_spelt_as_smtp_wants_it() -> None:
    assert render_reply("250 2.0.0 Ok") == "250 2.0.0 Ok"
    assert (
        render_reply("550 5.4.5 Daily limit\n5.4.5 see help") == "550-5.4.5 Daily limit\r\n550 5.4.5 see help"
    )
