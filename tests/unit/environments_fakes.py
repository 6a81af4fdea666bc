"""Small wheels, checkouts and environments that are not Airflow, for what must be refused."""

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    requires: Iterable[str] = (),
    code: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel that uv installs, with the files of `code` in it, and none without."""
    base = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{base}-py3-none-any.whl"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    files = {
        **(code or {}),
        f"{base}.dist-info/METADATA": "\n".join(metadata) + "\n",
        f"{base}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{base}.dist-info/RECORD"
    lines = [f"{file},sha256={_digest(text)},{len(text)}\n" for file, text in files.items()]
    files[record] = "".join([*lines, f"{record},,\n"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def write_checkout(folder: Path, version: str) -> Path:
    """Write what looks like the top of a checkout of apache/airflow."""
    for project, package in (("airflow-core", "airflow"), ("task-sdk", "airflow/sdk")):
        package_folder = folder / project / "src" / package
        package_folder.mkdir(parents=True)
        (package_folder / "__init__.py").write_text(f'__version__ = "{version}"\n')
        pyproject = '[project]\nname = "x"\ndependencies = ["apache-airflow-core==3", "attrs>1"]\n'
        (folder / project / "pyproject.toml").write_text(pyproject)
    return folder


def write_installed(site_packages: Path, name: str, version: str) -> None:
    """Write the mark that an installed package leaves in an environment."""
    folder = site_packages / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
