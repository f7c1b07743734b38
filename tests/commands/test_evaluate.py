import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.io import savemat

from cam_repro.boxes.threshold import largest_component_box
from cam_repro.classes import ilsvrc_classes
from cam_repro.commands import evaluate as job
from cam_repro.commands.evaluate import _warn_of_other_sizes, run_evaluation
from cam_repro.commands.train import run_training
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.engine.evaluate import BoxSearch
from cam_repro.errors import Stopped, UserError
from cam_repro.figures import contact_sheet
from cam_repro.figures.shown import read_run
from cam_repro.files import sha256
from cam_repro.locks import sole_writer
from cam_repro.models import build_network
from cam_repro.resample import resize
from cam_repro.runs.predictions import read_predictions


@pytest.fixture
def words(tiny_tree, tmp_path):
    return [
        *("data=ilsvrc", f"data.root={tiny_tree}", "loader.workers=0", "device=cpu"),
        f"runs={tmp_path / 'runs'}",
    ]


@pytest.fixture
def trained(tiny_run, train_once, tmp_path):
    """Trains one network for an iteration; returns the runs of its data set."""

    def train(model):
        runs = tmp_path / "runs" / "tiny"
        words = [*tiny_run, f"model={model}", "optim.iterations=1"]
        train_once(runs / model / "train", *words)
        return runs

    return train


@pytest.fixture
def evaluate(compose_config, words):
    def evaluate(*more):
        return run_evaluation(compose_config("eval", *words, *more), [*words, *more])

    return evaluate


def test_other_weights_replace_results_only_where_that_is_said(trained, evaluate, tmp_path):
    runs = trained("alexnet_gap")
    (folder,) = evaluate("model=alexnet_gap", "examples=0")
    assert folder == runs / "alexnet_gap" / "eval" / "val-cam"
    before = pd.read_parquet(folder / "predictions.parquet")
    state = torch.load(runs / "alexnet_gap" / "train" / "last.pt", weights_only=True)
    state["model"]["cam_fc.weight"].neg_()
    torch.save(state, tmp_path / "other.pt")
    words = ["model=alexnet_gap", f"model.weights={tmp_path / 'other.pt'}", "examples=0"]
    with pytest.raises(
        UserError, match=r"other weights: .*last\.pt \(SHA.* there, .*other\.pt \(S"
    ):
        evaluate(*words)
    assert pd.read_parquet(folder / "predictions.parquet").equals(before)
    evaluate(*words, "overwrite=true")
    after = pd.read_parquet(folder / "predictions.parquet")
    for one, two in zip(before["classes"], after["classes"], strict=True):
        assert one.tolist() == two.tolist()[::-1]  # best becomes worst


def test_other_data_of_the_same_name_do_not_replace_results(trained, evaluate, make_tree, tmp_path):
    trained("alexnet_gap")
    (folder,) = evaluate("model=alexnet_gap", "examples=0")
    before = (folder / "predictions.parquet").read_bytes()
    other = f"data.root={make_tree(tmp_path / 'other' / 'tiny', val=3)}"
    for words in (["model=alexnet_gap"], []):
        with pytest.raises(UserError, match=r"other data: fingerprint \w{12} there, \w{12} now"):
            evaluate(*words, other, "examples=0")
    assert (folder / "predictions.parquet").read_bytes() == before


def test_boxes_without_a_network_do_not_replace_those_of_other_data(evaluate, make_tree, tmp_path):
    evaluate("model=none", "box=[whole_image]")
    evaluate("model=none", "box=[whole_image]")
    other = f"data.root={make_tree(tmp_path / 'other' / 'tiny', val=3)}"
    with pytest.raises(UserError, match=r"other data: .*overwrite=true"):
        evaluate("model=none", "box=[whole_image]", other)


def test_a_checkpoint_that_its_training_did_not_write_is_refused(trained, evaluate):
    runs = trained("alexnet_gap")
    path = runs / "alexnet_gap" / "train" / "last.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for words in (["model=alexnet_gap"], [], ["model=alexnet_gap", f"model.weights={path}"]):
        with pytest.raises(UserError, match=r"last\.pt is not as it was written: .*manifest\.json"):
            evaluate(*words)


