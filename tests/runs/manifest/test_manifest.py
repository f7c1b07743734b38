"""The manifests of runs: literally, of both schemas, and what is refused of them."""

import json
import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from run_builder import make_manifest

from cam_repro.errors import UserError
from cam_repro.runs.manifest import (
    Blacklist,
    Checkpoint,
    Counts,
    EvalManifest,
    Hardware,
    Provenance,
    ScoredData,
    TrainedData,
    TrainManifest,
    is_of_scored_run,
    read_eval_manifest,
    read_features_manifest,
    read_svm_manifest,
    read_train_manifest,
    write_manifest,
)

RESULTS = Path(__file__).parents[3] / "results"

ORIGIN = {
    "command": "cam-reproduce experiment=demo",
    "git": "41b93d599c23d077360efa98501a776586e2b6ad",
    "versions": {"cam_repro": "0.1.0", "python": "3.11.7"},
    "created": "2026-11-21T22:58:16+00:00",
}
COMPUTED = {"device": "AMD EPYC, 2 threads", "precision": "fp32", "processes": 1}

# As results/demo/googlenet/eval/val-backprop has it, with fewer settings
EVAL_1 = {
    "model": "googlenet",
    "saliency": "backprop",
    "view": "squash",
    "covered": 1.0,
    "split": "val",
    "strategies": ["threshold", "dt_box"],
    "data": {
        "name": "demo",
        "is_ilsvrc": False,
        "n_classes": 12,
        "fingerprint": "4ddba67f",
        "has_labels": True,
        "has_boxes": True,
        "layout": "layout Kaggle, labels and boxes from Annotations/CLS-LOC/val",
        "class_names": ["<b>", "naïve"],
    },
    "counts": {"images": 500, "skipped": 1},
    "skipped": ["a.JPEG: not a readable image"],
    "submission_labels": "class index + 1",
    "blacklist": None,
    "maps": False,
    "checkpoint": {"path": "runs/demo/googlenet/train/last.pt", "sha256": "ce002a24"},
    "seconds": 8.47,
    "images_per_second": 59.06,
    **COMPUTED,
    "config": {
        "saliency": {"_target_": "cam_repro.saliency.backprop.Backprop", "blur": 0.03},
        "view": {"_target_": "cam_repro.data.views.Squash", "name": "squash"},
        "box": {
            "threshold": 0.2,
            "strategies": {
                "threshold": {
                    "_target_": "cam_repro.boxes.threshold.ThresholdBox",
                    "threshold": 0.2,
                },
                "dt_box": {"_target_": "cam_repro.boxes.dt_box.DtBox", "dt_jpeg_quality": 75},
            },
        },
        "split": "val",
    },
    **ORIGIN,
    "schema": 1,
}

# The same as schema 2 has it
EVAL_2 = {
    ("rules" if key == "strategies" else key): value for key, value in deepcopy(EVAL_1).items()
}
EVAL_2["config"]["saliency"]["name"] = "backprop"
EVAL_2["config"]["box"] = {
    "threshold": {"_target_": "cam_repro.boxes.threshold.ThresholdBox", "threshold": 0.2},
    "dt_box": {"_target_": "cam_repro.boxes.dt_box.DtBox", "jpeg_quality": 75},
}
EVAL_2["schema"] = 2

EVAL = EvalManifest(
    model="googlenet",
    saliency="backprop",
    view="squash",
    covered=1.0,
    split="val",
    rules=["threshold", "dt_box"],
    data=ScoredData(
        name="demo",
        is_ilsvrc=False,
        n_classes=12,
        fingerprint="4ddba67f",
        has_labels=True,
        has_boxes=True,
        layout="layout Kaggle, labels and boxes from Annotations/CLS-LOC/val",
        class_names=["<b>", "naïve"],
    ),
    counts=Counts(images=500, skipped=1),
    skipped=["a.JPEG: not a readable image"],
    submission_labels="class index + 1",
    checkpoint=Checkpoint(path="runs/demo/googlenet/train/last.pt", sha256="ce002a24"),
    seconds=8.47,
    images_per_second=59.06,
    hardware=Hardware(device="AMD EPYC, 2 threads", precision="fp32", processes=1),
    config=EVAL_2["config"],
    provenance=Provenance(**ORIGIN),
)

# results/demo/alexnet_gap/train, its settings shortened: it names no schema, which means 1
TRAIN_1 = {
    "model": "alexnet_gap",
    "data": {
        "name": "demo",
        "n_train": 2000,
        "n_val": 500,
        "n_classes": 12,
        "fingerprint": "2d32ae40",
    },
    "iterations": 496,
    "epochs": 8.0,
    "final": {"epoch": 8.0, "iteration": 496, "val_top1_error": 2.0000000000000018},
    "parameters": 310544,
    "skipped": [],
    "seconds": 23.2,
    **COMPUTED,
    "config": {"optim": {"lr": 0.02}, "seed": 0},
    **ORIGIN,
    "checkpoint": {"path": "last.pt", "sha256": "20f65798"},
}
TRAIN_2 = {**TRAIN_1, "schema": 2}

