"""The pages of the project: their text, their blocks of code, the commands in these."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


class Line(NamedTuple):
    """A command in a page: ``train`` or so, and its words."""

    page: str
    command: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: cam-{self.command} {shlex.join(self.words)}"


def blocks(page: Path, language: str) -> list[Block]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    return [Block(language, text) for text in found]


def shell_lines(page: Path) -> list[list[str]]:
    """Words of the lines of all blocks for the shell; one that goes on, or has &&, counts so."""
    lines = []
    for block in blocks(page, "bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            lines += [part for part in re.split(r" && ", line) if shlex.split(part, comments=True)]
    return [shlex.split(line, comments=True) for line in lines]


def commands(page: Path) -> list[Line]:
    """The lines that run a command of ours, alone or under torchrun or srun."""
    found = []
    for words in shell_lines(page):
        if words[0] == "torchrun":
            at = words.index("-m") + 1
        elif words[0] == "srun":
            at = next(i for i, word in enumerate(words) if word.startswith("cam-"))
        elif words[0].startswith("cam-"):
            at = 0
        else:
            continue
        name = words[at].removeprefix("cam-").removeprefix("cam_repro.cli.")
        found.append(Line(page.name, name, tuple(words[at + 1 :])))
    return found