def test_files_are_named_in_the_manifest_with_their_checksums(trained, evaluate):
    runs = trained("alexnet_gap")
    (folder,) = evaluate("model=alexnet_gap", "examples=1")
    for place, names in (
        (runs / "alexnet_gap" / "train", ["best.pt", "last.pt", "log.csv"]),
        (
            folder,
            [
                *("examples.parquet", "predictions.parquet", "scores.json"),
                *("submission_heuristic.txt", "submission_threshold.txt"),
            ],
        ),
    ):
        stated = json.loads((place / "manifest.json").read_text())["files"]
        assert stated == {name: sha256(place / name) for name in names}


def test_images_of_another_size_than_stated_are_counted(trained, evaluate, tiny_tree, caplog):
    trained("alexnet_gap")
    (folder,) = evaluate("model=alexnet_gap", "examples=0")
    assert "another size" not in caplog.text
    images = load_image_set(tiny_tree, "val")
    assert images.sizes_N2 is not None
    width, height = images.sizes_N2[2].tolist()
    images.sizes_N2[2] *= 2
    _warn_of_other_sizes(images, read_predictions(folder))
    said = f"(the first: {images.ids[2]} is {width}x{height}, not {2 * width}x{2 * height})"
    assert caplog.messages[-1].startswith("1 of 6 images have another size than their annotations")
    assert caplog.messages[-1].endswith(said)


def test_one_network_after_another_and_the_rest_next_time(trained, evaluate, monkeypatch):
    runs = trained("alexnet_gap")
    trained("alexnet")
    real = job.evaluate
    calls = []

    def stops_at_the_second(this_pass, *arguments, **more):
        calls.append(type(this_pass.network).__name__)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(this_pass, *arguments, **more)

    monkeypatch.setattr(job, "evaluate", stops_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        evaluate("examples=0")
    assert calls == ["AlexNet", "AlexNetGap"]
    assert evaluate("examples=0") == [runs / "alexnet_gap" / "eval" / "val-cam"]
    assert evaluate("examples=0") == []


def test_a_pass_that_fails_leaves_no_result(trained, evaluate, monkeypatch):
    runs = trained("alexnet_gap")

    def fails(*arguments):
        raise UserError("the disk is gone")

    monkeypatch.setattr(BoxSearch, "of_batch", fails)
    with pytest.raises(UserError, match="the disk is gone"):
        evaluate("model=alexnet_gap")
    assert not (runs / "alexnet_gap" / "eval").exists()


def test_as_many_examples_as_asked_spread_over_the_split(trained, evaluate):
    trained("alexnet_gap")
    (folder,) = evaluate("model=alexnet_gap", "examples=3")
    run = read_run(folder)
    assert run.manifest.title == "AlexNet-GAP, cam on tiny, val"
    even = [one.example for one in run.pick("even", 9)]
    assert [example.id[-1] for example in even] == ["1", "3", "5"]
    assert [example.picture().size for example in even] == [(32, 24)] * 3
    assert {example.names[:1] for example in even} <= {(f"class {c}",) for c in range(3)}
    kinds = {kind for one in run.images for kind in one.example.why}
    assert kinds == {"even", "best", "typical", "worst"}
    for one in run.images:  # the classes are those of the predictions, in their order
        assert one.guess[0] == one.example.classes[0]
    evaluate("model=alexnet_gap", "examples=100")
    assert len(read_run(folder).pick("even", 100)) == 6


def test_examples_of_an_older_pass_do_not_stay(trained, evaluate):
    trained("alexnet_gap")
    (folder,) = evaluate("model=alexnet_gap", "examples=1")
    before = (folder / "predictions.parquet").read_bytes()
    assert (folder / "examples.parquet").exists()
    evaluate("model=alexnet_gap", "examples=0")
    assert not (folder / "examples.parquet").exists()
    assert (folder / "predictions.parquet").read_bytes() == before


class Killed(BaseException):
    """As SIGKILL, after which nothing is cleaned up; see ``killed``."""


@pytest.fixture
def killed(evaluate, monkeypatch):
    """Scores by these words until ``module.name`` is called, as if killed there."""

    def run(module, name, *words):
        def kill(*_, **__):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(module, name, kill)
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)
            with pytest.raises(Killed):
                evaluate(*words)

    return run


