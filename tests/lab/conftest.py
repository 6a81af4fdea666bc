"""Helpers whose assertions tell what they saw, whichever test file imports them first."""

import pytest

pytest.register_assert_rewrite(
    "tests.lab.proxied", "tests.lab.miniature_fixtures", "tests.lab.kube_clients"
)
