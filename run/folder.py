"""What every run leaves on disk: the verdict, the witness, and the components' logs, redacted."""

import glob
import json
import os
from collections.abc import Iterable
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from common.redaction import redact, stream


class LogTails:
    """Keeps of each log what was written from now on: a warm lab's logs go back further.

    A log that has become shorter was trimmed, and is kept whole. All of the new part is kept,
    however long; it is copied piece by piece. `secrets` are values to hide wherever they stand.
    """

    def __init__(self, logs: dict[str, Path], secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(secrets)
        self._begun = {
            name: (path, path.stat().st_size if path.exists() else 0) for name, path in logs.items()
        }

    def keep(self, folder: Path) -> None:
        """Write every log's new part, redacted, to `folder`/<process>.log."""
        for name, (path, offset) in self._begun.items():
            if not path.exists():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as file, (folder / f"{name}.log").open("w", newline="") as kept:
                file.seek(offset if path.stat().st_size >= offset else 0)
                text = TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
                stream(text.read, kept.write, self._secrets)
            if not (folder / f"{name}.log").stat().st_size:
                (folder / f"{name}.log").unlink()

    def keep_text(self, folder: Path, name: str, text: str | None) -> None:
        """Write one text, redacted; nothing where there is none."""
        if text:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(redact(text, self._secrets))


def write_json(path: Path, data: Any) -> None:
    """Write JSON for people to read as well, whole or not at all."""
    building = path.with_suffix(".new")
    building.write_text(json.dumps(data, indent=2, default=str) + "\n")
    building.replace(path)


def point(link: Path, target: Path) -> None:
    """Make `link` a relative link to `target`, in one step, whatever it led to before."""
    building = link.with_name(f".{link.name}.{os.getpid()}")
    building.unlink(missing_ok=True)
    building.symlink_to(os.path.relpath(target, link.parent))
    building.replace(link)


def attempt_folder(wanted: Path) -> Path:
    """Make a test's folder and return it: `wanted`, or `wanted`.2, .3 ... where it ran before.

    A test that a plugin runs again, or that died with its worker, keeps what each attempt left.
    """
    number = 1
    while True:
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}.{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def attempts(folder: Path) -> list[Path]:
    """Return the folders of all attempts at the test of one of them, as `attempt_folder` made them.

    Which of them ends in a number of its own, the first tells: a version ends in one as well.
    """
    base = folder
    name, _, number = folder.name.rpartition(".")
    if number.isdigit() and folder.with_name(name).is_dir():
        base = folder.with_name(name)
    found = base.parent.glob(f"{glob.escape(base.name)}.*")
    later = [path for path in found if path.name.removeprefix(f"{base.name}.").isdigit()]
    return [base, *sorted(later, key=lambda path: int(path.name.rpartition(".")[2]))]
