"""One connection to a relay: SMTP as fast as asyncio allows, with faults by seed and with the limits of its door."""

import asyncio
import time
from base64 import b64decode
from hashlib import blake2b
from typing import cast

from chaos.acceptances import Acceptance
from chaos.doors import Door
from chaos.faults import CLOSING, GARBAGE, Act, Fault, Phase
from chaos.limits import NOT_LOGGED_IN, PASSWORD, REPLIES, USERNAME, LimitKind
from chaos.workload import doom_of_recipient, doom_of_sender, mail_id_of_sender

DRIP_SECONDS = 0.4  # for a whole reply: slow, but within every timeout
EHLO = b"250-chaos.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-AUTH PLAIN\r\n250 ENHANCEDSTATUSCODES"
END_OF_CONTENT = b"\r\n.\r\n"
AT_MAIL = (LimitKind.QUOTA, LimitKind.RATE, LimitKind.AUTH)
LOGIN = f"\0{USERNAME}\0{PASSWORD}"


class Conversation(asyncio.Protocol):
    """One connection."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._relay = door.relay
        self._received = bytearray()
        self._in_content = False
        self._deaf = False
        self._client = ""
        self._sender = ""
        self._recipients: list[str] = []
        self._named = 0
        self._fault: Fault | None = None
        self._logged_in = not door.login_wanted
        self._untold = False  # a mail has begun that nobody has counted as an attempt

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface without the base class
        self._transport = cast("asyncio.Transport", transport)
        self._opening_fault = self._relay.next_connection_fault()
        self._door.conversations.add(self)
        if self._door.limits(LimitKind.CONNECTIONS):
            self._turn_away(LimitKind.CONNECTIONS)
        else:
            self._answer(Phase.CONNECT, b"220 chaos.test ESMTP")

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._door.conversations.discard(self)
        self._tried()  # whoever left in the middle may count it

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._received += data
        while not self._deaf and self._advance():
            pass

    def _advance(self) -> bool:
        """Take the next line or the whole content, if it is there."""
        if self._in_content:
            return self._take_content()
        end = self._received.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._received[:end])
        del self._received[: end + 2]
        self._obey(line)
        return True

    def _obey(self, line: bytes) -> None:
        if self._door.down:
            self._untold = False
            self._say(CLOSING)
            self._end()
            return
        verb, _, rest = line.decode("utf-8", "replace").partition(" ")
        match verb.upper():
            case "EHLO":
                self._client = rest
                self._answer(Phase.EHLO, EHLO)
            case "AUTH":
                self._log_in(rest)
            case "MAIL":
                self._begin(_path(rest))
            case "RCPT":
                self._name(_path(rest))
            case "DATA":
                self._data()
            case "RSET":
                self._say(b"250 2.0.0 ok")
            case "QUIT":
                self._say(b"221 2.0.0 bye")
                self._end()
            case _:
                self._say(b"502 5.5.1 chaos does not know that")

    def _log_in(self, words: str) -> None:
        mechanism, _, initial = words.partition(" ")
        if self._door.limits(LimitKind.AUTH):
            self._turn_away(LimitKind.AUTH)
        elif mechanism.upper() == "PLAIN" and b64decode(initial) == LOGIN.encode():
            self._logged_in = True
            self._say(b"235 2.7.0 welcome")
        else:
            self._say(REPLIES[LimitKind.AUTH])

    # The commands of a mail

    def _begin(self, sender: str) -> None:
        self._sender, self._recipients, self._named = sender, [], 0
        self._fault, self._untold = None, True
        limit = next((it for it in AT_MAIL if self._door.limits(it)), None)
        if limit is not None:
            self._turn_away(limit, NOT_LOGGED_IN if limit is LimitKind.AUTH else REPLIES[limit])
        elif not self._logged_in:
            self._untold = False
            self._say(NOT_LOGGED_IN)
        else:
            self._fault = self._relay.next_fault(mail_id_of_sender(sender))
            self._answer(Phase.MAIL, self._refusal("mail") or b"250 2.1.0 ok")

    def _name(self, recipient: str) -> None:
        index = self._named
        self._named += 1
        fault = self._fault
        if self._relay.refuses(doom_of_recipient(recipient)):
            self._tried()
            self._say(b"550 5.1.1 chaos knows no such recipient")
        elif fault is not None and fault.phase is Phase.RCPT and fault.recipient == index:
            self._recipients += [recipient] if fault.act is Act.DRIP else []
            self._answer(Phase.RCPT, b"250 2.1.5 ok")
        else:
            self._recipients.append(recipient)
            self._say(b"250 2.1.5 ok")

    def _data(self) -> None:
        refusal = self._refusal("data")
        if refusal is None and not self._recipients:
            refusal = b"503 5.5.1 no recipients"
        if self._answer(Phase.DATA, refusal or b"354 go on") and refusal is None:
            self._in_content = True

    def _take_content(self) -> bool:
        if self._fault is not None and self._fault.phase is Phase.CONTENT:
            self._act(self._fault, b"")
            return False
        end = self._received.find(END_OF_CONTENT)
        if end < 0:
            return False
        content = bytes(self._received[:end])
        del self._received[: end + len(END_OF_CONTENT)]
        self._in_content = False
        self._finish(content)
        return True

    def _finish(self, content: bytes) -> None:
        if self._door.limits(LimitKind.RATE_LATE):
            self._turn_away(LimitKind.RATE_LATE)
            return
        self._tried()
        fault = self._fault if self._fault is not None and self._fault.phase is Phase.FINAL else None
        refusal = self._refusal("final")
        if refusal is None and (fault is None or fault.accepted or fault.act is Act.DRIP):
            self._door.take(self._acceptance(content, confirmed=fault is None or not fault.hides_acceptance))
        self._answer(Phase.FINAL, refusal or b"250 2.0.0 Ok: queued as %d" % self._relay.accepted)

    def _acceptance(self, content: bytes, *, confirmed: bool) -> Acceptance:
        return Acceptance(
            number=self._relay.accepted + 1,
            at=time.time(),
            mail_id=mail_id_of_sender(self._sender),
            subject=_subject(content),
            recipients=tuple(self._recipients),
            digest=blake2b(content, digest_size=8).hexdigest(),
            confirmed=confirmed,
            sender=self._client,
            relay=self._door.name,
        )

    def _refusal(self, phase: str) -> bytes | None:
        doom, at = doom_of_sender(self._sender)
        if at == phase and self._relay.refuses(doom):
            self._tried()
            return b"554 5.6.0 chaos refuses this mail for good"
        return None

    # Answers, right and wrong

    def _answer(self, phase: Phase, reply: bytes) -> bool:
        """Say it, unless a fault of this phase has another idea; whether it was said."""
        early = phase in (Phase.CONNECT, Phase.EHLO)
        fault = self._opening_fault if early else self._fault
        if fault is None or fault.phase is not phase or reply.startswith(b"5"):
            self._say(reply)
            return True
        return self._act(fault, reply)

    def _act(self, fault: Fault, reply: bytes) -> bool:
        if fault.reply == CLOSING:
            self._untold = False  # that is about the relay
        self._tried()
        match fault.act:
            case Act.REPLY:
                self._say(fault.reply)
                if fault.reply.startswith(b"421"):
                    self._end()
            case Act.CUT:
                self._deaf = True
                self._transport.abort()
            case Act.HANG:
                self._deaf = True
            case Act.GARBAGE:
                self._say(GARBAGE)
            case Act.DRIP:
                self._drip_bytes(reply + b"\r\n", DRIP_SECONDS / (len(reply) + 2))
                return True
        return False

    def _turn_away(self, kind: LimitKind, reply: bytes | None = None) -> None:
        """No attempt at the mail: the relay wants nothing now."""
        self._untold = False
        self._door.note_turned_away(kind)
        words = reply or REPLIES[kind]
        self._say(words)
        if words.startswith(b"421"):
            self._end()

    def _tried(self) -> None:
        """Count the mail's attempt, once."""
        if self._untold:
            self._untold = False
            self._relay.note_tried(mail_id_of_sender(self._sender))

    def _say(self, line: bytes) -> None:
        self._transport.write(line + b"\r\n")

    def _drip_bytes(self, left: bytes, pause_seconds: float) -> None:
        if left and not self._transport.is_closing():
            self._transport.write(left[:1])
            asyncio.get_running_loop().call_later(pause_seconds, self._drip_bytes, left[1:], pause_seconds)

    def _end(self) -> None:
        self._deaf = True
        self._transport.close()


def _path(words: str) -> str:
    return words.partition("<")[2].partition(">")[0]


def _subject(content: bytes) -> str:
    start = content.find(b"\r\nSubject: ")
    return content[start + 11 :].partition(b"\r\n")[0].decode("utf-8", "replace") if start >= 0 else ""
