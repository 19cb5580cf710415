"""Fixtures for all tests: the real servers of `plugins/stack.py`, started only if a test asks for them."""

from hypothesis import settings

pytest_plugins = ["plugins.stack"]

# How long an example takes says how busy the machine is; speed is measured in benchmarks/.
settings.register_profile("postlane", deadline=None)
settings.load_profile("postlane")
