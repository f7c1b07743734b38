"""Words of the command line: box rules side by side, the user's own files, and old words."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from cam_repro.config import choices, config_dir, validate
from cam_repro.engine.settings import EvalSettings
from cam_repro.errors import UserError
from cam_repro.words import (
    KEYS,
    boxes_of,
    config_folders,
    hydra_words,
    part_words,
    renamed,
    typed_words,
)

# --- settings and flags


@pytest.mark.parametrize(
    ("words", "settings", "flags"),
    [
        ([], [], []),
        (["a=1", "-m", "b=2"], ["a=1", "b=2"], ["-m"]),
        (["a=1", "--config-dir", "mine", "~b"], ["a=1", "~b"], ["--config-dir", "mine"]),
        (["-cd", "mine=2", "+a=-1"], ["+a=-1"], ["-cd", "mine=2"]),
        (["--config-dir=mine", "stray", "a=b=c"], ["a=b=c"], ["--config-dir=mine", "stray"]),
    ],
)
def test_settings_are_parted_from_flags(words, settings, flags):
    assert part_words(words) == (settings, flags)


def test_folders_of_settings():
    words = ["a=1", "--config-dir", "b=c", "-cd=d", "--cfg", "job"]
    assert config_folders(words) == [config_dir(), Path("b=c"), Path("d")]
    assert config_folders(["--config-dir"]) == [config_dir(), Path()]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_flags_may_stand_anywhere(command, tmp_path, place):
    folder = tmp_path / "mine" / "data"
    folder.mkdir(parents=True)
    text = (config_dir() / "data" / "demo.yaml").read_text()
    (folder / "small.yaml").write_text(text.replace("n_val: 500", "n_val: 7"))
    words = ["data=small", "split=val"]
    words[place:place] = ["--config-dir", str(folder.parent)]
    done = command("eval", *words, "--cfg", "job")
    assert done.status == 0, done.err
    assert "n_val: 7" in done.out


# --- box rules side by side


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["+box@box.threshold=threshold", "+box@box.heuristic=heuristic"]),
        (["box=center"], ["+box@box.center=center"]),
        (["box=[dt_box, center]"], ["+box@box.dt_box=dt_box", "+box@box.center=center"]),
        (["box=dt_box", "box=center"], ["+box@box.center=center"]),
        (
            ["--config-dir", "mine", "model=nin", "box=center", "seed=1"],
            ["+box@box.center=center", "--config-dir", "mine", "model=nin", "seed=1"],
        ),
        (["--help", "box=center"], ["+box@box.center=center", "--help"]),
    ],
)
def test_box_rules_stand_side_by_side(words, expected):
    assert hydra_words("eval", words) == expected


def test_measures_stand_side_by_side():
    boxes = ["+box@box.threshold=threshold", "+box@box.heuristic=heuristic"]
    measures = ["+quality@quality.a=a", "+quality@quality.b=b"]
    assert hydra_words("eval", ["quality=[a, b]", "quality.a.steps=2"]) == [
        *(*measures, *boxes, "quality.a.steps=2")
    ]
    assert hydra_words("eval", ["quality=a", "quality=[]"]) == boxes
    with pytest.raises(UserError, match=r"quality=a,b: name one measure, or several in brackets"):
        hydra_words("eval", ["quality=a,b"])
    assert typed_words([*boxes, *measures]) == ["box=[threshold,heuristic]", "quality=[a,b]"]


def test_words_for_hydra_become_those_that_one_types():
    words = ["model=nin", "box=[threshold,center]", "box.center.scale=0.5"]
    assert typed_words(hydra_words("eval", words)) == [
        *("model=nin", "box.center.scale=0.5", "box=[threshold,center]")
    ]
    assert typed_words(["model=nin"]) == ["model=nin"]


def test_other_commands_keep_their_words():
    words = ["model=nin", "box=[a,b]", "recipe=demo"]
    for command in ("train", "reproduce", "data_command", "tables"):
        assert hydra_words(command, words) == words
    assert hydra_words("score", ["submission=a", "box=a"]) == ["submission=a", "box.name=a"]


# --- paths and names


TEXTS = [
    *("lr=0.1/d", "数据/é", "a b", " a", "a\tb", "a,b", "{a}", "x[1]", "(a)", "a:b", "#1", "@a"),
    *("2012", "1e3", "0x1F", "-1", ".5", "1_000", "2012-01-01", "true", "NaN", "on", "null.pt"),
    *("it's", 'a"b', "C:\\x\\", "a", "/data/x", "../x.csv", "runs/*/nin", "choice(a)"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_paths_and_names_are_taken_as_they_stand(compose_config, text):
    keys = ("data.root", "data.name", "data.boxes", "runs", "output", "model.weights")
    composed = compose_config("eval", "data=ilsvrc", "model=nin", *(f"{k}={text}" for k in keys))
    assert [OmegaConf.select(composed, key) for key in keys] == [text] * len(keys)
    keys = ("data.root", "data.metadata", "data.masks", "data.name")
    composed = compose_config("eval", "data=wsol", *(f"{k}={text}" for k in keys))
    assert [OmegaConf.select(composed, key) for key in keys] == [text] * len(keys)
    words = hydra_words("tables", [f"runs=[{text.strip().replace(',', '')},2013]", f"data={text}"])
    runs, data = (each.value() for each in OverridesParser.create().parse_overrides(words))
    assert str(data) == text
    assert list(map(str, runs)) == [text.strip().replace(",", ""), "2013"]


def test_every_text_of_a_data_set_is_taken_as_it_stands(compose_config):
    numbers = {"n_train", "n_val", "seed", "year", "pairs", "proxy", "_target_"}
    for name in choices("data"):
        keys = [f"data.{key}" for key in compose_config("eval", f"data={name}").data]
        keys = [key for key in keys if key.removeprefix("data.") not in numbers]
        words = [f"{key}=2012" for key in keys if (name, key) != ("voc", "data.images")]
        composed = compose_config("eval", f"data={name}", *words)
        for word in words:
            assert OmegaConf.select(composed, word.partition("=")[0]) == "2012", (name, word)


@pytest.mark.parametrize("text", ["[x]", "[x,y]", "[]", "['x']"])
def test_brackets_belong_to_the_name_of_what_is_no_list(compose_config, text):
    composed = compose_config("eval", "data=cub", f"data.root={text}", "runs=r", f"output={text}")
    assert (composed.data.root, composed.output) == (text, text)
    assert hydra_words("score", ["submission=[a,2012]"]) == ["submission=[a,'2012']"]


def test_what_a_user_has_quoted_stays(compose_config):
    composed = compose_config("eval", "runs='a b'", 'output="${runs}/c"', "data=ilsvrc")
    assert (composed.runs, composed.output) == ("a b", "a b/c")
    assert compose_config("eval", "output=null").output is None


def test_paths_may_be_swept():
    words = ["-m", "output=lr=0.1,2012", "model.weights=choice(a,b)", "runs=${model}/x"]
    assert hydra_words("train", words) == ["-m", "output='lr=0.1','2012'", *words[2:]]


def test_home_folder(compose_config, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for home in ("~", "~/x", "'~/x'"):
        cfg = compose_config(
            "eval", "data=ilsvrc", f"data.root={home}", f"output={home}", "runs=~a"
        )
        settings = validate(cfg, EvalSettings)
        expected = home.strip("'").replace("~", "/home/me")
        assert (settings.data["root"], settings.output, settings.runs) == (expected, expected, "~a")


def test_the_manifest_names_the_words_as_they_were_typed(command, snakes, tmp_path):
    words = ["model=none", "box=[whole_image,center]", "box.scale=0.5", "data=ground_truth"]
    words += ["data.file=truth.csv", "output=out"]
    done = command("eval", *words)
    assert done.status == 0, done.err
    assert done.err.splitlines()[0] == "box.scale is called box.center.scale now"
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    typed = manifest["command"].replace("'", "")
    assert typed == f"cam-eval {' '.join(words)}"
    assert manifest["config"]["box"]["center"]["scale"] == 0.5

    swept = ["-m", *words[:2], *words[3:5], "box.center.scale=0.4,0.6"]
    done = command("eval", *swept, "output=out/${box.center.scale}")
    assert done.status == 0, done.err
    manifest = json.loads((tmp_path / "out" / "0.4" / "manifest.json").read_text())
    assert "box.center.scale=0.4" in manifest["command"]
    assert "box=[whole_image,center]" in manifest["command"]
    assert "+box@" not in manifest["command"]


# --- the user's own


@pytest.fixture
def snakes(tmp_path):
    """``truth.csv``: three images of 20 x 20 with a box each, of classes 0, 1 and 2."""
    (tmp_path / "truth.csv").write_text(
        "image,width,height,class_index,boxes\n"
        "a,20,20,0,0 0 9 9\nb,20,20,1,5 5 14 14\nc,20,20,2,0 0 19 19\n"
    )


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Writes a module and a YAML of the user's; returns the words that bring them in."""

    def write(group, name, module, yaml):
        (tmp_path / f"{name}_module.py").write_text(module)
        folder = tmp_path / "my_configs" / group
        folder.mkdir(parents=True)
        (folder / f"{name}.yaml").write_text(yaml)
        monkeypatch.syspath_prepend(str(tmp_path))
        return ["--config-dir", str(folder.parent)]

    return write


