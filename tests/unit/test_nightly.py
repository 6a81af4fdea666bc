"""What a night tests: found on a package index and a chart repository that are served for real."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.version import Version

from common.errors import UserError
from common.paths import PROJECT
from harness.markers import scenarios
from harness.nightly import jobs, known_bad, newest_chart
from lab.environments import pins, releases
from lab.environments.releases import candidates, newest_patches
from reports.gate.policy import read_policy
from tests import forked

ROOT = Path(__file__).resolve().parents[2]
SIMPLE = "application/vnd.pypi.simple.v1+json"

Pages = dict[str, tuple[str, str]]


@contextmanager
def served(pages: Pages) -> Iterator[str]:
    """Serve pages (content type and text, by path); all else is a 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, text = pages.get(self.path, ("text/plain", ""))
            self.send_response(200 if self.path in pages else 404)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def index_of(*versions: str, yanked: str = "", too_new: str = "") -> Pages:
    """Return the pages of a package index that has these releases of Airflow."""
    pages: Pages = {}
    files = []
    for version in versions:
        name = f"apache_airflow-{version}-py3-none-any.whl"
        metadata = f"Metadata-Version: 2.1\nName: apache-airflow\nVersion: {version}\n"
        pages[f"/files/{name}.metadata"] = ("text/plain", metadata)
        files.append(
            {
                "filename": name,
                "url": f"../../files/{name}",
                "hashes": {},
                "core-metadata": True,
                "requires-python": ">=3.99" if version == too_new else ">=3.9",
                "yanked": "it broke the scheduler" if version == yanked else False,
            }
        )
    about = {"meta": {"api-version": "1.1"}, "name": "apache-airflow", "files": files}
    return pages | {"/simple/apache-airflow/": (SIMPLE, json.dumps(about))}


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Make uv ask an index at a URL, with a cache of its own; return the variables for that."""

    def use(url: str) -> dict[str, str]:
        variables = {
            "UV_DEFAULT_INDEX": f"{url}/simple",
            "UV_CACHE_DIR": str(tmp_path / "cache"),
            "UV_HTTP_RETRIES": "0",
        }
        for name in ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return variables

    return use


def found(
    index: Callable[[str], object], *versions: str, yanked: str = "", too_new: str = ""
) -> tuple[list[str], list[str]]:
    """Return what is found on an index with these releases: newest patches, and candidates."""
    with served(index_of(*versions, yanked=yanked, too_new=too_new)) as url:
        index(url)
        patches = newest_patches()
        return [str(each) for each in patches], [str(each) for each in candidates(patches)]


def test_the_newest_patch_of_every_line_is_found(index: Callable[[str], object]) -> None:
    versions = ("2.11.0", "3.0.0", "3.0.10", "3.0.9", "3.1.8", "3.3.1", "3.3.2", "4.0.0")
    assert found(index, *versions) == (["3.0.10", "3.1.8", "3.3.2"], [])


def test_a_yanked_release_is_passed_over(index: Callable[[str], object]) -> None:
    patches, _ = found(index, "3.0.4", "3.0.6", "3.1.0", "3.1.1", yanked="3.1.1")
    assert patches == ["3.0.6", "3.1.0"]


def test_a_line_of_which_all_was_yanked_has_no_patch(index: Callable[[str], object]) -> None:
    patches, _ = found(index, "3.0.6", "3.1.0", "3.2.0", yanked="3.1.0")
    assert patches == ["3.0.6", "3.2.0"]


def test_a_release_that_does_not_run_on_our_python_is_passed_over(
    index: Callable[[str], object],
) -> None:
    assert found(index, "3.0.6", "3.1.0", too_new="3.1.0") == (["3.0.6"], [])


def test_only_candidates_newer_than_their_lines_patch_are_found(
    index: Callable[[str], object],
) -> None:
    versions = ("3.0.6", "3.0.6rc2", "3.1.0", "3.1.1rc1", "3.1.1rc2", "3.2.0rc1", "3.3.0b1")
    assert found(index, *versions) == (["3.0.6", "3.1.0"], ["3.1.1rc2", "3.2.0rc1", "3.3.0b1"])


def test_an_alpha_or_beta_is_tested_too_and_a_development_version_is_not(
    index: Callable[[str], object],
) -> None:
    versions = ("3.0.6", "3.0.7b1", "3.1.0a1", "3.2.0a1", "3.2.0b2", "3.3.0.dev3")
    assert found(index, *versions) == (["3.0.6"], ["3.0.7b1", "3.1.0a1", "3.2.0b2"])


def test_an_index_without_airflow_3_is_one_clear_line(index: Callable[[str], object]) -> None:
    with pytest.raises(UserError, match=r"has no Airflow 3: its newest is 2\.11\.0"):
        found(index, "2.11.0")
    with served({}) as url:
        index(url)
        with pytest.raises(UserError, match="does not name Airflow's releases"):
            newest_patches()


def test_without_a_network_the_error_is_one_clear_line(index: Callable[[str], object]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        index(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(UserError, match="The package index does not name") as caught:
            newest_patches()
    assert "\n" not in caught.value.message
    assert "Check the network" in caught.value.hint


def test_an_index_that_never_answers_is_given_up(
    index: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "LOOKUP_LIMIT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UserError, match="gave no result in 1 s"):
            newest_patches()


def charts(*entries: dict[str, object]) -> Pages:
    return {"/index.yaml": ("text/yaml", json.dumps({"entries": {"airflow": list(entries)}}))}


def test_the_newest_chart_is_the_highest_that_was_released_and_not_withdrawn() -> None:
    versions = ("1.9.0", "1.18.0", "1.22.0", "1.23.0-rc1")
    entries: list[dict[str, object]] = [{"version": version} for version in versions]
    with served(charts(*entries, {"version": "1.30.0", "deprecated": True})) as url:
        assert newest_chart(url, "1.0.0") == "1.22.0"


@pytest.mark.parametrize(
    "pages",
    [
        {},
        charts(),
        charts({"version": "latest"}),
        {"/index.yaml": ("text/html", "<html>")},
        {"/index.yaml": ("text/yaml", "entries: {airflow: [")},
    ],
    ids=["missing", "no charts", "no version", "no index", "no YAML"],
)
def test_without_a_chart_index_the_fallback_is_taken_and_said_to_be(
    pages: Pages, caplog: pytest.LogCaptureFixture
) -> None:
    with served(pages) as url, caplog.at_level(logging.WARNING):
        assert newest_chart(url, "1.20.0") == "1.20.0"
    assert "newest chart is not known, taking 1.20.0" in caplog.text


def test_every_combination_is_one_job_and_only_kind_has_charts() -> None:
    made = jobs(["3.3.2"], {"3.0.6"}, ["embedded", "kind"], ["1.18.0", "1.22.0"], [2, 3])
    assert len(made) == len({job.id for job in made}) == 2 * (1 + 2) * 2
    assert {job.chart for job in made if job.lab == "kind"} == {"1.18.0", "1.22.0"}
    assert {job.chart for job in made if job.lab == "embedded"} == {""}
    assert {job.airflow: job.expect_known for job in made} == {"3.0.6": True, "3.3.2": False}


def test_a_release_that_is_both_newest_and_known_bad_is_tested_once() -> None:
    made = jobs(["3.1.8", "3.3.2"], {"3.1.8"}, ["embedded"], [], [2])
    assert [(job.airflow, job.expect_known) for job in made] == [("3.1.8", True), ("3.3.2", False)]


def test_more_jobs_than_github_takes_are_refused() -> None:
    with pytest.raises(UserError, match="would have 257 jobs; GitHub takes 1 to 256"):
        jobs(["3.3.2"], set(), ["embedded"], [], list(range(257)))
    with pytest.raises(UserError, match="would have 0 jobs"):
        jobs([], set(), ["embedded"], [], [2])


def test_the_gate_takes_the_night_s_own_checks_for_that() -> None:
    """A release that is run to see a race caught is not gated for having it."""
    policy = read_policy(PROJECT / "reports" / "policy.yaml", date.today())
    final = max(Version(each) for each in pins.pinned() if not Version(each).is_prerelease)
    for version in known_bad(scenarios().values(), final):
        assert policy.oracle_health.names(version), version


def test_known_bad_are_the_newest_pinned_of_each_line_that_has_what_the_newest_has_not() -> None:
    seed = [scenarios()["57618"]]
    assert known_bad(seed, Version("3.3.2")) == {"3.0.6", "3.1.8"}
    assert known_bad(seed, Version("3.1.8")) == set()
    assert known_bad([scenarios()["dying-with-a-worker"]], Version("3.3.2")) == set()


def test_the_command_prints_a_matrix_for_github(index: Callable[[str], dict[str, str]]) -> None:
    with served(index_of("3.0.6", "3.2.1", "3.2.2rc1") | charts({"version": "1.22.0"})) as url:
        ended = nightly(index(url), "--chart-repository", url)
    assert ended.returncode == 0, ended.stderr
    made = json.loads(ended.stdout)["include"]
    assert {job["airflow"] for job in made} == {"3.0.6", "3.1.8", "3.2.1", "3.2.2rc1"}
    assert {job["chart"] for job in made} == {"", "1.18.0", "1.22.0"}
    assert {job["schedulers"] for job in made} == {2, 3}
    assert {job["lab"] for job in made} == {"embedded", "kind"}
    assert ended.stdout.count("\n") == 1


def test_the_command_without_an_index_prints_no_matrix_and_fails(
    index: Callable[[str], dict[str, str]],
) -> None:
    with served({}) as url:
        ended = nightly(index(url))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "error: The package index does not name" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_command_refuses_what_is_no_version() -> None:
    ended = nightly({}, "--airflow", "3.0.6; rm -rf /")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "is not a valid version" in ended.stderr


def nightly(variables: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return forked.run(
        [sys.executable, "-m", "harness.nightly", *options],
        env={**os.environ, **variables},
        cwd=ROOT,
    )
