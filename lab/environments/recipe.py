"""Makes a virtual environment with Airflow from exact pins, and the wheels that go over them.

Its files are copies. uv would link them into its cache, on most file systems hard, and whoever
edits another environment in place then edits ours too.
"""

import hashlib
import logging
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

from common.errors import UserError
from lab.environments import store
from lab.environments.interpreter import About, probe, read_about, start, write_about
from lab.environments.seal import Altered, altered
from lab.environments.uvtool import InstallError, base_python, run_uv

log = logging.getLogger(__name__)

FORM = "4"
"""How environments are made: another number for each change that old ones must not survive."""

CORE = "apache-airflow-core"
META = "apache-airflow"
TASK_SDK = "apache-airflow-task-sdk"
PROVIDER = "apache-airflow-providers-"

_HINT = (
    "Give apache_airflow_core-*.whl, a folder that has it next to its task SDK, or the wheel of a "
    "provider."
)


@dataclass(frozen=True)
class Recipe:
    """What an environment is made of; equal recipes share one environment.

    `pins` is the text of a pin file. `extra` are requirements that the pins do not fulfil and
    that a newer Airflow has. `wheels` come last, without their dependencies; `extra` without
    wheels is the ground for a checkout, and is started only with the checkout's sources.
    """

    version: str
    pins: str
    extra: tuple[str, ...] = ()
    wheels: tuple[Path, ...] = ()

    @property
    def key(self) -> str:
        """Return the name of the environment's folder: the version and a digest of all else."""
        digest = hashlib.sha256(f"{FORM} {base_python()}\n{self.pins}\n{self.extra}\n".encode())
        for wheel in sorted(self.wheels, key=lambda path: path.name):
            digest.update(wheel.name.encode() + wheel.read_bytes())
        return f"{self.version}-{digest.hexdigest()[:10]}"

    def make(self) -> tuple[Path, About]:
        """Return the environment's Python and what is in it; made and started where it is missing.

        Raises InstallError if uv fails, StartError if Airflow does not start, and UserError if
        the disk is full or Airflow reports another version than `version`.
        """
        folder = store.made(self.key, self._build)
        return python_of(folder), read_about(folder)

    def _build(self, folder: Path) -> None:
        log.info("Making an environment with Airflow %s.", self.version)
        run_uv("venv", "--quiet", "--relocatable", "--python", base_python(), ".", directory=folder)
        (folder / "pins.txt").write_text(self.pins)
        self._install(folder, "--no-deps", "--requirements", "pins.txt")
        if self.extra:
            log.info("Adding what the pins lack: %s.", ", ".join(self.extra))
            self._install(folder, *self.extra)
        if self.wheels:
            self._install(folder, "--no-deps", "--reinstall", *map(str, self.wheels))
        self._check(folder)
        drivers: tuple[str, ...] = ()
        if self.wheels or not self.extra:
            drivers = start(self.version, python_of(folder))
        write_about(folder, probe(python_of(folder)), drivers)

    def _check(self, folder: Path) -> None:
        """Have what was published, not what somebody made of it in uv's cache.

        A user's own wheels are taken as they are: whoever patches one by hand leaves its RECORD.
        """
        own = frozenset(read_wheel(path).name for path in self.wheels)
        for each in altered(site_packages(folder), own):
            log.info("uv's cache has another %s than %s: fetching it anew.", each.file, each.name)
            self._install(folder, "--no-cache", "--no-deps", "--reinstall", each.requirement)
        for each in altered(site_packages(folder), own):
            _condemn(each)

    def _install(self, folder: Path, *arguments: str) -> None:
        python = str(python_of(folder))
        run_uv(
            *("pip", "install", "--quiet", "--python", python, "--compile-bytecode"),
            *("--link-mode", "copy", *arguments),
            directory=folder,
        )


def _condemn(wrong: Altered) -> None:
    """Refuse what the index itself has with another content than its RECORD, if it is Airflow's."""
    if wrong.airflows_own:
        raise InstallError(
            f"The package index has a wheel of {wrong.requirement} whose RECORD does not vouch for "
            f"{wrong.file}.",
            "It is not the published one. Check your UV_* or PIP_INDEX_URL settings.",
        )
    log.info("The wheel of %s does not vouch for its %s.", wrong.requirement, wrong.file)


def site_packages(folder: Path) -> Path:
    """Return where a virtual environment has its packages."""
    return next(folder.glob("lib/python*/site-packages"))


def python_of(folder: Path) -> Path:
    """Return the Python of a virtual environment."""
    return folder / "bin" / "python"


@dataclass(frozen=True)
class Wheel:
    """One wheel file: its package's canonical name, version and requirements."""

    path: Path
    name: str
    version: str
    requires: tuple[str, ...]

    @property
    def airflow(self) -> bool:
        """Return whether it is Airflow itself, and not one of its parts."""
        return self.name in (CORE, META)

    @property
    def is_wanted(self) -> bool:
        """Return whether it is Airflow itself, or one of its providers."""
        return self.airflow or self.name.startswith(PROVIDER)


def read_wheel(path: Path) -> Wheel:
    """Return what the wheel says of itself; raises UserError if it is not one."""
    found = next(iter(metadata.distributions(path=[str(path)])), None)
    if found is None or not found.metadata["Name"]:
        raise UserError(f"{path.name} is not a readable wheel.", _HINT)
    name = canonicalize_name(found.metadata["Name"])
    return Wheel(path, name, found.version, tuple(found.requires or ()))


def airflow_wheels(path: Path) -> list[Wheel]:
    """Return the wheels of Airflow and its providers: one file, or those in a folder, core first.

    Raises UserError with neither a core nor a provider, or with two versions of the same package.
    """
    if not path.is_dir():
        wheel = read_wheel(path)
        if not wheel.is_wanted:
            raise UserError(
                f"{path.name} is {wheel.name} {wheel.version}, which is not Airflow's wheel, nor "
                "a provider's.",
                _HINT,
            )
        return [wheel]
    found: dict[str, Wheel] = {}
    for file in sorted(path.glob("apache_airflow*.whl")):
        wheel = read_wheel(file)
        if wheel.name in found:
            raise UserError(
                f"{path} has {found[wheel.name].path.name} and {file.name}.",
                "Leave one wheel of each package in it.",
            )
        found[wheel.name] = wheel
    if not any(wheel.is_wanted for wheel in found.values()):
        raise UserError(f"{path} has no wheel of Airflow.", _HINT)
    order = (CORE, META)
    return sorted(found.values(), key=lambda each: (each.name not in order, each.name != CORE))
