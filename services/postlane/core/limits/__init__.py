"""The governor of a relay: what may start now, and what a limit makes wait until when."""
