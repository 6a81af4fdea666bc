"""What the documents name: their code, commands, paths, links and tables, as they stand there."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "FIGURES.md"]
)

_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
_PATH = re.compile(r"[\w.*-]+(?:/[\w.*-]+)*/?")


@dataclass(frozen=True)
class Document:
    """One Markdown file, by the place it has in the tree."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text()

    def blocks(self) -> Iterator[str]:
        """Yield the lines of its code blocks, which are indented by four spaces."""
        before = ""
        for line in self.text.splitlines():
            if line.startswith("    ") and not before.lstrip().startswith(("- ", "1. ")):
                yield line.strip()
            else:
                before = line or before

    def spans(self) -> list[str]:
        """Return what stands between backticks in its prose."""
        return _INLINE.findall(self.prose())

    def prose(self) -> str:
        """Return its text without code blocks."""
        return "\n".join(line for line in self.text.splitlines() if not line.startswith("    "))

    def code(self) -> list[str]:
        """Return its lines of code and its spans, comments left out."""
        return [re.sub(r"\s+#.*", "", each) for each in [*self.blocks(), *self.spans()]]

    def links(self) -> list[str]:
        """Return where its links lead, addresses on the web left out."""
        return [to for to in _LINK.findall(self.prose()) if not re.match(r"[a-z]+:", to)]

    def anchors(self) -> set[str]:
        """Return the names by which its headings are linked, as GitHub makes them."""
        return {
            re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in _HEADING.findall(self.prose())
        }

    def column(self, heading: str, index: int = 0) -> list[str]:
        """Return the cells of a column of the table whose first heading is this one."""
        _, _, rest = self.text.partition(f"| {heading} |")
        rows = [line for line in rest.partition("\n\n")[0].splitlines()[2:] if line[:1] == "|"]
        return [row.strip("| ").split(" | ")[index].strip("` ") for row in rows]


def paths_in(code: str) -> Iterator[str]:
    """Yield what in a piece of code looks like a path of this project, as a pattern for `glob`.

    `NAME` and `<name>` stand for any name.
    """
    for word in re.split(r"[\s=,'\"]+", code):
        path = word.split("::")[0].removeprefix("./")
        path = re.sub(r"<[^>]*>|\bNAME\b", "*", path)
        if "/" in path and _PATH.fullmatch(path) and (ROOT / path.split("/")[0]).is_dir():
            yield path
