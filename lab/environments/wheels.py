"""Reads the wheels that a user gives: what they are, and what they need."""

import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name

from common.errors import UserError

CORE = "apache-airflow-core"
META = "apache-airflow"
TASK_SDK = "apache-airflow-task-sdk"
PROVIDER = "apache-airflow-providers-"

_HINT = (
    "Give apache_airflow_core-*.whl, a folder that has it next to its task SDK, or the wheel of a "
    "provider."
)


@dataclass(frozen=True)
class Wheel:
    """One wheel file: its package's canonical name, version and requirements."""

    path: Path
    name: str
    version: str
    requires: tuple[str, ...]

    @property
    def airflow(self) -> bool:
        """Tell whether it is Airflow itself, and not one of its parts."""
        return self.name in (CORE, META)


def read_wheel(path: Path) -> Wheel:
    """Return what the wheel says of itself; raises UserError if it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            text = archive.read(names[0]).decode()
        headers = HeaderParser().parsestr(text)
        name, version = str(headers["Name"]), str(headers["Version"])
    except (OSError, zipfile.BadZipFile, IndexError, UnicodeDecodeError):
        raise UserError(f"{path.name} is not a readable wheel.", _HINT) from None
    requires = tuple(str(line) for line in headers.get_all("Requires-Dist") or ())
    return Wheel(path, canonicalize_name(name), version, requires)


def airflow_wheel(path: Path) -> list[Wheel]:
    """Return the one wheel as a list; raises UserError unless it is Airflow's or a provider's."""
    wheel = read_wheel(path)
    if not wheel.airflow and not wheel.name.startswith(PROVIDER):
        raise UserError(
            f"{path.name} is {wheel.name} {wheel.version}, which is not Airflow's wheel, nor a "
            "provider's.",
            _HINT,
        )
    return [wheel]


def airflow_wheels(folder: Path) -> list[Wheel]:
    """Return the wheels of Airflow and its providers in a folder, the core first.

    Raises UserError with neither a core nor a provider, or with two versions of the same package.
    """
    found: dict[str, Wheel] = {}
    for path in sorted(folder.glob("apache_airflow*.whl")):
        wheel = read_wheel(path)
        if wheel.name in found:
            raise UserError(
                f"{folder} has {found[wheel.name].path.name} and {path.name}.",
                "Leave one wheel of each package in it.",
            )
        found[wheel.name] = wheel
    if not any(wheel.airflow or wheel.name.startswith(PROVIDER) for wheel in found.values()):
        raise UserError(f"{folder} has no wheel of Airflow.", _HINT)
    order = (CORE, META)
    return sorted(found.values(), key=lambda each: (each.name not in order, each.name != CORE))
