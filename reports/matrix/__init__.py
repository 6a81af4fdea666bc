"""Versions of Airflow against scenarios: reproduced, clean, unconfirmed, or not applicable."""

from reports.matrix.cells import Cell, Status
from reports.matrix.model import Matrix, Row
from reports.matrix.naming import Question
from reports.matrix.table import table

__all__ = ["Cell", "Matrix", "Question", "Row", "Status", "table"]