TRAIN = TrainManifest(
    model="alexnet_gap",
    data=TrainedData(name="demo", n_train=2000, n_val=500, n_classes=12, fingerprint="2d32ae40"),
    iterations=496,
    epochs=8.0,
    final={"epoch": 8.0, "iteration": 496, "val_top1_error": 2.0000000000000018},
    parameters=310544,
    seconds=23.2,
    hardware=Hardware(device="AMD EPYC, 2 threads", precision="fp32", processes=1),
    config={"optim": {"lr": 0.02}, "seed": 0},
    provenance=Provenance(**ORIGIN),
    checkpoint=Checkpoint(path="last.pt", sha256="20f65798"),
)

KINDS = {
    "eval": (read_eval_manifest, EVAL, EVAL_2),
    "train": (read_train_manifest, TRAIN, TRAIN_2),
}


def put(folder, values):
    (folder / "manifest.json").write_text(json.dumps(values))
    return folder


def written(folder):
    return json.loads((folder / "manifest.json").read_text())


# --- read and written ----------------------------------------------------------------------------


@pytest.mark.parametrize("values", [EVAL_1, EVAL_2])
def test_a_scored_pass_of_either_schema_is_read(tmp_path, values):
    assert read_eval_manifest(put(tmp_path, values)) == EVAL


@pytest.mark.parametrize("values", [TRAIN_1, TRAIN_2])
def test_a_training_run_of_either_schema_is_read(tmp_path, values):
    assert read_train_manifest(put(tmp_path, values)) == TRAIN


@pytest.mark.parametrize(("record", "values"), [(EVAL, EVAL_2), (TRAIN, TRAIN_2)])
def test_keys_are_written_in_the_order_of_before(tmp_path, record, values):
    write_manifest(tmp_path, record)
    expected = {**values, "checksum": written(tmp_path)["checksum"]}
    assert (tmp_path / "manifest.json").read_text() == json.dumps(expected, indent=2) + "\n"


def test_a_pass_without_a_network_names_only_what_it_has(tmp_path):
    manifest = make_manifest(model="none", saliency="none", view="none", classifies=False)
    write_manifest(tmp_path, manifest)
    assert list(written(tmp_path)) == [
        *("model", "saliency", "view", "classifies", "split", "rules", "data", "counts"),
        *("skipped", "submission_labels", "config", "command", "git", "versions", "created"),
        *("schema", "checksum"),
    ]
    read = read_eval_manifest(tmp_path)
    assert not read.classifies
    assert (read.covered, read.checkpoint, read.hardware, read.seconds) == (None,) * 4


def test_a_manifest_that_was_changed_is_refused(tmp_path):
    write_manifest(tmp_path, EVAL)
    path = tmp_path / "manifest.json"
    text = path.read_text()
    for old, new in (('"split": "val"', '"split": "vam"'), ('"images": ', '"images": 1')):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(UserError, match=r"manifest\.json is not as it was written, by its che"):
            read_eval_manifest(tmp_path)
    path.write_text(json.dumps(json.loads(text)))  # only laid out otherwise
    assert read_eval_manifest(tmp_path) == EVAL


def test_numbers_that_are_none_are_null_and_read_as_nan(tmp_path):
    write_manifest(tmp_path, replace(TRAIN, final={"val_loss": math.inf, "val_top1_error": 3.0}))
    assert written(tmp_path)["final"] == {"val_loss": None, "val_top1_error": 3.0}
    final = read_train_manifest(tmp_path).final
    assert math.isnan(final["val_loss"])
    assert final["val_top1_error"] == 3


def test_what_older_versions_did_not_write_has_a_default(tmp_path):
    values = deepcopy(EVAL_1)
    for key in ("has_boxes", "layout", "class_names"):
        del values["data"][key]
    for key in ("maps", "blacklist"):
        del values[key]
    read = read_eval_manifest(put(tmp_path, values))
    assert (read.data.has_boxes, read.data.layout) == (True, None)
    assert read.data.class_names is None
    assert (read.maps, read.blacklist) == (False, None)


def test_a_blacklist_and_weights_without_a_file(tmp_path):
    manifest = make_manifest(
        blacklist=Blacklist(images=2, ids=["a", "b"]),
        checkpoint=Checkpoint(path="torchvision"),
        maps=True,
    )
    write_manifest(tmp_path, manifest)
    assert written(tmp_path)["blacklist"] == {"images": 2, "ids": ["a", "b"]}
    assert written(tmp_path)["checkpoint"] == {"path": "torchvision"}
    assert read_eval_manifest(tmp_path) == manifest


