"""cam-eval cues=sec on a mock VOC and on a tree of one class an image, scored by protocol=miou."""

import json
import pickle

import numpy as np
import pytest

from cam_repro.data.voc.image_set import CLASSES
from cam_repro.runs.predictions import read_predictions

CAT, BUS, PERSON = (CLASSES.index(name) + 1 for name in ("cat", "bus", "person"))


@pytest.fixture
def voc(command, tiny_run, make_voc):
    """Trains a network for 2 iterations, and runs cam-eval on the images with masks."""
    data = ["data=voc", f"data.root={make_voc()}", "data.images=segmentation", "data.cache=null"]
    own = [word for word in tiny_run if not word.startswith(("data", "optim"))]
    trained = command("train", *own, *data, "optim.iterations=2", "optim.batch_size=2")
    assert trained.status == 0, trained.err
    computing = ["loader.workers=0", "device=cpu", "precision=fp32", "examples=0"]

    def run(*words):
        done = command("eval", *data, *computing, *words)
        assert done.status == 0, done.err
        return done

    run.data = data
    run.command = lambda *words: command("eval", *data, *computing, *words)
    return run


def test_cues_of_several_classes_are_kept_and_scored(voc, command, tmp_path):
    said = voc("cues=sec", "save_maps=true").err
    folder = tmp_path / "runs" / "voc2012-segmentation" / "alexnet_gap" / "eval" / "val-cam"
    assert "cues of 2 images: cues" in said
    files = {path.name for path in (folder / "cues").iterdir()}
    assert files == {"2008_000004.npz", "2008_000005.npz"} | {
        *("localization_cues.pickle", "input_list.txt")
    }
    with np.load(folder / "cues" / "2008_000005.npz") as kept:
        classes, maps, cues_HW = kept["classes"], kept["maps"], kept["cues"]
    assert classes.tolist() == [CAT, PERSON]
    assert cues_HW.shape == (40, 60)
    assert set(np.unique(cues_HW)) <= {CAT, PERSON, 255}
    assert maps.shape[0] == 2
    assert all(peak in (0, 1) for peak in maps.max(axis=(1, 2)).tolist())
    # The label of that image is person: its map is also the one that save_maps=true keeps.
    saved = np.load(folder / "maps" / "2008_000005.npy")
    if saved.max() > 0:
        np.testing.assert_allclose(maps[1], saved / saved.max(), rtol=1e-5, atol=1e-6)
    content = pickle.loads((folder / "cues" / "localization_cues.pickle").read_bytes())
    assert (content["0_labels"], content["1_labels"]) == ([BUS], [CAT, PERSON])
    assert max(map(max, content["1_cues"][1:])) <= 40
    list_file = folder / "cues" / "input_list.txt"
    assert list_file.read_text() == "2008_000004.jpg 0\n2008_000005.jpg 1\n"
    assert [read_predictions(folder).label_sets.of(i).tolist() for i in range(2)] == [
        [BUS - 1],
        [CAT - 1, PERSON - 1],
    ]

    scored = command("score", "protocol=miou", f"submission={folder}", *voc.data)
    assert scored.status == 0, scored.err
    result = json.loads(scored.out)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["cues"]["images"] == manifest["cues"]["miou"]["n_images"] == 2
    kept = manifest["cues"]["miou"]
    assert result["miou"] == kept["miou"]
    assert result["miou_95"] == [kept["miou_low"], kept["miou_high"]]
    assert result["oracle"] == kept["oracle"]
    assert f"mean IoU of the cues %{result['miou']:20.2f}" in said
    of_maps = command("score", "protocol=miou", f"maps={folder}/cues", *voc.data)
    assert json.loads(of_maps.out) == result

    tables = command("tables")
    assert tables.status == 0, tables.err
    table = tmp_path / "runs" / "voc2012-segmentation" / "tables" / "table_gain.csv"
    assert f",{result['miou']:.2f}," in table.read_text().splitlines()[-1]


def test_cues_are_made_again_by_other_settings_and_go_with_their_run(voc, tmp_path):
    voc("cues=sec")
    assert "has its results" in voc("cues=sec").err
    said = voc.command("cues=sec", "cues.conflicts=highest", "model=alexnet_gap")
    assert "holds results that this pass would replace (cues)" in said.errors[0]
    (folder,) = (path.parent for path in (tmp_path / "runs").rglob("cues"))
    voc("cues=sec", "cues.threshold=0.5", "overwrite=true")
    assert json.loads((folder / "manifest.json").read_text())["config"]["cues"]["threshold"] == 0.5
    voc("model=alexnet_gap", "overwrite=true")
    assert not (folder / "cues").exists()
    assert "cues" not in json.loads((folder / "manifest.json").read_text())


