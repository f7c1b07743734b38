"""cam-eval quality=[...], and cam-score of what it leaves."""

import json

import pytest
from PIL import Image

from cam_repro.runs.answers import read_answers
from cam_repro.runs.predictions import read_predictions

MEASURES = ("insertion", "deletion", "average_drop", "sanity_check")
SHORT = [f"quality.{name}.steps=3" for name in MEASURES if name != "average_drop"]


@pytest.fixture
def evaluate(command, train_once, tiny_run, tiny_tree, tmp_path):
    """Trains a network at first, and runs cam-eval with more words."""
    train_once(tmp_path / "runs" / "tiny" / "alexnet_gap" / "train", *tiny_run)
    data = ["data=ilsvrc", f"data.root={tiny_tree}", "loader.workers=0", "device=cpu"]
    return lambda *words: command("eval", *data, "examples=0", *words)


def test_measures_are_kept_in_the_run_and_scored(evaluate, command, tmp_path):
    done = evaluate(f"quality=[{','.join(MEASURES)}]", *SHORT, "quality.deletion.images=4")
    assert done.status == 0, done.err
    (folder,) = (path.parent for path in (tmp_path / "runs").rglob("quality_deletion.parquet"))
    assert "deletion of 4 images: cam-score protocol=deletion" in done.err
    asked = {}
    for name in MEASURES:
        curves = name in ("insertion", "deletion")
        more = [f"output={name}.json"] if curves else []
        scored = command("score", f"protocol={name}", f"submission={folder}", *more)
        assert scored.status == 0, scored.err
        result = json.loads(scored.out)
        asked[name] = result["n_asked"]
        assert result["n_images"] == 6
        if curves:
            assert len(result["curve"]["probability"]) == 4
            assert Image.open(tmp_path / f"{name}.png").size == (1040, 720)
    assert asked == {"insertion": 6, "deletion": 4, "average_drop": 6, "sanity_check": 6}
    # The whole image is where deletion begins, insertion ends, and what average drop starts from.
    found = {name: read_answers(folder, name) for name in MEASURES}
    run = read_predictions(folder)
    whole_N = run.probabilities_N5[:, 0]
    assert found["insertion"].answers_NK[:, -1] == pytest.approx(whole_N, abs=1e-5)
    assert found["average_drop"].answers_NK[:, 0] == pytest.approx(whole_N, abs=1e-5)
    rows = [run.ids.index(name) for name in found["deletion"].ids]
    assert found["deletion"].answers_NK[:, 0] == pytest.approx(whole_N[rows], abs=1e-5)
    assert found["insertion"].classes_N.tolist() == run.classes_N5[:, 0].tolist()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["config"]["quality"]["deletion"]["images"] == 4

    done = evaluate("model=alexnet_gap")
    lost = ", ".join(f"quality={name}" for name in MEASURES)
    assert f"holds results that this pass would replace ({lost})" in done.errors[0]
    assert evaluate("model=alexnet_gap", "overwrite=true").status == 0
    assert not list(folder.glob("quality_*"))
    scored = command("score", "protocol=insertion", f"submission={folder}")
    assert scored.errors == [
        f"error: {folder}: was not asked about insertion: score the run again with cam-eval "
        "quality=[insertion] overwrite=true"
    ]


def test_a_run_without_answers_is_scored_again_for_them(evaluate):
    assert evaluate().status == 0
    assert "has its results" in evaluate().err
    done = evaluate("quality=average_drop")
    assert "average_drop of 6 images" in done.err
    assert "has its results" in evaluate("quality=average_drop").err
    assert (
        "average_drop of 6 images"
        in evaluate(
            "quality=average_drop", "quality.average_drop.baseline=mean", "overwrite=true"
        ).err
    )


def test_mistakes_are_one_line(evaluate):
    for words, message in (
        (["quality=[insertion"], "quality=[insertion: name one measure, or several in brackets: "
         "quality=[A,B]"),
        (["quality=insertion", "quality.insertion.steps=0"],
         "quality.insertion.steps=0: must be a whole number, 1 or more"),
        (["quality=insertion", "quality.insertion.baseline=grey"],
         "quality.insertion.baseline=grey: choose one of black, mean, blur"),
        (["quality=[deletion,insertion]", "view=ten"],
         "quality=[deletion,insertion]: changes the image that the network sees, and view=ten "
         "shows it 10: use view=squash"),
        (["quality=inserion"], "quality=inserion: choose one of average_drop, deletion, insertion, "
         "sanity_check; did you mean insertion?"),
    ):  # fmt: skip
        done = evaluate(*words)
        assert done.errors == [f"error: {message}"]


def test_only_a_run_has_answers(command, tmp_path):
    (tmp_path / "s.txt").write_text("1 0 0 1 1\n")
    for words, message in (
        (["submission=s.txt"], "submission=s.txt: protocol=insertion takes a folder that cam-eval "
         "wrote with quality=[insertion]"),
        ([], "submission not given: add submission=VALUE (see --help)"),
        (["submission=s.txt", "ground_truth=s.txt"],
         "ground_truth is not used by protocol=insertion: leave it out"),
    ):  # fmt: skip
        assert command("score", "protocol=insertion", *words).errors == [f"error: {message}"]
