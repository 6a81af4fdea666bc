"""What the documents name is there: commands, options, targets, paths, links, names of things.

A document that names what was moved or renamed turns red here, by the name that is stale.
"""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from oracle.invariants import INVARIANTS
from oracle.old_names import TESTS
from tests import forked
from tests.unit.documents import DOCUMENTS, ROOT, Document, paths_in

ALL = [Document(path) for path in DOCUMENTS]
EACH = pytest.mark.parametrize("document", ALL, ids=str)

pytestmark = pytest.mark.xdist_group("documents")  # so that each command is run once

MADE_BY_RUNS = re.compile(r"reports/(runs|site|bisects)\b")
"""What runs and reports leave: it is there once something has run."""

WORDS_OF_README = 800

_MODULE = re.compile(r"python -m ((?:[\w.]+)(?: [a-z]+(?:-[a-z]+)*\b(?![./=]))?)")
_FIGURES_OF = re.compile(r"`((?:benchmarks\.|lab\.environments )?[\w.]+)")
_TARGET = re.compile(r"(?:^|&& |`|time )make ([a-z]+)")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]+)")
_CHOICE = re.compile(r"-k (?:\"([^\"]+)\"|(\w+))")

PYTESTS_OWN = {"--dist"}
OF_OTHERS = {"--enable-row-security", "--help", "--python"}
"""Options of pg_dump's, of everybody's."""


@functools.cache
def printed(*argv: str) -> str:
    """Return what a command of this project prints; the test fails where it fails.

    Its help comes from a start of its own: it is shown here that each command starts by itself.
    """
    command = [sys.executable, "-m", *argv]
    if argv[1:] == ("--help",):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    else:
        done = forked.run(command, cwd=ROOT)
    why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    assert done.returncode == 0, f"python -m {' '.join(argv)}: {why}"
    return done.stdout


def help_of(command: str) -> str:
    """Return a command's help; a word that is no command of its module is not one of them."""
    module, _, subcommand = command.partition(" ")
    if subcommand and re.search(rf"[{{,\s]{subcommand}[}},\s]", printed(module, "--help")):
        return printed(module, subcommand, "--help")
    return printed(module, "--help")


def commands_of(document: Document) -> dict[str, set[str]]:
    """Return the modules that a document runs, with the words that follow each."""
    found: dict[str, set[str]] = {}
    for code in document.code():
        for command in _MODULE.findall(code):
            module, _, word = command.partition(" ")
            found.setdefault(module, set()).add(word)
    return found


MODULES = sorted({module for each in ALL for module in commands_of(each)})


@pytest.mark.parametrize("module", MODULES)
def test_a_command_is_there_with_what_it_is_told_to_do(module: str) -> None:
    if module == "tests.system.test_statements":
        assert (ROOT / "tests" / "system" / "test_statements.py").exists()
        return
    text = printed(module, "--help")
    words = {word for each in ALL for word in commands_of(each).get(module, ())} - {""}
    for word in words:
        assert re.search(rf"[{{,\s]{word}[}},\s]", text), f"python -m {module} has no {word}"


@EACH
def test_a_target_is_in_the_makefile(document: Document) -> None:
    there = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for code in document.code() for name in _TARGET.findall(code)}
    assert named <= there


@EACH
def test_a_path_is_in_the_tree(document: Document) -> None:
    missing = [
        path
        for code in document.code()
        for path in paths_in(code)
        if not MADE_BY_RUNS.match(path) and not found(document, path)
    ]
    assert missing == []


def found(document: Document, path: str) -> bool:
    """Say whether a path (or a pattern of some) is there, from the root or from the document."""
    return any(next(iter(base.glob(path)), None) for base in (ROOT, document.path.parent))


@EACH
def test_a_link_leads_somewhere(document: Document) -> None:
    broken = []
    for link in document.links():
        path, _, anchor = link.partition("#")
        target = (document.path.parent / path).resolve() if path else document.path
        if not target.exists() or (anchor and anchor not in Document(target).anchors()):
            broken.append(link)
    assert broken == []


@EACH
def test_an_option_is_one_of_its_command(document: Document) -> None:
    every = {option for module in MODULES for option in options_of(document, module)}
    missing = []
    for code in document.code():
        named = set(_OPTION.findall(code)) - OF_OTHERS
        command = _MODULE.search(code)
        if command and command[1].split()[0] != "tests.system.test_statements":
            taken = set(_OPTION.findall(help_of(command[1])))
        elif "pytest" in code:
            taken = suites_options()
        else:
            taken = suites_options() | every
        missing += [f"{option} in {code}" for option in named - taken]
    assert missing == []


def options_of(document: Document, module: str) -> set[str]:
    """Return the options of all the commands of one module that a document names."""
    if module == "tests.system.test_statements":
        return set()
    words = commands_of(document).get(module, set())
    texts = [help_of(f"{module} {word}".strip()) for word in words]
    return {option for text in texts for option in _OPTION.findall(text)}


def suites_options() -> set[str]:
    """Return the options that `pytest suites/` has."""
    return set(_OPTION.findall(printed("pytest", "suites/", "--help")))


@EACH
def test_what_k_asks_for_is_a_test(document: Document) -> None:
    deep = ("--depth", "nightly")  # as who names tests has them
    tests = printed("pytest", "suites/", *deep, "--collect-only", "-q", "--color=no")
    asked = {
        word
        for code in document.code()
        for choice in _CHOICE.findall(code)
        for word in "".join(choice).split()
    }
    assert {word for word in asked - {"and", "or", "not"} if word not in tests} == set()


@EACH
def test_no_old_name_is_left(document: Document) -> None:
    assert [old for old in TESTS if old in document.text] == []


def test_the_first_page_stays_short() -> None:
    assert len(Document(ROOT / "README.md").prose().split()) < WORDS_OF_README


def test_every_promise_is_in_its_table_as_messages_state_it() -> None:
    page = Document(ROOT / "docs" / "promises.md")
    rows = dict(zip(page.column("invariant"), page.column("invariant", 1), strict=True))
    assert [*rows.items()] == [(each.name, each.promise) for each in INVARIANTS]


def test_every_fault_is_in_its_table() -> None:
    plumbing = {"__init__", "__main__", "base", "database_link", "kube_api", "named"}
    plumbing |= {"worker_requests"}
    files = {path.stem for path in (ROOT / "chaos").glob("*.py")} - plumbing
    rows = Document(ROOT / "docs" / "faults.md").column("fault")
    assert sorted(rows) == sorted(name.replace("_", "-") for name in files)


def test_every_folder_is_on_the_map() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*/*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    parts = [Path(line).parts for line in listed.stdout.splitlines()]
    folders = {part[0] for part in parts}
    folders |= {"/".join(part[:2]) for part in parts if part[0] in ("lab", "reports") and part[2:]}
    rows = Document(ROOT / "CONTRIBUTING.md").column("folder")
    assert folders <= {row.rstrip("/") for row in rows}
