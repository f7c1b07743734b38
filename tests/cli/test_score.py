import json
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parents[1] / "fixtures" / "devkit_scoring"
FILES = [f"submission={FIXTURE}/submission.txt", f"ground_truth={FIXTURE}/ground_truth.csv"]


def cam_score(*arguments, cwd):
    """The command in a process of its own; it prints at the end which heavy modules it loaded."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print([m for m in ('torch', 'cv2') if m in sys.modules]))\n"
        "from cam_repro.cli.score import main\n"
        "main()"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("with_blacklist", [False, True])
def test_equals_the_development_kit(tmp_path, with_blacklist):
    blacklist = [f"blacklist={FIXTURE}/blacklist.txt"] if with_blacklist else []
    done = cam_score(*FILES, *blacklist, "output=scores.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text, modules = done.stdout.rsplit("\n", 2)[:2]
    assert modules == "[]"
    result = json.loads(text)
    assert result == json.loads((tmp_path / "scores.json").read_text())
    assert (result["n_images"], result["n_blacklisted"]) == (1500, 50 if with_blacklist else 0)
    expected = [
        row
        for row in json.loads((FIXTURE / "expected.json").read_text())
        if row["blacklist"] == with_blacklist
    ]
    for found, wanted in zip(result["guesses"], expected, strict=True):
        assert found["k"] == wanted["guesses"]
        for key in ("cls_error", "clsloc_error"):
            assert found[key] == pytest.approx(wanted[key], abs=1e-6)
    assert "1        44.80" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


def test_help_is_about_the_command_and_leaves_nothing_behind(tmp_path):
    done = cam_score("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("cam-score submission=F ground_truth=F.csv [blacklist=F]")
    assert "submission: ???" in done.stdout
    assert done.stdout.endswith("[]\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ground_truth, submission not given: add ground_truth=VALUE (see --help)"),
        (FILES[1:], "submission not given: add submission=VALUE (see --help)"),
        (["submision=x"], "there is no setting 'submision': --help lists them"),
        (["+extra=1", *FILES], "extra: Key 'extra' not in 'ScoreConfig'"),
        (["submission=none.txt", FILES[1]], "no submission file none.txt"),
        ([FILES[0], "ground_truth=none.csv"], "no ground truth file none.csv"),
        ([*FILES, "blacklist=none.txt"], "no blacklist file none.txt"),
        (
            ["submission=short.txt", FILES[1]],
            "submission has 2 lines, ground truth 1500: "
            "one line an image is needed, an empty one where nothing is guessed",
        ),
        (["submission=bad.txt", FILES[1]], "bad.txt, line 1: 'x' is not a whole number below 2^31"),
        ([*FILES, "blacklist=far.txt"], "far.txt, line 1: image 1501; the images are 1 to 1500"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
    (tmp_path / "short.txt").write_text("1 0 0 1 1\n\n")
    (tmp_path / "bad.txt").write_text("1 0 0 x 1\n")
    (tmp_path / "far.txt").write_text("1501\n")
    done = cam_score(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"error: {message}\n"
    assert done.stdout == "[]\n"