MEAN = """
from cam_repro.boxes.base import BoxRule

class Quarter(BoxRule):
    needs_maps = False

    def __init__(self, part=0.5):
        self.part = part

    def __call__(self, maps):
        box = (0, 0, int(maps.width * self.part) - 1, int(maps.height * self.part) - 1)
        return [(label, box) for label in maps.classes[:5]]
"""


def test_a_box_rule_of_ones_own(command, mine, snakes, tmp_path):
    own = mine("box", "quarter", MEAN, "_target_: quarter_module.Quarter\npart: 0.5\n")
    words = ["model=none", "data=ground_truth", "data.file=truth.csv"]
    done = command("eval", *own, "box=[quarter,whole_image]", *words)
    assert done.status == 0, done.err
    rows = pd.read_parquet(
        tmp_path / "runs" / "truth" / "none" / "eval" / "val" / "predictions.parquet"
    )
    assert rows["quarter/gt_known"].map(list).tolist() == [[0, 0, 9, 9]] * 3
    done = command("eval", *own, "box=quarter", "box.quarter.part=1", *words, "output=o")
    assert done.status == 0, done.err
    rows = pd.read_parquet(tmp_path / "o" / "predictions.parquet")
    assert rows["quarter/gt_known"].map(list).tolist() == [[0, 0, 19, 19]] * 3
    done = command("eval", *own, "box=qarter", *words)
    assert done.errors[0].startswith("error: box=qarter: choose one of center, dt_box,")
    assert done.errors[0].endswith("whole_image; did you mean quarter?")


