"""Reading a page: its tables as text, its attributes, its whole text."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest


@dataclass
class Page(HTMLParser):
    """What a browser would find in a page.

    tables: rows of cells by a table's id, or by its number among those without one.
    """

    text: str
    tables: dict = field(default_factory=dict)
    tags: list = field(default_factory=list)
    words: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self._rows = self._cell = None
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "table":
            nameless = sum(isinstance(name, int) for name in self.tables)
            self._rows = self.tables[attributes.get("id", nameless)] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._rows[-1].append(" ".join(" ".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data):
        self.words.append(data)
        if self._cell is not None:
            self._cell.append(data)

    @property
    def flat(self):
        """The text of the page, without its style and script."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag, **attributes):
        """The attributes of all tags of a name that have these values."""
        return [
            found
            for name, found in self.tags
            if name == tag and attributes.items() <= found.items()
        ]


@pytest.fixture
def read_page():
    return Page


@pytest.fixture
def write_report(command, tmp_path):
    """Runs cam-report on the runs under tmp_path; gives the page of the data set."""

    def write(*words, data="demo"):
        done = command("report", *words)
        assert done.status == 0, done.err
        return Page((tmp_path / "runs" / data / "report.html").read_text(encoding="utf-8"))

    return write