@pytest.mark.parametrize(
    ("module", "name"),
    [(job, "write_predictions"), (job, "_write_scores"), (contact_sheet, "write_sheet")],
)
def test_a_run_is_not_complete_before_its_last_file_is_written(
    trained, evaluate, killed, module, name
):
    runs = trained("alexnet_gap")
    words = ["model=alexnet_gap", "save_maps=true"]
    killed(module, name, *words)
    folder = runs / "alexnet_gap" / "eval" / "val-cam"
    assert [path.name for path in folder.iterdir()] == [".pass"]
    assert evaluate(*words) == [folder]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("contact_sheet.png", "eval.log", "examples.parquet", "manifest.json", "maps"),
        *("predictions.parquet", "scores.json"),
        *("submission_heuristic.txt", "submission_threshold.txt"),
    ]
    assert len(list((folder / "maps").iterdir())) == 6


@pytest.mark.parametrize("number", range(1, 9))
def test_a_pass_that_is_killed_while_its_files_are_moved_is_done_again(
    trained, evaluate, monkeypatch, number
):
    """The same command goes on whichever file was the last that got its place."""
    runs = trained("alexnet_gap")
    folder = runs / "alexnet_gap" / "eval" / "val-cam"
    words = ["model=alexnet_gap", "save_maps=true", "examples=1"]
    evaluate("model=alexnet_gap", "examples=1", "box=[whole_image]")
    moved, real = [], Path.replace

    def kill(path, target):
        if path.parent == folder / ".pass" and target.parent == folder:
            moved.append(path)
            if len(moved) == number:
                raise Killed
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            evaluate(*words, "overwrite=true")
    assert not (folder / "manifest.json").exists()
    evaluate(*words)
    assert len(list((folder / "maps").iterdir())) == 6
    assert not (folder / "submission_whole_image.txt").exists()
    assert not (folder / ".pass").exists()
    assert evaluate("save_maps=true", "saliency=cam") == []


def test_a_pass_that_is_stopped_leaves_the_results_before(trained, evaluate, monkeypatch):
    trained("alexnet_gap")
    (folder,) = evaluate("model=alexnet_gap")
    before = {path: path.read_bytes() for path in folder.rglob("*")}

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "make_examples", stop)
    with pytest.raises(Stopped, match="what was scored before is kept"):
        evaluate("model=alexnet_gap", "examples=2")
    assert {path: path.read_bytes() for path in folder.rglob("*")} == before


def test_two_passes_do_not_write_one_folder_at_once(trained, evaluate):
    runs = trained("alexnet_gap")
    folder = runs / "alexnet_gap" / "eval" / "val-cam"
    said = rf"val-cam: process {os.getpid()} on .* is writing to it, since .* output="
    with sole_writer(folder), pytest.raises(UserError, match=said):
        evaluate("model=alexnet_gap", "save_maps=true")
    with sole_writer(runs / "none/eval/val"), pytest.raises(UserError, match="is writing to it"):
        evaluate("model=none", "box=[whole_image]")
    evaluate("model=alexnet_gap", "examples=0")


def test_a_map_that_was_changed_is_named(saved, command):
    path = saved / "maps" / "ILSVRC2012_val_00000004.npy"
    words = [
        *("score", "protocol=max_box_acc", f"maps={saved / 'maps'}"),
        f"ground_truth={saved}",
    ]
    assert command(*words).status == 0
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    for arguments in (words, ["score", "protocol=threshold_curve", f"submission={saved}"]):
        done = command(*arguments)
        assert done.status == 1
        assert f"{path} is not as it was written: its CRC-32 is not the one in" in done.errors[0]


