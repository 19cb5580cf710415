"""Fixtures for all tests: the real servers of `plugins/stack.py`, started only if a test asks for them."""

pytest_plugins = ["plugins.stack"]
