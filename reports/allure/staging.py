"""Lays out what Allure reads: the present results with their attachments, the history, settings.

Staged are only the newest results of every test in every environment; what is older is history.
So the work grows with the number of tests, not with that of the runs.

Whoever wrote an attachment has redacted it already. A report is what leaves the house, so every
text goes through it again. Binary files and pages are copied: the latter are drawn by us from
redacted histories, and what looks like a secret there (`token=` in a script) is part of a program.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from common.files import ends
from common.redaction import excerpt, redact
from reports.allure import results
from reports.allure.findings import BEFORE, Category, Finding, categories, find
from reports.allure.pasts import RESULTS, UNKNOWN, Gathered, Past, Raw, ReportedTrial

TITLE = "Airflow HA chaos"
HISTORY = "history.jsonl"
SETTINGS = "settings.json"
PAGES = "pages"
"""The folder of the pages that results link; it stands beside Allure's own in the report."""

LONGEST = 4 * 1024 * 1024
"""Bytes; a longer text keeps its head and its tail, for no browser shows it in one piece."""

END = 512 * 1024
"""Bytes of the head, and of the tail, of a text that is too long."""

_SNIFFED = 8192
"""Bytes; a file that has no zero among the first of them is text, whatever it is called."""

_PAGES = (".html", ".svg")

_LONGEST_NAME = 64
"""Characters; Allure refuses a longer name of an environment."""

_DRAWN = (
    ("timeline", "timeline.html", "text/html"),
    ("witness drawn", "witness.png", "image/png"),
)


class AllureEnvironment(msgspec.Struct, frozen=True):
    """An environment, as the configuration of Allure wants it; `label` is what results carry."""

    id: str
    name: str
    label: str


@dataclass
class Staged:
    """What was staged in a folder, and what was wrong with any of it.

    `silent` names the tests whose result says nothing of how they ended.
    """

    folder: Path
    places: list[AllureEnvironment]
    categories: list[Category]
    tests: int = 0
    cut: int = 0
    problems: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    def configure(self, output: Path, gate: Sequence[Raw] = ()) -> Path:
        """Write the settings of a report in `output`, or of a quality gate; return their file.

        It is what reports/node/allurerc.mjs reads.
        """
        settings = {
            "title": TITLE,
            "output": str(output),
            "history": str(self.folder / HISTORY),
            "places": self.places,
            "categories": self.categories,
            "gate": gate,
        }
        path = self.folder / SETTINGS
        path.write_bytes(msgspec.json.encode(settings))
        return path


def stage(gathered: Gathered, into: Path, *, strict: bool = False) -> Staged:
    """Stage everything in the folder `into`.

    `strict` stages for the quality gate: without attachments, and with a violation that a newer
    run did not show as a failure, for Allure would count the newest result alone.
    """
    (into / RESULTS).mkdir(parents=True)
    found = [(past, find(past)) for past in gathered.pasts]
    staged = Staged(
        into,
        places=places(past.newest.environment.name for past in gathered.pasts),
        categories=categories(finding for _, finding in found if finding),
        problems=list(gathered.problems),
    )
    for past, finding in found:
        raw = results.shape(past.newest, finding)
        if strict:
            raw |= {"attachments": [], "steps": [], "statusDetails": {}}
            raw["status"] = "failed" if _is_unknown_violation(past, finding) else raw["status"]
        else:
            _Attachments(past.newest, into / RESULTS, staged).stage(raw)
        if raw["status"] == UNKNOWN:
            staged.silent.append(past.newest.name.full)
        path = into / RESULTS / f"{raw['uuid']}-result.json"
        path.write_bytes(msgspec.json.encode(raw))
        staged.tests += 1
    with (into / HISTORY).open("wb") as file:
        file.writelines(
            msgspec.json.encode(each) + b"\n" for each in results.history(gathered.pasts)
        )
    return staged


def _is_unknown_violation(past: Past, finding: Finding | None) -> bool:
    """Whether an older run broke a promise in a way that no known race explains."""
    before = past.older_violation.record if past.older_violation else None
    known = before is not None and before.showed and not before.new
    return finding is not None and finding.name == BEFORE and not known


