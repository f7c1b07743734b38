"""cam-score by the protocols of Choe et al.: masks, chosen thresholds, maps as they write them."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from run_builder import RIGHT, edit_manifest

from cam_repro.commands import score as score_command
from cam_repro.data.demo.source import Demo
from cam_repro.geometry import inside_boxes
from cam_repro.runs.manifest import read_eval_manifest
from cam_repro.runs.scores import read_scores

FIXTURES = Path(__file__).parents[1] / "fixtures"
PXAP = FIXTURES / "pxap"
V2 = FIXTURES / "max_box_acc_v2"


@pytest.fixture
def run_with_maps(make_run):
    """A run of four images with boxes RIGHT; that map is right below threshold ``at``[i]."""

    def make(model, at, ids="image{:05d}", **changes):
        folder = make_run(model, n=4, maps=True, cls_right=3, ids=ids, **changes)
        (folder / "maps").mkdir()
        inside_HW = inside_boxes([RIGHT], 20, 20)
        for i in range(4):
            map_HW = np.where(inside_HW, 1.0, at[i])
            map_HW[-1, -1] = 0  # the minimum
            np.save(folder / "maps" / f"{ids.format(i)}.npy", map_HW)
        return folder

    return make


# --- PxAP ----------------------------------------------------------------------------------------

OF_PXAP = ("protocol=pxap", f"ground_truth={PXAP}/metadata", f"masks={PXAP}")


def test_pxap_equals_the_authors_program(score):
    expected = json.loads((PXAP / "expected.json").read_text())["pxap"]
    result, said = score(*OF_PXAP, f"maps={PXAP}/cams_14x14.npy")
    assert result["pxap"] == pytest.approx(expected, abs=1e-9)
    assert result["thresholds_are"] == {}
    assert "PxAP %                       83.36" in said


def test_pxap_of_a_run_on_a_data_set_with_masks(score, command):
    """The built-in set: maps that are its masks get all, and a run's maps something between."""
    few = ("data.n_train=24", "data.n_val=12", "device=cpu")
    tiny = ("model=alexnet_gap", "model.width=0.05", "model.input_size=64", "model.resize_size=72")
    assert command("train", *tiny, *few, "optim.epochs=1", "optim.warmup=0").status == 0
    assert command("eval", "model=alexnet_gap", "save_maps=true", *few).status == 0
    words = ("protocol=[pxap,max_box_acc]", "data=demo", *few[:2])
    found, _ = score(*words, "submission=runs/demo/alexnet_gap/eval/val-cam")
    assert 0 < found["pxap"]["objects_cover"] < found["pxap"]["pxap"] + 20 < 120
    assert (found["pxap"]["n_images"], found["pxap"]["n_without_mask"]) == (12, 0)
    images = Demo(n_train=24, n_val=12).open("val")
    for index, name in enumerate(images.ids):
        np.save(f"{name.rpartition('/')[2]}.npy", images.masks.of(index).astype(float))
    found, _ = score("protocol=pxap", "data=demo", *few[:2], "maps=.")
    assert found["pxap"] > 99


BOX_PROTOCOLS = (
    *("max_box_acc", "max_box_acc_v2", "localization", "pointing_game", "energy_in_box"),
)


@pytest.mark.parametrize("protocol", BOX_PROTOCOLS)
def test_protocols_of_boxes_take_no_masks(command, tmp_path, protocol):
    """They would find each map wrong."""
    metadata = shutil.copytree(PXAP / "metadata", tmp_path / "metadata")
    ids = (metadata / "image_ids.txt").read_text().split()
    (metadata / "image_sizes.txt").write_text("".join(f"{name},50,40\n" for name in ids))
    words = (f"protocol={protocol}", f"maps={PXAP}/cams_14x14.npy", f"ground_truth={metadata}")
    done = command("score", *words, f"masks={PXAP}")
    assert done.errors == [f"error: masks is not used by protocol={protocol}: leave it out"]
    done = command("score", *words)
    assert done.errors[0].endswith("these are masks: add masks=DIR protocol=pxap")
    done = command("score", f"protocol=[{protocol},pxap]", *words[1:], f"masks={PXAP}")
    assert done.errors == [
        f"error: no image of the ground truth has a true box, which {protocol} needs: give one "
        "with boxes, or masks to protocol=pxap"
    ]


# --- maps as the program of Choe et al. reads them -----------------------------------------------


