"""Seeded simulation of a relay's governor (core.limits)."""