def test_best_or_last_checkpoint(trained, evaluate):
    runs = trained("alexnet_gap")
    for which in ("last", "best"):
        (folder,) = evaluate("model=alexnet_gap", f"checkpoint={which}", "examples=0")
        path = json.loads((folder / "manifest.json").read_text())["checkpoint"]["path"]
        assert path == str(runs / "alexnet_gap" / "train" / f"{which}.pt")


# --- variants of a network


def test_a_variant_is_another_network(compose_config, tiny_run, words, trained, evaluate):
    runs = trained("alexnet_gap")
    caffe = ["model.variant=caffe", "optim.iterations=1"]
    folder = run_training(compose_config("train", *tiny_run, *words, *caffe))
    assert folder == runs / "alexnet_gap_caffe" / "train"
    assert json.loads((folder / "manifest.json").read_text())["config"]["model"]["variant"]

    # Both are found without model=, and each is what the other's words do not mean.
    folders = [runs / name / "eval" / "val-cam" for name in ("alexnet_gap", "alexnet_gap_caffe")]
    assert evaluate("examples=0") == folders
    names = [json.loads((folder / "manifest.json").read_text())["model"] for folder in folders]
    assert names == ["alexnet_gap", "alexnet_gap_caffe"]
    assert evaluate("examples=0") == []
    again = evaluate("model=alexnet_gap", "model.variant=caffe", "examples=0")
    assert again == [folders[1]]
    for file, more, remedy in (
        ("alexnet_gap_caffe", [], "use model=alexnet_gap model.variant=caffe"),
        ("alexnet_gap", ["model.variant=caffe"], "use model=alexnet_gap"),
    ):
        weights = f"model.weights={runs / file / 'train' / 'last.pt'}"
        with pytest.raises(UserError, match=f"holds the network {file}, not .*: {remedy}$"):
            evaluate("model=alexnet_gap", weights, *more)


# --- maps


@pytest.fixture
def saved(trained, evaluate):
    """The folder of a pass that saved its maps."""
    trained("alexnet_gap")
    (folder,) = evaluate("model=alexnet_gap", "examples=0", "save_maps=true")
    return folder


def known_boxes(folder):
    rows = pd.read_parquet(folder / "predictions.parquet").to_dict("records")
    return {row["id"]: (row["width"], row["height"], *row["threshold/gt_known"]) for row in rows}


def test_maps_lie_beside_the_boxes_that_are_made_of_them(saved):
    assert sorted(path.name for path in saved.iterdir()) == [
        *("eval.log", "manifest.json", "maps", "predictions.parquet", "scores.json"),
        *("submission_heuristic.txt", "submission_threshold.txt"),
    ]
    known = known_boxes(saved)
    assert {path.stem for path in (saved / "maps").iterdir()} == known.keys()
    for image_id, (width, height, *box) in known.items():
        map_hw = np.load(saved / "maps" / f"{image_id}.npy")
        assert (map_hw.dtype, map_hw.shape) == (np.float32, (3, 3))  # of 64 pixels, stride 16
        map_HW = resize(map_hw, width, height, "linear")
        assert largest_component_box(map_HW, 0.2) == tuple(box)
    assert json.loads((saved / "manifest.json").read_text())["maps"] is True


def test_old_maps_go_when_scored_again_without(saved, evaluate):
    with pytest.raises(UserError, match=r"would replace \(maps\): .* add overwrite=true"):
        evaluate("model=alexnet_gap", "examples=0")
    assert (saved / "maps").exists()
    evaluate("model=alexnet_gap", "examples=0", "overwrite=true")
    assert not (saved / "maps").exists()
    assert json.loads((saved / "manifest.json").read_text())["maps"] is False


