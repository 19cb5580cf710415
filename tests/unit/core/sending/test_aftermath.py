"""What a mail's status says of a recipient whose domain takes no mail."""

from postlane.core.events.status import MailState, Origin, RecipientOutcome, RecipientState
from postlane.core.routing.mail_domains import TakesNoMail
from postlane.core.sending.aftermath import weigh
from postlane.core.sending.lane_mail import LaneMail
from postlane.core.sending.retry import RetryPolicy
from postlane.core.smtp.attempt import Attempted, RecipientTrouble, with_unreachable
from postlane.core.smtp.transcript import Lost, Phase

POLICY = RetryPolicy(
    delays_seconds=(60.0,), jitter_share=0.0, age_max_seconds=3600.0, memory_delay_seconds=20.0
)
GONE = "a@nowhere.example"
NOWHERE = {GONE: TakesNoMail("domain_unknown", "nowhere.example does not exist")}
LOST = Lost(Phase.MAIL, "the relay closed the connection")


def mail() -> LaneMail:
    return LaneMail(origin=Origin("T", 7), key=b"t", lane=b"t", content=None, due=0.0, first_seen=0.0)


def test_with_nobody_left_the_mail_has_failed_and_no_relay_has_spoken() -> None:
    judgement = with_unreachable(None, NOWHERE)
    assert isinstance(judgement, Attempted)
    after = weigh(mail(), judgement, POLICY, now=0.0, jitter=0.5)
    assert (after.state, after.cause, after.reply) == (MailState.FAILED, "domain_unknown", None)
    assert after.reason == "a@nowhere.example: nowhere.example does not exist (dns)"
    assert after.recipients == (RecipientOutcome(address=GONE, state=RecipientState.FAILED),)
    assert after.dead is not None
    assert (after.dead.recipients, after.dead.reply) == ((GONE,), None)


def test_the_others_are_tried_again_without_it() -> None:
    trouble = RecipientTrouble("b@x.example", "connection_lost", LOST, None)
    told = Attempted(delivered=(), waiting=(trouble,), failed=(), accepted=None, unknown=False)
    judgement = with_unreachable(told, NOWHERE)
    assert isinstance(judgement, Attempted)
    after = weigh(mail(), judgement, POLICY, now=0.0, jitter=0.5)
    assert (after.state, after.cause) == (MailState.DEFERRED, "connection_lost")
    assert after.remaining == ("b@x.example",)
    assert after.partial
    assert after.dead is not None
    assert after.dead.recipients == (GONE,)
