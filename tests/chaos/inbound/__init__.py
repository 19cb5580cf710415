"""Proof by force for received mail: real pollers between a real Dovecot and a real broker, killed, stopped and cut off at random."""