PROTOCOL = """
from cam_repro.geometry import iou
from cam_repro.metrics.protocol import Needs, Protocol, Scored

class MeanIou(Protocol):
    name = "mean_iou"
    needs = Needs.KNOWN_BOXES

    def __init__(self, scale=100):
        self.scale = scale

    def score(self, truth, given):
        best = [iou(given[i : i + 1], truth.boxes.of(i)).max() for i in range(len(truth))]
        mean = self.scale * sum(best) / len(best)
        return Scored({"n_images": len(truth), "mean_iou": mean}, [f"mean IoU {mean:.1f}"], {})
"""


def test_a_protocol_of_ones_own(command, mine, snakes, tmp_path):
    own = mine("protocol", "mean_iou", PROTOCOL, "_target_: mean_iou_module.MeanIou\nscale: 100\n")
    (tmp_path / "s.txt").write_text("1 0 0 9 9\n2 5 5 14 9\n\n")
    words = [*own, "protocol=mean_iou", "submission=s.txt", "ground_truth=truth.csv"]
    done = command("score", *words)
    assert done.status == 0, done.err
    found = json.loads(done.out)
    mean = pytest.approx(50, abs=0.2)
    assert found == {"n_images": 3, "mean_iou": mean, "thresholds_are": {}}
    assert done.err.splitlines()[-1] == f"mean IoU {found['mean_iou']:.1f}"
    assert json.loads(command("score", *words, "protocol.scale=1").out)["mean_iou"] < 1
    done = command("score", *words, "blacklist=b.txt")
    assert done.errors == ["error: blacklist is not used by protocol=mean_iou: leave it out"]


