"""Questions to an Airflow: a script in its environment, in a home that is gone afterwards."""

import difflib
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from common.errors import UserError
from common.spawn import die_with_parent
from lab.base import Airflow
from lab.environments.settings import clean_environment, option_of

ANSWER = "@@ha-chaos "
"""What the line of a script's standard output begins with that is its answer, as JSON."""

_LONGEST = 60.0
_OPTIONS = f"""
import json
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
known = {{f"{{section}}.{{option}}" for section, told in conf.configuration_description.items()
         for option in told.get("options", ())}}
for _, sections in ProvidersManager().provider_configs:
    known.update(f"{{section}}.{{option}}" for section, told in sections.items()
                 for option in told.get("options", ()))
known.update(".".join(former[:2]) for former in conf.deprecated_options.values())
print("\\n{ANSWER}" + json.dumps(sorted(known)))
"""


class Told(NamedTuple):
    """What a script said: its answer (None: it ended without one), and its standard error."""

    answer: str | None
    errors: str


def ask(airflow: Airflow, script: str, *arguments: str, longest: float = _LONGEST) -> Told:
    """Run a script in an Airflow's environment, and return its answer.

    Raises subprocess.TimeoutExpired after `longest` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="ha-chaos-asks-") as place:
        home = Path(place) / "airflow"
        for made in (home, Path(place) / "tmp"):
            made.mkdir()
        done = subprocess.run(
            [str(airflow.python), "-B", "-c", script, *arguments],
            env=clean_environment(airflow, home) | {"AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=longest,
            check=False,
            preexec_fn=die_with_parent,
        )
    lines = (line for line in reversed(done.stdout.splitlines()) if line.startswith(ANSWER))
    answer = next(lines, None)
    return Told(answer.removeprefix(ANSWER) if answer else None, done.stderr)


def require_known(airflow: Airflow, variables: Iterable[str]) -> None:
    """See that an Airflow has the options that some variables set; UserError for one it has not.

    Airflow itself takes any name without a word, so a misspelt one would be tested as nothing.
    Where it cannot be asked, nothing is said.
    """
    wanted = [option_of(name) for name in variables]
    if not wanted:
        return
    try:
        answer = ask(airflow, _OPTIONS).answer
    except subprocess.TimeoutExpired:
        return
    known = msgspec.json.decode(answer, type=list[str]) if answer else wanted
    for option in wanted:
        if option.removesuffix("_cmd").removesuffix("_secret") not in known and option not in known:
            near = difflib.get_close_matches(option, known, 1, 0.7)
            raise UserError(
                f"--set {option}: Airflow {airflow.label} has no such option.",
                f"Did you mean {near[0]}?" if near else "`airflow config list` names those it has.",
            )
