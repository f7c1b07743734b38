"""Features on disk: under way, stopped, gone on with, complete."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cam_repro.errors import UserError
from cam_repro.runs import features as module
from cam_repro.runs.features import (
    FEATURES,
    PART,
    TABLE,
    FeatureFile,
    Features,
    begin,
    complete,
    finish_completing,
    read_features,
    rows_done,
    shared_images,
)
from cam_repro.runs.folders import find_run_folders
from cam_repro.runs.manifest import (
    Checkpoint,
    Counts,
    Crops,
    FeaturesManifest,
    Hardware,
    Provenance,
    ScoredData,
    read_eval_manifest,
    read_features_manifest,
    write_manifest,
)

IDS = ["a", "b", "c", "d"]
LABELS = np.array([1, 0, 1, -1])
VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)
STARTED = {"data": "abc", "view": {"name": "squash"}}

MANIFEST = FeaturesManifest(
    model="alexnet_gap",
    view="squash",
    split="val",
    features=3,
    data=ScoredData(name="demo", is_ilsvrc=False, n_classes=2, fingerprint="abc", has_labels=False),
    classes=["n1", "n2"],
    counts=Counts(images=4, skipped=0),
    skipped=[],
    crops=Crops(boxes="runs/a", rule="threshold", of_class="guess", right=41.0, n=4),
    checkpoint=Checkpoint(path="last.pt", sha256="def"),
    seconds=1.0,
    images_per_second=4.0,
    hardware=Hardware(device="cpu", precision="fp32", processes=1),
    config={
        "model": {"name": "alexnet_gap", "row": "AlexNet-GAP", "_target_": "a.Net"},
        "view": {"name": "squash"},
        "data": {"_target_": "cam_repro.data.demo.source.Demo"},
    },
    provenance=Provenance(command="cam-features", git=None, versions={}, created="2026"),
)


def put(folder, rows):
    file = FeatureFile(folder)
    with file.writing():
        file.put(rows, VALUES[rows])
    return file


def test_rows_are_written_in_any_order_and_read_back(tmp_path):
    begin(tmp_path, STARTED, (4, 3))
    put(tmp_path, [2, 0])
    assert FeatureFile(tmp_path).todo == [1, 3]
    put(tmp_path, [3, 1])
    complete(tmp_path, IDS, LABELS, MANIFEST, in_parquet=False)
    assert {path.name for path in tmp_path.iterdir()} == {FEATURES, TABLE, "manifest.json"}
    found = read_features(tmp_path)
    assert found.ids == IDS
    assert found.labels_N.tolist() == LABELS.tolist()
    assert isinstance(found.values_NK, np.memmap)
    np.testing.assert_array_equal(found.values_NK, VALUES)
    assert found.manifest == MANIFEST
    assert found.manifest.row == "AlexNet-GAP"


def test_what_was_put_before_a_stop_is_kept(tmp_path):
    begin(tmp_path, STARTED, (4, 3))
    file = FeatureFile(tmp_path)

    def stopped():
        with file.writing():
            file.put([1], VALUES[1:2])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    begin(tmp_path, STARTED, (4, 3))
    assert rows_done(tmp_path) == [1]
    assert put(tmp_path, [0, 2, 3]).todo == [0, 2, 3]
    complete(tmp_path, IDS, LABELS, MANIFEST, in_parquet=False)
    np.testing.assert_array_equal(read_features(tmp_path).values_NK, VALUES)


def test_rows_count_as_written_only_when_they_are_on_the_disk(tmp_path, monkeypatch):
    begin(tmp_path, STARTED, (4, 3))
    file = FeatureFile(tmp_path)
    with file.writing():
        file.put([0], VALUES[:1])
        assert rows_done(tmp_path) == []
        monkeypatch.setattr(module, "KEEP_EVERY", 0.0)
        file.put([1], VALUES[1:2])
        assert rows_done(tmp_path) == [0, 1]


def test_features_by_other_settings_are_not_mixed(tmp_path):
    begin(tmp_path, STARTED, (4, 3))
    put(tmp_path, [0])
    other = {**STARTED, "view": {"name": "ten"}}
    with pytest.raises(UserError, match=r"by other settings are under way there \(view\)"):
        begin(tmp_path, other, (4, 3))
    assert rows_done(tmp_path) == [0]
    begin(tmp_path, other, (4, 5), overwrite=True)
    assert rows_done(tmp_path) == []
    assert np.load(tmp_path / PART / FEATURES).shape == (4, 5)


def test_rows_that_were_never_written_are_left_out(tmp_path):
    begin(tmp_path, STARTED, (4, 3))
    put(tmp_path, [0, 2])
    manifest = replace(MANIFEST, counts=Counts(images=2, skipped=2), crops=None)
    complete(tmp_path, IDS, LABELS, manifest, in_parquet=True)
    found = read_features(tmp_path)
    assert (found.ids, found.labels_N.tolist()) == (["a", "c"], [1, 1])
    np.testing.assert_array_equal(found.values_NK, VALUES[[0, 2]])
    assert pq.read_table(tmp_path / TABLE)["features"].to_pylist() == VALUES[[0, 2]].tolist()


@pytest.mark.parametrize("killed_in", ["_write_table", "write_manifest", "take_place"])
@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [0, 2]])
def test_a_kill_at_the_end_loses_nothing(tmp_path, monkeypatch, killed_in, rows):
    left_out = [f"{IDS[row]}: not readable" for row in range(4) if row not in rows]
    counts = Counts(images=len(rows), skipped=len(left_out))
    manifest = replace(MANIFEST, counts=counts, skipped=left_out)
    begin(tmp_path, STARTED, (4, 3))
    put(tmp_path, rows)

    def killed(*_):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(module, killed_in, killed)
        with pytest.raises(MemoryError):
            complete(tmp_path, IDS, LABELS, manifest, in_parquet=False)
    finish_completing(tmp_path)
    assert (tmp_path / PART).exists() == (killed_in != "take_place")
    if killed_in != "take_place":  # it was not complete: it goes on, and sees no image again
        begin(tmp_path, STARTED, (4, 3))
        todo = FeatureFile(tmp_path).todo
        assert todo == []
        complete(tmp_path, IDS, LABELS, replace(manifest, skipped=[]), in_parquet=False)
    found = read_features(tmp_path)
    np.testing.assert_array_equal(found.values_NK, VALUES[rows])
    assert found.manifest.skipped == left_out
    assert {path.name for path in tmp_path.iterdir()} == {FEATURES, TABLE, "manifest.json"}


def test_new_features_take_the_place_of_older_ones(tmp_path):
    for factor in (1, 2):
        begin(tmp_path, STARTED, (4, 3))
        file = FeatureFile(tmp_path)
        with file.writing():
            file.put(range(4), factor * VALUES)
        complete(tmp_path, IDS, LABELS, MANIFEST, in_parquet=False)
    np.testing.assert_array_equal(read_features(tmp_path).values_NK, 2 * VALUES)


def test_what_is_damaged_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_features(tmp_path / "nowhere")
    begin(tmp_path, STARTED, (4, 3))
    put(tmp_path, [0, 1, 2, 3])
    complete(tmp_path, IDS, LABELS, MANIFEST, in_parquet=False)
    with pytest.raises(UserError, match="is of features: give a folder that cam-eval wrote"):
        read_eval_manifest(tmp_path)
    with pytest.raises(UserError, match="no scored runs"):
        find_run_folders([str(tmp_path)])
    np.save(tmp_path / FEATURES, VALUES + 1)
    with pytest.raises(UserError, match=r"features.npy is not as it was written"):
        read_features(tmp_path)
    np.save(tmp_path / FEATURES, VALUES[:3])
    write_manifest(tmp_path, MANIFEST)
    with pytest.raises(UserError, match=r"has features \(3, 3\) of 4 images"):
        read_features(tmp_path)
    (tmp_path / TABLE).unlink()
    with pytest.raises(UserError, match=r"features.parquet is missing"):
        read_features(tmp_path)


@pytest.mark.parametrize(
    ("values", "labels", "said"),
    [
        (np.where(VALUES == 7, np.nan, VALUES), LABELS, "features.npy: not all are finite float32"),
        (np.where(VALUES == 7, np.inf, VALUES), LABELS, "features.npy: not all are finite float32"),
        (VALUES.astype("U3"), LABELS, "features.npy: not all are finite float32 numbers"),
        (VALUES.astype(np.complex64), LABELS, "features.npy: not all are finite float32 numbers"),
        (VALUES, [1, 0, -5, -1], "features.parquet: has labels that are no index of its manifest"),
        (VALUES, [1, 0, 2, -1], "no index of its manifest's 2 classes, nor -1: run cam-features"),
        (VALUES, [1.0, 0, 1, -1], "the column label is not of int32"),
        (VALUES, [1, 0, None, -1], "the column label is not of int32 without gaps"),
    ],
)
def test_what_no_svm_can_learn_is_refused(values, labels, said, tmp_path):
    np.save(tmp_path / FEATURES, values.astype(np.float32) if values.dtype == float else values)
    is_whole = all(isinstance(each, int | np.integer | None) for each in labels)
    kind = pa.int32() if is_whole else pa.float64()
    pq.write_table(pa.table({"id": IDS, "label": pa.array(labels, kind)}), tmp_path / TABLE)
    write_manifest(tmp_path, MANIFEST)
    with pytest.raises(UserError, match=said):
        read_features(tmp_path)


@pytest.mark.parametrize(
    ("name", "folder", "ids", "shared"),
    [
        ("s", "/d/s", ["a/1", "b/3"], 1),
        ("other", "/d/s", ["a/1", "b/2"], 2),
        ("a", "/d/s/a", ["1", "2"], 1),
        ("s", "/e/s", ["a/1", "b/2"], 0),
        ("b", "/d/s/b", ["1", "3"], 0),
    ],
)
def test_images_of_plain_folders_are_the_same_where_their_files_are(name, folder, ids, shared):
    def features(name, folder, ids):
        config = {"data": {"_target_": "cam_repro.data.folder.source.Folder"}}
        data = replace(MANIFEST.data, name=name)
        return Features(
            ids, LABELS, VALUES, replace(MANIFEST, data=data, folder=folder, config=config)
        )

    assert (
        shared_images(features("s", "/d/s", ["a/1", "b/2"]), features(name, folder, ids)) == shared
    )


def test_images_of_sets_of_one_name_are_the_same_where_their_ids_are():
    at_d, at_e = (
        Features(IDS, LABELS, VALUES, replace(MANIFEST, folder=folder)) for folder in ("/d", "/e")
    )
    assert shared_images(at_d, at_e) == 4
    renamed = replace(MANIFEST, folder="/e", data=replace(MANIFEST.data, name="other"))
    assert shared_images(at_d, Features(IDS, LABELS, VALUES, renamed)) == 0


@pytest.mark.parametrize(
    ("source", "change", "shared"),
    [
        ("ilsvrc.source.Ilsvrc", {}, 0),
        ("ilsvrc.source.Ilsvrc", {"folder": "/d/train"}, 4),  # lists of one folder
        ("ilsvrc.source.Ilsvrc", {"split": "train"}, 4),  # a copy of the set
        ("packed.source.Packed", {}, 4),
    ],
)
def test_files_of_one_name_in_two_splits_are_two_images(source, change, shared):
    config = {**MANIFEST.config, "data": {"_target_": f"cam_repro.data.{source}", "root": "d"}}
    train = replace(MANIFEST, split="train", folder="/d/train", config=config)
    val = replace(train, **{"split": "val", "folder": "/d/val", **change})
    at_train, at_val = (Features(IDS, LABELS, VALUES, each) for each in (train, val))
    assert shared_images(at_train, at_val) == shared


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"data": None}, "config.data is not an object"),
        ({"data": {}}, "config.data._target_ is missing"),
        ({"model": None}, "config.model is not an object"),
        ({"model": {"name": "alexnet_gap"}}, "config.model._target_ is missing"),
        ({"model": {"name": 3}}, "config.model.name is not text"),
        ({"view": "squash"}, "config.view is not an object"),
    ],
)
def test_settings_of_another_kind_are_named(config, said, tmp_path):
    write_manifest(tmp_path, replace(MANIFEST, config={**MANIFEST.config, **config}))
    with pytest.raises(UserError, match=f"{said}: run cam-features again"):
        read_features_manifest(tmp_path)


def test_a_scored_run_is_not_read_as_features(make_run, tmp_path):
    run = make_run("vgg_gap", cls_right=1, n=2)
    with pytest.raises(UserError, match="is not of features: give a folder that cam-features"):
        read_features_manifest(run)
