"""Mistakes end in one line that names the thing, a status not 0, and nothing half-written."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from cam_repro.api import load_network
from cam_repro.errors import UserError
from cam_repro.files import sha256

RESULTS = {"manifest.json", "last.pt", "best.pt", "log.csv", "curves.png", "contact_sheet.png"}
RESULTS |= {"maps", "examples.parquet"}


def results_in(folder):
    """Files below ``folder`` that a run would leave, or leave half; cached tables do not count."""
    return [
        path
        for path in folder.rglob("*")
        if ".cache" not in path.relative_to(folder).parts
        and (
            path.name in RESULTS
            or path.name.startswith((".", "submission", "scores", "predictions", "table"))
        )
    ]


def assert_one_line(done, *parts):
    assert done.status == 1
    assert len(done.errors) == 1, done.err
    assert "Traceback" not in done.err
    assert done.err.splitlines()[-1] == done.errors[0], "the error is the last thing said"
    for part in parts:
        assert str(part) in done.errors[0]


@pytest.fixture(autouse=True)
def no_data_in_the_environment(monkeypatch):
    monkeypatch.delenv("CAM_REPRO_ILSVRC", raising=False)


@pytest.fixture
def tree(tiny_tree, tmp_path):
    """A tree of one's own, to break."""
    return Path(shutil.copytree(tiny_tree, tmp_path / "mine"))


@pytest.fixture
def trained(tiny_run, train_once, tmp_path):
    """Folder of a finished run."""
    return train_once(tmp_path / "trained", *tiny_run, "optim.iterations=1")


# --- words that cannot be right, refused before any work


