"""The typed client of the relay's control, for tests and the demo. Blocking; from asyncio use `asyncio.to_thread`."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from localstack.ports import HOST
from localstack.relay_journal import AcceptedMail, Refusal
from localstack.relay_policy import Fault, Quota

ANSWER_TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.05


class ControlError(Exception):
    """The relay refused an order; carries its words."""


class WaitedInVainError(AssertionError):
    """Something did not happen in time; carries what the relay has instead."""


@dataclass(frozen=True, slots=True)
class RelayCounts:
    connections: int
    accepted: int
    refused: int
    most_open: int


@dataclass(frozen=True, slots=True)
class RelayControl:
    """Where one relay listens, and the orders that it takes."""

    port: int  # SMTP
    control_port: int
    host: str = HOST
    user: str | None = None  # None = the relay offers no AUTH
    password: str | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.control_port}"

    def answers(self) -> bool:
        try:
            self._order("GET", "/health")
        except OSError:
            return False
        return True

    def counts(self) -> RelayCounts:
        state = self._order("GET", "/state")
        return RelayCounts(state["connections"], state["accepted"], state["refused"], state["most_open"])

    def recipients(self) -> tuple[str, ...]:
        """The patterns of the addresses that the relay takes mail for."""
        return tuple(self._order("GET", "/state")["recipients"])

    def take_only(self, *patterns: str) -> None:
        """Refuse every recipient that matches none of `patterns`, such as `a@b.test`, `*@b.test` or `*`."""
        self._order("PUT", "/recipients", {"recipients": list(patterns)})

    def take_also(self, *patterns: str) -> None:
        self.take_only(*dict.fromkeys((*self.recipients(), *patterns)))

    def set_quota(self, quota: Quota) -> None:
        self._order("PUT", "/quota", asdict(quota))

    def lift_quota(self) -> None:
        self._order("DELETE", "/quota")

    def add_fault(self, fault: Fault) -> None:
        self._order("POST", "/faults", asdict(fault))

    def clear_faults(self) -> None:
        self._order("DELETE", "/faults")

    def mails(self, after: int = 0) -> list[AcceptedMail]:
        """What the relay took, in order; `after` = a sequence already seen."""
        found = self._order("GET", f"/mails?after={after}")["mails"]
        return [AcceptedMail(**{**mail, "recipients": tuple(mail["recipients"])}) for mail in found]

    def raw(self, sequence: int) -> bytes:
        """The mail as it arrived. Raises ControlError if the relay no longer keeps it."""
        return self._request("GET", f"/mails/{sequence}")

    def refusals(self, after: int = 0) -> list[Refusal]:
        found = self._order("GET", f"/refusals?after={after}")["refusals"]
        return [Refusal(**{**step, "recipients": tuple(step["recipients"])}) for step in found]

    def wait_for(
        self,
        enough: Callable[[list[AcceptedMail]], bool],
        *,
        after: int = 0,
        timeout_seconds: float = 100.0,
    ) -> list[AcceptedMail]:
        """Return the mails once `enough` says so. Raises WaitedInVainError."""
        deadline = time.monotonic() + timeout_seconds
        while not enough(mails := self.mails(after)):
            if time.monotonic() > deadline:
                told = [f"{step.phase} {step.reply}" for step in self.refusals()[-5:]]
                raise WaitedInVainError(
                    f"the relay took {len(mails)} mails: {mails[-5:]}; last refusals: {told}"
                )
            time.sleep(POLL_SECONDS)
        return mails

    def reset(self) -> None:
        """Take mail for everybody, with no quota and no faults, and forget what was."""
        self.take_only("*")
        self._order("POST", "/reset")

    def _order(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = json.loads(self._request(method, path, body))
        assert isinstance(answer, dict)
        return answer

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_SECONDS) as response:
                found: bytes = response.read()
                return found
        except urllib.error.HTTPError as error:
            raise ControlError(json.loads(error.read())["error"]) from error
