"""Nothing that a session of a real lab leaves on disk or shows holds a secret, whatever its kind.

The same session is run without redaction: there each canary is found where it was planted.
"""

import json
import os
from pathlib import Path

import pytest

from tests.canaries import ALL, WITHOUT_REDACTION, planted, unpacked
from tests.labs import at_night
from tests.system.projects import make_project, run_project

pytestmark = pytest.mark.xdist_group("labs-1")

PLACES = (
    "log",
    "values",
    "note",
    "assumption",
    "fault",
    "printed",
    "task",
    "environment",
    "raised",
)
CANARIES = {place: planted(place) for place in PLACES}

CONFTEST = '''
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml

from harness import plugin

PLANTED = json.loads(Path(os.environ["PLANTED"]).read_text())
asked = plugin.lab_spec


def spec_with_secrets(*arguments):
    """Give the daemons and workers secrets in their environment."""
    spec = asked(*arguments)
    secrets = {f"AIRFLOW_VAR_CANARY_{n}": text for n, text in enumerate(PLANTED["environment"])}
    return replace(spec, env=spec.env | secrets)


plugin.lab_spec = spec_with_secrets


@pytest.fixture
def planted(lab, history):
    """Leave secrets wherever a run looks for what it keeps."""
    at = lab.endpoints
    with lab.logs()["scheduler-1"].open("a") as log:
        log.write("\\n".join([*PLANTED["log"], *PLANTED["environment"]]))
        log.write("\\n".join(["", at["password"], at["secret"]]))
    texts = enumerate(PLANTED["values"])
    env = [{"name": f"SOME_VARIABLE_{n}", "value": text} for n, text in texts]
    values = yaml.safe_dump({"workers": {"env": env}, "executor": "X"})
    (lab.directory / "values.yaml").write_text(values)
    for n, text in enumerate(PLANTED["note"]):
        history.note(text)
        history.assume(f"canary-{n}", True, PLANTED["assumption"][n], "")
        history.record("begin", f"canary-{n}", None, PLANTED["fault"][n])
        print(PLANTED["printed"][n])
    seen = [" ".join(each.cmdline()) for each in psutil.Process().children(recursive=True)]
    every = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    Path(os.environ["KNOWN"]).write_text(json.dumps([at["password"], at["secret"]]))
    Path(os.environ["COMMANDS"]).write_text(json.dumps([*seen, *every]))
'''

SUITE = '''
"""Does a session keep its secrets?"""

import json
import os
from pathlib import Path

import pytest

from scenarios.perform import Performer

RAISED = json.loads(Path(os.environ["PLANTED"]).read_text())["raised"]


@pytest.mark.scenario("57618")
def test_held(scenario, permutation, history, planted):
    """Make a violation."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.parametrize("kind", range(len(RAISED)))
def test_fails(kind):
    """Fail with a secret in the message."""
    raise ValueError(RAISED[kind])
'''

# What a worker says as it starts, as user code would.
TASK = """

import json as _json
import os as _os
from pathlib import Path as _Path

for _text in _json.loads(_Path(_os.environ["HA_CHAOS_PLANTED"]).read_text())["task"]:
    print(_text, flush=True)
"""


def _text(path: Path) -> str:
    return b"\n".join(unpacked(path.read_bytes())).decode(errors="replace")