@pytest.mark.parametrize(
    ("name", "words", "parts"),
    [
        ("train", [], ["model is not given: add model=NAME"]),
        (
            "train",
            ["model=vgg_gpa"],
            ["model=vgg_gpa: choose one of alexnet,", "; did you mean vgg_gap?"],
        ),
        ("train", ["model=none"], ["model=none is no network"]),
        ("train", ["model=vgg", "data=ilsvrc"], ["data.root is not given: add data.root=DIR"]),
        (
            "train",
            ["model=vgg", "data=imagenet"],
            ["data=imagenet: choose one of cub, demo,", "; did you mean ilsvrc?"],
        ),
        ("train", ["model=vgg", "optim.lr=-1"], ["optim.lr=-1.0: must be over 0"]),
        ("train", ["model=vgg", "optim.lr=fast"], ["optim.lr=fast: must be a number"]),
        (
            "train",
            ["model=vgg", "optim.schedule=stpe"],
            ["choose one of step, cosine, constant; did you mean step?"],
        ),
        ("train", ["model=vgg", "optim.epochs=1", "optim.iterations=1"], ["optim.epochs and"]),
        ("train", ["model=vgg", "optim.momentum=1"], ["optim.momentum=1.0"]),
        (
            "train",
            ["model=vgg", "optim.batchsize=8"],
            ["'optim.batchsize'; did you mean optim.batch_size?"],
        ),
        ("train", ["model=vgg", "sede=1"], ["there is no setting 'sede'; did you mean seed?"]),
        ("train", ["model=vgg", "+sede=1"], ["there is no setting 'sede'; did you mean seed?"]),
        ("train", ["model=vgg", "model.widht=1"], ["'model.widht'; did you mean model.width?"]),
        ("train", ["model=vgg", "optm.lr=1"], ["'optm.lr'; did you mean optim.lr?"]),
        ("train", ["model=vgg", "lr=1"], ["no setting 'lr'; did you mean optim.lr?"]),
        ("train", ["model=vgg", "xyz=1"], ["there is no setting 'xyz': --help lists them"]),
        ("train", ["model=vgg", "data.rot=D"], ["'data.rot': --help lists them (those of ILSVRC"]),
        ("train", ["vgg_gap"], ["'vgg_gap' has no '='", "; did you mean model=vgg_gap?"]),
        ("train", ["model=vgg", "runs=[a]"], ["runs: is one value, not a list or group"]),
        ("train", ["model=vgg", "compile=ture"], ["compile=ture: must be true or false; did"]),
        ("train", ["model=[vgg"], ["'model=[vgg' cannot be read", "close its brackets"]),
        ("train", ["model=vgg,nin"], ["model=vgg,nin: for a job with each of these values add -m"]),
        ("train", ["--hlep"], ["there is no flag --hlep; did you mean --help?"]),
        ("train", ["model=vgg", "-z"], ["there is no flag -z: --help says what there is"]),
        ("train", ["model=vgg", "--cfg", "jobb"], ["argument --cfg/-c: invalid choice: 'jobb'"]),
        (
            "train",
            ["model=vgg", "augment=mixup"],
            ["augment=mixup: choose one of random_resized_crop, squash_crop"],
        ),
        ("train", ["model=vgg", "precision=fp8"], ["precision=fp8: choose one of"]),
        ("train", ["model=vgg", "precision=bf61"], ["fp32, bf16; did you mean bf16?"]),
        ("train", ["model=vgg", "checkpoint_every=0"], ["checkpoint_every"]),
        ("train", ["model=vgg", "validate_every=0"], ["validate_every"]),
        ("train", ["model=vgg", "seed=abc"], ["seed=abc: must be a whole number"]),
        ("train", ["model=vgg", "optim"], ["'optim' has no '=': a setting is written KEY=VALUE"]),
        (
            "train",
            ["model=vgg", "loader.on_error=ignore"],
            ["loader.on_error=ignore: choose one of"],
        ),
        (
            "eval",
            ["model=vgg_gpa"],
            ["model=vgg_gpa: choose one of alexnet,", "; did you mean vgg_gap?"],
        ),
        (
            "eval",
            ["saliency=camm"],
            ["saliency=camm: choose one of backprop, cam, ", "; did you mean cam?"],
        ),
        ("eval", ["view=elevn"], ["view=elevn: choose one of center, squash, ten"]),
        ("eval", ["box=[threshold,dtbox]"], ["box=dtbox: choose one of", "; did you mean dt_box?"]),
        ("eval", ["box=[]"], ["box=[]: name one box rule, or several in brackets"]),
        ("eval", ["box=threshold,heuristic"], ["box=threshold,heuristic: name one box rule"]),
        ("eval", ["-m", "model=nin", "box=threshold,center"], ["there is no sweep over them"]),
        ("eval", ["view=null"], ["a choice of null cannot be given"]),
        (
            "train",
            ["model=vgg", "recipe=dmeo"],
            ["recipe=dmeo: choose one of demo, ilsvrc", "; did you mean demo?"],
        ),
        (
            "train",
            ["-m", "model=vgg", "recipe=demo,dmeo"],
            ["recipe=dmeo: choose one of demo, ilsvrc", "; did you mean demo?"],
        ),
        ("train", ["model=vgg", "data=ground_truth", "data.file=F"], ["F"]),
        ("eval", ["split=validation"], ["split=validation: choose one of train, val, test"]),
        ("eval", ["checkpoint=first"], ["checkpoint=first: choose one of last, best"]),
        ("eval", ["box.treshold=0.3"], ["'box.treshold'; did you mean box.threshold.threshold?"]),
        ("eval", ["batch_size=0"], ["batch_size"]),
        (
            "reproduce",
            ["experiment=papper"],
            ["experiment=papper: choose one of", "; did you mean paper?"],
        ),
        ("reproduce", [], ["no experiment is named, so nothing was started: add experiment=NAME"]),
        ("reproduce", ["models=[vgg]"], ["no experiment is named"]),
        (
            "reproduce",
            ["experiment=demo", "models=[vgg,vgg_gpa]"],
            ["models=vgg_gpa: choose one of alexnet, vgg,", "; did you mean vgg_gap?"],
        ),
        ("score", ["protocol=clsloc2"], ["protocol=clsloc2: choose one of", "mean clsloc?"]),
        ("tables", ["source=autors"], ["paper, authors, both; did you mean authors?"]),
        ("reproduce", ["modles=[vgg]"], ["no setting 'modles'"]),
        ("eval", ["model=none", "data=ground_truth"], ["data.file is not given: add data.file=F"]),
        ("eval", ["save_maps=maybe"], ["save_maps", "maybe"]),
        ("reproduce", ["experiment=paper"], ["data.root is not given"]),
        (
            "data",
            ["chekc"],
            ["cam-data chekc: choose one of make, check, unpack, pack; did you mean check?"],
        ),
        ("data", ["check", "data=ilsvrc"], ["data.root is not given"]),
    ],
)
def test_words(command, tmp_path, name, words, parts):
    assert_one_line(command(name, *words), *parts)
    assert results_in(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["model.width=0"], "model.width"),
        (["model.norm=layer"], "model.norm='layer'"),
        (["model.input_size=16"], "model.input_size=16 is too small"),
        (["model.resize_size=60"], "model.resize_size=60 is too small"),
        (["model.weights=nowhere.pt"], "model.weights=nowhere.pt"),
        (["+model.depth=3"], "model.depth"),
        (["device=tpu9"], "device=tpu9"),
        (["optim.accumulate=3"], "optim.batch_size=4 must be divisible"),
        (["optim.lr=1e12"], "no longer a number"),
        (
            ["optim.warmup=6"],
            "optim.warmup=6: the run is over before, after 6 iterations (optim.iterations=6): "
            "lower optim.warmup or raise optim.iterations",
        ),
        (
            ["optim.warmup=9", "optim.iterations=null", "optim.epochs=2"],
            "after 6 iterations (optim.epochs=2.0): lower optim.warmup or raise optim.epochs",
        ),
    ],
)
def test_words_that_only_the_network_or_the_machine_can_judge(
    command, tiny_run, tmp_path, words, part
):
    assert_one_line(command("train", *tiny_run, *words), part)
    assert results_in(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["box.threshold.threshold=2"], "box.threshold.threshold=2"),
        (["box.threshold.threshold=-0.1"], "box.threshold.threshold=-0.1"),
        (["box.heuristic.loose=0.5"], "box.heuristic.loose=0.5"),
        (["saliency=backprop", "saliency.blur=1"], "saliency.blur=1"),
        (["+view.zoom=2"], "zoom"),
        (["model=vgg"], "no trained vgg for the data set tiny"),
        (
            ["model=squeezenet", "model.weights={weights}"],
            "holds the network alexnet_gap, not squeezenet",
        ),
        (["model.input_size=16"], "model.input_size=16 is too small"),
    ],
)
def test_words_of_cam_eval(command, tiny_tree, trained, tmp_path, words, part):
    weights = f"model.weights={trained / 'last.pt'}"
    words = [word.format(weights=trained / "last.pt") for word in words]
    common = ["model=alexnet_gap", weights, "data=ilsvrc", f"data.root={tiny_tree}", "output=out"]
    if words[0].startswith("model=vgg"):
        common.remove(weights)
    done = command("eval", *common, "loader.workers=0", "device=cpu", *words)
    assert_one_line(done, part)
    assert results_in(tmp_path / "out") == []


