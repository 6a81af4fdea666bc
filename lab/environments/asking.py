"""Questions to an Airflow: a script in its environment, in a home that is gone afterwards."""

import subprocess
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from common.errors import UserError
from common.files import write_whole
from common.nearest import did_you_mean
from common.spawn import die_with_parent
from lab.base import Airflow
from lab.environments import store
from lab.environments.settings import clean_environment, option_of

ANSWER = "@@ha-chaos "
"""What the line of a script's standard output begins with that is its answer, as JSON."""

_LONGEST = 60.0
_LISTED = "`airflow config list` names those it has."
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
    return told(done.stdout, done.stderr)


def told(output: str, errors: str) -> Told:
    """Return what a script said, of what it wrote."""
    lines = (line for line in reversed(output.splitlines()) if line.startswith(ANSWER))
    answer = next(lines, None)
    return Told(answer.removeprefix(ANSWER) if answer else None, errors)


def require_known(airflow: Airflow, wanted: Mapping[str, str]) -> None:
    """See that an Airflow has the options that are set; UserError for the first that it has not.

    `wanted` are the variables that set them, by the place where a user wrote each, which the
    message begins with. Airflow itself takes any name without a word, so a misspelt one would be
    tested as nothing. Where it cannot be asked, nothing is said. What an environment answered is
    kept, and it is asked again before anything is refused: packages may have come since.
    """
    if unknown(airflow, wanted) and (wrong := _unknown(airflow, wanted, _asked(airflow))):
        raise wrong[0]


def unknown(airflow: Airflow, wanted: Mapping[str, str]) -> list[UserError]:
    """Return what is wrong with options that an Airflow has not, as it answered once."""
    return _unknown(airflow, wanted, (_kept(airflow) or _asked(airflow)) if wanted else [])


def _unknown(
    airflow: Airflow, wanted: Mapping[str, str], known: Collection[str]
) -> list[UserError]:
    wrong = []
    for place, option in ((place, option_of(name)) for place, name in wanted.items()):
        plain = option.removesuffix("_cmd").removesuffix("_secret")
        if known and option not in known and plain not in known:
            hint = did_you_mean(option, known, otherwise=_LISTED, like=0.7)
            wrong.append(UserError(f"{place}: Airflow {airflow.label} has no such option.", hint))
    return wrong


def _kept(airflow: Airflow) -> list[str]:
    """Return the options that an environment once said it has; empty where it was not asked."""
    try:
        data = store.options_file(airflow.key).read_bytes()
        return msgspec.json.decode(data, type=list[str])
    except (OSError, msgspec.MsgspecError):
        return []


def _asked(airflow: Airflow) -> list[str]:
    """Ask an Airflow which options it has, and keep its answer; empty where it gives none."""
    try:
        answer = ask(airflow, _OPTIONS).answer
    except subprocess.TimeoutExpired:
        return []
    if not answer:
        return []
    if airflow.key:
        write_whole(store.options_file(airflow.key), answer)
    return msgspec.json.decode(answer, type=list[str])
