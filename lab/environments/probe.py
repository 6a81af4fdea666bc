"""Runs in anybody's Python: prints as JSON what is installed there, without importing it.

`code` is a digest of the size and time of each source file of the `airflow` package, so that a
fix edited in place, or an editable install, is seen as another Airflow.
"""

import hashlib
import json
import os
import sys
from importlib import metadata
from pathlib import Path

packages: "dict[str, str]" = {}
for distribution in metadata.distributions():
    name = distribution.metadata["Name"]
    if name:
        packages.setdefault(name.lower().replace("_", "-").replace(".", "-"), distribution.version)

digest = hashlib.sha256()
for entry in sys.path:
    for root, folders, names in os.walk(Path(entry, "airflow")):
        folders[:] = sorted(set(folders) - {"__pycache__", "node_modules"})
        for name in sorted(names):
            if name.endswith(".py"):
                path = Path(root, name)
                status = path.stat()
                digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())

print(
    json.dumps(
        {
            "python": ".".join(str(part) for part in sys.version_info[:2]),
            "packages": packages,
            "code": digest.hexdigest(),
        }
    )
)
