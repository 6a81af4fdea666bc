"""The folders that runs leave on disk: one a test and attempt, and the links that lead there."""

import glob
import os
from pathlib import Path
from typing import Any

import msgspec

from common.files import write_whole
from common.redaction import redact_within


def write_json(path: Path, data: Any) -> None:
    """Write JSON for people to read as well, whole or not at all; every string is redacted."""
    plain = redact_within(msgspec.to_builtins(data, enc_hook=str))
    text = msgspec.json.format(msgspec.json.encode(plain), indent=2)
    write_whole(path, text + b"\n")


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

    A version ends in a number as well: the first folder shows which number is an attempt's.
    """
    base = folder
    name, _, number = folder.name.rpartition(".")
    if number.isdigit() and folder.with_name(name).is_dir():
        base = folder.with_name(name)
    found = base.parent.glob(f"{glob.escape(base.name)}.*")
    later = [path for path in found if path.name.removeprefix(f"{base.name}.").isdigit()]
    return [base, *sorted(later, key=lambda path: int(path.name.rpartition(".")[2]))]
