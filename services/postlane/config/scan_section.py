"""Whether and how attachments are scanned for viruses."""

from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from postlane.config.section import Section

_Argument = Annotated[str, StringConstraints(min_length=1)]


class ScanSection(Section):
    """A virus scanner for attachments of received mail; without command and clamd there is none.

    Each attachment's verdict stands in the event. Nothing is dropped, and a scanner that fails holds no mail back.
    """

    clamd: str | None = Field(
        None,
        description="ClamAV's daemon: the path of its socket, or host:port",
        examples=["/run/clamav/clamd.ctl"],
    )
    command: tuple[_Argument, ...] = Field(
        (),
        description="or a command that reads the content from its standard input: exit code 0 clean, 1 infected, others: cannot "
        "say; its first line is the detail",
        examples=[["/usr/bin/clamdscan", "--no-summary", "-"]],
    )
    size_bytes_max: int = Field(
        25 * 2**20,
        ge=1,
        description="larger attachments are SKIPPED; clamd has a limit of its own, StreamMaxLength",
    )
    seconds_max: float = Field(
        10.0,
        gt=0,
        le=300,
        description="a mail waits no longer for all its verdicts together; those still missing are ERROR",
    )
    at_once: int = Field(4, ge=1, le=64, description="contents that are scanned side by side")

    @field_validator("clamd")
    @classmethod
    def _is_an_address(cls, address: str | None) -> str | None:
        if address is None or address.startswith("/"):
            return address
        host, _, port = address.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
            raise ValueError(f'"{address}" is neither the path of a socket, from / on, nor host:port')
        return address

    @model_validator(mode="after")
    def _one_scanner(self) -> "ScanSection":
        if self.clamd is not None and self.command:
            raise ValueError("clamd and command are two scanners; set one of them")
        return self
