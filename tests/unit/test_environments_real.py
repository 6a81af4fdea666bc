"""What only a real Airflow can show; its environment is cached, and made on the first run."""

import shutil
import subprocess
from pathlib import Path

import pytest

from common.errors import UserError
from lab.base import Airflow
from lab.environments import interpreter
from lab.environments.checkout import source_digest
from lab.environments.interpreter import StartError
from lab.environments.preparation import prepare
from lab.environments.settings import clean_environment
from tests.labs import at_night


@pytest.fixture(scope="module")
def released() -> Airflow:
    return prepare("3.0.6")


def site_packages(airflow: Airflow) -> Path:
    return next(airflow.python.parents[1].glob("lib/python*/site-packages"))


@pytest.fixture
def checkout(tmp_path: Path, released: Airflow) -> Path:
    """The released sources laid out as in the repository, where the web UI is not built."""
    site = site_packages(released)
    core = tmp_path / "mine/airflow-core/src"
    ignored = shutil.ignore_patterns("__pycache__", "dist", "sdk", "providers")
    shutil.copytree(site / "airflow", core / "airflow", ignore=ignored)
    sdk = tmp_path / "mine/task-sdk/src"
    shutil.copytree(site / "airflow/sdk", sdk / "airflow/sdk", ignore=ignored)
    for source in (core, sdk):
        (source.parent / "pyproject.toml").write_text('[project]\ndependencies = ["attrs>=22"]\n')
    return tmp_path / "mine"


PROVIDER = Path("providers/cncf/kubernetes")


@pytest.fixture
def checkout_with_provider(checkout: Path, released: Airflow) -> Path:
    """The same with the sources of the provider that the KubernetesExecutor comes from."""
    package = PROVIDER / "src/airflow" / PROVIDER
    shutil.copytree(site_packages(released) / "airflow" / PROVIDER, checkout / package)
    for parent in (package.parent, package.parents[1], package.parents[2]):
        (checkout / parent / "__init__.py").write_text("raise ImportError('no part of it')\n")
    (checkout / PROVIDER / "pyproject.toml").write_text(
        '[project]\nname = "apache-airflow-providers-cncf-kubernetes"\nversion = "99.0.0"\n'
        'dependencies = ["apache-airflow>=2.11.0", "kubernetes>=24"]\n'
    )
    return checkout


def say(airflow: Airflow, home: Path, code: str) -> str:
    done = subprocess.run(
        [airflow.python, "-c", code],
        env=clean_environment(airflow, home),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_pinned_version_is_installed_with_its_bytecode(released: Airflow) -> None:
    assert (released.label, released.version, released.pythonpath) == ("3.0.6", "3.0.6", ())
    assert released.key.startswith("3.0.6-")
    assert list((site_packages(released) / "airflow/models/__pycache__").glob("dagrun.*.pyc"))


def test_it_starts_with_the_drivers_that_the_lab_will_use(
    released: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert interpreter.start("3.0.6", released.python) == ("psycopg2", "asyncpg")
    assert released.drivers == ("psycopg2", "asyncpg")

    place = "airflow:none@127.0.0.1:9/airflow"
    urls = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+pg8000://{place}"}
    monkeypatch.setattr(interpreter, "lab_urls", lambda _airflow: urls)
    with pytest.raises(StartError, match="pg8000"):
        interpreter.start("3.0.6", released.python)


def test_a_python_that_has_airflow_is_used_as_it_is(released: Airflow) -> None:
    ours = prepare(str(released.python))
    assert ours.python == released.python
    assert ours.version == "3.0.6"
    assert ours.key.startswith("python-3.0.6-")
    assert ours == prepare(str(released.python))
    assert (ours.build, ours.packages) == (released.build, released.packages)
    assert ours.packages["apache-airflow-core"] == "3.0.6"
    assert {"sqlalchemy", "psycopg2-binary", "asyncpg"} < set(ours.packages)


def test_a_checkout_runs_from_a_copy_and_is_left_as_it_was(
    checkout: Path, released: Airflow, tmp_path: Path
) -> None:
    before = sorted(checkout.rglob("*"))
    mine = prepare(str(checkout))
    assert (mine.label, mine.version, mine.python) == ("mine", "3.0.6", released.python)
    origin = say(
        mine,
        tmp_path / "home",
        "import airflow.sdk.log, airflow.version, airflow.providers.standard.operators.python as p;"
        "print(airflow.version.__file__, airflow.sdk.log.__file__, p.__file__)",
    )
    core, sdk, provider = (Path(path) for path in origin.split())
    assert core.is_relative_to(mine.pythonpath[0])
    assert sdk.is_relative_to(mine.pythonpath[0])
    assert provider.is_relative_to(site_packages(released))
    assert (mine.pythonpath[0] / "airflow/ui/dist/index.html").is_file()
    assert sorted(checkout.rglob("*")) == before
    shutil.rmtree(mine.pythonpath[0])


@at_night
def test_a_checkouts_own_provider_is_tested_with_it(
    checkout_with_provider: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    executor = Path("airflow", PROVIDER, "executors/kubernetes_executor.py")
    source = checkout_with_provider / PROVIDER / "src" / executor
    mine = prepare(str(checkout_with_provider))
    source.write_text(source.read_text() + "FIXED = 1\n")
    fixed = prepare(str(checkout_with_provider))
    code = (
        "import airflow.providers.cncf.kubernetes.executors.kubernetes_executor as e;"
        "import airflow.providers.standard.operators.python as p;"
        "print(e.__file__, p.__file__, e.FIXED)"
    )
    where, standard, told = say(fixed, tmp_path / "home", code).split()
    assert (Path(where), told) == (fixed.pythonpath[0] / executor, "1")
    assert not Path(standard).is_relative_to(fixed.pythonpath[0])
    assert fixed.build != mine.build
    assert fixed.packages["apache-airflow-providers-cncf-kubernetes"] == "99.0.0"
    own = "The checkout's own apache-airflow-providers-cncf-kubernetes 99.0.0 is tested with it."
    assert own in caplog.messages
    for each in (mine, fixed):
        shutil.rmtree(each.pythonpath[0])


def test_an_edit_of_the_checkout_is_another_airflow(checkout: Path) -> None:
    first = source_digest(checkout)
    assert source_digest(checkout) == first
    model = checkout / "airflow-core/src/airflow/models/dagrun.py"
    model.write_text(model.read_text() + "\n")
    second = source_digest(checkout)
    (checkout / "task-sdk/src/airflow/sdk/new.py").touch()
    assert len({first, second, source_digest(checkout)}) == 3


def test_bytecode_and_the_sources_of_the_web_ui_are_no_edit(checkout: Path) -> None:
    first = source_digest(checkout)
    core = checkout / "airflow-core/src/airflow"
    for path in (core / "__pycache__/x.pyc", core / "ui/node_modules/x.js", core / "ui/src/x.ts"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert source_digest(checkout) == first


@at_night
def test_a_checkout_with_a_mistake_says_what_does_not_start(checkout: Path) -> None:
    runner = checkout / "airflow-core/src/airflow/jobs/scheduler_job_runner.py"
    runner.write_text(runner.read_text() + "\nimport a_module_that_is_not_there\n")
    with pytest.raises(UserError, match=r"does not start: .*a_module_that_is_not_there"):
        prepare(str(checkout))
