"""The Markdown of the project as a test reads it: its blocks, their markers, its links."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import attrs

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
"""The pages of the site."""
PAPERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
"""What is read without it."""
_MARKER = re.compile(r"<!-- (.+) -->")
_FENCE = re.compile(r"(`{3,}|:{3,})(.*)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@attrs.frozen
class Block:
    """A block of code.

    Attributes:
        page: The file.
        line: The line on which it begins.
        marker: What the comment right before it says; empty if there is none.
        language: What stands behind its fence.
        text: What is in it.
    """

    page: Path
    line: int
    marker: str
    language: str
    text: str

    def __str__(self) -> str:
        """Say where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def kind(self) -> str:
        """The first word of its marker."""
        return self.marker.partition(":")[0]

    @property
    def name(self) -> str:
        """What stands behind the first word of its marker."""
        return self.marker.partition(":")[2].strip()


def blocks(page: Path) -> list[Block]:
    """Read the blocks of a page."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.fullmatch(lines[number])
        number += 1
        if fence is None or fence[1].startswith(":"):
            continue
        begin = number
        while lines[number] != fence[1]:
            number += 1
        before = _MARKER.fullmatch(lines[begin - 2]) if begin > 1 else None
        text = "".join(f"{line}\n" for line in lines[begin:number])
        found.append(Block(page, begin, before[1] if before else "", fence[2], text))
        number += 1
    return found


def block(marker: str, page: Path) -> str:
    """Give the text of the one block that follows a marker."""
    [found] = [each.text for each in blocks(page) if each.marker == marker]
    return found


def prose(page: Path) -> str:
    """Give a page without its blocks."""
    text, lines = [], iter(page.read_text(encoding="utf-8").splitlines())
    for line in lines:
        fence = _FENCE.fullmatch(line)
        if fence and fence[1].startswith("`"):
            while next(lines) != fence[1]:
                pass
        else:
            text.append(line)
    return "\n".join(text)


def links(page: Path) -> list[str]:
    """List where the links of a page lead."""
    return [unquote(link) for link in _LINK.findall(prose(page))]


def anchors(page: Path) -> set[str]:
    """List the anchors of a page's headings, as the usual readers of Markdown make them."""
    titles = re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def spoken(text: str, word: str) -> Iterator[str]:
    """List the command lines of a shell block that call a program, continued ones as one."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"\s*(?:&&?|\|\|?|;)\s*", line):
            words = re.sub(r"^(?:[A-Z_]+=\S* )+", "", part.strip())
            if words.split(" ")[0].rpartition("/")[2] == word:
                yield words.partition(" ")[2]
