"""The Allure report of all runs: staged in Python, drawn by Allure 3, which runs on Node.js."""

from reports.allure.report import AllureReport, build

__all__ = ["AllureReport", "build"]
