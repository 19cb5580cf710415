"""Fixtures for all tests: the real servers of `plugins/`, started only if a test asks for them."""

import signal

import pytest
from hypothesis import settings

# These are imported, not collected: without this their asserts would fail without saying with what.
pytest.register_assert_rewrite("contract", "fakes")

pytest_plugins = ["plugins.stack", "plugins.objects", "plugins.clamd", "plugins.dovecot"]

# How long an example takes says how busy the machine is; speed is measured in benchmarks/.
settings.register_profile("postlane", deadline=None)
settings.load_profile("postlane")

# In the background of a shell, or under nohup, these are ignored, and every process that a test starts would inherit that.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
