"""Runs in anybody's Python: prints as JSON what is installed there, without importing it.

`code` is a digest of the contents of Airflow and of the providers that the lab runs, so that a fix
edited in place, or an editable install, is seen as another Airflow. Names are those within the
package `airflow`, the first on the path counting as for an import, so that the same code has the
same digest wherever it is. The web UI and bytecode are left out.
"""

import hashlib
import json
import os
import sys
from importlib import metadata, util
from pathlib import Path

PROVIDERS = ("cncf/kubernetes/", "common/compat/", "standard/")
PAGES = ("ui/", "api_fastapi/auth/managers/simple/ui/")
SKIPPED = {"__pycache__", "node_modules"}


def counts(name: str) -> bool:
    """Tell whether a file, by its name within the package, is a part of what is tested."""
    if name.startswith("providers/"):
        return name[len("providers/") :].startswith(PROVIDERS)
    return not name.endswith(".pyc") and not name.startswith(PAGES)


def places() -> "list[Path]":
    """Return the folders that are the package `airflow`, in the order in which they are searched.

    An editable install may be known to an import hook alone.
    """
    spec = util.find_spec("airflow")
    hooked = [Path(place) for place in spec.submodule_search_locations or ()] if spec else []
    return [*(Path(entry, "airflow") for entry in sys.path if entry), *hooked]


packages: "dict[str, str]" = {}
for distribution in metadata.distributions():
    name = distribution.metadata["Name"]
    if name:
        packages.setdefault(name.lower().replace("_", "-").replace(".", "-"), distribution.version)

files: "dict[str, Path]" = {}
for place in places():
    for root, folders, names in os.walk(place):
        folders[:] = sorted(set(folders) - SKIPPED)
        for path in (Path(root, name) for name in names):
            within = path.relative_to(place).as_posix()
            if counts(within) and path.is_file():
                files.setdefault(within, path)

digest = hashlib.sha256()
for within in sorted(files):
    digest.update(within.encode() + b" " + hashlib.sha256(files[within].read_bytes()).digest())

print(
    json.dumps(
        {
            "python": ".".join(str(part) for part in sys.version_info[:2]),
            "packages": packages,
            "code": digest.hexdigest(),
        }
    )
)
