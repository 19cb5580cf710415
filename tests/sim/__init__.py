"""Seeded simulation of the outbound core."""
