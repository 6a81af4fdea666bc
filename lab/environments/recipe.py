"""Makes a virtual environment with Airflow from exact pins, and what goes over them.

Its files are copies. uv would link them into its cache, on most file systems hard, and whoever
edits another environment in place then edits ours too.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from lab.base import same_version
from lab.environments import about, interpreter, store, wheels
from lab.environments.about import About
from lab.environments.record import Altered, altered
from lab.environments.uvtool import InstallError, base_python, run_uv

log = logging.getLogger(__name__)

FORM = "4"
"""How environments are made: another number for each change that old ones must not survive."""


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
        return python_of(folder), about.read(folder)

    def _build(self, folder: Path) -> None:
        log.info("Making an environment with Airflow %s.", self.version)
        run_uv("venv", "--quiet", "--relocatable", "--python", base_python(), ".", directory=folder)
        (folder / "pins.txt").write_text(self.pins)
        self._install(folder, "--no-deps", "--requirements", "pins.txt")
        if self.extra:
            log.info("Adding what the pins lack: %s.", ", ".join(self.extra))
            self._install(folder, *self.extra)
        if self.wheels:
            wheels = [str(wheel) for wheel in self.wheels]
            self._install(folder, "--no-deps", "--reinstall", *wheels)
        self._check(folder)
        drivers: tuple[str, ...] = ()
        if self.wheels or not self.extra:
            drivers = started(self.version, python_of(folder)).drivers
        about.write(folder, interpreter.probe(python_of(folder)), drivers)

    def _check(self, folder: Path) -> None:
        """Have what was published, not what somebody made of it in uv's cache.

        A user's own wheels are taken as they are: whoever patches one by hand leaves its RECORD.
        """
        own = frozenset(wheels.read_wheel(path).name for path in self.wheels)
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


def started(version: str, python: Path, pythonpath: tuple[Path, ...] = ()) -> interpreter.Started:
    """Start Airflow once as the lab will, and return what it says.

    Raises StartError when it does not start, UserError when it reports another version.
    """
    log.info("Starting Airflow %s once.", version)
    said = interpreter.start(version, python, pythonpath)
    expect(version, said.version)
    return said


def expect(version: str, reported: str) -> None:
    """Raise UserError unless Airflow reported the version asked for, local part aside."""
    if not same_version(version, reported):
        raise UserError(
            f"Airflow {version} was asked for, but what starts says that it is {reported}.",
            "Give apache_airflow_core-*.whl: apache_airflow-*.whl alone has no code in it.",
        )
