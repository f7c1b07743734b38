"""``cam-concept``, from two folders of images to a network whose class layer knows a concept."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from run_builder import edit_manifest

from cam_repro.api import load_network
from cam_repro.commands import concept
from cam_repro.config import compose_choice
from cam_repro.engine.checkpoint import save_checkpoint
from cam_repro.errors import UserError
from cam_repro.models.build import build_network
from cam_repro.runs.features import read_features
from cam_repro.runs.manifest import is_of_scored_run, read_eval_manifest

COMPUTING = ["loader.workers=0", "device=cpu", "precision=fp32"]
FOLDER = "runs/text/alexnet_gap/concept"


def draw(path, colour, place):
    """Writes an image of 48 x 32, grey but for a square of 16 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((32, 48, 3), 90 + 7 * place, np.uint8)
    x, y = 3 * place % 32, 2 * place % 16
    pixels[y : y + 16, x : x + 16] = colour
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The file of a network of 3 classes."""
    sizes = {"width": 0.05, "input_size": 64, "resize_size": 72}
    config = {**compose_choice("model", "alexnet_gap"), **sizes}
    torch.manual_seed(0)
    state = {"optimizer": {}, "progress": {}, "identity": "", "model_config": config}
    state["model"] = build_network(config, 3).state_dict()
    path = tmp_path_factory.mktemp("network") / "net.pt"
    save_checkpoint(path, {**state, "classes": ["n1", "n2", "n3"]})
    return path


@pytest.fixture
def words(network, tmp_path):
    """Words for ``cam-concept``: 15 red squares, 30 green and blue ones, a network of 3 classes."""
    for place in range(15):
        draw(tmp_path / "text" / f"{place}.png", (255, 0, 0), place)
        draw(tmp_path / "scenes" / "a" / f"{place}.png", (0, 255, 0), place)
        draw(tmp_path / "scenes" / "b" / f"{place}.png", (0, 0, 255), place)
    weights = f"model.weights={shutil.copy(network, tmp_path)}"
    return ["positives=text", "negatives=scenes", "model=alexnet_gap", weights, *COMPUTING]


@pytest.fixture
def learned(command, words, tmp_path):
    """Runs cam-concept; gives what it wrote to scores.json, and what was said."""

    def run(*more):
        done = command("concept", *words, *more)
        assert done.status == 0, done.err
        return json.loads((tmp_path / FOLDER / "scores.json").read_text()), done.err

    return run


@pytest.fixture
def text(once, learned, tmp_path):
    """Has the concept learned before, as it is by default; once for all tests."""
    once(tmp_path / FOLDER, learned, "text")


def test_a_concept_is_learned_and_its_network_says_the_same(learned, tmp_path):
    scores, said = learned("sample=4", "rounds=3")
    assert scores["concept"] == "text"
    assert scores["threshold"] == "fixed: an SVM's score of 0"
    assert scores["learned_from"] == {"positives": 12, "negatives": 24}
    assert scores["held_out"] == {"positives": 3, "negatives": 6}
    assert scores["average_precision"] == 100
    first, *others = scores["rounds"]
    assert first["negatives"] == 4
    found = [each["hard_negatives_found"] for each in scores["rounds"]]
    counts = [each["negatives"] for each in others]
    assert counts == [4 + sum(found[: n + 1]) for n in range(len(counts))]
    assert "text: 12 positive and 24 negative images to learn from, 3 and 6 held out" in said
    few = "precision and recall are of 3 positive and 6 negative images, held out: of fewer than 20"
    assert few in said
    assert "learned from 12 positive and 24 negative images: from fewer than 20" in said
    assert f"trained on 4 negatives: of the 20 others {found[0]} are taken for it" in said

    loaded = load_network(weights=tmp_path / FOLDER / "network.pt", device="cpu", precision="fp32")
    assert list(loaded.names) == ["not text", "text"]
    rng = np.random.default_rng(0)
    best = {}
    for side, images, count in (("positives", "text", 3), ("negatives", "scenes", 6)):
        ids = read_features(tmp_path / FOLDER / side).ids
        held_out = [ids[row] for row in rng.permutation(len(ids))[:count]]
        files = [tmp_path / images / f"{image_id}.png" for image_id in held_out]
        best[side] = [one.names[0] for one in loaded.explain_each(files)]
    right, wrong = best["positives"].count("text"), best["negatives"].count("text")
    assert right == 3
    assert scores["recall"] == 100 * right / 3
    assert scores["precision"] == 100 * right / (right + wrong)
    with Image.open(tmp_path / FOLDER / "contact_sheet.png") as sheet:
        assert sheet.width > sheet.height


def test_enough_images_are_no_warning(learned, words, monkeypatch):
    monkeypatch.setattr(concept, "FEW", 3)
    _, said = learned()
    assert "fewer than" not in said


def test_held_out_images_are_not_learned_from(learned, tmp_path):
    """Where they change, the SVM does not; where the others do, it does."""

    def weights():
        loaded = load_network(weights=tmp_path / FOLDER / "network.pt", device="cpu")
        return loaded.network.class_weights().detach().numpy()

    def recoloured(rows):
        for row in rows:
            draw(tmp_path / "text" / f"{ids[row]}.png", (255, 255, 0), int(ids[row]))
        return learned("seed=7", "held_out=0.5", "overwrite=true")[0]

    scores, _ = learned("seed=7", "held_out=0.5")
    assert scores["held_out"]["positives"] == 8
    before = weights()
    ids = read_features(tmp_path / FOLDER / "positives").ids
    rows = np.random.default_rng(7).permutation(len(ids))
    recoloured(rows[:8])
    np.testing.assert_allclose(weights(), before, rtol=1e-3, atol=1e-6)
    recoloured(rows[8:])
    assert not np.allclose(weights(), before, rtol=1e-3, atol=1e-6)


def test_features_of_cam_features_are_taken_as_they_are(learned, command, words, tmp_path):
    of_features = [word for word in words if not word.startswith(("positives", "negatives"))]
    images = ["data=folder", "data.root=scenes", "output=theirs"]
    assert command("features", *of_features, *images).status == 0
    given, _ = learned("negatives=theirs", "output=" + FOLDER)
    assert not (tmp_path / FOLDER / "negatives").exists()
    computed, _ = learned("overwrite=true")
    assert computed == given


def test_words_that_given_features_do_not_go_by_are_refused(command, words, tmp_path):
    of_features = [word for word in words if not word.startswith(("positives", "negatives"))]
    images = ["data=folder", "data.root=text", "output=theirs", "view=center"]
    assert command("features", *of_features, *images).status == 0
    given = ["positives=theirs", f"negatives={tmp_path}/scenes", "view=center"]
    (tmp_path / "other.pt").write_bytes((tmp_path / "net.pt").read_bytes() + b"0")
    for other in ("view=ten", "model.weights=other.pt", "model.width=0.1", "precision=bf16"):
        (error,) = command("concept", *words, *given, other).errors
        assert "positives=theirs: are features by other settings than" in error
        assert other in error
    kept = (tmp_path / "text" / "6.png").read_bytes()
    (tmp_path / "text" / "6.png").unlink()
    (error,) = command("concept", *words, *given, "output=out").errors
    assert "text: has other images than those that the features of positives= are of" in error
    (tmp_path / "text" / "6.png").write_bytes(kept)
    images = ["data=folder", "data.root=scenes", "output=centred", "view=center"]
    assert command("features", *of_features, *images).status == 0
    done = command("concept", *words[2:], "positives=theirs", "negatives=centred", "output=out")
    assert done.status == 0, done.err
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["view"], manifest["config"]["view"]["name"]) == ("center", "center")


def test_two_folders_of_the_same_file_names_are_two_sets(command, words, tmp_path):
    done = command("concept", *words, "negatives=scenes/a", "output=out")
    assert done.status == 0, done.err
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["held_out"] == {"positives": 3, "negatives": 3}


@pytest.mark.usefixtures("text")
def test_cam_eval_scores_its_network_on_folders_of_these_names(command, tmp_path):
    (tmp_path / "both").mkdir()
    (tmp_path / "text").rename(tmp_path / "both" / "text")
    (tmp_path / "scenes").rename(tmp_path / "both" / "not text")
    for inner in ("a", "b"):
        for file in (tmp_path / "both" / "not text" / inner).iterdir():
            file.rename(tmp_path / "both" / "not text" / f"{inner}{file.name}")
        (tmp_path / "both" / "not text" / inner).rmdir()
    network = load_network(weights=tmp_path / FOLDER / "network.pt", device="cpu", precision="fp32")
    files = sorted((tmp_path / "both").glob("*/*.png"))
    best = [one.names[0] for one in network.explain_each(files)]
    wrong = sum(name != file.parent.name for name, file in zip(best, files, strict=True))
    done = command(
        *("eval", "model=alexnet_gap", f"model.weights={FOLDER}/network.pt", "data=folder"),
        *("data.root=both", *COMPUTING, "examples=0", "output=scored"),
    )
    assert done.status == 0, done.err
    scores = json.loads((tmp_path / "scored" / "scores.json").read_text())
    assert scores["cls"]["top1"] == pytest.approx(100 * wrong / 45)


@pytest.mark.usefixtures("text")
def test_a_concept_is_no_scored_run(tmp_path):
    assert not is_of_scored_run(tmp_path / FOLDER)
    with pytest.raises(UserError, match="is of a concept: give a folder that cam-eval wrote"):
        read_eval_manifest(tmp_path / FOLDER)


def test_a_name_that_sorts_before_not_keeps_its_class(command, words, tmp_path):
    done = command("concept", *words, "name=abbey", "output=out")
    assert done.status == 0, done.err
    loaded = load_network(weights=tmp_path / "out" / "network.pt", device="cpu")
    assert list(loaded.names) == ["abbey", "not abbey"]
    assert loaded.explain(tmp_path / "text" / "5.png").names[0] == "abbey"


@pytest.mark.parametrize("name", ["1", "2007"])
def test_a_number_may_be_its_name(command, words, tmp_path, monkeypatch, name):
    drawn = []

    def draw_beside(explained, *texts):
        drawn.extend(explained)
        return figure(explained, *texts)

    figure = concept.draw_beside
    monkeypatch.setattr(concept, "draw_beside", draw_beside)
    done = command("concept", *words, f"name={name}", "output=out")
    assert done.status == 0, done.err
    assert [one.names for one in drawn] == [[name]] * 3


def test_images_among_the_others_are_refused_in_features_too(learned, command, words):
    learned()
    given = f"positives={FOLDER}/negatives", f"negatives={FOLDER}/negatives"
    (error,) = command("concept", *words, *given, "output=out").errors
    assert "positives= and negatives= share 30 images" in error
    (error,) = command("concept", *words, "positives=scenes/a", given[1], "output=out").errors
    assert "positives= and negatives= share 15 images" in error


def test_a_result_that_is_there_is_left_and_another_one_refused(learned, command, words, tmp_path):
    learned()
    written = (tmp_path / FOLDER / "manifest.json").read_bytes()
    _, said = learned()
    assert f"the concept is there already: {FOLDER}" in said
    for more, what in (
        (["C=2", "seed=1"], "other C, other seed"),
        (["negatives=scenes/a"], "data, folder of images"),
        (["name=red", f"output={FOLDER}"], "another name"),
    ):
        (error,) = command("concept", *words, *more).errors
        assert f"({what}): name another folder" in error
    assert (tmp_path / FOLDER / "manifest.json").read_bytes() == written


def test_it_goes_on_with_the_features_that_are_there(learned, command, words, tmp_path):
    """Stopped after the positives, as where the negatives hold a broken image."""
    broken = tmp_path / "scenes" / "b" / "0.png"
    kept = broken.read_bytes()
    broken.write_bytes(b"no image")
    (error,) = command("concept", *words).errors
    assert "0.png: not a readable image" in error
    assert not (tmp_path / FOLDER / "manifest.json").exists()
    broken.write_bytes(kept)
    _, said = learned()
    assert f"the features are there already: {FOLDER}/positives" in said


def test_a_manifest_does_not_say_which_code_is_run(learned, command, words, tmp_path):
    learned()
    (tmp_path / "evil.py").write_text("open('imported', 'w')")
    positives = tmp_path / FOLDER / "positives"
    edit_manifest(positives, **{"config.data._target_": "evil.Source"})
    given = f"positives={FOLDER}/positives", f"negatives={FOLDER}/negatives"
    (error,) = command("concept", *words, *given, "output=out").errors
    assert "its data set is of the class evil.Source, which no data=NAME has" in error
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["positives=nowhere"], "positives=nowhere: no such folder"),
        (["negatives=null"], "negatives is not given: add negatives=DIR, a folder of images"),
        (["negatives=text"], "positives=text and negatives=text share images"),
        (["positives=scenes/a"], "positives=scenes/a and negatives=scenes share images"),
        (["negatives=."], "positives=text and negatives=. share images"),
        (["held_out=1"], "held_out=1.0: must be a share above 0 and under 1"),
        (["rounds=-1"], "rounds=-1: must be 0 or more"),
        (["C=0"], "C=0.0: must be a number over 0"),
        (["C=inf"], "C=inf: must be a number over 0"),
        (["name=a/../../b"], "is no name of a file or folder"),
    ],
)
def test_mistakes_end_in_one_line_without_a_result(command, words, tmp_path, more, message):
    done = command("concept", *words, *more)
    assert done.status == 1
    (error,) = done.errors
    assert message in error
    assert not list(tmp_path.rglob("concept/manifest.json"))