def test_cues_are_kept_where_a_mask_is_broken(voc, tmp_path):
    path = next(tmp_path.rglob("SegmentationClass/2008_000005.png"))
    path.write_bytes(path.read_bytes()[:60])
    said = voc("cues=sec").err
    assert "no mean IoU of the cues: " in said
    assert "2008_000005.png: not a readable image" in said
    (manifest,) = (tmp_path / "runs").rglob("eval/*/manifest.json")
    assert json.loads(manifest.read_text())["cues"] == {"images": 2, "miou": None}


def test_an_image_that_cannot_be_read_is_left_out(voc, command, tmp_path):
    """Of the cues and of the maps, which are still scored against the masks of the others."""
    path = next(tmp_path.rglob("JPEGImages/2008_000005.jpg"))
    path.write_bytes(path.read_bytes()[:60])
    said = voc("cues=sec", "save_maps=true", "loader.on_error=skip").err
    assert "mean IoU of the cues %" in said
    (folder,) = (path.parent for path in (tmp_path / "runs").rglob("eval/*/manifest.json"))
    kept = json.loads((folder / "manifest.json").read_text())["cues"]
    assert (kept["images"], kept["miou"]["n_images"]) == (1, 1)
    words = (f"submission={folder}", *voc.data, "keep=true")
    for protocol in ("miou", "pxap"):
        scored = command("score", f"protocol={protocol}", *words)
        assert scored.status == 0, scored.err
        assert "1 of 2 images are left out, which the run could not read" in scored.err
        assert json.loads(scored.out)["n_images"] == 1


def test_pairs_are_an_entry_each(voc, command, tmp_path):
    words = ["data.pairs=true", "data.images=main", "data.val=trainval"]
    weights = tmp_path / "runs" / "voc2012-segmentation" / "alexnet_gap" / "train" / "last.pt"
    words += ["model=alexnet_gap", f"model.weights={weights}", "save_maps=true"]
    assert voc.command(*words, "cues=sec").errors == [
        "error: cues: 2008_000001 is several entries of voc2012-pairs, one for each of its "
        "classes, and cues are of images: leave data.pairs=true or cues= out"
    ]
    voc(*words)
    folder = tmp_path / "runs" / "voc2012-pairs" / "alexnet_gap" / "eval" / "val-cam"
    assert len(list((folder / "maps").glob("*.npy"))) == 7
    scored = command("score", "protocol=pointing_game", f"submission={folder}")
    assert scored.status == 0, scored.err
    result = json.loads(scored.out)
    # Difficult pairs show another class, and cover less than a quarter: the person of the first
    # image (the dog's 600 pixels are a quarter), the cats and the person of the fifth.
    assert (result["n_images"], result["n_difficult"]) == (7, 3)
    assert result["mean_over_classes"].keys() == {"all", "difficult"}


def test_mistakes_are_one_line(voc, command, tiny_run, tmp_path, make_run):
    for words, message in (
        (["cues=sec", "cues.threshold=2", "model=alexnet_gap"],
         "cues.threshold=2.0: must be a share of the map's maximum, at least 0 and under 1"),
        (["cues=sec", "split=test", "model=alexnet_gap", "data.images=main"],
         "cues: the true class of 2008_000007 is not known, and cues are of true classes: leave "
         "cues= out, or score a labelled split (split=val)"),
        (["cues=sec", "model=none", "box=whole_image"],
         "model=none makes no maps: leave saliency, save_maps, quality and cues out"),
    ):  # fmt: skip
        more = []
        if "split=test" in words:
            weights = tmp_path / "runs" / "voc2012-segmentation" / "alexnet_gap" / "train"
            more = [f"model.weights={weights / 'last.pt'}"]
        done = voc.command(*words, *more)
        assert done.errors == [f"error: {message.replace('2.0', '2')}"], done.err
    folder = make_run("nin", n=4)
    for words, message in (
        ([f"submission={folder}"], f"{folder}: has no cues: score it again with cam-eval cues=sec"),
        ([], "maps not given: add maps=VALUE (see --help)"),
        ([f"maps={tmp_path}", f"ground_truth={folder}"],
         "the ground truth has no masks, which miou needs: give a data set that has, as data=demo "
         "or data=voc data.images=segmentation"),
    ):  # fmt: skip
        done = command("score", "protocol=miou", *words)
        assert done.errors == [f"error: {message}"], done.err