def test_maps_written_and_read_back_have_the_same_score(score, tmp_path):
    stack = np.load(PXAP / "cams_14x14.npy")
    stack[3] = 1.5  # constant
    np.save(tmp_path / "maps.npy", stack)
    first, said = score(*OF_PXAP, "maps=maps.npy", "scoremaps=theirs")
    assert "theirs: 40 maps of 224x224 pixels" in said
    assert "1 are 0 everywhere" in said
    again, _ = score(*OF_PXAP, "maps=theirs")
    assert again == first
    files = sorted((tmp_path / "theirs" / "val").iterdir())
    assert [file.name for file in files[:2]] == ["img_00000.jpg.npy", "img_00001.jpg.npy"]
    for number, file in enumerate(files):
        map_HW = np.load(file)
        assert map_HW.shape == (224, 224)
        assert (map_HW.min(), map_HW.max()) == (0, 0 if number == 3 else 1)


def test_boxes_of_maps_written_and_read_back_have_the_same_score(score):
    words = ("protocol=[max_box_acc,max_box_acc_v2]", f"ground_truth={V2}/metadata")
    first, _ = score(*words, f"maps={V2}/cams_14x14.npy", "scoremaps=theirs")
    again, _ = score(*words, "maps=theirs")
    assert again == first
    expected = json.loads((V2 / "expected.json").read_text())["all_contours"]
    assert first["max_box_acc_v2"]["mean"] == pytest.approx(expected["mean"])


def test_a_runs_maps_are_named_by_the_truth(score, run_with_maps, tmp_path):
    folder = run_with_maps("nin", [0, 0, 0, 0])
    first, _ = score("protocol=max_box_acc", f"submission={folder}", "scoremaps=theirs")
    assert sorted(p.name for p in (tmp_path / "theirs").iterdir())[0] == "image00000.npy"
    again, _ = score("protocol=max_box_acc", "maps=theirs", f"ground_truth={folder}")
    assert first.pop("maps_of")["network"] == "nin"  # of maps alone nobody knows
    assert again == first
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".theirs")] == []


# --- several protocols ---------------------------------------------------------------------------


def test_several_protocols_give_what_each_gives(score, run_with_maps):
    folder = run_with_maps("nin", [0, 0.3, 0.6, 0.9])
    names = ["clsloc", "localization", "threshold_curve", "max_box_acc_v2"]
    found, said = score(f"protocol=[{','.join(names)}]", f"submission={folder}")
    assert list(found) == names
    for name in names:
        assert found[name] == score(f"protocol={name}", f"submission={folder}")[0]
        assert f"protocol={name}" in said


def test_each_table_says_what_it_is_scored_against(score, run_with_maps, make_run):
    """threshold_curve takes the run's own truth, whatever the others take."""
    folder, part = run_with_maps("nin", [0, 0.3, 0.6, 0.9]), make_run("nin", data="two", n=2)
    words = ("protocol=[threshold_curve,max_box_acc]", f"submission={folder}")
    found, said = score(*words, f"ground_truth={part}")
    assert found["threshold_curve"]["n_images"] == 4
    assert f"{folder}: 4 images, 4 boxes\nprotocol=threshold_curve\n" in said
    assert f"{part}: 2 images, 2 boxes\nprotocol=max_box_acc\n" in said


def test_a_setting_says_of_which_protocol(score, run_with_maps, command):
    folder = run_with_maps("nin", [0, 0.3, 0.6, 0.9])
    words = ("protocol=[localization,max_box_acc]", f"submission={folder}")
    found, _ = score(*words, "protocol.localization.threshold=0.7")
    assert found["localization"]["gt_known"]["0.5"] == 75
    done = command("score", *words, "protocol.threshold=0.7")
    assert done.errors == [
        "error: protocol.threshold=0.7: say of which, as protocol.localization.threshold"
    ]


def test_results_are_kept_with_their_run(score, run_with_maps):
    folder = run_with_maps("nin", [0, 0, 0, 0])
    found, _ = score("protocol=[localization,max_box_acc]", f"submission={folder}", "keep=true")
    assert read_scores(folder) == found


