"""Seeded simulation of sharing a relay by leases (core.sharing)."""
