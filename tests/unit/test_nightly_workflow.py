"""The workflows: what GitHub would only tell once they have run."""

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.nightly import Job

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
IDS = [path.name for path in WORKFLOWS]
PINNED = re.compile(r"[\w.-]+/[\w./-]+@(v\d+|[0-9a-f]{40})")


def jobs_of(path: Path) -> dict[str, dict[str, Any]]:
    jobs: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["jobs"]
    return jobs


def steps_of(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs_of(path).values() for step in job["steps"]]


def script(name: str) -> str:
    """Return what the step of that name or id in nightly.yml runs."""
    (found,) = (s for s in steps_of(FOLDER / "nightly.yml") if name in (s.get("name"), s.get("id")))
    return str(found["run"])


def bash(text: str, directory: Path, **variables: str) -> str:
    """Run a step's script as GitHub does, and return what it said."""
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", **variables}
    ended = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", text],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_there_are_workflows() -> None:
    assert {"ci.yml", "nightly.yml"} <= set(IDS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_actionlint_has_no_complaint(path: Path) -> None:
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip(
            f"actionlint did not look at {path.name}: put it on PATH "
            "(go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7) and run this again"
        )
    said = subprocess.run([actionlint, path], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_every_action_is_pinned(path: Path) -> None:
    used = [step["uses"] for step in steps_of(path) if "uses" in step]
    assert used
    assert not [name for name in used if not PINNED.fullmatch(name)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_no_script_has_an_expression_in_it(path: Path) -> None:
    """Whoever names a branch or starts the workflow would write the script."""
    scripts = [step["run"] for step in steps_of(path) if "run" in step]
    assert scripts
    assert not [text for text in scripts if "${{" in text]


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_a_workflow_may_read_the_repository_and_nothing_else(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    assert not [name for name, job in jobs_of(path).items() if "permissions" in job]


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_every_job_has_a_time_limit(path: Path) -> None:
    assert all(0 < job["timeout-minutes"] <= 360 for job in jobs_of(path).values())


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_what_is_needed_and_what_is_made_exists(path: Path) -> None:
    jobs = jobs_of(path)
    needed = {job["needs"] for job in jobs.values() if "needs" in job}
    assert needed <= set(jobs)
    made = set(re.findall(r"\bmake ([a-z-]+)", path.read_text()))
    assert made <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_every_script_is_good_bash(path: Path) -> None:
    for step in steps_of(path):
        if "run" in step:
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)


def test_the_matrix_keys_in_use_are_those_that_a_job_has() -> None:
    used = set(re.findall(r"\$\{\{ matrix\.(\w+)", (FOLDER / "nightly.yml").read_text()))
    assert used == {field.name for field in fields(Job)}


def test_one_red_job_stops_no_other_and_two_nights_do_not_overlap() -> None:
    nightly = yaml.safe_load((FOLDER / "nightly.yml").read_text())
    assert nightly["jobs"]["night"]["strategy"]["fail-fast"] is False
    assert nightly["concurrency"]["group"]


def test_the_plan_hands_on_the_matrix(tmp_path: Path) -> None:
    program(tmp_path / ".venv/bin/python", 'echo "{\\"include\\": [\\"$*\\"]}"')
    for versions, told in (("", ""), ("3.0.6 3.1.8", " --airflow 3.0.6 3.1.8")):
        output = tmp_path / "output"
        output.write_text("")
        bash(script("matrix"), tmp_path, VERSIONS=versions, GITHUB_OUTPUT=str(output))
        assert output.read_text() == f'matrix={{"include": ["-m harness.nightly{told}"]}}\n'


def test_a_plan_that_fails_hands_on_nothing(tmp_path: Path) -> None:
    program(tmp_path / ".venv/bin/python", "exit 2")
    output = tmp_path / "output"
    output.write_text("")
    with pytest.raises(AssertionError):
        bash(script("matrix"), tmp_path, VERSIONS="", GITHUB_OUTPUT=str(output))
    assert output.read_text() == ""


@pytest.mark.parametrize(
    ("lab", "chart", "known", "asked"),
    [
        ("embedded", "", "false", ""),
        ("kind", "1.22.0", "false", " --chart-version 1.22.0"),
        ("kind", "1.18.0", "true", " --chart-version 1.18.0 --expect-known"),
    ],
)
def test_a_job_asks_pytest_for_what_the_matrix_says(
    tmp_path: Path, lab: str, chart: str, known: str, asked: str
) -> None:
    program(tmp_path / ".venv/bin/pytest", 'echo "$*"')
    told = bash(
        script("Test the releases"),
        tmp_path,
        LAB=lab,
        AIRFLOW="3.1.8",
        CHART=chart,
        SCHEDULERS="3",
        EXPECT_KNOWN=known,
    )
    options = f"--depth nightly --lab {lab} --airflow 3.1.8 --schedulers 3{asked}"
    assert told == f"suites/ -n 8 {options}\n"


def test_only_the_last_nights_are_kept(tmp_path: Path) -> None:
    for day in range(10, 30):
        (tmp_path / "nights" / f"202610{day}-1").mkdir(parents=True)
    (tmp_path / "night" / "airflow-3.3.2-embedded-schedulers-2").mkdir(parents=True)
    bash(script("Keep the last fourteen nights"), tmp_path, GITHUB_RUN_ID="7")
    kept = sorted(path.name for path in (tmp_path / "nights").iterdir())
    assert len(kept) == 14
    assert kept[0] == "20261017-1"
    (tonight,) = (tmp_path / "nights").glob("*-7")
    assert [job.name for job in tonight.iterdir()] == ["airflow-3.3.2-embedded-schedulers-2"]


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_job_ends_as_the_gate_does_and_tells_why(tmp_path: Path, code: int) -> None:
    gate = f'mkdir -p gate; echo "$*" > gate/gate.md; exit {code}'
    program(tmp_path / ".venv/bin/python", gate)
    summary = tmp_path / "summary"
    hold = script("Ask the gate") + "\n"
    ended = bash(
        f"(set -e; {hold}) || echo $?",
        tmp_path,
        GITHUB_STEP_SUMMARY=str(summary),
        GITHUB_RUN_ID="7",
    )
    assert ended == (f"{code}\n" if code else "")
    assert re.fullmatch(r"-m reports gate nights/\d{8}-7 --out gate\n", summary.read_text())
