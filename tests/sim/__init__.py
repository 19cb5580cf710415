"""Seeded simulation of the outbound core: one part for each piece of it that decides by itself."""