@pytest.mark.parametrize("change", ["replace", "remove"])
def test_results_are_not_kept_with_a_run_that_was_scored_anew_meanwhile(
    command, run_with_maps, monkeypatch, change
):
    folder = run_with_maps("nin", [0, 0, 0, 0])
    words = ("protocol=[pointing_game,localization]", "keep=true")
    other = run_with_maps("vgg", [0, 0, 0, 0])
    real, seen = score_command._score, []

    def scored_anew(protocol, *rest):
        if not seen and protocol.name == "localization":  # the second protocol of the first run
            seen.append(protocol.name)
            edit_manifest(folder, seconds=2.5)
            if change == "remove":
                (folder / "manifest.json").unlink()
        return real(protocol, *rest)

    monkeypatch.setattr(score_command, "_score", scored_anew)
    done = command("score", f"submission=[{folder},{other}]", *words)
    assert done.status == 0
    assert f"{folder}: was scored anew while localization was computed, so this is not kept" in (
        done.err
    )
    assert list(read_scores(folder)) == ["pointing_game"]
    assert sorted(read_scores(other)) == ["localization", "pointing_game"]


def test_only_what_a_protocol_says_of_the_run_is_kept_with_it(command, run_with_maps, make_run):
    """Not what it has by other settings, or against another truth."""
    folder = run_with_maps("nin", [0, 0, 0, 0])
    other = make_run("nin", data="two", n=2)
    words = ("protocol=max_box_acc", f"submission={folder}", "keep=true")
    for more, message in (
        (["protocol.multi_contour=true"],
         "keep=true keeps what protocols give by their defaults: leave "
         "protocol.multi_contour=true out, or give output=F.json in place of keep"),
        ([f"ground_truth={other}"],
         f"keep=true keeps what is scored against the run's own truth, which {other} is not: leave "
         "it out, or give output=F.json in place of keep"),
    ):  # fmt: skip
        assert command("score", *words, *more).errors == [f"error: {message}"]
    words = ("protocol=clsloc", f"submission={folder}", "keep=true")
    (folder / "none.txt").write_text("1\n")
    assert command("score", *words, f"blacklist={folder}/none.txt").errors == [
        "error: keep=true keeps what is scored against the run's own truth, with its own "
        "blacklist: leave blacklist out, or give output=F.json in place of keep"
    ]
    assert read_scores(folder) == {}


def test_the_same_truth_from_elsewhere_may_be_kept(score, run_with_maps):
    folder, again = run_with_maps("nin", [0, 0, 0, 0]), run_with_maps("nin", [0] * 4, data="again")
    words = ("protocol=max_box_acc", f"submission={folder}", "keep=true")
    found, _ = score(*words, f"ground_truth={again}")
    assert read_scores(folder) == {"max_box_acc": found}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("scoremaps=there", "scoremaps=there: exists already: name a new folder"),
        ("scoremaps=there/x/y", "there/x/y: cannot be written"),
        ("keep=true", "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(
    command, run_with_maps, tmp_path, monkeypatch, word, message
):
    folder = run_with_maps("nin", [0, 0, 0, 0])
    (tmp_path / "there").mkdir()
    real = os.access
    unwritable = {folder, tmp_path / "there"}
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) not in unwritable and real(p, mode))
    done = command("score", "protocol=max_box_acc", f"submission={folder}", word)
    assert message in done.errors[0]
    assert "MaxBoxAcc" not in done.err


# --- thresholds that were chosen on other images -------------------------------------------------

TEST, OTHERS = [0.05, 0.15, 0.25, 0.45], [0.31, 0.31, 0.31, 0.35]
"""Below which threshold the box of each image is the whole image."""


@pytest.mark.parametrize("form", ["run", "json"])
def test_errors_at_the_threshold_that_is_best_elsewhere(score, run_with_maps, form):
    test = run_with_maps("nin", TEST)
    others = run_with_maps("nin", OTHERS, ids="other{}", data="others")
    source, where = others, f"others val by maps of nin, cam ({others})"
    if form == "json":
        source, where = "others.json", "others val by maps of nin, cam (others.json)"
        score("protocol=threshold_curve", f"submission={others}", f"output={source}")
    found, said = score(
        "protocol=threshold_curve", f"submission={test}", f"threshold_from={source}"
    )
    # Elsewhere all boxes are right from 0.35 on; here, there, three of four.
    assert {name: each["threshold"] for name, each in found["chosen"].items()} == {
        "top1": 0.31, "top5": 0.31, "gt_known": 0.35
    }  # fmt: skip
    assert {name: each["error"] for name, each in found["chosen"].items()} == {
        "top1": 25, "top5": 25, "gt_known": 25
    }  # fmt: skip
    assert found["chosen"]["gt_known"]["error_95"] == [0, 75]
    assert found["best"]["gt_known"] == {"threshold": 0.45, "error": 0}
    assert found["thresholds_are"]["chosen"] == f"chosen on {where}"
    assert found["thresholds_are"]["best"] == "oracle"
    assert f"thresholds chosen on {where}:" in said


