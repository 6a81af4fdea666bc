"""Hides secrets in what pytest itself writes: failures, locals, captured output, logs, warnings.

    a phase of a test ends -> its report, redacted here -> terminal, junit-xml, xdist's controller
    pytest logs            -> a formatter that redacts   -> live log, log file, captured log
    Allure's plugin ends   -> a writer that redacts      -> results, containers, attachments

A report is redacted once, when it is made, before anybody else has it. What a test prints under
`-s` goes past pytest, and past us.
"""

import os
from collections.abc import Generator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

import allure_commons
import allure_pytest.plugin
import pytest
from allure_commons.logger import AllureFileLogger

from common.redaction import RedactingFormatter, redact, redact_failure, remember, stream
from common.secret_names import secrets_of
from reports.allure.staging import is_text

_DEPTH = 30
_HANDLERS = ("log_cli_handler", "log_file_handler", "caplog_handler", "report_handler")
_OWNERS = ("_pytest.", "allure_commons.")
_OF_A_REPORT = ("longrepr", "sections", "user_properties", "wasxfail")


def hide(thing: Any, depth: int = _DEPTH) -> Any:
    """Redact every string that a thing holds, in its place; return the thing, or the new string."""
    if isinstance(thing, str):
        return redact_failure(thing)
    if depth == 0 or isinstance(thing, Enum):
        return thing
    if isinstance(thing, tuple) and type(thing) is tuple:
        return tuple(hide(each, depth - 1) for each in thing)
    if isinstance(thing, list):
        thing[:] = [hide(each, depth - 1) for each in thing]
    elif isinstance(thing, dict):
        thing.update({key: hide(value, depth - 1) for key, value in thing.items()})
    elif type(thing).__module__.startswith(_OWNERS):
        for name, value in tuple(vars(thing).items()):
            as_lines = name == "lines" and all(isinstance(each, str) for each in value)
            new = _lines(value) if as_lines else hide(value, depth - 1)
            if new is not value:
                setattr(thing, name, new)
    return thing


def _lines(lines: Any) -> list[str]:
    """Redact lines as one text, for a private key has many."""
    if any(line.endswith("\n") for line in lines):
        return [redact_failure("".join(lines))]
    return redact_failure("\n".join(lines)).split("\n") if lines else []


def _hide_report(report: Any) -> Any:
    """Redact a report of pytest's, but for the names by which others know the test."""
    for name in _OF_A_REPORT:
        if value := getattr(report, name, None):
            setattr(report, name, hide(value))
    return report


class AllureWriter(AllureFileLogger):  # type: ignore[misc]
    """Writes Allure's files as its own writer does, without secrets.

    What is raised in a fixture, a step's arguments, what a test attaches: nobody else sees these
    before they are written. Pages are programs that we drew from what is redacted.
    """

    def _report_item(self, item: Any) -> None:
        super()._report_item(hide(item))

    @allure_commons.hookimpl  # type: ignore[untyped-decorator]
    def report_attached_file(self, source: str, file_name: str) -> None:
        """Copy a file that is attached; a text redacted."""
        if not is_text(Path(source), ""):
            super().report_attached_file(source, file_name)
            return
        target = Path(self._report_dir) / file_name
        with Path(source).open(errors="replace") as text, target.open("w") as kept:
            stream(text.read, kept.write)

    @allure_commons.hookimpl  # type: ignore[untyped-decorator]
    def report_attached_data(self, body: str | bytes, file_name: str) -> None:
        """Write what is attached; a text redacted."""
        if isinstance(body, bytes) and b"\0" not in body:
            with suppress(UnicodeDecodeError):
                body = body.decode()
        safe = redact(body) if isinstance(body, str) else body
        super().report_attached_data(safe, file_name)


def begin() -> None:
    """Have what the environment holds hidden from now on, and Allure's plugin write as we do.

    Call before Allure's plugin is configured.
    """
    remember(secrets_of(os.environ))
    allure_pytest.plugin.AllureFileLogger = AllureWriter


class Redacting:
    """The plugin that hides secrets in reports and logs."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Redact what pytest's own handlers of the log write."""
        logging_plugin: Any = session.config.pluginmanager.get_plugin("logging-plugin")
        for name in _HANDLERS:
            if handler := getattr(logging_plugin, name, None):
                handler.setFormatter(RedactingFormatter(handler.formatter))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        """Redact the report of a test's phase."""
        return _hide_report((yield))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, Any, Any]:
        """Redact the report of a collection: a module's import may fail."""
        return _hide_report((yield))

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: Any) -> None:
        """Redact what an error of pytest's or a plugin's shows."""
        hide(excrepr)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: Any) -> None:
        """Redact a warning."""
        text = str(warning_message.message)
        if (safe := redact(text)) != text:
            warning_message.message = safe
        if warning_message.line:
            warning_message.line = redact(warning_message.line)
