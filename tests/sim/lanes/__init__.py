"""Seeded simulation of the lanes (core.sending)."""
