"""What was asked of the lab in a folder, and whom it ends with: the folder's spec.json."""

import json
from pathlib import Path

from common.paths import PROJECT
from lab.spec import LabSpec


def read_spec(directory: Path) -> LabSpec:
    """Return what was asked of the lab in `directory`."""
    return LabSpec.from_json(json.loads((directory / "spec.json").read_text())["spec"])


def read_owner(directory: Path) -> tuple[int, float] | None:
    """Return the process that the lab in `directory` ends with, None for a lab that stays."""
    owner = json.loads((directory / "spec.json").read_text())["owner"]
    return (int(owner[0]), float(owner[1])) if owner else None


def read_checkout(directory: Path) -> str:
    """Return the checkout of this project that booted a lab; empty where that is not written."""
    return str(json.loads((directory / "spec.json").read_text()).get("checkout", ""))


def write_request(directory: Path, spec: LabSpec, owner: tuple[int, float] | None) -> None:
    """Write down what lab is wanted, and whom it ends with."""
    request = directory / "spec.json"
    request.touch(0o600)
    wanted = {"spec": spec.to_json(), "owner": owner, "checkout": str(PROJECT)}
    request.write_text(json.dumps(wanted))
