"""Tests of the adapters, and the contract suite that each of them inherits."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.providers.contract")
