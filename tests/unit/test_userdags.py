"""A user's own DAGs: what does not import is told by file, and what is chosen is flooded."""

from pathlib import Path

import pytest

from common.errors import UserError
from lab.base import Airflow
from lab.embedded.components import Endpoints, airflow_env
from lab.environments.pins import newest
from lab.environments.preparation import prepare
from lab.spec import LabSpec
from load.profiles import profile
from load.userdags import chosen, dag_ids

AT = Endpoints(1, 2, 3, 4, "http://127.0.0.1:5", "secret", "secret", "/tmp")
DAG = """
from airflow.sdk import DAG
import neighbour
with DAG("{name}", schedule=None):
    pass
"""


@pytest.fixture(scope="module")
def airflow() -> Airflow:
    return prepare(newest())


def make(folder: Path, **dags: str) -> Path:
    (folder / "below").mkdir()
    (folder / "neighbour.py").write_text("")
    for name, text in dags.items():
        (folder / "below" / f"{name}.py").write_text(text)
    return folder


def test_the_dags_of_a_folder_are_those_that_airflow_imports(
    airflow: Airflow, tmp_path: Path
) -> None:
    """Below it too, with modules of the folder; and nothing is left in it."""
    folder = make(tmp_path, a=DAG.format(name="one"), b=DAG.format(name="two"))
    before = sorted(tmp_path.rglob("*"))
    assert dag_ids(airflow, folder) == ["one", "two"]
    assert sorted(tmp_path.rglob("*")) == before


def test_each_file_that_does_not_import_is_named_with_its_reason(
    airflow: Airflow, tmp_path: Path
) -> None:
    broken = f"import no_such_module\n{DAG.format(name='three')}"
    folder = make(tmp_path, a=DAG.format(name="one"), b=broken, c="from airflow import dag, (\n")
    with pytest.raises(UserError) as error:
        dag_ids(airflow, folder)
    said = str(error.value)
    assert f"2 files of it do not import in Airflow {airflow.label}: " in said
    assert "below/b.py: ModuleNotFoundError: No module named 'no_such_module'; below/c.py:" in said
    (folder / ".airflowignore").write_text("below/b.py\nbelow/c.py\n")
    assert dag_ids(airflow, folder) == ["one"]


def test_a_folder_without_a_dag_says_what_airflow_looks_for(
    airflow: Airflow, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"there is no DAG in it\. Airflow reads"):
        dag_ids(airflow, make(tmp_path))


def test_globs_choose_and_one_that_fits_none_is_told() -> None:
    ids = ["etl_a", "etl_b", "report"]
    assert chosen(ids, []) == ("etl_a", "etl_b", "report")
    assert chosen(ids, ["etl_*", "etl_a"]) == ("etl_a", "etl_b")
    with pytest.raises(UserError, match=r"--flood-dags sales: .* There are: etl_a, etl_b, report"):
        chosen(ids, ["etl_a", "sales"])


def test_a_flood_of_a_users_dags_runs_their_code_and_asks_for_them_alone() -> None:
    flood = profile("faults").of_dags(("etl_a", "report"))
    assert flood.asked(1).dag_ids == ("etl_a", "report")
    assert (flood.work, flood.triggerers) == (True, 1)
    assert flood.task_instances() == flood.runs


def test_a_lab_of_a_users_dags_has_no_others_and_starts_none_by_itself(tmp_path: Path) -> None:
    airflow = Airflow("3.3.2", "3.3.2", Path("/bin/python"))
    ours, theirs = (
        airflow_env(LabSpec(airflow, dags=dags), tmp_path, AT, "scheduler-1")
        for dags in ("", "/their/dags")
    )
    paused = "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"
    assert theirs["AIRFLOW__CORE__DAGS_FOLDER"] == "/their/dags"
    assert (ours[paused], theirs[paused]) == ("False", "True")
    assert ours["AIRFLOW__CORE__DAGS_FOLDER"] != "/their/dags"