CURVED = """
import numpy as np
from cam_repro.metrics.protocol import Curves, Needs, Protocol, Scored

class Area(Protocol):
    name = "area"
    needs = Needs.MAPS
    draws = True

    def score(self, truth, given):
        at = np.linspace(0, 0.9, 10)
        areas = np.array([[100 * (m > t * m.max()).mean() for t in at] for m in given])
        curves = Curves(at, {"outside": 100 - areas.mean(0)})
        return Scored({"best": curves.best}, [], {"best": "oracle"}, curves)
"""


def test_a_protocol_of_ones_own_that_draws(command, mine, snakes, tmp_path):
    own = mine("protocol", "area", CURVED, "_target_: area_module.Area\n")
    np.save(tmp_path / "m.npy", np.tile(np.linspace(0, 1, 20), (3, 20, 1)))
    words = [*own, "protocol=area", "maps=m.npy", "ground_truth=truth.csv", "output=o.json"]
    done = command("score", *words)
    assert done.status == 0, done.err
    best = {"outside": {"threshold": 0.0, "error": pytest.approx(5)}}
    assert json.loads((tmp_path / "o.json").read_text()) == {
        "best": best,
        "thresholds_are": {"best": "oracle"},
    }
    assert (tmp_path / "o.png").is_file()
    assert done.err.splitlines()[-1] == "drawn in o.png"


def test_what_is_no_protocol(command, mine, snakes, tmp_path):
    own = mine("protocol", "odd", "def make(): return 3\n", "_target_: odd_module.make\n")
    done = command("score", *own, "protocol=odd", "submission=s.txt", "ground_truth=truth.csv")
    assert done.errors == [
        "error: protocol._target_=odd_module.make: is no Protocol; derive the class from "
        "cam_repro.metrics.protocol.Protocol"
    ]


@pytest.mark.parametrize("name", ["mine", "demo"])
def test_a_recipe_of_ones_own(command, mine, name):
    own = mine("recipe", "mine", "", "# @package _global_\noptim: {warmup: 77}\n")
    done = command("train", *own, "model=nin", f"recipe={name}", "--cfg", "job")
    assert done.status == 0, done.err
    assert ("warmup: 77" in done.out) == (name == "mine")


def test_words_of_figures():
    assert hydra_words("figures", ["figure=6", "box=dt_box", "runs=a", "figure=sheet"]) == [
        *("figure='6'", "box.name=dt_box", "runs=a", "figure=sheet")
    ]


@pytest.mark.parametrize(
    ("word", "ids"),
    [
        ("images=[2008_000002, 1e5,true]", ["2008_000002", "1e5", "true"]),
        ("images=2008_000002", ["2008_000002"]),
        ("images=ILSVRC2012_val_00000001.JPEG", ["ILSVRC2012_val_00000001.JPEG"]),
        ("images=[a b (1).jpg,0x1F]", ["a b (1).jpg", "0x1F"]),
        ("images=['a,b',2_3]", ["a,b", 23]),  # quoted by the user, who then does so for all
        ("images=null", None),
        ("images=[]", []),
    ],
)
def test_ids_of_images_are_text(compose_config, word, ids):
    assert compose_config("figures", word, "runs=a").images == ids