def test_cam_needs_a_linear_head(command, tiny_run, tmp_path):
    words = [word for word in tiny_run if not word.startswith("model=")]
    done = command("train", "model=alexnet", *words, "optim.iterations=1", "output=plain")
    assert done.status == 0, done.err
    words = [word for word in words if word.startswith(("data", "loader", "device"))]
    weights = "model.weights=plain/last.pt"
    done = command("eval", "model=alexnet", weights, "saliency=cam", *words, "output=out")
    assert_one_line(done, "saliency=cam does not work on model=alexnet", "saliency=backprop")
    assert results_in(tmp_path / "out") == []


def test_nothing_trained_yet(command, tiny_tree, tmp_path):
    done = command("eval", "data=ilsvrc", f"data.root={tiny_tree}", "device=cpu")
    assert_one_line(done, "no trained run of tiny under runs", "cam-train model=NAME")


# --- the data set


@pytest.mark.parametrize("name", ["train", "eval", "data", "reproduce"])
def test_a_root_that_is_not_there(command, tmp_path, name):
    words = {
        "train": ["model=alexnet_gap", "data=ilsvrc"],
        "eval": ["data=ilsvrc"],
        "data": ["check", "data=ilsvrc"],
        "reproduce": ["experiment=paper"],
    }
    missing = tmp_path / "nowhere"
    done = command(name, *words[name], f"data.root={missing}")
    assert_one_line(done, f"data.root={missing}: no such folder")
    assert results_in(tmp_path) == []


