"""Inbound: what a mailbox holds, what comes next, what to do with mail that cannot be taken."""
