"""Builds the Allure report: stages, lets Allure draw, and takes out what calls home."""

import logging
import re
import shutil
import tempfile
from pathlib import Path

from reports.allure import node
from reports.allure.pasts import RESULTS, gather
from reports.allure.staging import PAGES, stage
from reports.store import Runs

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


def build(runs: Runs, out: Path) -> Path | None:
    """Build one static report of all runs in `out`; return its index.

    Where it cannot be built, a line in the log says why, and there is None.
    Nothing is kept between two builds: the history is that of the runs.
    """
    if problem := node.missing():
        log.warning("%s", problem)
        return None
    with tempfile.TemporaryDirectory(prefix="ha-chaos-allure-") as temporary:
        folder = Path(temporary)
        staged = stage(gather(runs), folder)
        log.info("Allure draws %d tests in %d environments.", staged.tests, len(staged.places))
        ran = node.run("generate", [RESULTS], folder, staged.configure(out.resolve()))
        if ran.code == 0 and (folder / PAGES).exists():
            shutil.copytree(folder / PAGES, out / PAGES)
    if ran.code != 0 or not (out / "awesome" / "index.html").exists():
        log.warning("No Allure report: Allure failed: %s", ran.last_words)
        return None
    for page in (out / "index.html", *out.glob("*/index.html")):
        text = without_analytics(page.read_text(encoding="utf-8"))
        page.write_text(text.replace("</body>", _OPENER), encoding="utf-8")
    for problem in staged.problems:
        log.warning("Allure report: %s", problem)
    return out / "index.html"


def without_analytics(page: str) -> str:
    """Take out the script by which every report of Allure's reports its readers to Google."""
    return _ANALYTICS.sub("", page)
