"""Pages have no dead link, no long line and no path of the machine that they were written on."""

import re

import pytest
from pages import PAGES, ROOT, blocks

WIDTH = 110
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchors(page):
    """What the headings of a page are linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def test_every_page_is_found():
    names = {page.name for page in PAGES}
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md"} < names
    readme = (ROOT / "README.md").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme, f"README.md does not lead to {page.name}"


@each_page
def test_no_link_is_dead(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target}"


@each_page
def test_lines_are_short(page):
    """But for tables and pictures, which cannot be wrapped."""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1):
        assert len(line) <= WIDTH or line.startswith(("|", "![")), f"{page.name}:{number}"


@each_page
def test_no_path_is_of_one_machine(page):
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root|Users)/", page.read_text("utf-8"))


@each_page
def test_blocks_of_the_shell_say_so(page):
    """A block without a language would not be tested."""
    text = page.read_text("utf-8")
    fences = re.findall(r"^```(\w*)$", text, re.M)
    assert len(fences) % 2 == 0
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        assert language in ("bash", "python", "yaml", "")
        assert language or not re.search(r"^(cam-|bash |pip |torchrun|srun)", body, re.M)


@each_page
def test_blocks_of_python_and_yaml_are_in_the_pages_whose_examples_are_run(page):
    """By test_extending.py, test_photographs.py and test_quantus.py."""
    are_run = {"extending.md": ["python", "yaml"], "README.md": ["python"]}
    are_run["photographs.md"] = are_run["methods.md"] = ["python"]
    for language in {"python", "yaml"} - set(are_run.get(page.name, [])):
        assert not blocks(page, language)


@each_page
def test_files_that_a_page_names_in_passing_are_there(page):
    if page.name == "CHANGELOG.md":  # which names those that are gone
        return
    text = page.read_text("utf-8")
    for path in re.findall(r"`((?:tests|cam_repro|configs|scripts)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path
