"""How much later than the server's own `* EXISTS` an event can be read."""

from inbound_site import InboundBench


def measure_latency(bench: InboundBench, mails: int) -> dict[str, float]:
    raise NotImplementedError
