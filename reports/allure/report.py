"""Builds the Allure report: stages, lets Allure draw, and takes out what calls home."""

import logging
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from reports.allure import node
from reports.allure.attempts import RESULTS, gather
from reports.allure.staging import HISTORY, PAGES, SETTINGS, Settings, Staged, stage
from reports.store import Shelf

TITLE = "Airflow HA chaos"

_ANALYTICS = re.compile(
    r"\s*<script async src=\"https://www\.googletagmanager\.com/[^\"]*\"></script>"
    r"\s*<script>\s*window\.dataLayer.*?</script>",
    re.DOTALL,
)

_OPENER = """<script>
// A test's description is a frame that may open nothing; its links open beside the report.
document.addEventListener("load", ({ target }) => {
  for (const link of target.contentDocument?.querySelectorAll("a[href]") ?? []) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      window.open(link.href, "_blank", "noopener");
    });
  }
}, true);
</script>
</body>"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AllureReport:
    """Where the report is (`awesome` is the tests, `dashboard` the charts), and what is in it.

    `problems` says in a line each what could not be read or attached.
    """

    index: Path
    awesome: Path
    dashboard: Path
    tests: int
    environments: tuple[str, ...]
    categories: tuple[str, ...]
    problems: tuple[str, ...]


def build(shelf: Shelf, out: Path) -> AllureReport | None:
    """Build one static report of all runs in `out`; None, and a line in the log, if it cannot be.

    Nothing is kept between two builds: the history is that of the runs on the shelf.
    """
    if lacking := node.missing():
        log.warning("%s", lacking)
        return None
    with tempfile.TemporaryDirectory(prefix="ha-chaos-allure-") as temporary:
        staged = stage(gather(shelf), Path(temporary))
        log.info("Allure draws %d tests in %d environments.", staged.tests, len(staged.places))
        ran = _draw(staged, Path(temporary), out)
        if ran.code == 0 and (Path(temporary) / PAGES).exists():
            shutil.copytree(Path(temporary) / PAGES, out / PAGES)
    if ran.code != 0 or not (out / "awesome" / "index.html").exists():
        log.warning("No Allure report: Allure failed: %s", ran.last_words)
        return None
    for page in (out / "index.html", *out.glob("*/index.html")):
        text = without_analytics(page.read_text(encoding="utf-8"))
        page.write_text(text.replace("</body>", _OPENER), encoding="utf-8")
    for problem in staged.problems:
        log.warning("Allure report: %s", problem)
    return AllureReport(
        index=out / "index.html",
        awesome=out / "awesome" / "index.html",
        dashboard=out / "dashboard" / "index.html",
        tests=staged.tests,
        environments=tuple(place.label for place in staged.places),
        categories=tuple(category.name for category in staged.categories),
        problems=tuple(staged.problems),
    )


def _draw(staged: Staged, folder: Path, out: Path) -> node.Ran:
    settings = Settings(
        title=TITLE,
        output=str(out.resolve()),
        history=str(folder / HISTORY),
        places=staged.places,
        categories=staged.categories,
    )
    (folder / SETTINGS).write_bytes(msgspec.json.encode(settings))
    return node.run("generate", [RESULTS], folder, folder / SETTINGS)


def without_analytics(page: str) -> str:
    """Take out the script by which every report of Allure's tells Google that it is looked at."""
    return _ANALYTICS.sub("", page)
