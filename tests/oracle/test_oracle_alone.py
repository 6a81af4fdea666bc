"""The oracle judges with nothing but msgspec: no database, no cluster, no thread, none of ours."""

import ast
import sys
from pathlib import Path

import pytest

import oracle

MODULES = sorted(Path(oracle.__file__).parent.rglob("*.py"))
ALLOWED = {"oracle", "msgspec", *sys.stdlib_module_names}
IMPURE = {
    *("threading", "multiprocessing", "concurrent", "asyncio", "queue", "socket"),
    *("subprocess", "http", "urllib", "sqlite3"),
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_of_the_oracle_imports_nothing_that_acts(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").partition(".")[0])
    assert imported <= ALLOWED - IMPURE