def test_a_class_folder_that_the_mapping_lacks(command, tree, tiny_run, tmp_path):
    mapping = tree / "LOC_synset_mapping.txt"
    lines = mapping.read_text().splitlines(keepends=True)
    mapping.write_text("".join(lines[:-1]))
    lost = lines[-1].split()[0]
    done = command("train", *tiny_run, f"data.root={tree}")
    assert_one_line(done, lost, "does not tell the class of", mapping)
    done = command("eval", "data=ilsvrc", f"data.root={tree}", "device=cpu")
    assert_one_line(done, lost, "is not in", mapping)
    assert results_in(tmp_path / "runs") == []


@pytest.fixture
def broken(tree):
    """Cuts short one image of a split; returns its path."""

    def cut(split):
        path = sorted((tree / "ILSVRC" / "Data" / "CLS-LOC" / split).rglob("*.JPEG"))[1]
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path

    return cut


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("preload", ["yes", "no"])
def test_a_truncated_image_in_training(command, tree, broken, tiny_run, tmp_path, split, preload):
    path = broken(split)
    words = [*tiny_run, f"data.root={tree}", f"loader.preload={preload}", "output=out"]
    done = command("train", *words)
    assert_one_line(done, f"{path}: not a readable image", "loader.on_error=skip")
    assert results_in(tmp_path / "out") == []

    done = command("train", *words, "loader.on_error=skip")
    assert done.status == 0, done.err
    assert f"skipped (1 so far): {path}" in done.err
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(manifest["skipped"]) == 1
    assert manifest["skipped"][0].startswith(f"{path}: not a readable image")


def test_a_truncated_image_in_scoring(command, tree, broken, trained, tmp_path):
    path = broken("val")
    words = ["model=alexnet_gap", f"model.weights={trained / 'last.pt'}", "data=ilsvrc"]
    words += [f"data.root={tree}", "loader.workers=0", "device=cpu", "output=out"]
    done = command("eval", *words)
    assert_one_line(done, f"{path}: not a readable image", "loader.on_error=skip")
    assert results_in(tmp_path / "out") == []

    done = command("eval", *words, "loader.on_error=skip")
    assert done.status == 0, done.err
    assert "1 unreadable images skipped" in done.err
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["counts"] == {"images": 5, "skipped": 1}
    assert manifest["skipped"][0].startswith(f"{path}: ")
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["n_images"] == 5


def test_no_readable_image_at_all(command, tree, trained, tmp_path):
    for path in (tree / "ILSVRC" / "Data" / "CLS-LOC" / "val").iterdir():
        path.write_bytes(b"")
    words = ["model=alexnet_gap", f"model.weights={trained / 'last.pt'}", "data=ilsvrc"]
    words += [f"data.root={tree}", "loader.workers=0", "device=cpu", "loader.on_error=skip"]
    done = command("eval", *words, "output=out")
    assert_one_line(done, "no image of", "could be read")
    assert results_in(tmp_path / "out") == []


# --- checkpoints


def test_a_checkpoint_of_another_class_count(command, make_tree, trained, tmp_path):
    other = make_tree(tmp_path / "four", classes=4)
    words = ["model=alexnet_gap", "data=ilsvrc", f"data.root={other}", "device=cpu", "output=out"]
    path = trained / "last.pt"
    done = command("eval", *words, f"model.weights={path}")
    assert_one_line(done, f"{path} has 3 classes, the data set four has 4")

    # The same as tensors alone, of which only the shapes can tell.
    torch.save(torch.load(path, weights_only=True)["model"], tmp_path / "tensors.pt")
    done = command("eval", *words, "model.width=0.05", "model.weights=tensors.pt")
    assert_one_line(done, "tensors.pt: class layer cam_fc has 3 classes, the data set has 4")
    assert results_in(tmp_path / "out") == []


