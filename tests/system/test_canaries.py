"""Nothing that a session leaves on disk holds a secret, wherever in a real lab it was planted."""

import json
import os
from pathlib import Path

import pytest

from tests.system.projects import make_project, run_project
from tests.unit.test_redaction import CANARY, FORMS, JWT, PEM

pytestmark = pytest.mark.xdist_group("labs-1")

PLANTED = f"{CANARY}-7"

CONFTEST = f'''
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness import plugin

asked = plugin.lab_spec


def spec_with_secrets(*arguments):
    """Give the daemons and workers secrets in their environment."""
    spec = asked(*arguments)
    secrets = {{
        "AIRFLOW_CONN_CANARY": "mysql://root:{PLANTED}@db:3306/x",
        "AIRFLOW_VAR_API_TOKEN": "{PLANTED}",
    }}
    return replace(spec, env=spec.env | secrets)


plugin.lab_spec = spec_with_secrets


@pytest.fixture
def planted(lab, history):
    """Leave secrets wherever a run looks for what it keeps."""
    at = lab.endpoints
    forms = json.loads(Path(os.environ["FORMS"]).read_text())
    with lab.logs()["scheduler-1"].open("a") as log:
        log.write("\\n".join([*forms, "raw", at["password"], at["secret"], ""]))
    values = "env:\\n  - name: DB_PASSWORD\\n    value: {PLANTED}\\nfernetKey: {PLANTED}\\n"
    (lab.directory / "values.yaml").write_text(values)
    Path(os.environ["KNOWN"]).write_text(json.dumps([at["password"], at["secret"]]))
    logging.getLogger("canary").warning("token=%s", "{PLANTED}")
    print("Authorization: Bearer {PLANTED}")
    history.note("password={PLANTED}")
'''

SUITE = f'''
"""Does a session keep its secrets?"""

import pytest

from scenarios.perform import Performer


@pytest.mark.scenario("57618")
def test_held(scenario, permutation, history, planted):
    """Make a violation, and fail with a secret in the message."""
    Performer(scenario, history).perform(permutation)


def test_fails():
    """Fail."""
    raise ValueError("cannot log in with token={PLANTED}")
'''

# What a worker says as it starts, as user code would.
TASK = f"""

print("the task's password={PLANTED} and {JWT}", flush=True)
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    project = make_project(tmp_path_factory.mktemp("canaries"), SUITE, CONFTEST)
    with (project / "dags" / "work.py").open("a") as task:
        task.write(TASK)
    known, forms = project / "known.json", project / "forms.json"
    forms.write_text(json.dumps([*FORMS.values(), JWT, PEM]))
    planted = {"KNOWN": str(known), "FORMS": str(forms), "AIRFLOW_CONN_MINE": f"x://a:{PLANTED}@b"}
    done = run_project(
        project,
        *("--airflow", "3.0.6", "-k", "start-task or fails"),
        environment=os.environ | planted,
        timeout=400,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return project / "reports" / "runs", json.loads(known.read_text())


def kept(runs: Path) -> list[Path]:
    return [path for path in runs.rglob("*") if path.is_file() and not path.is_symlink()]


def test_the_secrets_were_where_they_could_leak(session: tuple[Path, list[str]]) -> None:
    text = {path.name: path.read_text(errors="replace") for path in kept(session[0])}
    assert "password: ***" in text["scheduler-1.log"]
    assert "the task's password=***" in "".join(text.values())
    assert "fernetKey: ***" in text["values.yaml"]
    assert "token=***" in text["session.json"]
    assert "password=***" in text["history.ndjson"]
    results = [content for name, content in text.items() if name.endswith("-result.json")]
    assert len(results) == 2
    assert any("token=***" in result for result in results)


def test_no_file_of_a_run_holds_one(session: tuple[Path, list[str]]) -> None:
    runs, known = session
    secrets = [CANARY, "hunter2", *known, JWT.split(".")[2], PEM.split("\n")[7]]
    assert all(len(secret) >= 7 for secret in secrets)
    leaks = [
        (str(path.relative_to(runs)), secret)
        for path in kept(runs)
        for secret in secrets
        if secret in path.read_text(errors="replace")
    ]
    assert leaks == []
