"""Nothing that pytest and its plugins write of a test holds a secret, whichever way it went.

The same sessions are run without redaction: there every secret is found, in every output.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canaries import ALL, WITHOUT_REDACTION, planted
from tests.labs import at_night
from tests.system.projects import make_project, run_project

SUITE = '''
"""Does pytest keep secrets?"""

import json
import logging
import os
import warnings
from pathlib import Path

import allure
import pytest

PLANTED = json.loads(Path(os.environ["PLANTED"]).read_text())
KINDS = range(len(PLANTED["raised"]))


def planted(place, kind):
    return PLANTED[place][kind]


@pytest.mark.parametrize("kind", KINDS)
def test_raises(kind, record_property):
    """Leave a secret everywhere, and fail."""
    local = planted("local", kind)
    print(planted("printed", kind))
    logging.getLogger("canary").warning("%s", planted("logged", kind))
    warnings.warn(planted("warned", kind))
    record_property("canary", planted("property", kind))
    allure.attach(planted("attached", kind), "text", allure.attachment_type.TEXT)
    file = Path(os.environ["PLANTED"]).with_name(f"attached-{kind}.txt")
    file.write_text(planted("attached file", kind))
    allure.attach.file(file, "file", allure.attachment_type.TEXT)
    with allure.step(planted("step", kind)):
        raise ValueError(planted("raised", kind))


@pytest.mark.parametrize("kind", KINDS)
def test_compares(kind):
    """Fail at an assertion, which pytest explains."""
    assert {"shown": planted("compared", kind)} == {}


@pytest.fixture
def broken(kind):
    raise RuntimeError(planted("fixture", kind))


@pytest.mark.parametrize("kind", KINDS)
def test_fixture(kind, broken):
    """Never run."""


@pytest.fixture
def ends_badly(kind):
    yield
    try:
        raise KeyError("x")
    except KeyError as error:
        raise RuntimeError(planted("teardown", kind)) from error


@pytest.mark.parametrize("kind", KINDS)
def test_teardown(kind, ends_badly):
    """Pass, and end badly."""


@pytest.mark.parametrize("kind", KINDS)
def test_expected(kind):
    """Fail as expected."""
    pytest.xfail(planted("expected", kind))
'''

AT_IMPORT = """
import json
import os
from pathlib import Path

raise ValueError("\\n".join(json.loads(Path(os.environ["PLANTED"]).read_text())["raised"]))
"""

IN_A_HOOK = """
import json
import os
from pathlib import Path

from harness import preflight

preflight.wanted_lab = preflight.check_settings = lambda *_: None


def pytest_runtestloop():
    raise ValueError("\\n".join(json.loads(Path(os.environ["PLANTED"]).read_text())["raised"]))
