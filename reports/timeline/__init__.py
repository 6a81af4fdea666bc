"""Draws a test's history: an interactive page, and a still picture of its witness."""

from reports.timeline.page import write
from reports.timeline.picture import picture

__all__ = ["picture", "write"]
