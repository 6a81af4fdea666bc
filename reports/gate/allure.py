"""Asks Allure's quality gate about the present results, and keeps clear of its traps.

Allure 3.18's gate is used for what it does well, counting results under a rule. What misleads in
it is kept out (tests/reports/allure/test_traps.py shows each):

- `generate` builds a report whatever the gate would say, so the gate is run for itself;
- a skipped or broken test counts towards `minTestsCount`: our floor lets in what passed or failed;
- metric rules judge an average, and delta rules pass where there is no history: speed is judged
  by reports.performance, which needs runs on both sides and gives an interval;
- a newer result hides an older one as its retry: a violation that a later run of the same build
  did not show is staged as a failure;
- a result whose status is `unknown`, or missing, is none of the failures that maxFailures counts:
  such results are counted here, whatever Allure says;
- a failure that is marked known or muted is not counted, and a result that cannot be read is
  passed over in silence: ours are staged without marks, and counted first;
- on Node.js 20 the command crashes, with the exit code of a gate that failed: our configuration
  adds what is missing, and an answer without the names of rules is no answer.

Known races are left to the policy, which accepts by name and date.
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from reports.allure import node
from reports.allure.findings import BEFORE, FAILED, NEW, UNCONFIRMED
from reports.allure.pasts import RESULTS, Raw, gather
from reports.allure.staging import stage
from reports.gate.decision import shortened
from reports.store import Runs

Answer = Literal["pass", "fail", "unknown"]

_VIOLATIONS = "violations"
_OPEN = "open"
_FLOOR = "floor"
_BROKEN_RULE = re.compile(
    r"⨯\s+(?P<message>.+?)\s{4,}(?P<id>[\w-]+)/(?P<rule>\w+)\s*$", re.MULTILINE
)


def evaluate(runs: Runs, minimum_tests: int) -> tuple[Answer, str] | None:
    """Judge the newest result of every test in every environment; None without Node.js.

    Fails for a violation that no known race explains, also for one that only an older run of the
    build showed. Unknown for tests that cannot tell, or whose result does not say how they ended,
    for fewer than `minimum_tests` that can, and when Allure gives no answer.
    """
    if node.missing():
        return None
    with tempfile.TemporaryDirectory(prefix="ha-chaos-gate-") as temporary:
        folder = Path(temporary)
        staged = stage(gather(runs), folder, strict=True)
        if staged.problems:
            return "unknown", f"{len(staged.problems)} results cannot be read: {staged.problems[0]}"
        if not staged.tests:
            return "unknown", "there is no result to judge"
        settings = staged.configure(folder / "out", rules(minimum_tests))
        ran = node.run("quality-gate", [RESULTS], folder, settings)
        return with_silent(read(ran, staged.tests), staged.silent)


def with_silent(answer: tuple[Answer, str], silent: Sequence[str]) -> tuple[Answer, str]:
    """Return Allure's answer, and that of the tests whose results do not say how they ended.

    A broken promise is one, whatever else is unknown.
    """
    if not silent or answer[0] == "fail":
        return answer
    number = f"{len(silent)} {'result does' if len(silent) == 1 else 'results do'}"
    problem = f"{number} not say how the test ended: {shortened(silent)}"
    return "unknown", problem if answer[0] == "pass" else f"{problem}; {answer[1]}"


def rules(minimum_tests: int) -> list[Raw]:
    """Return the rule sets, as reports/node/allurerc.mjs takes them."""
    pattern = "|".join(map(re.escape, (NEW, BEFORE, FAILED)))
    none, enough = {"maxFailures": 0}, {"minTestsCount": minimum_tests}
    return [
        {"id": _VIOLATIONS, "rules": none, "findings": f"^({pattern})$"},
        {"id": _OPEN, "rules": none, "statuses": ["broken", "unknown"]},
        {"id": f"{_OPEN}-known", "rules": none, "findings": f"^{re.escape(UNCONFIRMED)}$"},
        {"id": _FLOOR, "rules": enough, "statuses": ["passed", "failed"]},
    ]


def read(ran: node.Ran, tests: int) -> tuple[Answer, str]:
    """Read Allure's answer: its exit code alone does not distinguish a crash from a failed gate."""
    if ran.code == 0:
        return "pass", f"Allure's quality gate holds for {tests} tests"
    broken = {found["id"]: found["message"] for found in _BROKEN_RULE.finditer(ran.output)}
    if ran.code != 1 or not broken:
        return "unknown", f"Allure's quality gate gave no answer: {ran.last_words}"
    if _VIOLATIONS in broken:
        count = _first(broken[_VIOLATIONS])
        return "fail", f"{count} of {tests} tests broke a promise in a way that is not known"
    parts = {
        _FLOOR: "only {} tests can tell",
        _OPEN: "{} tests cannot tell",
        f"{_OPEN}-known": "{} known races did not show themselves",
    }
    found = [text.format(_first(broken[rule])) for rule, text in parts.items() if rule in broken]
    return "unknown", "; ".join(found)


def _first(message: str) -> str:
    found = re.search(r"\d+", message)
    return found[0] if found else "some"
