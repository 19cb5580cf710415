"""The suites are imported, not collected: without this their asserts would fail without saying with what."""

import pytest

pytest.register_assert_rewrite("contract", "fakes")