@pytest.mark.parametrize(
    "path", sorted(RESULTS.rglob("manifest.json")), ids=lambda path: str(path.relative_to(RESULTS))
)
def test_every_manifest_among_the_results_is_read(path):
    if path.parent.name == "train":
        assert read_train_manifest(path.parent).model in path.parts
    else:
        manifest = read_eval_manifest(path.parent)
        assert list(manifest.box_settings) == manifest.rules


# --- what the settings are asked -----------------------------------------------------------------


def test_settings_of_view_saliency_and_boxes():
    assert EVAL.saliency_settings == {
        "name": "backprop",
        "_target_": "cam_repro.saliency.backprop.Backprop",
        "blur": 0.03,
    }
    assert EVAL.view_settings == {"_target_": "cam_repro.data.views.Squash", "name": "squash"}
    assert EVAL.box_settings["threshold"]["threshold"] == 0.2
    assert (EVAL.interpolation, EVAL.threshold) == ("linear", 0.2)


def test_settings_that_are_not_there():
    bare = make_manifest(config={})
    assert (bare.saliency_settings, bare.view_settings, bare.box_settings) == (None, None, None)
    assert (bare.interpolation, bare.threshold) == ("linear", None)
    cubic = make_manifest(
        config={"view": {"interpolation": "cubic"}, "box": {"threshold": {"at": "x"}}}
    )
    assert (cubic.interpolation, cubic.threshold) == ("cubic", None)


# --- what is refused -----------------------------------------------------------------------------

OPTIONAL = {  # null, or not there, means something
    *("blacklist", "checkpoint", "maps", "git", "data.has_boxes", "data.layout"),
    "data.class_names",
    *("checkpoint.sha256", "config.saliency", "config.view", "config.box"),
}


def keys(values, prefix=""):
    """All keys of a manifest that a record is read from, those inside others behind a dot."""
    for key, value in values.items():
        yield prefix + key
        if isinstance(value, dict) and key not in ("versions", "final", "config"):
            yield from keys(value, f"{prefix}{key}.")


def changed(values, key, *new):
    """The values with another one at ``key``, or without it."""
    values = deepcopy(values)
    *outer, last = key.split(".")
    inner = values
    for name in outer:
        inner = inner[name]
    inner.pop(last)
    if new:
        inner[last] = new[0]
    return values


def refusal(read, folder, values):
    with pytest.raises(UserError) as caught:
        read(put(folder, values))
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder / "manifest.json") in message
    return message


@pytest.mark.parametrize(
    ("kind", "key"),
    [(kind, key) for kind, (_, _, values) in KINDS.items() for key in keys(values)],
)
def test_each_key_that_is_missing_or_of_a_wrong_type_is_named(tmp_path, kind, key):
    read, record, values = KINDS[kind]
    needed = key not in OPTIONAL or (kind, key) == ("train", "checkpoint")
    if key == "schema":
        needed = False  # has a test of its own
    elif key == "iterations":  # by which the kind is known
        assert "has schema" not in refusal(read, tmp_path, changed(values, key))
    elif needed:
        message = refusal(read, tmp_path, changed(values, key))
        assert f": {key} is missing: " in message
        assert "overwrite=true" in message
    else:
        read(put(tmp_path, changed(values, key)))
        read(put(tmp_path, changed(values, key, None)))
    assert read(put(tmp_path, values)) == record
    for wrong in (None, 3, 2.5, "text", True, [], {}, [None], {"a": None}):
        try:
            read(put(tmp_path, changed(values, key, wrong)))
        except UserError:
            message = refusal(read, tmp_path, changed(values, key, wrong))
            assert key in message
        else:
            right = values
            for name in key.split("."):
                right = right[name]
            same = type(wrong) is type(right) or (isinstance(right, float) and wrong == 3)
            assert same or (wrong is None and not needed), (key, wrong)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("counts.images", "5", "counts.images is not a whole number"),
        ("counts.images", True, "counts.images is not a whole number"),
        ("counts", [], "counts is not an object"),
        ("rules", ["threshold", 3], "rules[1] is not text"),
        ("versions", {"torch": 2}, "versions.torch is not text"),
        ("seconds", "8.5", "seconds is not a number"),
        ("data.is_ilsvrc", 0, "data.is_ilsvrc is not true or false"),
        ("config", {"view": "squash"}, "config.view is not an object"),
        ("config", {"saliency": 1}, "config.saliency is not an object"),
        ("config", {"box": ["threshold"]}, "config.box is not an object"),
        ("config", {"box": {"a": 1}}, "config.box.a is not an object"),
        ("config", {"model": "nin"}, "config.model is not an object"),
        ("config", {"model": {"row": 3}}, "config.model.row is not text"),
        ("config", {"view": {"interpolation": 1}}, "config.view.interpolation is not text"),
    ],
)
def test_literal_refusals(tmp_path, key, value, said):
    message = refusal(read_eval_manifest, tmp_path, changed(EVAL_2, key, value))
    path = tmp_path / "manifest.json"
    assert message == f"{path}: {said}: score the run again with cam-eval overwrite=true"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("rules", [], "has no box rule: rules is empty"),
        (
            "config",
            {"view": {"interpolation": "cubik"}},
            "has config.view.interpolation=cubik; choose one of linear, cubic; did you mean cubic?",
        ),
        ("data.n_classes", 10**10, "has 10000000000 classes, which are 1 to 1,000,000"),
        ("data.n_classes", 0, "has 0 classes, which are 1 to 1,000,000"),
    ],
)
def test_values_that_cannot_be_used(tmp_path, key, value, said):
    message = refusal(read_eval_manifest, tmp_path, changed(EVAL_2, key, value))
    path = tmp_path / "manifest.json"
    assert message == f"{path} {said}: score the run again with cam-eval overwrite=true"


