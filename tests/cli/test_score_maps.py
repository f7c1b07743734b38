"""cam-score of maps: those of anybody, and those of runs with save_maps=true."""

import numpy as np
import pytest
from run_builder import RIGHT

from cam_repro.geometry import inside_boxes


@pytest.fixture
def run_with_maps(make_run):
    """A run of four images with boxes RIGHT; the maps of the first ``right`` are these boxes."""

    def make(model, right):
        folder = make_run(model, n=4, maps=True)
        (folder / "maps").mkdir()
        mask_HW = inside_boxes([RIGHT], 20, 20).astype(np.float32)
        for i in range(4):
            np.save(folder / "maps" / f"image{i:05d}.npy", mask_HW if i < right else 1 - mask_HW)
        return folder

    return make


PROTOCOLS = {
    "energy_in_box": lambda result: result["energy_in_box"],
    "localization": lambda result: result["gt_known"]["0.7"],
    "max_box_acc": lambda result: result["max_box_acc"]["0.7"],
    "pointing_game": lambda result: result["pointing_game"]["all"],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_run_is_scored_as_its_maps_are(score, run_with_maps, protocol):
    folder = run_with_maps("nin", 3)
    more = ["protocol.tolerance=0"] if protocol == "pointing_game" else []
    of_run, said = score(f"protocol={protocol}", f"submission={folder}", *more)
    assert PROTOCOLS[protocol](of_run) == 75
    assert f"{folder}: 4 images, 4 boxes" in said
    of_maps, _ = score(
        f"protocol={protocol}", f"maps={folder}/maps", f"ground_truth={folder}", *more
    )
    of_run.pop("maps_of", None)  # which protocols say whose thresholds may be given
    assert of_maps == of_run


def test_runs_are_ranked_by_one_command(score, run_with_maps):
    run_with_maps("nin", 1)
    run_with_maps("vgg", 2)
    found, _ = score("protocol=energy_in_box", "submission=runs/demo/*/eval/*")
    assert [each["energy_in_box"] for each in found.values()] == [25, 50]


def test_a_run_with_another_truth(score, run_with_maps, tmp_path):
    folder = run_with_maps("nin", 4)
    lines = ["image,width,height,label,boxes", *(f"image{i:05d},20,20,0,0 0 4 9" for i in range(4))]
    (tmp_path / "half.csv").write_text("\n".join(lines) + "\n")
    words = ("protocol=energy_in_box", f"submission={folder}", "ground_truth=half.csv")
    assert score(*words)[0]["energy_in_box"] == 50


@pytest.mark.parametrize("protocol", ["pointing_game", "max_box_acc"])
def test_mistakes_are_one_line(command, make_run, tmp_path, protocol):
    folder = make_run("nin", n=4)
    (tmp_path / "guesses.txt").write_text("1 0 0 1 1\n" * 4)
    for words, message in (
        ([f"submission={folder}"], f"{folder}: has no maps: score it again with cam-eval "
         "save_maps=true"),
        (["maps=m.npy", f"submission={folder}"],
         "maps and submission are both given: leave one of them out"),
        (["submission=guesses.txt", f"ground_truth={folder}"],
         f"submission=guesses.txt: protocol={protocol} takes a folder that cam-eval wrote with "
         "save_maps=true"),
        ([f"submission={folder}", "box=threshold"],
         f"box is not used by protocol={protocol}: leave it out"),
        ([], "maps not given: add maps=VALUE (see --help)"),
    ):  # fmt: skip
        done = command("score", f"protocol={protocol}", *words)
        assert done.errors == [f"error: {message}"]


@pytest.mark.parametrize(("ious", "expected"), [("[0.25]", {"0.25": 75}), ("[0.5,1]", None)])
def test_ious_may_be_set(score, make_run, ious, expected):
    folder = make_run("nin", loc_right=3, n=4)
    words = ("protocol=gt_known", f"submission={folder}", f"protocol.ious={ious}")
    assert score(*words)[0]["gt_known"] == (expected or {"0.5": 75, "1": 75})
