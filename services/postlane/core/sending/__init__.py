"""Outbound: lanes, journal, ledger, recovery, retries. Start with `lanes`, then `lane_steps`."""
