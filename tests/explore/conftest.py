"""What a command line changes in its process is as before after each test."""

import logging
import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """Put back how the process ends, and how it logs."""
    handler = signal.getsignal(signal.SIGTERM)
    formatters = [(each, each.formatter) for each in logging.getLogger().handlers]
    yield
    signal.signal(signal.SIGTERM, handler)
    for each, formatter in formatters:
        each.setFormatter(formatter)