def test_settings_of_a_trained_network_that_are_none(tmp_path):
    message = refusal(read_train_manifest, tmp_path, changed(TRAIN_2, "config", {"model": 3}))
    assert "config.model is not an object" in message


def test_a_networks_name_in_figures():
    assert make_manifest(model="nin", config={"model": {"row": "NIN"}}).row == "NIN"
    assert make_manifest(model="nin", config={"model": None}).row == "nin"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schema", [0, 3, 7, "2", 1.0, True, None])
def test_any_other_schema_is_refused(tmp_path, kind, schema):
    read, _, values = KINDS[kind]
    message = refusal(read, tmp_path, {**values, "schema": schema})
    assert f"manifest.json has schema {schema}, this version reads 1 to 2: " in message


@pytest.mark.parametrize(
    ("box", "key"),
    [
        ([], "config.box"),
        ({"threshold": 0.2}, "config.box.threshold"),
        ({"strategies": ["threshold"]}, "config.box.strategies"),
        ({"strategies": {"threshold": 0.2}}, "config.box.threshold"),
    ],
)
def test_box_rules_of_schema_1_that_are_none_are_named(tmp_path, box, key):
    said = refusal(read_eval_manifest, tmp_path, changed(EVAL_1, "config.box", box))
    assert f": {key} is not an object: " in said


def test_a_scored_pass_names_its_schema(tmp_path):
    without = changed(EVAL_2, "schema")
    assert "has schema None" in refusal(read_eval_manifest, tmp_path, without)


def test_one_kind_is_not_taken_for_the_other(tmp_path):
    said = refusal(read_eval_manifest, tmp_path, TRAIN_2)
    assert said.endswith("is of a training run: give a folder that cam-eval wrote")
    said = refusal(read_train_manifest, tmp_path, EVAL_2)
    assert said.endswith("is of a scored run: give a folder that cam-train wrote")
    packed = {"packed_schema": 1, "splits": {}}
    assert "has schema None" in refusal(read_eval_manifest, tmp_path, packed)
    assert "has schema None" in refusal(read_train_manifest, tmp_path, packed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_manifest_cut_short_anywhere_is_one_line(tmp_path, kind):
    read, _, values = KINDS[kind]
    text = json.dumps(values, indent=2)
    for length in range(len(text)):
        (tmp_path / "manifest.json").write_text(text[:length])
        with pytest.raises(UserError, match=r"manifest\.json cannot be read \(.*\): "):
            read(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe{}", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[1, 2]", "is not a manifest"),
        (b"null", "is not a manifest"),
        (b'"text"', "is not a manifest"),
        (b"{}", "has schema None"),
    ],
)
def test_what_is_no_manifest_is_one_line(tmp_path, content, said):
    (tmp_path / "manifest.json").write_bytes(content)
    for read in (read_eval_manifest, read_train_manifest):
        with pytest.raises(UserError, match=rf"manifest\.json {said}"):
            read(tmp_path)
    assert is_of_scored_run(tmp_path), "whoever reads it says what is wrong"
    (tmp_path / "log.csv").touch()
    assert is_of_scored_run(tmp_path) == (content == b"{}"), "a broken one is of the training"


@pytest.mark.parametrize(
    ("read", "command"),
    [
        (read_eval_manifest, "cam-eval"),
        (read_train_manifest, "cam-train"),
        (read_features_manifest, "cam-features"),
        (read_svm_manifest, "cam-generic"),
    ],
)
def test_a_folder_without_a_manifest_is_another_one_or_not_finished(tmp_path, read, command):
    said = f"has no manifest.json, so {command} did not write it, or did not end: give a folder"
    with pytest.raises(UserError, match=f"{tmp_path}: {said} that {command} wrote"):
        read(tmp_path)
