"""Makes a virtual environment with Airflow from exact pins, and what goes over them."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from lab.environments import interpreter, store
from lab.environments.uvtool import base_python, run_uv
from lab.errors import LabError

log = logging.getLogger(__name__)

_FORM = "1"


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
        digest = hashlib.sha256(f"{_FORM} {base_python()}\n{self.pins}\n{self.extra}\n".encode())
        for wheel in sorted(self.wheels, key=lambda path: path.name):
            digest.update(wheel.name.encode() + wheel.read_bytes())
        return f"{self.version}-{digest.hexdigest()[:10]}"

    def make(self) -> Path:
        """Return the environment's Python, making and starting it first where it is missing.

        Raises InstallError if uv fails, StartError if Airflow does not start, and LabError if
        the disk is full or Airflow reports another version than `version`.
        """
        return python_of(store.made(self.key, self._build))

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
        if self.wheels or not self.extra:
            log.info("Starting Airflow %s once.", self.version)
            expect(self.version, interpreter.start(python_of(folder)))

    def _install(self, folder: Path, *arguments: str) -> None:
        python = str(python_of(folder))
        run_uv(
            *("pip", "install", "--quiet", "--python", python, "--compile-bytecode", *arguments),
            directory=folder,
        )


def python_of(folder: Path) -> Path:
    """Return the Python of a virtual environment."""
    return folder / "bin" / "python"


def expect(version: str, reported: str) -> None:
    """Raise LabError unless Airflow reported the version asked for, local part aside."""
    if Version(version).public != Version(reported).public:
        raise LabError(
            f"Airflow {version} was asked for, but what starts says that it is {reported}.",
            "Give apache_airflow_core-*.whl: apache_airflow-*.whl alone has no code in it.",
        )