def test_a_pass_that_fails_leaves_the_maps_of_the_one_before(saved, evaluate, monkeypatch):
    def contents():
        return {p: p.read_bytes() for p in saved.rglob("*") if p.is_file()}

    before = contents()
    real = BoxSearch.of_batch
    calls = []

    def fails_at_the_second(search, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise UserError("the disk is gone")
        return real(search, *arguments)

    monkeypatch.setattr(BoxSearch, "of_batch", fails_at_the_second)
    with pytest.raises(UserError, match="the disk is gone"):
        evaluate("model=alexnet_gap", "save_maps=true", "batch_size=2", "checkpoint=best")
    assert contents() == before


def test_maps_that_are_no_runs_are_left_alone(trained, evaluate, tmp_path):
    trained("alexnet_gap")
    mine = tmp_path / "out" / "maps" / "mine.npy"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    words = ["model=alexnet_gap", "examples=0", f"output={tmp_path / 'out'}"]
    with pytest.raises(UserError, match="maps: exists already, but belongs to no run"):
        evaluate(*words, "save_maps=true")
    evaluate(*words)
    assert mine.read_text() == "mine"


def test_a_trained_run_without_maps_is_scored_again_when_they_are_wanted(trained, evaluate):
    runs = trained("alexnet_gap")
    folder = runs / "alexnet_gap" / "eval" / "val-cam"
    assert evaluate("examples=0") == [folder]
    assert evaluate("examples=0", "save_maps=true") == [folder]
    assert (folder / "maps").is_dir()
    assert evaluate("examples=0", "save_maps=true") == []
    assert evaluate("examples=0") == []


def test_two_processes_write_what_one_does(make_tree, trained, evaluate, tmp_path):
    """Five images, so that the shares are not equal; one a batch, so that sums are the same."""
    trained("alexnet_gap")
    tree = make_tree(tmp_path / "five", classes=3, val=2)
    lists = tree / "ILSVRC" / "ImageSets" / "CLS-LOC" / "val.txt"
    kept = [line for line in lists.read_text().splitlines() if "00000004" not in line]
    lists.write_text("\n".join(kept) + "\n")
    words = [
        *("model=alexnet_gap", "data=ilsvrc", f"data.root={tree}", "loader.workers=0"),
        *("device=cpu", "batch_size=1", "examples=0", "save_maps=true", "cues=sec"),
        f"model.weights={tmp_path / 'runs' / 'tiny' / 'alexnet_gap' / 'train' / 'last.pt'}",
    ]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "cam_repro.cli.eval", *words, "output=two"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    evaluate(*words, f"output={tmp_path / 'one'}")
    one, two = (
        {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file() and path.name not in ("manifest.json", "eval.log")
        }
        for name in ("one", "two")
    )
    names = [f"ILSVRC2012_val_{number:08d}" for number in (1, 2, 3, 5, 6)]
    cues = [*(f"cues/{name}.npz" for name in names), "cues/input_list.txt"]
    maps = [f"maps/{name}.npy" for name in names]
    assert sorted(two)[:12] == [*cues, "cues/localization_cues.pickle", *maps]
    assert len(two) == 12 + 4
    assert two == one
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text())
    assert (manifest["processes"], manifest["counts"]["images"]) == (2, 5)


# --- the same images, however they lie


REAL = [0, 65, 970]
"""Class indices in ILSVRC of the classes that the tree's three become."""


@pytest.fixture
def kaggle(make_tree, tmp_path):
    """A Kaggle tree of ILSVRC's 1,000 classes, of which three have images."""
    root = make_tree(tmp_path / "kaggle", train=1)
    table = ilsvrc_classes()
    made = sorted(path.name for path in (root / "ILSVRC/Data/CLS-LOC/train").iterdir())
    for path in sorted(root.rglob("*"), key=lambda path: -len(path.parts)):  # files, then folders
        name = path.name
        for old, index in zip(made, REAL, strict=True):
            name = name.replace(old, table.wnids[index])
            if path.suffix in {".xml", ".csv", ".txt"}:
                path.write_text(path.read_text().replace(old, table.wnids[index]))
        path.rename(path.with_name(name))
    lines = [f"{wnid} {name}\n" for wnid, name in zip(table.wnids, table.names, strict=True)]
    (root / "LOC_synset_mapping.txt").write_text("".join(lines))
    return root