# --- old words


@pytest.mark.parametrize(
    ("command_name", "old", "new", "note"),
    [
        (
            "train",
            ["data.workers=2"],
            ["loader.workers=2"],
            "data.workers is called loader.workers",
        ),
        ("eval", ["contact_sheet=4"], ["examples=4"], "contact_sheet is called examples now"),
        ("eval", ["data.preload=no"], ["loader.preload=no"], "data.preload is called loader."),
        ("reproduce", ["data.on_error=skip"], ["loader.on_error=skip"], "data.on_error is called"),
        (
            "eval",
            ["box.threshold=0.1,0.2"],
            ["box.threshold.threshold=0.1,0.2"],
            "box.threshold is",
        ),
        (
            "eval",
            ["box=[dt_box,center]", "box.dt_thresholds=[1]"],
            ["box=[dt_box,center]", "box.dt_box.thresholds=[1]"],
            "box.dt_thresholds is called box.dt_box.thresholds now",
        ),
        (
            "eval",
            ["box.dt_jpeg_quality=null", "box=[dt_box,dt_box_heuristic]"],
            [
                *("box.dt_box.jpeg_quality=null", "box.dt_box_heuristic.jpeg_quality=null"),
                "box=[dt_box,dt_box_heuristic]",
            ],
            "called box.dt_box.jpeg_quality and box.dt_box_heuristic.jpeg_quality now",
        ),
        ("score", ["strategy=a"], ["box=a"], "strategy is called box now"),
        ("score", ["rule=a"], ["box=a"], "rule is called box now"),
        (
            "tables",
            ["reading=code"],
            ["source=authors"],
            "reading=code is called source=authors now",
        ),
        ("tables", ["reading=both"], ["source=both"], "reading is called source now"),
        (
            "reproduce",
            ["experiment.readings=[text,code]"],
            ["experiment.sources=[paper,authors]"],
            "experiment.readings=[text,code] is called experiment.sources=[paper,authors] now",
        ),
        (
            "reproduce",
            ["experiment=paper_text"],
            ["experiment=paper"],
            "experiment=paper_text is called experiment=paper now",
        ),
        ("score", ["thresholds=7"], ["protocol.thresholds=7"], "called protocol.thresholds now"),
    ],
)
def test_old_words_are_understood_and_the_new_ones_said(command_name, old, new, note):
    understood, notes = renamed(command_name, old)
    assert understood == new
    (said,) = notes
    assert note in said


def test_what_was_not_renamed_is_left_alone():
    words = ["data.root=data.workers", "box.center.scale=1", "--config-dir", "a=b", "+data.x=1"]
    assert renamed("eval", words) == (words, [])
    assert renamed("tables", ["data.workers=1"]) == (["data.workers=1"], [])


def test_new_words_are_there(compose_config):
    needed = {"train": ["model=nin"], "eval": [f"box=[{','.join(['center', *BOXES])}]"]}
    for command_name, keys in KEYS.items():
        words = [new for each in keys.values() for new in each if new != "box"]
        protocols = ["max_box_acc", "threshold_curve"] if command_name == "score" else [None]
        for word in words:
            found = []
            for protocol in protocols:
                more = [f"protocol={protocol}"] if protocol else []
                cfg = compose_config(command_name, *needed.get(command_name, []), *more)
                for part in word.split("."):
                    cfg = cfg[part] if hasattr(cfg, "keys") and part in cfg else "missing"
                found.append(cfg)
            assert found.count("missing") < len(protocols), word


BOXES = ["threshold", "heuristic", "dt_box", "dt_box_heuristic", "graphcut"]


def test_a_command_line_names_its_boxes_once():
    assert boxes_of(["box=['a',\"b\", a]"]) == ["a", "b"]
