"""Fills the templates. Whatever a template prints is redacted here, once and for all pages."""

import base64
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from common.redaction import redact
from reports.dashboard.versions import sentence
from reports.matrix.cells import Question
from reports.matrix.model import Matrix
from reports.trials import Environment

_ISSUE = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+/(?:issues|pull)/(\d+)")

SIGNS = {
    "✓": ("safe", "valid", "clean", "pass", "passed"),
    "✗": ("not safe", "invalid", "reproduced", "fail", "failed"),
    "!": ("accepted risks", "accepted"),
    "–": ("skipped", "not applicable"),
}

TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """Writes pages below one folder; each page is whole in itself: styles and all."""

    def __init__(self, out: Path, **shared: Any) -> None:
        self._out = out
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=_clean,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["style"] = Markup((TEMPLATES / "style.css").read_text())
        self._templates.globals.update(shared)
        for helper in (count, number, day, symbol, sentence, image, linked, href, asked):
            self._templates.filters[helper.__name__] = helper

    def write(self, template: str, path: str, **values: Any) -> None:
        """Render `template` to `path`, which is relative to the site's folder."""
        target = self._out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        root = "../" * path.count("/")
        text = self._templates.get_template(template).render(root=root, **values)
        target.write_text(text, encoding="utf-8")


def _clean(value: Any) -> Any:
    return redact(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def image(svg: str) -> Markup:
    """Make an SVG a picture that is part of its page, and can do no more than a picture."""
    encoded = base64.b64encode(redact(svg).encode()).decode()
    return Markup(f"data:image/svg+xml;base64,{encoded}")


def linked(text: str) -> Markup:
    """Make the URLs of issues in a text links with short names, and escape the rest."""
    return Markup(_ISSUE.sub(r'<a href="\g<0>">#\1</a>', str(escape(redact(text)))))


def href(path: str) -> str:
    """Quote a path for a relative link."""
    return quote(path, safe="/#")


def asked(row: Environment, matrix: Matrix, questions: Iterable[Question]) -> bool:
    """Tell whether an environment of the matrix was put any of the questions."""
    return any((row, question) in matrix.cells for question in questions)


def symbol(standing: str) -> str:
    """Give a standing, verdict or status a sign, so that colour is never alone."""
    return next((sign for sign, standings in SIGNS.items() if standing in standings), "?")


def number(value: int) -> str:
    """Write a number with its thousands apart."""
    return f"{value:,}"


def count(value: int, noun: str) -> str:
    """Write a number of things."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def day(moment: datetime | str) -> str:
    """Write a moment in UTC; text that is not a moment stays as it is."""
    try:
        when = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError:
        return str(moment)
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return f"{when.astimezone(UTC):%-d %b %Y, %H:%M} UTC"
