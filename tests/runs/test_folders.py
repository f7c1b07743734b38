"""Names and places of results, and whether those that are there are the ones wanted."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from run_builder import make_manifest

from cam_repro.errors import UserError
from cam_repro.runs.folders import (
    baseline_folder,
    eval_folder,
    find_run_folders,
    is_scored,
    labels_of,
    named_runs,
    other_settings,
    refuse_to_replace,
    run_name,
    train_folder,
    trained_models,
)
from cam_repro.runs.manifest import Checkpoint, write_manifest
from cam_repro.runs.same_images import WhichImages

F = WhichImages("f")
BOX = {"threshold": {"_target_": "T", "threshold": 0.2}}
CONFIG = {"saliency": {"_target_": "Cam"}, "view": {"name": "squash"}, "box": BOX}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"name": "vgg_gap"}, "vgg_gap"),
        ({"name": "vgg_gap", "variant": "torchvision"}, "vgg_gap"),
        ({"name": "vgg_gap", "variant": "caffe"}, "vgg_gap_caffe"),
        ({"name": "alexnet", "variant": "bvlc_alexnet", "width": 0.5}, "alexnet_bvlc_alexnet"),
        ({"name": "none"}, "none"),
    ],
)
def test_a_run_has_its_networks_name_and_the_variant_if_not_the_usual(config, name):
    assert run_name(config) == name


def test_runs_are_named_by_what_sets_them_apart():
    row = {"model": {"row": "GoogLeNet-GAP"}}
    plain, ten = make_manifest(), make_manifest(view="ten", config=row)
    baseline = make_manifest(model="none", classifies=False)
    runs = [plain, ten, baseline]
    assert labels_of(runs, ["a", "b", "c"]) == ["nin, cam", "GoogLeNet-GAP, cam, view ten", "none"]
    assert labels_of([plain, make_manifest(split="train"), plain], ["a", "b", "c"]) == [
        *("nin, cam, val (a)", "nin, cam, train"),
        "nin, cam, val (c)",
    ]
    assert ten.title == "GoogLeNet-GAP, cam, view ten on demo, val"


def test_places():
    assert train_folder("runs", "demo", "nin") == Path("runs/demo/nin/train")
    places = [eval_folder("r", "tiny", "nin", "val", "cam", view) for view in ("squash", "ten")]
    assert places == [Path("r/tiny/nin/eval/val-cam"), Path("r/tiny/nin/eval/val-cam-ten")]
    assert baseline_folder("runs", "ilsvrc", "val") == Path("runs/ilsvrc/none/eval/val")


@pytest.mark.parametrize("name", ["../x", "..", "/tmp/x", "a/b", "", "."])
def test_a_data_sets_name_leads_nowhere_else(name):
    for place in (
        lambda: train_folder("runs", name, "nin"),
        lambda: eval_folder("runs", name, "nin", "val", "cam", "squash"),
        lambda: baseline_folder("runs", name, "val"),
    ):
        with pytest.raises(UserError, match=r"is no name of a file or folder in runs, so nothing"):
            place()
    with pytest.raises(UserError, match=r"'\.\.' is no name of a file or folder in runs"):
        train_folder("runs", "demo", "../../nin")
    assert train_folder("runs", "demo", "timm-a/b") == Path("runs/demo/timm-a/b/train")


def test_trained_are_the_runs_with_a_manifest_whatever_their_variant(tmp_path):
    for name in ("vgg_gap_caffe", "alexnet", "nin"):
        train_folder(tmp_path, "tiny", name).mkdir(parents=True)
    for name in ("vgg_gap_caffe", "alexnet"):
        (train_folder(tmp_path, "tiny", name) / "manifest.json").write_text("{}")
    baseline = baseline_folder(tmp_path, "tiny", "val")
    baseline.mkdir(parents=True)
    (baseline / "manifest.json").write_text("{}")
    assert trained_models(tmp_path, "tiny") == ["alexnet", "vgg_gap_caffe"]
    assert trained_models(tmp_path, "other") == []


@pytest.fixture
def scored(tmp_path):
    """A folder with results by ``CONFIG`` of a checkpoint that lies beside it."""
    checkpoint = tmp_path / "last.pt"
    checkpoint.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()

    def write(**changes):
        weights = Checkpoint(path="last.pt", sha256=digest)
        write_manifest(tmp_path, make_manifest(config=CONFIG, checkpoint=weights, **changes))
        return tmp_path, checkpoint

    return write


def test_results_are_those_wanted_or_not(scored):
    folder, checkpoint = scored()
    assert is_scored(folder, checkpoint, CONFIG, F)
    assert is_scored(folder, None, CONFIG, F)
    assert not is_scored(folder, checkpoint, CONFIG, WhichImages("other images"))
    assert not is_scored(folder, folder / "gone.pt", CONFIG, F)
    checkpoint.write_bytes(b"other weights")
    assert not is_scored(folder, checkpoint, CONFIG, F)
    assert is_scored(folder, None, CONFIG, F)
    (folder / "manifest.json").unlink()
    assert not is_scored(folder, None, CONFIG, F)


def test_results_without_maps_are_not_those_of_a_pass_that_saves_them(scored):
    for maps, wanted, expected in (
        (False, True, False),
        (True, True, True),
        (True, False, True),
        (False, False, True),
    ):
        folder, checkpoint = scored(maps=maps)
        config = {**CONFIG, "save_maps": wanted}
        assert is_scored(folder, checkpoint, config, F) is expected, (maps, wanted)


@pytest.mark.parametrize(
    ("change", "groups"),
    [
        ({}, []),
        ({"saliency": {"_target_": "Backprop"}}, ["saliency"]),
        ({"saliency": None}, []),  # left open
        ({"view": {"name": "ten"}}, ["view"]),
        ({"view": {"name": "squash", "interpolation": "cubic"}}, ["view"]),
        ({"box": {}}, []),  # fewer boxes than there are
        ({"box": {"threshold": {"_target_": "T", "threshold": 0.3}}}, ["box"]),
        ({"box": {"center": {"_target_": "C"}}}, ["box"]),
        ({"examples": 3}, []),
    ],
)
def test_settings_that_differ(scored, change, groups):
    folder, checkpoint = scored()
    assert other_settings(make_manifest(config=CONFIG), {**CONFIG, **change}) == groups
    assert is_scored(folder, checkpoint, {**CONFIG, **change}, F) == (not groups)


# --- results that a pass would cost --------------------------------------------------------------


THRESHOLD, CENTER = {"threshold": 0.2}, {"scale": 0.75}


@pytest.mark.parametrize(
    ("wanted", "maps", "lost"),
    [
        ({"threshold": THRESHOLD, "center": CENTER}, True, None),  # the same
        ({"threshold": THRESHOLD, "center": CENTER, "more": {}}, True, None),  # and another
        ({"center": CENTER}, True, "box=threshold"),
        (
            {"threshold": {}, "center": CENTER},
            True,
            "box=threshold by other settings",
        ),
        ({"threshold": THRESHOLD, "center": CENTER}, False, "maps"),
        ({"center": CENTER}, False, "box=threshold, maps"),
    ],
)
def test_results_that_would_be_lost_are_not_replaced(tmp_path, wanted, maps, lost):
    folder = tmp_path
    there = {"view": {"name": "squash"}, "box": {"threshold": THRESHOLD, "center": CENTER}}
    write_manifest(folder, make_manifest(config=there, maps=True))
    config = {"view": {"name": "squash"}, "box": wanted, "save_maps": maps}
    refuse_to_replace(folder, {**config, "overwrite": True}, F)
    refuse_to_replace(tmp_path / "new", config, F)
    if lost is None:
        refuse_to_replace(folder, config, F)
        return
    with pytest.raises(UserError) as caught:
        refuse_to_replace(folder, config, F)
    assert f"would replace ({lost}): " in str(caught.value)
    assert "overwrite=true" in str(caught.value)


WEIGHTS = Checkpoint(path="a.pt", sha256="a" * 64)


@pytest.mark.parametrize(
    ("fingerprint", "weights", "model", "lost"),
    [
        ("f", WEIGHTS, {}, None),
        ("f", Checkpoint(path="moved.pt", sha256="a" * 64), {}, None),
        ("g" * 64, WEIGHTS, {}, "other data: fingerprint f there, gggggggggggg now"),
        (
            "f",
            Checkpoint(path="a.pt", sha256="b" * 64),
            {},
            "other weights: a.pt (SHA-256 aaaaaaaaaaaa) there, a.pt (SHA-256 bbbbbbbbbbbb) now",
        ),
        (
            "f",
            Checkpoint(path="torchvision"),
            {},
            "other weights: a.pt (SHA-256 aaaaaaaaaaaa) there, torchvision now",
        ),
        ("f", WEIGHTS, {"input_size": 96}, "other settings of model.input_size"),
        ("f", WEIGHTS, {"row": "A name", "added_later": 1, "weights": "moved.pt"}, None),
    ],
)
def test_results_of_other_data_or_weights_are_not_replaced(
    tmp_path, fingerprint, weights, model, lost
):
    before = {"name": "nin", "input_size": 64, "weights": "a.pt", "row": "NIN"}
    write_manifest(tmp_path, make_manifest(config={"model": before}, checkpoint=WEIGHTS))
    config = {"model": {**before, **model}}
    refuse_to_replace(tmp_path, {**config, "overwrite": True}, WhichImages(fingerprint), weights)
    if lost is None:
        refuse_to_replace(tmp_path, config, WhichImages(fingerprint), weights)
        return
    with pytest.raises(UserError) as caught:
        refuse_to_replace(tmp_path, config, WhichImages(fingerprint), weights)
    assert f"would replace ({lost}): keep them with output=DIR" in str(caught.value)
    assert str(caught.value).endswith("or add overwrite=true")


def test_weights_that_are_no_file_are_compared_by_their_name(tmp_path):
    there = Checkpoint(path="package")
    write_manifest(tmp_path, make_manifest(checkpoint=there))
    refuse_to_replace(tmp_path, {}, F, there)
    with pytest.raises(UserError, match="other weights: package there, torchvision now"):
        refuse_to_replace(tmp_path, {}, F, Checkpoint(path="torchvision"))


def test_a_training_run_is_not_replaced_by_a_scored_one(tmp_path):
    (tmp_path / "manifest.json").write_text('{"iterations": 5, "schema": 2}')
    with pytest.raises(UserError, match=r"manifest\.json is of a training run"):
        refuse_to_replace(tmp_path, CONFIG, F)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 2, "model": 3}'])
def test_a_broken_manifest_is_one_line_wherever_it_is_asked(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    for ask in (
        lambda: refuse_to_replace(tmp_path, CONFIG, F),
        lambda: is_scored(tmp_path, None, CONFIG, F),
    ):
        with pytest.raises(UserError, match=r"manifest\.json.*overwrite=true$"):
            ask()
    refuse_to_replace(tmp_path, {**CONFIG, "overwrite": True}, F)


# --- finding runs


@pytest.fixture
def results(make_run, tmp_path, monkeypatch):
    """Runs of two networks on two data sets, of a sweep, and what must not be taken for a run."""
    monkeypatch.chdir(tmp_path)
    make_run("vgg")
    make_run("nin")
    make_run("nin", data="other")
    (tmp_path / "runs/other/nin/eval/val-cam").rename(tmp_path / "runs/demo/nin/eval/odd")
    make_run("nin", data="other")
    for width in ("0.5", "0.25"):
        make_run("nin", data="swept")
        (tmp_path / "sweep").mkdir(exist_ok=True)
        (tmp_path / "runs/swept/nin/eval/val-cam").rename(tmp_path / "sweep" / width)
    train = tmp_path / "runs/demo/nin/train"
    train.mkdir()
    (train / "manifest.json").write_text('{"iterations": 6}')
    packed = tmp_path / "runs/packed"
    packed.mkdir()
    (packed / "manifest.json").write_text('{"splits": {}}')
    unfinished = tmp_path / "runs/demo/vgg/eval/val-cam-ten"
    unfinished.mkdir()
    (unfinished / "predictions.parquet").write_bytes(b"")
    hidden = tmp_path / "runs/.cache/x"
    hidden.mkdir(parents=True)
    (hidden / "manifest.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("named", "names"),
    [
        (
            ["runs"],
            [
                *("demo/nin/eval/odd", "demo/nin/eval/val-cam", "demo/vgg/eval/val-cam"),
                "other/nin/eval/val-cam",
            ],
        ),
        (["sweep"], ["0.25", "0.5"]),
        (["runs/demo/vgg/eval/val-cam"], ["runs/demo/vgg/eval/val-cam"]),
        (["runs/demo/vgg/eval/val-cam/predictions.parquet"], ["runs/demo/vgg/eval/val-cam"]),
        (
            ["sweep/0.5", "runs/*/nin/eval/val-*", "sweep"],
            [
                *("sweep/0.5", "runs/demo/nin/eval/val-cam", "runs/other/nin/eval/val-cam"),
                "sweep/0.25",
            ],
        ),
        (["runs/**/odd"], ["runs/demo/nin/eval/odd"]),
        (["s*p"], ["sweep/0.25", "sweep/0.5"]),
    ],
)
def test_runs_are_found_by_folder_glob_and_name_each_once(results, named, names):
    found = find_run_folders(named)
    assert list(found) == names
    root = results / named[0] if named in (["runs"], ["sweep"]) else results
    assert [path.resolve() for path in found.values()] == [root / name for name in names]


@pytest.mark.parametrize("named", ["none", "runs/*/none/*", "runs/demo/nin/train", "runs/packed"])
def test_a_name_that_leads_to_no_scored_run_is_refused(results, named):
    with pytest.raises(UserError, match=r"^no scored runs under .*: run cam-reproduce or cam-eval"):
        find_run_folders(["sweep", named])


@pytest.mark.parametrize("named", ["sweep/a**b", "/a**b"])
def test_what_is_no_pattern_is_refused(results, named):
    with pytest.raises(UserError, match=rf"^{re.escape(named)}: is no pattern of files \("):
        find_run_folders([named])


def test_a_link_to_a_run_is_that_run_and_its_maps_are_not_searched(results):
    (results / "more").mkdir()
    (results / "more" / "linked").symlink_to(results / "sweep" / "0.5")
    (results / "more" / "round").symlink_to(results / "more")
    assert list(find_run_folders(["more", "sweep"])) == ["more/linked", "sweep/0.25"]
    maps = results / "sweep" / "0.5" / "maps"
    maps.mkdir()
    (maps / "manifest.json").write_text("{}")
    assert list(find_run_folders(["sweep"])) == ["0.25", "0.5"]


@pytest.mark.parametrize("value", [3, "", [], ["a", None], {"a": 1}])
def test_runs_are_named_by_text(value):
    with pytest.raises(UserError, match=r"^runs=.*: name folders of runs, as runs=DIR or runs="):
        named_runs("runs", value)


def test_one_name_is_a_list_of_one():
    assert named_runs("runs", "a") == ["a"]
    assert named_runs("runs", ["a", "b*"]) == ["a", "b*"]


def test_other_images_of_the_same_names_are_told_by_the_sizes_of_their_files(tmp_path):
    data = replace(make_manifest().data, file_sizes="a")
    write_manifest(tmp_path, replace(make_manifest(config=CONFIG), data=data))
    for known, same in ((WhichImages("f", "a"), True), (F, True), (WhichImages("f", "b"), False)):
        assert is_scored(tmp_path, None, CONFIG, known) is same
        if same:
            refuse_to_replace(tmp_path, CONFIG, known)
    with pytest.raises(UserError, match=r"\(other images of the same names: their files have oth"):
        refuse_to_replace(tmp_path, CONFIG, WhichImages("f", "b"))


@pytest.mark.parametrize(("wanted", "same"), [("auto", True), ("fp32", True), ("bf16", False)])
def test_results_of_another_precision_are_not_replaced(tmp_path, wanted, same):
    write_manifest(tmp_path, make_manifest(config=CONFIG))
    config = {**CONFIG, "precision": wanted}
    assert is_scored(tmp_path, None, config, F) is same
    if same:
        refuse_to_replace(tmp_path, config, F)
        return
    with pytest.raises(UserError, match=r"\(other precision: fp32 there, bf16 now\): keep them"):
        refuse_to_replace(tmp_path, config, F)