def test_a_checkpoint_of_other_classes(command, make_tree, trained, tmp_path):
    other = make_tree(tmp_path / "three")
    for name in ("LOC_synset_mapping.txt", "LOC_val_solution.csv"):
        text = (other / name).read_text().replace("n00001000", "n00000999")
        (other / name).write_text(text)
    shutil.rmtree(other / "ILSVRC" / "Annotations")
    words = ["model=alexnet_gap", "data=ilsvrc", f"data.root={other}", "device=cpu", "output=out"]
    done = command("eval", *words, f"model.weights={trained / 'last.pt'}")
    assert_one_line(done, "was trained on other classes than those of three")


STRANGE = """
from pathlib import Path
Path("ran").write_text("")
from cam_repro.models.alexnet import AlexNetGap as Net
"""


def test_a_checkpoint_does_not_say_which_module_is_imported(command, tiny_run, tmp_path):
    """A module that happens to lie in the working folder, of the name that the file gives."""
    (tmp_path / "strange.py").write_text(STRANGE)
    assert command("train", *tiny_run, "optim.iterations=1").status == 0
    (path,) = (tmp_path / "runs").rglob("last.pt")
    state = torch.load(path, weights_only=True)
    state["model_config"]["_target_"] = "strange.Net"
    torch.save(state, path)
    manifest = json.loads(path.with_name("manifest.json").read_text())
    manifest["files"]["last.pt"] = sha256(path)  # whoever writes the one writes the other
    del manifest["checksum"]
    path.with_name("manifest.json").write_text(json.dumps(manifest))
    words = [word for word in tiny_run if word.startswith(("data", "loader", "device"))]
    known = "holds a network of the class strange.Net, and model=alexnet_gap is cam_repro.models."
    for network in ([], ["model=alexnet_gap"], ["model=alexnet_gap", f"model.weights={path}"]):
        # The best one is scored by default.
        shutil.copy(path, path.with_name("best.pt"))
        assert_one_line(command("eval", *network, *words), known)
    with pytest.raises(UserError, match=r"class strange\.Net, and model=alexnet_gap is"):
        load_network(weights=path, device="cpu")
    state["model_config"]["name"] = "strange"
    torch.save(state, path)
    with pytest.raises(UserError, match="holds the network strange, of which there is no YAML"):
        load_network(weights=path, device="cpu")
    assert not (tmp_path / "ran").exists()


def garbage(kind, good):
    """Contents of a file that is no checkpoint."""
    return {
        "empty": b"",
        "text": b"this is not a checkpoint\n",
        "zeros": bytes(4096),
        "cut short": good[: len(good) // 2],
        "zip of nothing": b"PK\x05\x06" + bytes(18),
        "pickle of a number": b"\x80\x02K\x01.",
        "pickle without end": b"\x80\x02}q\x00X",
        "pickle that runs code": b"cos\nsystem\n(S'touch ran'\ntR.",
    }[kind]


KINDS = [
    *("empty", "text", "zeros", "cut short", "zip of nothing"),
    *("pickle of a number", "pickle without end", "pickle that runs code"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_for_a_checkpoint(command, tiny_run, trained, tmp_path, kind):
    good = (trained / "last.pt").read_bytes()
    path = tmp_path / "garbage.pt"
    path.write_bytes(garbage(kind, good))
    words = [word for word in tiny_run if word.startswith(("data", "loader", "device"))]
    done = command("eval", "model=alexnet_gap", f"model.weights={path}", *words, "output=out")
    assert_one_line(done, path)
    done = command("train", *tiny_run, f"model.weights={path}", "output=out")
    assert_one_line(done, path)
    # In place of the checkpoint to go on from.
    (trained / "last.pt").write_bytes(garbage(kind, good))
    (trained / "manifest.json").unlink()
    (trained / "log.csv").unlink()
    done = command("train", *tiny_run, "optim.iterations=1", f"output={trained}")
    assert_one_line(done, trained / "last.pt")
    assert (trained / "last.pt").read_bytes() == garbage(kind, good)
    assert results_in(tmp_path / "out") == []
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_cannot_be_made(command, tiny_run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = command("train", *tiny_run, "output=file/run")
    assert_one_line(done, "file/run: cannot be written (")
