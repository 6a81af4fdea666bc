"""Options that an Airflow has not: told by where they are written; asked once."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import UserError
from harness import preflight
from lab.base import Airflow
from lab.environments import asking, store
from lab.environments.asking import Told, require_known, unknown
from lab.environments.pins import newest
from lab.environments.preparation import prepare
from lab.spec import LabSpec
from scenarios.scenario import load
from tests.unit.test_scenario import GOOD, written

KNOWN = {"--set core.parallelism": "AIRFLOW__CORE__PARALLELISM"}
PLACE = "1.yaml, line 15: core.paralellism"
SETUP = """setup:
  shapes: single
  schedulers: 2
  settings:
    core:
      paralellism: 1
"""


@pytest.fixture(scope="module")
def airflow() -> Airflow:
    return prepare(newest())


def answering(monkeypatch: pytest.MonkeyPatch, known: list[str]) -> list[str]:
    """Have every Airflow answer that it knows these options; return what they are asked."""
    asked: list[str] = []

    def ask(_: Airflow, script: str) -> Told:
        asked.append(script)
        return Told(json.dumps(known), "")

    monkeypatch.setattr(asking, "ask", ask)
    return asked


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "CORE__PARALELLISM",
            r"^1\.yaml, line 3: x: Airflow 3.* Did you mean core\.parallelism\?$",
        ),
        ("NOSUCH__THING", r"^1\.yaml, line 3: x: Airflow .* has no such option.* config list"),
    ],
)
def test_an_option_that_airflow_has_not_is_refused(airflow: Airflow, name: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        require_known(airflow, {**KNOWN, "1.yaml, line 3: x": f"AIRFLOW__{name}"})
    assert caught.match(said)


def test_options_of_airflow_its_providers_and_former_names_are_known(airflow: Airflow) -> None:
    """A password may come from a command (core.fernet_key_cmd)."""
    options = ("CORE__FERNET_KEY_CMD", "KUBERNETES_EXECUTOR__WORKER_PODS_CREATION_BATCH_SIZE")
    require_known(airflow, {each: f"AIRFLOW__{each}" for each in options})


def test_airflow_is_asked_once_an_environment_and_again_before_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment of the user's own may have got an option since."""
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    answer = ["core.parallelism"]
    asked = answering(monkeypatch, answer)
    here = Airflow("3.3.2", "3.3.2", key="3.3.2-abc")
    (store.environments_dir() / here.key).mkdir()
    for _ in range(2):
        require_known(here, KNOWN)
        require_known(here, {})
    assert len(asked) == 1
    assert [str(each)[:11] for each in unknown(here, {"--set a.b": "AIRFLOW__A__B"})] == [
        "--set a.b: "
    ]
    assert len(asked) == 1
    with pytest.raises(UserError, match=r"^--set a\.b: Airflow 3\.3\.2 has no such option"):
        require_known(here, {"--set a.b": "AIRFLOW__A__B"})
    assert len(asked) == 2
    answer.append("a.b")
    require_known(here, {"--set a.b": "AIRFLOW__A__B"})
    assert len(asked) == 3
    assert store.folders() == [store.environments_dir() / here.key]


def test_where_airflow_does_not_answer_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    monkeypatch.setattr(asking, "ask", lambda *_: Told(None, "Traceback"))
    require_known(Airflow("3.3.2", "3.3.2", key="x"), {"--set a.b": "AIRFLOW__A__B"})
    assert not store.options_file("x").exists()


def test_what_an_environment_answered_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    for key in ("3.3.2-gone", "3.3.2-there"):
        store.options_file(key).write_text("[]")
    (store.environments_dir() / "3.3.2-there").mkdir()
    store.made("3.3.2-new", lambda folder: (folder / "file").touch())
    assert not store.options_file("3.3.2-gone").exists()
    assert store.options_file("3.3.2-there").exists()


@pytest.fixture
def misspelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one scenario alone, of 3.1 and later, which sets an option that no Airflow has."""
    head, rest = GOOD[: GOOD.index("setup:")], GOOD[GOOD.index("sessions:") :]
    text = f'{head}{SETUP}{rest}needs: ">=3.1"\n'
    scenario = load(written(tmp_path, text))
    monkeypatch.setattr(preflight, "scenarios", lambda: {"1": scenario})


class Session:
    """What the check asks of a configuration and of options; it keeps what the terminal shows."""

    def __init__(self, verbose: int = 0, dags: str = "", **settings: str) -> None:
        self.said: list[str] = []
        terminal = SimpleNamespace(write_line=self.said.append)
        plugins = SimpleNamespace(get_plugin=lambda _: terminal)
        self._config: Any = SimpleNamespace(
            option=SimpleNamespace(verbose=verbose), pluginmanager=plugins
        )
        self._options: Any = SimpleNamespace(settings=settings, dags=dags)

    def check(self, airflow: Airflow) -> None:
        preflight.check_settings(self._config, self._options, [LabSpec(airflow)])


@pytest.mark.usefixtures("misspelt")
def test_a_scenarios_options_are_checked_as_those_of_set_are(airflow: Airflow) -> None:
    with pytest.raises(UserError, match=r"^1\.yaml, line 15: core\.paralellism: .* core\.parallel"):
        Session(AIRFLOW__CORE__PARALLELISM="3").check(airflow)
    with pytest.raises(UserError, match=r"^--set core\.paralellism: .* core\.parallelism\?$"):
        Session(AIRFLOW__CORE__PARALELLISM="3").check(airflow)
    Session(dags="/their/dags").check(airflow)


@pytest.mark.usefixtures("misspelt")
def test_what_an_older_release_has_not_is_told_and_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    asked = answering(monkeypatch, ["core.parallelism"])
    older = Airflow("3.1.8", "3.1.8", key="3.1.8-abc")
    Session().check(older)
    assert asked == []
    wide = Session(verbose=1)
    wide.check(older)
    assert [line.partition(": Airflow")[0] for line in wide.said] == [PLACE]
    newer = Session()
    newer.check(Airflow("99.0.0", "99.0.0", key="3.1.8-abc"))
    assert [line.partition(": Airflow")[0] for line in newer.said] == [PLACE]
    none = Session(verbose=1)
    none.check(Airflow("3.0.6", "3.0.6", key="3.1.8-abc"))
    assert none.said == []
    with pytest.raises(UserError, match=r"^--set a\.b: "):
        Session(AIRFLOW__A__B="1").check(older)


def test_the_newest_release_has_every_setting_of_the_suites_scenarios(airflow: Airflow) -> None:
    Session().check(airflow)