def test_max_box_acc_at_the_thresholds_that_are_best_elsewhere(score, run_with_maps):
    test = run_with_maps("nin", TEST)
    others = run_with_maps("nin", OTHERS, ids="other{}", data="others")
    words = ("protocol=[max_box_acc,max_box_acc_v2]", f"submission={test}")
    found, _ = score(*words, f"threshold_from={others}")
    elsewhere, _ = score("protocol=[max_box_acc,max_box_acc_v2]", f"submission={others}")
    for name, numbers in found.items():
        chosen = numbers["chosen"]
        assert chosen["threshold"] == elsewhere[name]["best_threshold"]
        assert chosen["mean"] == pytest.approx(np.mean(list(chosen["max_box_acc"].values())))
        assert numbers["thresholds_are"]["chosen"].startswith("chosen on others val")
        assert numbers["max_box_acc"]["0.7"] == 100
        assert chosen["max_box_acc"]["0.7"] == 75


def is_the_oracle(source):
    return (
        f"error: threshold_from={source}: is of the very images that are scored, 4 of them: a "
        "threshold that is chosen on these is the oracle, which the result has without this"
    )


@pytest.mark.parametrize("protocol", ["threshold_curve", "max_box_acc_v2"])
def test_the_oracle_is_never_called_chosen(command, score, run_with_maps, make_run, protocol):
    """Nor by a JSON, by maps without their run, by a packed set of the images, by part of them."""
    test = run_with_maps("nin", TEST)
    score(f"protocol={protocol}", f"submission={test}", "output=its.json")
    packed = run_with_maps("vgg_gap", TEST, data="packed", fingerprint="g")
    for source in (test, "its.json", packed):
        words = (f"protocol={protocol}", f"submission={test}", f"threshold_from={source}")
        assert command("score", *words).errors == [is_the_oracle(source)]
    part = make_run("nin", data="two", n=2)
    words = ("protocol=max_box_acc", f"maps={test}/maps", f"ground_truth={test}")
    assert command("score", *words, f"threshold_from={test}").errors == [is_the_oracle(test)]
    words = ("protocol=max_box_acc", f"maps={test}/maps", f"ground_truth={part}")
    done = command("score", *words, f"threshold_from={test}")
    assert done.errors == [is_the_oracle(test).replace("4 of", "2 of")]
    score(*words, "output=part.json")
    words = ("protocol=max_box_acc", f"submission={test}", "threshold_from=part.json")
    assert command("score", *words).errors == [is_the_oracle("part.json").replace("4 of", "2 of")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "vgg_gap"}, "network (vgg_gap) than {run} (nin)"),
        ({"model": "nin", "saliency": "backprop"}, "saliency method (backprop) than {run} (cam)"),
        ({"model": "nin", "view": "ten"}, "view (ten) than {run} (squash)"),
    ],
)
def test_thresholds_of_other_maps_are_not_kept(command, score, run_with_maps, changes, said):
    """But given, and then it is said whose they are; in a JSON too."""
    test = run_with_maps("nin", TEST)
    others = run_with_maps(at=OTHERS, ids="other{}", data="others", **changes)
    choosing = "protocol=[threshold_curve,max_box_acc]"
    score(choosing, f"submission={others}", "output=others.json")
    for source in (others, "others.json"):
        words = (f"submission={test}", f"threshold_from={source}")
        assert command("score", choosing, *words, "keep=true").errors == [
            f"error: threshold_from={source}: is of another {said.format(run=test)}, with which "
            "the result is to be kept: give a run of this one, or output=F.json in place of keep"
        ]
        assert read_scores(test) == {}
        found, _ = score("protocol=max_box_acc", *words)
        word = f"chosen on others val by maps of {read_eval_manifest(others).label} ({source})"
        assert found["thresholds_are"]["chosen"] == word


def test_a_terminal_does_not_show_the_list_of_images(
    command, score, run_with_maps, monkeypatch, tmp_path
):
    words = ("protocol=[max_box_acc,localization]", f"submission={run_with_maps('nin', TEST)}")
    found, _ = score(*words)
    assert len(found["max_box_acc"].pop("images_sha256")) == 4
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert json.loads(command("score", *words, "output=kept.json").out) == found
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert len(kept["max_box_acc"]["images_sha256"]) == 4