"""

PLACES = (
    *("raised", "local", "printed", "logged", "warned", "property", "attached", "attached file"),
    *("step", "compared", "fixture", "teardown", "expected"),
)
CANARIES = {place: planted(place) for place in PLACES}

# Where each place is to be found by whoever looks, when nothing is redacted.
SEEN = {
    "raised": {"terminal", "junit", "allure"},
    "local": {"terminal", "junit", "allure"},
    "printed": {"terminal", "junit", "allure"},
    "logged": {"terminal", "junit", "allure", "log file"},
    "warned": {"terminal"},
    "property": {"junit"},
    "attached": {"allure"},
    "attached file": {"allure"},
    "step": {"allure"},
    "compared": {"terminal", "junit", "allure"},
    "fixture": {"terminal", "junit", "allure", "container"},
    "teardown": {"terminal", "junit", "allure", "container"},
    "expected": {"junit"},
}
IN_SESSION = ("raised", "fixture", "teardown", "expected")


def outputs(project: Path, terminal: str) -> Iterator[tuple[str, str]]:
    """Give what a session left, each with the name of what it is."""
    yield "terminal", terminal
    for path in project.rglob("*"):
        if not path.is_file() or path.is_symlink() or path.suffix in (".py", ".pyc"):
            continue
        text = path.read_text(errors="replace")
        text = text.replace("&quot;", '"').replace("&amp;", "&").replace("&lt;", "<")
        if path.name == "junit.xml":
            yield "junit", text
        elif path.name == "log.txt":
            yield "log file", text
        elif path.name == "session.json":
            yield "session.json", text
        elif path.name.endswith("-container.json"):
            yield "container", text
        elif "allure-results" in path.parts:
            yield "allure", text
        elif "runs" in path.parts:
            yield "run", text


def found(project: Path, terminal: str) -> set[tuple[str, str, str]]:
    """Return which secrets are where: the output, the place, the kind."""
    texts: dict[str, str] = {}
    for name, text in outputs(project, terminal):
        texts[name] = texts.get(name, "") + text
    return {
        (name, place, kind)
        for place, canaries in CANARIES.items()
        for kind, made in canaries.items()
        for part in made.parts
        for name, text in texts.items()
        if part in text
    }


def session(folder: Path, suite: str, *arguments: str, redacted: bool, conftest: str = "") -> str:
    """Run a session in a copy of the project, and return what it printed."""
    planting = folder.parent / f"{folder.name}-planted.json"
    texts = {
        place: [made.text for made in canaries.values()] for place, canaries in CANARIES.items()
    }
    planting.write_text(json.dumps(texts))
    project = make_project(folder, suite, *([conftest] if conftest else []))
    if not redacted:
        with (project / "common" / "redaction.py").open("a") as module:
            module.write(WITHOUT_REDACTION)
    done = run_project(
        project,
        *("--airflow", "3.0.6", "--junit-xml=junit.xml", "--log-file=log.txt", "-vv", "-ra"),
        *("-o", "junit_logging=all"),
        *arguments,
        environment=os.environ | {"PLANTED": str(planting)},
        timeout=1600,
    )
    return done.stdout + done.stderr


ARGUMENTS = {
    "alone": ("--showlocals", "--log-cli-level=INFO"),
    "workers": ("--showlocals", "-n", "2", "--tb=short"),
    "native": ("--tb=native",),
}


@pytest.mark.parametrize(
    "how", ["workers", *(pytest.param(each, marks=at_night) for each in ("alone", "native"))]
)
def test_no_output_of_a_session_holds_a_secret(tmp_path: Path, how: str) -> None:
    said = session(tmp_path / "it", SUITE, *ARGUMENTS[how], redacted=True)
    assert f"{3 * len(ALL)} failed" in said or f"{2 * len(ALL)} failed" in said, said[-3000:]
    assert found(tmp_path / "it", said) == set()


@at_night
def test_without_redaction_every_secret_is_found_in_every_output(tmp_path: Path) -> None:
    said = session(tmp_path / "it", SUITE, *ARGUMENTS["alone"], redacted=False)
    seen = found(tmp_path / "it", said)
    wanted = {
        (name, place, kind) for place, names in SEEN.items() for name in names for kind in ALL
    }
    assert wanted - seen == set()
    for place in IN_SESSION:
        assert any(name == "session.json" and where == place for name, where, _ in seen)


@pytest.mark.parametrize("redacted", [True, False], ids=["redacted", "not"])
@pytest.mark.parametrize("where", ["at-import", "in-a-hook"])
def test_an_error_outside_of_tests_holds_no_secret(
    tmp_path: Path, where: str, redacted: bool
) -> None:
    suite, conftest = (AT_IMPORT, "") if where == "at-import" else ("def test_x(): pass", IN_A_HOOK)
    said = session(tmp_path / "it", suite, redacted=redacted, conftest=conftest)
    assert ("ValueError" in said) or not redacted
    kinds = {kind for _, place, kind in found(tmp_path / "it", said) if place == "raised"}
    assert kinds == (set() if redacted else set(ALL))
