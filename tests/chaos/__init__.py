"""Proof by force: real senders on a real broker against a relay that misbehaves, killed and stopped at random."""