def test_a_terminal_does_not_show_curves(command, score, run_with_maps, monkeypatch):
    words = ("protocol=threshold_curve", f"submission={run_with_maps('nin', TEST)}")
    found, _ = score(*words)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    done = command("score", *words)
    shown = json.loads(done.out)
    assert found.keys() - shown.keys() == {"thresholds", "errors", "images_sha256"}
    assert shown["best"]["gt_known"] == {"threshold": 0.45, "error": 0}
    assert done.err.endswith("curves are not shown here: output=F.json writes them\n")
    assert "curves are not" not in command("score", *words, "output=c.json").err


def test_thresholds_of_like_maps_are_kept(score, run_with_maps):
    test = run_with_maps("nin", TEST)
    others = run_with_maps("nin", OTHERS, ids="other{}", data="others")
    words = ("protocol=max_box_acc", f"submission={test}", "keep=true")
    found, _ = score(*words, f"threshold_from={others}")
    assert read_scores(test) == {"max_box_acc": found}


def test_what_is_not_known_of_a_threshold_is_said(score, run_with_maps, tmp_path):
    test = run_with_maps("nin", TEST)
    best = {"0.3": 0.5, "0.5": 0.5, "0.7": 0.5}
    (tmp_path / "old.json").write_text(json.dumps({"best_threshold": best, "thresholds_are": {}}))
    words = ("protocol=max_box_acc", f"submission={test}", "threshold_from=old.json")
    found, said = score(*words)
    word = "chosen on old.json, not known by whose maps, not known whether of other images"
    assert found["thresholds_are"]["chosen"] == word
    assert f"thresholds {word}:" in said


def test_a_threshold_for_other_boxes_is_refused(command, score, run_with_maps):
    test, others = run_with_maps("nin", TEST), run_with_maps("nin", OTHERS, "o{}", data="others")
    for name, other, contours in (
        ("max_box_acc", "max_box_acc_v2", "all contours, not of the largest"),
        ("max_box_acc_v2", "max_box_acc", "the largest contour, not of all"),
    ):
        score(f"protocol={other}", f"submission={others}", "output=others.json")
        words = (f"protocol={name}", f"submission={test}", "threshold_from=others.json")
        assert command("score", *words).errors == [
            f"error: threshold_from is of boxes of {contours}: give the JSON of protocol={name}"
        ]


def test_mistakes_are_one_line(command, run_with_maps, tmp_path):
    test = run_with_maps("nin", TEST)
    (tmp_path / "odd.json").write_text('{"max_box_acc": {"0.3": 5}, "thresholds_are": {}}')
    (tmp_path / "no.json").write_text("[1")
    (tmp_path / "there").mkdir()
    curve = ("protocol=threshold_curve", f"submission={test}")
    for words, message in (
        ([*curve, "threshold_from=odd.json"],
         "threshold_from has no thresholds for top1, top5, gt_known: give the JSON that "
         "the same protocol wrote, or a run"),
        ([*curve, "threshold_from=no.json"], "no.json: is no JSON: write it again with cam-score"),
        *(([*curve, f"threshold_from={name}"],
           f"threshold_from={name}: is neither a file nor the folder of a run: give the JSON that "
           "cam-score wrote of other images, or a run of cam-eval over these")
          for name in ("gone.json", "there")),
        (["protocol=gt_known", f"submission={test}", "threshold_from=odd.json"],
         "threshold_from is not used by protocol=gt_known: leave it out"),
        (["protocol=gt_known", f"submission={test}", "scoremaps=x"],
         "scoremaps is not used by protocol=gt_known: leave it out"),
        (["protocol=pxap", f"maps={test}/maps", f"ground_truth={test}", "masks=there"],
         f"masks=there: {test} is no metadata folder that names masks: leave it out"),
        (["protocol=pxap", f"submission={test}", "masks=there"],
         "masks needs a metadata folder: add ground_truth=DIR, or leave masks out (a data set "
         "brings its own)"),
        (["protocol=max_box_acc", f"maps={test}/maps", f"ground_truth={test}", "keep=true"],
         "keep=true puts the result into a run's folder: give output=F.json"),
        (["protocol=[gt_known,pxap]", f"maps={test}/maps", f"ground_truth={test}"],
         "maps is not used by protocol=gt_known: leave it out"),
        (["protocol=[gt_known", f"submission={test}"],
         "protocol=[gt_known: name one protocol, or several in brackets: protocol=[A,B]"),
    ):  # fmt: skip
        done = command("score", *words)
        assert done.errors == [f"error: {message}"], words
