"""The relay's side of one SMTP connection, on aiosmtpd: at every phase the policy may have it misbehave."""

import asyncio
import time
from typing import AnyStr

from aiosmtpd.smtp import SMTP, Envelope, Session

from localstack.relay_intake import HOST_NAME, Relay, plain_sender
from localstack.relay_journal import Refusal
from localstack.relay_policy import Act, Phase, render_reply

SIZE_LIMIT_BYTES = 36_700_160  # 35 MiB, announced in EHLO as the large providers do


class RelaySession(SMTP):
    """One connection. Each phase first asks the policy whether something else is to happen."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.number = relay.journal.open_connection()
        super().__init__(
            _Hooks(relay),
            hostname=HOST_NAME,
            ident="ESMTP",
            data_size_limit=SIZE_LIMIT_BYTES,
            enable_SMTPUTF8=True,
            auth_required=relay.credentials is not None,
            auth_require_tls=False,  # loopback only
            authenticator=relay.check_login,
            loop=asyncio.get_running_loop(),
        )

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.relay.journal.close_connection()

    async def misbehave(self, phase: Phase, recipients: tuple[str, ...] = ()) -> str | None:
        """Act out what the policy says; return the reply to give instead of the normal step, if any."""
        for fault in self.relay.policy.judge(phase, recipients):
            if fault.act is Act.DELAY:
                await asyncio.sleep(fault.seconds)
                continue
            self._record(phase, recipients, fault.reply or fault.act.value)
            if fault.act is Act.REPLY:
                return render_reply(fault.reply)
            if fault.act is Act.CUT and self.transport is not None:
                self.transport.abort()  # type: ignore[attr-defined]  # a plain TCP transport has it
            await asyncio.Event().wait()  # until connection_lost() cancels us
        return None

    def _record(self, phase: Phase, recipients: tuple[str, ...], reply: str) -> None:
        journal = self.relay.journal
        sender = plain_sender(self.envelope) if self.envelope else ""
        journal.add_refusal(
            Refusal(journal.refused + 1, time.time(), self.number, phase.value, sender, recipients, reply)
        )

    async def push(self, status: AnyStr) -> None:
        await super().push(status)
        if status[:3] in ("421", b"421") and self.transport is not None:
            self.transport.close()  # RFC 5321 3.8: 421 announces that the server closes

    async def _handle_client(self) -> None:
        if reply := await self.misbehave(Phase.CONNECT):
            await self.push(reply)
            self._writer.close()
            return
        await super()._handle_client()

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802  # aiosmtpd finds it by this name
        if reply := await self.misbehave(Phase.AUTH):
            await self.push(reply)
            return
        await super().smtp_AUTH(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802  # aiosmtpd finds it by this name
        assert self.envelope is not None
        recipients = tuple(self.envelope.rcpt_tos)
        if recipients:  # else out of order: the parent answers 503
            if reply := await self.misbehave(Phase.DATA, recipients):
                await self.push(reply)
                return
            if self.relay.policy.expects(Phase.BODY, recipients):
                await self.push("354 End data with <CR><LF>.<CR><LF>")
                await self._reader.readline()
                await self.misbehave(Phase.BODY, recipients)
        await super().smtp_DATA(arg)


class _Hooks:
    """aiosmtpd's handler hooks: the phases at which the parsed addresses are at hand."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    async def handle_EHLO(  # noqa: N802
        self, server: RelaySession, session: Session, _envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        if reply := await server.misbehave(Phase.EHLO):
            return [reply]
        session.host_name = hostname
        return [line for line in lines if self._relay.credentials or not line.startswith("250-AUTH")]

    async def handle_MAIL(  # noqa: N802
        self, server: RelaySession, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if reply := await server.misbehave(Phase.MAIL):
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802
        self, server: RelaySession, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if reply := await server.misbehave(Phase.RCPT, (address,)):
            return reply
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: RelaySession, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        recipients = tuple(envelope.rcpt_tos)
        if reply := await server.misbehave(Phase.FINAL, recipients):
            return reply
        accepted = await self._relay.accept(server.number, envelope)
        return await server.misbehave(Phase.ACCEPTED, recipients) or accepted
