"""The process that reads hostile mail: requests in, readings out, over stdin and stdout; killed at any time without loss.

Started by adapters.parser_process. A frame is 4 bytes of length (big-endian) and its content: in, a pickled batch of requests; out, as many answers as a MessagePack
array. The first frame holds the rules, which include signing keys: they come this way so that they stand neither in the arguments nor in the
environment. Only our own service writes to this process; what it says is data, whatever a mail may have made of it, and is never unpickled.
"""

import contextlib
import pickle
import resource
import signal
import struct
import sys
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from postlane.core.reading.mail_class import ClassRules
from postlane.core.reading.mail_reading import ReadRequest, read_mail
from postlane.core.reading.parsed_mail import MailReading

LENGTH = struct.Struct(">I")
READY = b"ready"  # the answer to the rules: everything is imported, from now on the time limits hold
MEMORY_BYTES_MAX = 2 * 2**30  # address space, not memory in use; a mail that needs more is a bomb


# For one mail, of processor time: a busy machine must not make honest mail look hostile. With the start of the next process and the reading
# of the headers alone, a mail that needs more is an event within two seconds.
CPU_SECONDS_MAX = 1.25


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The first frame: the rules and limits. After `alarm_seconds` for one mail the worker ends itself, should its parent be gone."""

    rules: ClassRules
    alarm_seconds: float
    cpu_seconds: float = CPU_SECONDS_MAX
    memory_bytes: int = MEMORY_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Answer:
    """To one request: a reading, or the error that stopped it."""

    reading: MailReading | None = None
    error: str = ""


# Made at import, because msgspec (0.22) works a type out when it is first used, and that is not thread-safe.
ANSWERS = msgspec.msgpack.Decoder(list[Answer])
_ENCODER = msgspec.msgpack.Encoder()


def main() -> None:
    """Serve until stdin ends."""
    requests, readings = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print must not break a frame
    # Both reach whole process groups, and a mail in work must not look broken: we end when stdin does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    settings = _receive(requests)
    if not isinstance(settings, WorkerSettings):
        return
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (settings.memory_bytes, settings.memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold the keys and the mail
    _send(readings, READY)
    while (batch := _receive(requests)) is not None:
        assert isinstance(batch, list)
        answers = [msgspec.Raw(_answer(request, settings)) for request in batch]
        _send(readings, _ENCODER.encode(answers))


def _answer(request: ReadRequest, settings: WorkerSettings) -> bytes:
    # The default action of both signals ends the process, also inside C code that holds the interpreter.
    signal.setitimer(signal.ITIMER_REAL, settings.alarm_seconds)
    signal.setitimer(signal.ITIMER_VIRTUAL, settings.cpu_seconds)
    try:
        return _ENCODER.encode(Answer(read_mail(request, settings.rules)))
    except BaseException as error:  # noqa: BLE001 - MemoryError and panics of native code included
        return _ENCODER.encode(Answer(error=f"{type(error).__name__} at {_place(error)}"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _send(stream: BinaryIO, frame: bytes) -> None:
    stream.write(LENGTH.pack(len(frame)) + frame)
    stream.flush()


def _receive(stream: BinaryIO) -> object | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    frame = stream.read(length)
    return pickle.loads(frame) if len(frame) == length else None  # noqa: S301 - from our own service only


def _place(error: BaseException) -> str:
    """Module and line where it was raised: enough for a report, free of the mail's content."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