def as_official_archives(kaggle, root):
    """train/<wnid>, a flat val, bbox/val, and the development kit, without any list or mapping."""
    inner, table = kaggle / "ILSVRC", ilsvrc_classes()
    for split in ("train", "val"):
        shutil.copytree(inner / "Data" / "CLS-LOC" / split, root / split)
    for wnid in table.wnids:
        (root / "train" / wnid).mkdir(exist_ok=True)
    shutil.copytree(inner / "Annotations" / "CLS-LOC" / "val", root / "bbox" / "val")
    kit = root / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    ids = table.devkit_ids_C.tolist()
    rows = sorted((number, wnid, 0) for number, wnid in zip(ids, table.wnids, strict=True))
    rows.append((1001, "n00001740", 2))  # an ancestor
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("num_children", object)]
    savemat(kit / "meta.mat", {"synsets": np.array(rows, fields)[:, None]})
    lines = [f"{ids[REAL[i % 3]]}\n" for i in range(6)]
    assert lines[1] == "490\n"
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(lines))
    return []


def as_image_folders(kaggle, root):
    """{train,val}/<wnid>, the boxes elsewhere; only three of the thousand classes have a folder."""
    inner = kaggle / "ILSVRC"
    shutil.copytree(inner / "Data" / "CLS-LOC" / "train", root / "train")
    shutil.copytree(inner / "Annotations" / "CLS-LOC" / "val", root.parent / "elsewhere")
    for image in sorted((inner / "Data" / "CLS-LOC" / "val").iterdir()):
        index = REAL[(int(image.stem[-8:]) - 1) % 3]
        place = root / "val" / ilsvrc_classes().wnids[index] / image.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, place)
    return [f"data.boxes={root.parent / 'elsewhere'}", "data.classes=ilsvrc"]


def test_every_layout_gives_the_same_bytes(kaggle, compose_config, tmp_path):
    config = compose_config("eval", "model=alexnet_gap", "model.width=0.05").model
    torch.manual_seed(0)
    torch.save(build_network(config, 1000).state_dict(), tmp_path / "random.pt")
    common = [
        *("model=alexnet_gap", f"model.weights={tmp_path / 'random.pt'}", "model.width=0.05"),
        *("model.input_size=64", "model.resize_size=72", "data=ilsvrc", "loader.workers=0"),
        *("device=cpu", "examples=0", "box=[threshold,whole_image]"),
        f"runs={tmp_path / 'runs'}",
    ]
    trees = {kaggle: []}
    for make in (as_official_archives, as_image_folders):
        root = tmp_path / make.__name__
        trees[root] = make(kaggle, root)
    files = {}
    layouts = {}
    for root, more in trees.items():
        words = [*common, f"data.root={root}", *more, f"output={tmp_path / 'out' / root.name}"]
        (folder,) = run_evaluation(compose_config("eval", *words), words)
        manifest = json.loads((folder / "manifest.json").read_text())
        layouts[manifest["data"]["layout"].partition(",")[0]] = manifest["data"]["fingerprint"]
        assert manifest["submission_labels"] == "ILSVRC2012_ID of the development kit"
        files[root.name] = {
            path.name: path.read_bytes()
            for path in folder.iterdir()
            if path.name not in ("manifest.json", "eval.log")
        }
    assert layouts.keys() == {"layout Kaggle", "layout official archives", "layout ImageFolder"}
    assert len(set(layouts.values())) == 1
    first = files["kaggle"]
    assert sorted(first) == [
        *("predictions.parquet", "scores.json", "submission_threshold.txt"),
        "submission_whole_image.txt",
    ]
    assert files["as_official_archives"] == first
    assert files["as_image_folders"] == first

    rows = pd.read_parquet(tmp_path / "out" / "kaggle" / "predictions.parquet")
    assert rows["label"].tolist() == REAL * 2
    # make_tree: image i of the split has its box at (3 i mod 16, 2 i mod 12), 16x12 pixels.
    assert [box.tolist() for box in rows["gt_boxes"]][1:3] == [[3, 2, 18, 13], [6, 4, 21, 15]]
    kit_ids = ilsvrc_classes().devkit_ids_C
    for line, guessed in zip(
        first["submission_threshold.txt"].decode().splitlines(), rows["classes"], strict=True
    ):
        assert [int(word) for word in line.split()[::5]] == kit_ids[guessed].tolist()