class Kept:
    """What a session left: its files, what it printed, and what it alone knew."""

    def __init__(self, folder: Path, *, redacted: bool) -> None:
        project = make_project(folder, SUITE, CONFTEST)
        planting = folder.parent / f"{folder.name}-planted.json"
        texts = {place: [made.text for made in each.values()] for place, each in CANARIES.items()}
        planting.write_text(json.dumps(texts))
        with (project / "dags" / "work.py").open("a") as task:
            task.write(TASK.replace('_os.environ["HA_CHAOS_PLANTED"]', repr(str(planting))))
        if not redacted:
            with (project / "common" / "redaction.py").open("a") as module:
                module.write(WITHOUT_REDACTION)
            with (project / "common" / "documents.py").open("a") as module:
                module.write("\n\ndef redact_document(text):\n    return text\n")
        told = {name: folder.parent / f"{folder.name}-{name}" for name in ("KNOWN", "COMMANDS")}
        done = run_project(
            project,
            *("--airflow", "3.0.6", "-k", "start-task or fails", "--junit-xml=reports/runs/junit"),
            environment=os.environ
            | {"PLANTED": str(planting)}
            | {k: str(v) for k, v in told.items()},
            timeout=1600,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        self.known: list[str] = json.loads(told["KNOWN"].read_text())
        self.commands: list[str] = json.loads(told["COMMANDS"].read_text())
        runs = project / "reports" / "runs"
        self.texts = {
            str(path.relative_to(runs)): _text(path)
            for path in runs.rglob("*")
            if path.is_file() and not path.is_symlink()
        }
        self.texts["terminal"] = done.stdout + done.stderr

    def found(self, *, where: str = "") -> set[tuple[str, str]]:
        """Return which canaries are in the files whose names hold `where`: place and kind."""
        whole = "\n".join(text for name, text in self.texts.items() if where in name)
        whole += whole.replace("\\\\", "\\").replace('\\"', '"')
        return {
            (place, kind)
            for place, canaries in CANARIES.items()
            for kind, made in canaries.items()
            if any(part in whole for part in made.parts)
        }


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(tmp_path_factory.mktemp("canaries") / "it", redacted=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(tmp_path_factory.mktemp("canaries") / "bare", redacted=False)


SEEN = {
    "log": ("logs/scheduler-1.log", "allure-results"),
    "values": ("values.yaml", "allure-results"),
    "note": ("history.ndjson", "allure-results", "timeline.html"),
    "assumption": ("history.ndjson", "verdict.json"),
    "fault": ("history.ndjson", "allure-results"),
    "printed": ("allure-results",),
    "task": ("pods/",),
    "environment": ("logs/scheduler-1.log",),
    "raised": ("allure-results", "terminal", "session.json", "junit"),
}
"""Where a canary of each place is when nothing is redacted."""

# Airflow itself hides these from what a task prints.
HIDDEN = {("task", "jwt")}

# These are of several lines, and session.json has the first alone.
LINES = {"session.json"}


@at_night
@pytest.mark.parametrize("place", SEEN)
def test_without_redaction_each_canary_is_found_where_it_was_planted(
    bare: Kept, place: str
) -> None:
    for where in SEEN[place]:
        found = {kind for each, kind in bare.found(where=where) if each == place}
        missing = {kind for kind in set(ALL) - found if (place, kind) not in HIDDEN}
        allowed = len(ALL) / 3 if where in LINES else 0
        assert len(missing) <= allowed, (where, sorted(missing)[:20])


def test_no_file_holds_a_canary_or_what_the_lab_made(kept: Kept) -> None:
    assert kept.found() == set()
    assert all(len(known) > 10 for known in kept.known)
    leaks = [name for name, text in kept.texts.items() if any(each in text for each in kept.known)]
    assert leaks == []


def test_what_a_reader_needs_is_still_there(kept: Kept) -> None:
    values = next(text for name, text in kept.texts.items() if name.endswith("values.yaml"))
    assert "executor: X" in values
    assert "name: SOME_VARIABLE_0\n" in values
    assert any("***" in text for name, text in kept.texts.items() if "logs/" in name)
    witness = next(text for name, text in kept.texts.items() if name.endswith("witness.txt"))
    assert "try_number 1 -> 2" in witness


def test_no_command_line_holds_a_password(kept: Kept) -> None:
    """Whoever may run `ps` on the machine sees all of them."""
    assert len(kept.commands) > 10
    assert [each for each in kept.commands if any(known in each for known in kept.known)] == []