def places(environments: Iterator[str] | Sequence[str]) -> list[AllureEnvironment]:
    """Name the environments as Allure allows it: briefly, and by ids without dots."""
    made: dict[str, AllureEnvironment] = {}
    for environment in sorted(set(environments)):
        name = excerpt(environment, _LONGEST_NAME).replace("/", "-").replace("\\", "-")
        key = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[: _LONGEST_NAME - 4]
        while any(key == other.id or name == other.name for other in made.values()):
            key, name = f"{key[:58]}-{len(made)}", f"{name[:58]} {len(made)}"
        made[environment] = AllureEnvironment(key, name, environment)
    return list(made.values())


class _Attachments:
    """Takes one result's attachments along, wherever in its steps they hang.

    Allure shows a page without its scripts, and a timeline is nothing without them: a page is put
    beside the report, and linked in the description: Allure's own links must be absolute.
    """

    def __init__(self, trial: ReportedTrial, into: Path, staged: Staged) -> None:
        self._trial = trial
        self._into = into
        self._staged = staged
        self._pages: list[tuple[str, str]] = []

    def stage(self, raw: Raw) -> None:
        """Stage the attachments of a result and of its steps, and what was drawn since."""
        self._take_all(raw)
        names = {name for name, _ in self._pages}
        names |= {str(each.get("name")) for each in raw["attachments"]}
        for name, file, kind in _DRAWN:
            drawn = Path(self._trial.record.folder) / file if self._trial.record else None
            if drawn and drawn.is_file() and not any(known.startswith(name) for known in names):
                target = f"{raw['uuid']}-{drawn.stem}-attachment{drawn.suffix}"
                attachment = {"name": name, "source": target, "type": kind}
                if self._take(drawn, attachment):
                    raw["attachments"].append(attachment)
        links = [f"[{name}]({url})" for name, url in self._pages]
        raw["description"] = "\n\n".join(filter(None, [str(raw.get("description") or ""), *links]))

    def _take_all(self, part: Raw) -> None:
        given = [dict(each) for each in part.get("attachments") or ()]
        part["attachments"] = [each for each in given if self._take_found(each)]
        steps = [dict(step) for step in part.get("steps") or ()]
        for step in steps:
            self._take_all(step)
            step["name"] = redact(str(step.get("name", "")))
            if details := step.get("statusDetails"):
                step["statusDetails"] = {k: redact(str(v)) for k, v in details.items() if v}
        part["steps"] = steps

    def _take_found(self, attachment: Raw) -> bool:
        source, found = str(attachment.get("source", "")), self._trial.result
        if found is None or not source or Path(source).name != source:
            return False
        return self._take(found.path.with_name(source), attachment)

    def _take(self, source: Path, attachment: Raw) -> bool:
        """Copy an attachment; tell whether it stays one of the result's."""
        kind, target = str(attachment.get("type") or ""), str(attachment["source"])
        page = kind == "text/html" or source.suffix == ".html"
        folder = self._into.parent / PAGES if page else self._into
        try:
            folder.mkdir(exist_ok=True)
            whole = take(source, folder / target, kind)
        except OSError as error:
            self._staged.problems.append(f"{source} cannot be attached: {error.strerror}")
            return not page
        self._staged.cut += not whole
        if page:
            self._pages.append((str(attachment.get("name", "page")), f"../{PAGES}/{target}"))
        return not page


def take(source: Path, target: Path, kind: str = "") -> bool:
    """Copy an attachment; tell whether all of it was taken.

    `kind` is its media type, where that is known. Never holds more than LONGEST in memory.
    """
    if not is_text(source, kind):
        shutil.copyfile(source, target)
        return True
    if source.stat().st_size <= LONGEST:
        target.write_text(redact(source.read_bytes().decode(errors="replace")), encoding="utf-8")
        return True
    head, left_out, tail = ends(source, END)
    where = "/".join(source.parts[-3:])
    middle = f"\n... {left_out / 1e6:.1f} MB are left out here; the whole is {where} ...\n"
    target.write_text(f"{redact(head)}{middle}{redact(tail)}", encoding="utf-8")
    return False


def is_text(source: Path, kind: str) -> bool:
    """Tell whether an attachment is text that people read; its name may say anything."""
    if kind in ("text/html", "image/svg+xml") or source.suffix.lower() in _PAGES:
        return False
    with source.open("rb") as file:
        return b"\0" not in file.read(_SNIFFED)