# --- splits that lack something


def without_boxes(tree, root):
    """The validation images of ``make_tree``'s tree as val/<wnid>, without boxes."""
    for image in sorted((tree / "ILSVRC" / "Data" / "CLS-LOC" / "val").iterdir()):
        place = root / "val" / f"n{1000 + 10 * ((int(image.stem[-8:]) - 1) % 3):08d}" / image.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, place)
    return root


def test_without_boxes_classification_alone_is_scored(
    tiny_tree, trained, evaluate, tmp_path, caplog
):
    runs = trained("alexnet_gap")
    root = without_boxes(tiny_tree, tmp_path / "boxless")
    weights = f"model.weights={runs / 'alexnet_gap' / 'train' / 'last.pt'}"
    words = ["model=alexnet_gap", weights, f"data.root={root}", f"output={tmp_path / 'out'}"]
    with caplog.at_level(logging.INFO):
        (folder,) = evaluate(*words)
    assert "  no true boxes in this split: no localization errors" in caplog.messages
    assert "no labels" not in caplog.text
    scores = json.loads((folder / "scores.json").read_text())
    assert scores.keys() == {"n_images", "n_blacklisted", "cls"}
    rows = pd.read_parquet(folder / "predictions.parquet")
    wrong = [best[0] != label for best, label in zip(rows["classes"], rows["label"], strict=True)]
    assert scores == {
        "n_images": 6,
        "n_blacklisted": 0,
        "cls": {"top1": pytest.approx(100 * sum(wrong) / 6), "top5": 0},
    }
    assert rows["threshold/gt_known"].map(len).tolist() == [4] * 6  # found all the same
    data = json.loads((folder / "manifest.json").read_text())["data"]
    assert (data["has_labels"], data["has_boxes"]) == (True, False)


def test_the_test_split_is_written_for_both_servers_and_has_no_scores(
    tiny_tree, trained, evaluate, tmp_path, caplog
):
    trained("alexnet_gap")
    words = ["model=alexnet_gap", f"output={tmp_path / 'out'}", "examples=0"]
    evaluate(*words)
    assert (tmp_path / "out" / "scores.json").exists()
    with caplog.at_level(logging.INFO):
        (folder,) = evaluate(*words, "split=test", "overwrite=true")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("eval.log", "manifest.json", "predictions.parquet"),
        *("submission_heuristic.csv", "submission_heuristic.txt"),
        *("submission_threshold.csv", "submission_threshold.txt"),
    ]
    assert "  no labels in this split: predictions and submissions only" in caplog.messages
    rows = pd.read_parquet(folder / "predictions.parquet").to_dict("records")
    for rule in ("threshold", "heuristic"):
        table = pd.read_csv(folder / f"submission_{rule}.csv")
        assert table["ImageId"].tolist() == [row["id"] for row in rows]
        text = (folder / f"submission_{rule}.txt").read_text().splitlines()
        for row, guesses, line in zip(rows, table["PredictionString"], text, strict=True):
            words_5 = np.array(guesses.split()).reshape(-1, 5)
            wnids = [f"n{1000 + 10 * index:08d}" for index in row[f"{rule}/classes"]]
            assert words_5[:, 0].tolist() == wnids
            boxes_M4 = row[f"{rule}/boxes"].reshape(-1, 4)
            assert words_5[:, 1:].astype(int).tolist() == boxes_M4.tolist()
            numbers_5 = np.array(line.split(), int).reshape(-1, 5)
            assert numbers_5[:, 0].tolist() == [i + 1 for i in row[f"{rule}/classes"]]
            assert numbers_5[:, 1:].tolist() == boxes_M4.tolist()


@pytest.mark.parametrize(
    ("method", "named"),
    [
        (["saliency=guided_backprop"], "saliency=guided_backprop"),
        (["saliency=gradcam", "saliency.layer=cam_conv"], "saliency.layer=cam_conv"),
    ],
)
def test_a_method_that_needs_layers_is_refused_with_compiled_code(trained, evaluate, method, named):
    runs = trained("alexnet_gap")
    with pytest.raises(UserError) as caught:
        evaluate("model=alexnet_gap", "compile=true", *method)
    assert str(caught.value).startswith("saliency=")
    assert named in str(caught.value)
    assert str(caught.value).endswith("set compile=false")
    assert not list(runs.glob("**/eval/**/*.*"))


def test_a_network_needs_images(trained, compose_config, tiny_run, tmp_path):
    runs = trained("alexnet_gap")
    (tmp_path / "truth.csv").write_text("image,width,height,label,boxes\na,9,9,1,0 0 8 8\n")
    data = ["data=ground_truth", f"data.file={tmp_path / 'truth.csv'}", "device=cpu"]
    weights = f"model.weights={runs / 'alexnet_gap' / 'train' / 'last.pt'}"
    words = ["model=alexnet_gap", weights, *data, f"output={tmp_path / 'out'}"]
    with pytest.raises(UserError, match=r"truth\.csv: has no images for a network to see"):
        run_evaluation(compose_config("eval", *words), words)
    words = ["model=alexnet_gap", *data, "recipe=demo", f"output={tmp_path / 'out'}"]
    with pytest.raises(UserError, match=r"truth\.csv: has no images to train on"):
        run_training(compose_config("train", *words))
    assert not (tmp_path / "out").exists()


def test_weights_that_are_replaced_while_they_are_read_are_not_scored(
    trained, evaluate, monkeypatch
):
    runs = trained("alexnet_gap")
    last = runs / "alexnet_gap" / "train" / "last.pt"
    real = job._build

    def replaced(*arguments):
        built = real(*arguments)
        last.write_bytes(last.read_bytes() + b"0")
        return built

    with monkeypatch.context() as patch:
        patch.setattr(job, "_build", replaced)
        with pytest.raises(UserError, match=r"last\.pt: was replaced while it was read"):
            evaluate("model=alexnet_gap", "examples=0")
    assert not (runs / "alexnet_gap" / "eval").exists()


def test_the_manifest_names_the_weights_that_were_scored(trained, evaluate, monkeypatch):
    """A training under way replaces its checkpoint while the pass goes on."""
    runs = trained("alexnet_gap")
    last = runs / "alexnet_gap" / "train" / "last.pt"
    scored, real = sha256(last), job.evaluate

    def replaced(*arguments, **more):
        last.write_bytes(last.read_bytes() + b"0")
        return real(*arguments, **more)

    monkeypatch.setattr(job, "evaluate", replaced)
    (folder,) = evaluate("model=alexnet_gap", "examples=0")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["checkpoint"]["sha256"] == scored != sha256(last)


@pytest.mark.parametrize("suffix", ["pt", "pth", "ckpt"])
def test_a_checkpoint_of_ours_is_known_by_what_it_holds(trained, evaluate, tmp_path, suffix):
    last = trained("alexnet_gap") / "alexnet_gap" / "train" / "last.pt"
    state = torch.load(last, weights_only=True)
    path = tmp_path / f"moved.{suffix}"
    torch.save({**state, "classes": ["n1", "n2", "n3"]}, path)
    words = ["model=alexnet_gap", f"model.weights={path}", "examples=0"]
    with pytest.raises(UserError, match="was trained on other classes than those of tiny"):
        evaluate(*words)
    torch.save({key: value for key, value in state.items() if key != "optimizer"}, path)
    with pytest.raises(UserError, match="is no whole checkpoint, its optimizer is missing"):
        evaluate(*words)
